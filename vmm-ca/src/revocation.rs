//! Revocation lists: what an issuer key took back, signed by it (RFC 5280, 5; certificate profile,
//! rule 8).
//!
//! A list is always full and direct: everything that the key ever took back and that has not expired
//! yet. It is of version 2, with a cRLNumber, a nextUpdate and an authorityKeyIdentifier.

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls_pki_types::CertificateRevocationListDer;
use vmm_proto::authority::Validity;
use x509_parser::extensions::ParsedExtension;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};

use crate::database::Revoked;
use crate::issue::Issuer;
use crate::profile::moment;
use crate::{Error, pem};

/// Signs a list of what was taken back, and checks what came out. `validity` is from thisUpdate to
/// nextUpdate.
///
/// # Errors
/// [`Error::Crypto`], [`Error::SelfTest`]
pub fn sign<'r>(
    issuer: &Issuer,
    revoked: impl IntoIterator<Item = &'r Revoked>,
    number: u64,
    validity: Validity,
) -> Result<CertificateRevocationListDer<'static>, Error> {
    let revoked: Vec<&Revoked> = revoked.into_iter().collect();
    let key_id = issuer.certificate().subject_key_id.clone().unwrap_or_default();
    let params = CertificateRevocationListParams {
        this_update: moment(validity.not_before)?,
        next_update: moment(validity.not_after)?,
        crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(|one| entry(one)).collect::<Result<_, _>>()?,
        // The one in the issuer's certificate, whoever chose it.
        key_identifier_method: KeyIdMethod::PreSpecified(key_id),
    };
    let list: CertificateRevocationListDer<'static> = params.signed_by(issuer.signer())?.into();
    self_test(&list, issuer, &revoked, number, validity).map_err(Error::SelfTest)?;
    Ok(list)
}

/// A `.crl` file: the list, then its issuer's chain (the root left out, unless it is the issuer).
pub fn to_file(list: &CertificateRevocationListDer<'_>, issuer: &Issuer) -> String {
    pem::encode("X509 CRL", list) + &pem::encode_certificates(issuer.chain())
}

fn entry(revoked: &Revoked) -> Result<RevokedCertParams, Error> {
    Ok(RevokedCertParams {
        serial_number: SerialNumber::from_slice(&revoked.serial.0),
        revocation_time: moment(revoked.at)?,
        reason_code: None,
        invalidity_date: None,
    })
}

/// Reads the list that was just made with other eyes.
fn self_test(
    list: &CertificateRevocationListDer<'_>,
    issuer: &Issuer,
    revoked: &[&Revoked],
    number: u64,
    validity: Validity,
) -> Result<(), String> {
    let (rest, parsed) =
        x509_parser::parse_x509_crl(list).map_err(|_| "not a revocation list in DER".to_owned())?;
    let own = issuer.chain().first().ok_or("no issuer")?;
    let (_, own) = x509_parser::parse_x509_certificate(own).map_err(|_| "no issuer".to_owned())?;
    parsed.verify_signature(own.public_key()).map_err(|_| "its signature is not the issuer's")?;
    let named = parsed.iter_revoked_certificates().map(RevokedCertificate::raw_serial);
    let same = rest.is_empty()
        && parsed.issuer().as_raw() == own.subject().as_raw()
        && parsed.last_update().timestamp() == validity.not_before
        && parsed.next_update().map(|time| time.timestamp()) == Some(validity.not_after)
        && parsed.crl_number() == Some(&number.into())
        && authority_key_id(&parsed) == issuer.certificate().subject_key_id.as_deref()
        && named.eq(revoked.iter().map(|one| &*one.serial.0));
    if same { Ok(()) } else { Err("the list does not say what it should".to_owned()) }
}

fn authority_key_id<'l>(list: &'l CertificateRevocationList<'_>) -> Option<&'l [u8]> {
    list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    })
}
