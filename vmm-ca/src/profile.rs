//! The fields of each kind of certificate: the table of the certificate profile, "Fields other than
//! the extension".

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::DnsName;
use vmm_proto::authority::Validity;
use vmm_proto::grant::Grant;
use vmm_proto::name::Label;

use crate::Error;

/// The grant extension's object identifier as numbers: `2.25.2342026648582221423.1`.
pub const GRANT_ARCS: [u64; 4] = [2, 25, 2_342_026_648_582_221_423, 1];

/// The subject of a server certificate. The profile wants a label, and the names that a client
/// looks at are subjectAltNames.
pub const SERVER_SUBJECT: &str = "server";

/// The longest name of a root: with ` root` behind it, it fills a commonName (64 characters).
pub const MAX_ROOT_NAME: usize = 59;

/// A name by which a server is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName {
    /// A DNS name, without wildcard.
    Dns(String),
    /// An address.
    Address(IpAddr),
}

impl ServerName {
    /// Parses a DNS name or an IP address.
    ///
    /// # Errors
    /// [`Error::Usage`]
    pub fn parse(text: &str) -> Result<Self, Error> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        match DnsName::try_from(text) {
            Ok(_) => Ok(Self::Dns(text.to_owned())),
            Err(_) => {
                Err(Error::Usage(format!("{text:?} is neither a DNS name nor an IP address")))
            }
        }
    }

    fn to_san(&self) -> Result<SanType, Error> {
        Ok(match self {
            Self::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            Self::Address(address) => SanType::IpAddress(*address),
        })
    }
}

impl std::fmt::Display for ServerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// A root CA: `NAME root`, so that no label equals it.
///
/// # Errors
/// [`Error::Usage`] for a name that is empty, too long, or has control characters in it.
pub fn root(name: &str, validity: Validity) -> Result<CertificateParams, Error> {
    let plain = !name.chars().any(char::is_control) && name.trim() == name;
    if name.is_empty() || name.chars().count() > MAX_ROOT_NAME || !plain {
        return Err(Error::Usage(format!(
            "{name:?} is no name for a root: use 1 to {MAX_ROOT_NAME} characters, no control \
             characters, no space at either end"
        )));
    }
    let mut params = certificate_authority(&format!("{name} root"), validity)?;
    params.use_authority_key_identifier_extension = false;
    Ok(params)
}

/// What a grant makes of its certificate: a CA for a delegation, a leaf for anything else.
///
/// # Errors
/// [`Error::Crypto`] when there is no randomness for the serial number.
pub fn granted(
    label: &Label,
    grant: &Grant,
    validity: Validity,
) -> Result<CertificateParams, Error> {
    let mut params = match grant {
        Grant::Delegation(_) => certificate_authority(label.as_str(), validity)?,
        Grant::Permissions(_) | Grant::Machine(_) => end_entity(label.as_str(), validity)?,
    };
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.custom_extensions = vec![grant_extension(grant)];
    Ok(params)
}

/// A server that goes by all of `names`.
///
/// # Errors
/// [`Error::Crypto`]
pub fn server(names: &[ServerName], validity: Validity) -> Result<CertificateParams, Error> {
    let mut params = end_entity(SERVER_SUBJECT, validity)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = names.iter().map(ServerName::to_san).collect::<Result<_, _>>()?;
    Ok(params)
}

/// The grant as an extension, not critical.
pub(crate) fn grant_extension(grant: &Grant) -> CustomExtension {
    CustomExtension::from_oid_content(&GRANT_ARCS, grant.to_der())
}

/// A subject of exactly one commonName.
pub(crate) fn subject(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn certificate_authority(subject: &str, validity: Validity) -> Result<CertificateParams, Error> {
    let mut params = end_entity(subject, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn end_entity(common_name: &str, validity: Validity) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial()?);
    params.distinguished_name = subject(common_name);
    params.not_before = moment(validity.not_before)?;
    params.not_after = moment(validity.not_after)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// 16 random octets. The first two bits are 01: positive, and always of the same length.
fn serial() -> Result<SerialNumber, Error> {
    let mut octets = [0; 16];
    aws_lc_rs::rand::fill(&mut octets)?;
    octets[0] = octets[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&octets))
}

/// The type of rcgen's own time library is not named here: it is reached by adding to the epoch.
pub(crate) fn moment<T: From<std::time::SystemTime>>(seconds: i64) -> Result<T, Error> {
    let seconds = u64::try_from(seconds)
        .map_err(|_| Error::Usage("certificates before 1970 are not made".to_owned()))?;
    Ok((UNIX_EPOCH + Duration::from_secs(seconds)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arcs_are_the_oid_of_the_grant() {
        let oid = x509_parser::oid_registry::Oid::from(&GRANT_ARCS).unwrap();
        assert_eq!(oid.as_bytes(), vmm_proto::grant::OID);
    }

    #[test]
    fn a_server_has_names_or_addresses_and_no_wildcards() {
        for good in ["localhost", "a.example.com", "127.0.0.1", "::1", "fd00::1"] {
            assert_eq!(ServerName::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "a b", "*.example.com", "a..b", "http://a", "-a-.b:1"] {
            assert!(ServerName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_name_of_a_root_is_bounded() {
        let validity = Validity { not_before: 0, not_after: 1 };
        for good in ["ca", "our ca", &"x".repeat(MAX_ROOT_NAME)] {
            assert!(root(good, validity).is_ok(), "{good}");
        }
        for bad in ["", " ca", "c\na", &"x".repeat(MAX_ROOT_NAME + 1)] {
            assert!(root(bad, validity).is_err(), "{bad}");
        }
    }
}
