//! From a certificate revocation list to what it takes back (rule 8; RFC 5280, section 5).
//!
//! A list is handed in with the chain of its issuer. [`authorize_crl`] holds that chain against rules 2
//! to 6 as [`super::authorize`] does for a leaf's, then the list against its issuer. What comes out
//! is a [`RevocationList`] of the issuer's *key*; whether it is newer than the one that is known, and
//! whether there is room for it, is for [`crate::revocation::Revocations`].
//!
//! The list is one slice of bytes. Its signature stands behind all that it is over, so nothing of it
//! can be believed before all of it has come; and its number, which tells whether it is of any use at
//! all, stands behind its entries. So whoever takes lists from afar keeps the pieces in a file, at most
//! [`MAX_DER`] bytes, and then reads that file, one list at a time. From there on nothing is copied:
//! parsing makes no object of an entry, the signature is verified over the slice, and only then are
//! the serial numbers packed, at 21 bytes each. All of it takes time in proportion to the bytes (about
//! half a second for a million entries), so a server does it apart from its sessions.
//!
//! What RFC 5280 leaves open, or this suite sees in its own way:
//!
//! * A list that has *expired* is taken all the same if it is newer than the known one. It only ever
//!   takes away, and to refuse it would leave those whom it names in power, which is what someone who
//!   can hold a list back would want. `next_update` is there for whoever wants to warn.
//! * Every critical extension is refused, of a list or an entry; others are ignored.
//! * The authorityKeyIdentifier may be missing: issuer and signature are checked in any case. One that is
//!   there must be the issuer's.
//! * A serial number may come twice. Every reason counts, certificateHold too.
//! * A list without entries may leave them out or have an empty SEQUENCE of them.

mod der;
mod entries;
mod error;
mod issuer;
mod parse;
pub mod pem;

use rustls_pki_types::CertificateDer;

pub use entries::Entries;
pub use error::CrlError;
pub use parse::Crl;

use super::Root;
use crate::authority::Link;
use crate::id::Digest;
use crate::name::Path;
use crate::revocation::{self, RevocationList};

/// The largest list in DER, in bytes.
pub const MAX_DER: usize = revocation::MAX_BYTES;

/// At most so many extensions stand in a list, and in one entry.
pub const MAX_EXTENSIONS: usize = 16;

/// A list may be made so many seconds later than now: clocks differ.
pub const SKEW_S: i64 = 300;

/// A list and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct CrlAuthority {
    /// The delegations down to the issuer, outermost first; the last one is the issuer. Empty when the
    /// root is.
    pub links: Vec<Link>,
    /// What it takes back.
    pub list: RevocationList,
}

/// Verifies the chain of a CA alone: its certificate first, then those above it; the root may be last or
/// left out. Returns the delegations, outermost first.
///
/// `server` is the SHA-256 of this server's SubjectPublicKeyInfo, `None` leaves rule 6 out. `now` is in
/// Unix seconds.
///
/// # Errors
/// [`CrlError`]
pub fn authorize_issuer(
    chain: &[CertificateDer<'_>],
    root: &Root,
    server: Option<&Digest>,
    now: i64,
) -> Result<Vec<Link>, CrlError> {
    issuer::authorize(chain, root, server, now).map(|(_, links)| links)
}

/// Verifies a list in DER that came with the chain of its issuer: the issuer's certificate first, then
/// those above it; the root may be last or left out (and is all, or nothing, for a list of its own).
///
/// `server` is the SHA-256 of this server's SubjectPublicKeyInfo, `None` leaves rule 6 out. `now` is in
/// Unix seconds.
///
/// # Errors
/// [`CrlError`]
pub fn authorize_crl(
    der: &[u8],
    chain: &[CertificateDer<'_>],
    root: &Root,
    server: Option<&Digest>,
    now: i64,
) -> Result<CrlAuthority, CrlError> {
    let crl = Crl::parse(der)?;
    let (issuer, links) = issuer::authorize(chain, root, server, now)?;
    if crl.issuer != issuer.name {
        return Err(CrlError::OtherIssuer);
    }
    if crl.authority_key_id().is_some_and(|id| id != issuer.key_id) {
        return Err(CrlError::AuthorityKeyId);
    }
    if crl.this_update() > now.saturating_add(SKEW_S) {
        return Err(CrlError::FromTheFuture(crl.this_update()));
    }
    if !issuer.public_key.has_signed(crl.signed, crl.algorithm, crl.signature) {
        return Err(CrlError::Signature);
    }
    let path = Path::new(links.iter().map(|link| link.label.clone()).collect())
        .map_err(|_| issuer::too_long(chain))?;
    Ok(CrlAuthority { links, list: crl.to_list(issuer.key, path)? })
}
