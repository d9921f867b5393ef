//! From a presented list of certificates to an [`Authorization`]: the one place where authority is
//! decided.
//!
//! The rules are those of the certificate profile, "Rules for a server", and their numbers are in
//! every [`ChainError`]:
//!
//! 1. [`verify_path`] runs inside the TLS handshake. A stock library (webpki) verifies signatures,
//!    validity, CA flags, path lengths and extended key usage. It is cheap and changes no state.
//! 2. [`authorize`] runs right after the handshake, on the same list, does all of that again and
//!    then everything that the library does not look at: the list must be the verified path byte
//!    for byte, each certificate must be as the profile's table has it, each delegation must fit
//!    in the one above it, and the server must be one that the delegations name.
//!
//! [`crl`] decides in the same way what a revocation list says, and [`verify_server`] is the client's
//! half.

pub mod certificate;
pub mod crl;
mod error;
mod root;
mod server;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::aws_lc_rs as algorithms;
use webpki::{EndEntityCert, KeyUsage};

pub use error::{ChainError, Fault};
pub use root::{Root, RootError};
pub use server::{verify_server, verify_server_path};
pub use webpki::Error as PathError;
pub use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ECDSA_P384_SHA384, ED25519};

use crate::authority::{Authorization, Holder, LeafIdentity};
use crate::id::Digest;
use crate::name::MAX_DELEGATIONS;
use certificate::Role;
use walk::Walk;

/// The longest list that makes sense: a leaf, the delegations, and the root.
pub const MAX_PRESENTED: usize = MAX_DELEGATIONS + 2;

/// A longer list is not even given to the path verifier.
const MAX_LOOKED_AT: usize = 2 * MAX_PRESENTED;

/// Signatures that a certificate of the profile may carry.
pub static SIGNATURES: &[&dyn SignatureVerificationAlgorithm] = &[
    ED25519,
    ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    ECDSA_P384_SHA384,
];

/// id-kp-clientAuth (RFC 5280, 4.2.1.12), as DER content octets.
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

/// The library's part: whether a path of trust leads from the root to the leaf `presented[0]`.
///
/// `now` is in Unix seconds.
///
/// # Errors
/// [`Fault::NoCertificate`], [`Fault::TooLong`], [`Fault::Path`], [`Fault::RootNotValid`]
pub fn verify_path(
    presented: &[CertificateDer<'_>],
    root: &Root,
    now: i64,
) -> Result<(), ChainError> {
    verified(presented, root, now).map(drop)
}

/// The path that the library walked, from the leaf to the last delegation, as places in the list
/// or as bytes.
fn verified<'p>(
    presented: &'p [CertificateDer<'p>],
    root: &Root,
    now: i64,
) -> Result<Vec<&'p [u8]>, ChainError> {
    let (leaf, above) = presented.split_first().ok_or(Fault::NoCertificate)?;
    if presented.len() > MAX_LOOKED_AT {
        return Err(Fault::TooLong(presented.len()).into());
    }
    root.check_validity(now)?;
    let end_entity = EndEntityCert::try_from(leaf).map_err(Fault::Path)?;
    let anchors = [root.anchor()];
    let path = end_entity
        .verify_for_usage(
            SIGNATURES,
            &anchors,
            above,
            unix_time(now)?,
            KeyUsage::required(CLIENT_AUTH),
            None,
            None,
        )
        .map_err(Fault::Path)?;
    let mut walked: Vec<&[u8]> = vec![leaf.as_ref()];
    for certificate in path.intermediate_certificates() {
        let der = certificate.der();
        // The library hands out copies of the borrowed bytes' view; find them in what was given.
        let place = above.iter().find(|candidate| candidate.as_ref() == der.as_ref());
        walked.push(place.ok_or(Fault::NotThePath)?.as_ref());
    }
    Ok(walked)
}

fn unix_time(now: i64) -> Result<UnixTime, ChainError> {
    let seconds = u64::try_from(now).map_err(|_| Fault::Clock)?;
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

/// Turns a presented list into what it authorizes.
///
/// `server` is the SHA-256 of this server's SubjectPublicKeyInfo; `None` leaves rule 6 out, for
/// someone who checks a chain apart from any server. `now` is in Unix seconds.
///
/// # Errors
/// [`ChainError`], which names the rule and the certificate.
pub fn authorize(
    presented: &[CertificateDer<'_>],
    root: &Root,
    server: Option<&Digest>,
    now: i64,
) -> Result<Authorization, ChainError> {
    let walked = verified(presented, root, now)?;
    if presented.len() > MAX_PRESENTED {
        return Err(Fault::TooLong(presented.len()).into());
    }
    if !without_root(presented, root).iter().map(AsRef::as_ref).eq(walked.iter().copied()) {
        return Err(Fault::NotThePath.into());
    }
    let mut walk = Walk::from(root);
    for der in walked.iter().skip(1).rev() {
        walk.delegation(der)?;
    }
    let leaf = walk.read(presented[0].as_ref())?;
    let (issuer, links) = walk.finish(server)?;
    let holder = match leaf.role {
        Role::Permissions(permissions) => Holder::Permissions(permissions),
        Role::Machine(machine) => Holder::Machine(Arc::new(*machine)),
        role => return Err(Fault::NotALeaf(role.name()).of(&leaf.subject)),
    };
    let label = certificate::label(&leaf.subject)?;
    if links.len() > MAX_DELEGATIONS {
        return Err(Fault::TooLong(presented.len()).into());
    }
    let identity = LeafIdentity { label, issuer: issuer.key, serial: leaf.serial };
    Authorization::leaf(links, identity, holder, leaf.validity)
        .map_err(|_| Fault::TooLong(presented.len()).into())
}

/// A list without the root, which may be its last.
fn without_root<'p>(all: &'p [CertificateDer<'p>], root: &Root) -> &'p [CertificateDer<'p>] {
    match all.split_last() {
        Some((last, rest)) if last.as_ref() == root.der() => rest,
        _ => all,
    }
}
