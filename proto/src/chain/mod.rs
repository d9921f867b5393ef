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
//! [`verify_server`] is the client's half.

pub mod certificate;
mod error;
mod root;

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use webpki::aws_lc_rs as algorithms;
use webpki::{EndEntityCert, KeyUsage};

pub use error::{ChainError, Fault};
pub use root::{Root, RootError};
pub use webpki::Error as PathError;
pub use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ECDSA_P384_SHA384, ED25519};

use crate::authority::{Authorization, Holder, Link};
use crate::id::Digest;
use crate::name::MAX_DELEGATIONS;
use crate::resource::Delegation;
use certificate::{Certificate, Role};

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

/// id-kp-clientAuth and id-kp-serverAuth (RFC 5280, 4.2.1.12), as DER content octets.
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

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
    let without_root = match presented.split_last() {
        Some((last, rest)) if last.as_ref() == root.der() => rest,
        _ => presented,
    };
    if !without_root.iter().map(AsRef::as_ref).eq(walked.iter().copied()) {
        return Err(Fault::NotThePath.into());
    }
    let mut links = Vec::new();
    let mut issuer = Issuer { key: root.key(), key_id: root.subject_key_id().to_vec(), last: None };
    for der in walked.iter().skip(1).rev() {
        let certificate = read(der, &issuer)?;
        let link = issuer.delegation(certificate)?;
        links.push(link);
    }
    let leaf = read(presented[0].as_ref(), &issuer)?;
    if let Some(server) = server {
        bound_to(&links, server)?;
    }
    let holder = match leaf.role {
        Role::Permissions(permissions) => Holder::Permissions(permissions),
        Role::Machine(machine) => Holder::Machine(Arc::new(*machine)),
        role => return Err(Fault::NotALeaf(role.name()).of(&leaf.subject)),
    };
    let label = certificate::label(&leaf.subject)?;
    if links.len() > MAX_DELEGATIONS {
        return Err(Fault::TooLong(presented.len()).into());
    }
    Authorization::leaf(links, label, holder, leaf.validity)
        .map_err(|_| Fault::TooLong(presented.len()).into())
}

/// What stands above the next certificate to look at.
struct Issuer {
    key: Digest,
    key_id: Vec<u8>,
    /// The delegation, with the hosts that it inherits.
    last: Option<Delegation>,
}

impl Issuer {
    /// Holds a delegation against this issuer (rules 4 and 5) and becomes the issuer of what is
    /// below it.
    fn delegation(&mut self, certificate: Certificate) -> Result<Link, ChainError> {
        let subject = certificate.subject;
        let Role::Delegation(grant) = certificate.role else {
            return Err(Fault::NotADelegation(certificate.role.name()).of(&subject));
        };
        if let Some(above) = &self.last {
            grant.fits_in(above).map_err(|misfit| Fault::Misfit(misfit).of(&subject))?;
        }
        // Hosts that are not named are the issuer's: what is below must fit in those.
        let above = self.last.take();
        let hosts = grant.hosts.clone().or_else(|| above.and_then(|above| above.hosts));
        let link = Link {
            label: certificate::label(&subject)?,
            issuer: self.key,
            key: certificate.key,
            serial: certificate.serial,
            grant: grant.clone(),
            validity: certificate.validity,
        };
        self.key = certificate.key;
        self.key_id = certificate.subject_key_id.unwrap_or_default();
        self.last = Some(Delegation { hosts, ..grant });
        Ok(link)
    }
}

/// Parses one certificate of the path and holds it against the profile's table (rule 3).
fn read(der: &[u8], issuer: &Issuer) -> Result<Certificate, ChainError> {
    let certificate = Certificate::parse(der)?;
    if certificate.authority_key_id.as_deref() != Some(&issuer.key_id) {
        return Err(Fault::AuthorityKeyId.of(&certificate.subject));
    }
    Ok(certificate)
}

/// Rule 6: every delegation that lists hosts must list this one.
fn bound_to(links: &[Link], server: &Digest) -> Result<(), ChainError> {
    for link in links {
        if let Some(hosts) = &link.grant.hosts
            && !hosts.keys().contains(server)
        {
            return Err(Fault::OtherHost.of(link.label.as_str()));
        }
    }
    Ok(())
}

/// The client's half: whether the server may call itself `name`. It presents its certificate
/// alone, or it and the root; the root itself issued it.
///
/// `now` is in Unix seconds.
///
/// # Errors
/// [`ChainError`]
pub fn verify_server(
    presented: &[CertificateDer<'_>],
    root: &Root,
    name: &ServerName<'_>,
    now: i64,
) -> Result<(), ChainError> {
    let (server, _) = presented.split_first().ok_or(Fault::NoCertificate)?;
    let end_entity = EndEntityCert::try_from(server).map_err(Fault::Path)?;
    end_entity.verify_is_valid_for_subject_name(name).map_err(Fault::Path)?;
    verify_server_path(presented, root, now)
}

/// Everything of [`verify_server`] but the name: what a server can find out of itself at start.
///
/// # Errors
/// [`ChainError`]
pub fn verify_server_path(
    presented: &[CertificateDer<'_>],
    root: &Root,
    now: i64,
) -> Result<(), ChainError> {
    let (server, rest) = presented.split_first().ok_or(Fault::NoCertificate)?;
    if !(rest.is_empty() || rest.len() == 1 && rest[0].as_ref() == root.der()) {
        return Err(Fault::ServerChain.into());
    }
    root.check_validity(now)?;
    let end_entity = EndEntityCert::try_from(server).map_err(Fault::Path)?;
    end_entity
        .verify_for_usage(
            SIGNATURES,
            &[root.anchor()],
            &[],
            unix_time(now)?,
            KeyUsage::required(SERVER_AUTH),
            None,
            None,
        )
        .map_err(Fault::Path)?;
    let issuer = Issuer { key: root.key(), key_id: root.subject_key_id().to_vec(), last: None };
    let certificate = read(server.as_ref(), &issuer)?;
    let Role::Server = certificate.role else {
        return Err(Fault::NotAServer(certificate.role.name()).of(&certificate.subject));
    };
    certificate::label(&certificate.subject).map(drop)
}
