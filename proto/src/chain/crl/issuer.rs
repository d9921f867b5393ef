//! The chain of a list's issuer: delegations without a leaf.
//!
//! The library verifies only paths that end in a leaf. What it does for those, this does for a chain of
//! CAs, with the library's parser and signatures: each certificate is signed by the next one, is valid
//! now, allows as many CAs below it as there are. It fails closed where the library knows more.

use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::der::{self, Reader, tag};
use super::{CrlError, parse};
use crate::authority::Link;
use crate::chain::certificate::Certificate;
use crate::chain::walk::{Issuer, Walk};
use crate::chain::{ChainError, Fault, PathError, Root, unix_time, without_root};
use crate::id::Digest;
use crate::name::MAX_DELEGATIONS;
use crate::revocation::MAX_CHAIN_BYTES;

/// The last CA of the chain, and its delegations, outermost first.
pub(super) fn authorize(
    chain: &[CertificateDer<'_>],
    root: &Root,
    server: Option<&Digest>,
    now: i64,
) -> Result<(Issuer, Vec<Link>), CrlError> {
    let size = chain.iter().map(|der| der.len()).sum();
    if size > MAX_CHAIN_BYTES {
        return Err(CrlError::ChainTooLarge(size));
    }
    let delegations = without_root(chain, root);
    if delegations.len() > MAX_DELEGATIONS {
        return Err(too_long(chain).into());
    }
    root.check_validity(now)?;
    let mut walk = Walk::from(root);
    for (below, der) in delegations.iter().enumerate().rev() {
        let certificate = walk.read(der)?;
        verify(der, &certificate, walk.issuer(), below, now)?;
        walk.delegation(der)?;
    }
    Ok(walk.finish(server)?)
}

pub(super) fn too_long(chain: &[CertificateDer<'_>]) -> ChainError {
    Fault::TooLong(chain.len()).into()
}

/// The library's part for one CA with `below` others below it.
fn verify(
    der: &CertificateDer<'_>,
    certificate: &Certificate,
    issuer: &Issuer,
    below: usize,
    now: i64,
) -> Result<(), ChainError> {
    let refused = |error| Err(Fault::Path(error).of(&certificate.subject));
    // It reads the whole certificate, and refuses critical extensions that nobody knows.
    if let Err(error) = EndEntityCert::try_from(der) {
        return refused(error);
    }
    if certificate.names.issuer != issuer.name {
        return refused(PathError::UnknownIssuer);
    }
    let (not_before, not_after) = validity(der).map_err(|_| Fault::Path(PathError::BadDerTime))?;
    let time = unix_time(now)?;
    if now > not_after {
        return refused(PathError::CertExpired { time, not_after: unix_time(not_after)? });
    }
    if now < not_before {
        return refused(PathError::CertNotValidYet { time, not_before: unix_time(not_before)? });
    }
    if certificate
        .path_length
        .is_some_and(|most| below > usize::try_from(most).unwrap_or(usize::MAX))
    {
        return refused(PathError::PathLenConstraintViolated);
    }
    if certificate.has_name_constraints {
        return refused(PathError::NameConstraintViolation);
    }
    if !certificate.is_signed_by(&issuer.public_key) {
        return refused(PathError::InvalidSignatureForPublicKey);
    }
    Ok(())
}

/// When a certificate may be used. The parser at hand takes times in forms that the path verifier does
/// not.
fn validity(der: &[u8]) -> Result<(i64, i64), CrlError> {
    let mut certificate = Reader(der::only(der, tag::SEQUENCE)?);
    let mut fields = Reader(certificate.expect(tag::SEQUENCE)?.contents);
    // Version, serial number, signature algorithm, issuer.
    for _ in 0..4 {
        fields.any()?;
    }
    let mut times = Reader(fields.expect(tag::SEQUENCE)?.contents);
    let both = (parse::time(times.any()?)?, parse::time(times.any()?)?);
    times.end()?;
    Ok(both)
}
