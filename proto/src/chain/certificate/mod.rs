//! One certificate, held against the profile's table of fields.

mod extensions;
pub(super) mod key;

use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::{X509Name, X509Version};

use super::{ChainError, Fault};
use crate::authority::{Serial, Validity};
use crate::id::Digest;
use crate::name::Label;
use crate::permission::Permissions;
use crate::resource::{Delegation, Machine};
use extensions::Extensions;
use key::PublicKey;

/// What a certificate is, by its fields.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// The root CA.
    Root,
    /// A CA below the root, with its share.
    Delegation(Delegation),
    /// A leaf for interactive use.
    Permissions(Permissions),
    /// A leaf that is one machine.
    Machine(Box<Machine>),
    /// A server.
    Server,
}

impl Role {
    /// A word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Delegation(_) => "delegation",
            Self::Permissions(_) => "permissions",
            Self::Machine(_) => "machine",
            Self::Server => "server",
        }
    }
}

/// A certificate that has every field as the profile's table wants it for its role. Its signature,
/// and whether it may be used now, are not looked at here.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The common name of its subject.
    pub subject: String,
    /// Its serial number.
    pub serial: Serial,
    /// When it may be used.
    pub validity: Validity,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key: Digest,
    /// Its subjectKeyIdentifier: always there in a CA.
    pub subject_key_id: Option<Vec<u8>>,
    /// Its authorityKeyIdentifier's keyIdentifier.
    pub authority_key_id: Option<Vec<u8>>,
    /// What it is.
    pub role: Role,
    /// Its subject and its issuer's, in DER.
    pub(super) names: Names,
    /// How many CAs may stand below it, if it says.
    pub(super) path_length: Option<u32>,
    /// Whether it constrains the names below it, in a way that only the path verifier knows.
    pub(super) has_name_constraints: bool,
    /// Its key.
    pub(super) public_key: PublicKey,
    signed: Signed,
}

/// Two names in DER. They are compared as bytes, as the path verifier does.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
}

/// What its signature is over, and by which algorithm.
#[derive(Debug, Clone)]
struct Signed {
    message: Vec<u8>,
    signature: Vec<u8>,
    algorithm: &'static [u8],
}

impl Certificate {
    /// Parses a certificate and checks the fields of its role.
    ///
    /// # Errors
    /// [`ChainError`] of rule 3 or 4, with the certificate's subject as far as it was read.
    pub fn parse(der: &[u8]) -> Result<Self, ChainError> {
        let (rest, parsed) =
            x509_parser::parse_x509_certificate(der).map_err(|_| Fault::Encoding)?;
        if !rest.is_empty() {
            return Err(Fault::Trailing.into());
        }
        let subject = common_name(parsed.subject())?;
        Self::of_subject(&parsed, &subject).map_err(|fault| fault.of(&subject))
    }

    fn of_subject(parsed: &X509Certificate<'_>, subject: &str) -> Result<Self, Fault> {
        if parsed.version() != X509Version::V3 {
            return Err(Fault::Version);
        }
        let extensions = Extensions::read(parsed)?;
        let public_key = PublicKey::of(parsed.public_key())?;
        let algorithm = key::of_signature(&parsed.signature_algorithm)?;
        let role = extensions.role(subject, is_self_issued(parsed))?;
        Ok(Self {
            subject: subject.to_owned(),
            serial: serial(parsed.raw_serial())?,
            validity: Validity {
                not_before: parsed.validity().not_before.timestamp(),
                not_after: parsed.validity().not_after.timestamp(),
            },
            key: key_digest(parsed.public_key().raw),
            subject_key_id: extensions.subject_key_id,
            authority_key_id: extensions.authority_key_id,
            role,
            names: Names {
                subject: parsed.subject().as_raw().to_vec(),
                issuer: parsed.issuer().as_raw().to_vec(),
            },
            path_length: extensions.path_length,
            has_name_constraints: extensions.has_name_constraints,
            public_key,
            signed: Signed {
                message: parsed.tbs_certificate.as_ref().to_vec(),
                signature: parsed.signature_value.data.to_vec(),
                algorithm,
            },
        })
    }

    /// Whether its signature is by `key`.
    pub(super) fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.has_signed(&self.signed.message, self.signed.algorithm, &self.signed.signature)
    }
}

/// SHA-256 of a SubjectPublicKeyInfo in DER: by this a key is known (rules 6, 8 and 9).
pub fn key_digest(subject_public_key_info: &[u8]) -> Digest {
    Digest(Sha256::digest(subject_public_key_info).into())
}

/// The label that a subject below the root must be.
///
/// # Errors
/// [`Fault::Label`]
pub fn label(subject: &str) -> Result<Label, ChainError> {
    Label::parse(subject).map_err(|error| Fault::Label(error).of(subject))
}

fn is_self_issued(parsed: &X509Certificate<'_>) -> bool {
    parsed.issuer().as_raw() == parsed.subject().as_raw()
}

/// The text of a name that is exactly one commonName.
fn common_name(name: &X509Name<'_>) -> Result<String, Fault> {
    let mut attributes = name.iter_rdn().map(|rdn| {
        let mut attributes = rdn.iter();
        attributes.next().filter(|_| attributes.next().is_none())
    });
    let (Some(Some(only)), None) = (attributes.next(), attributes.next()) else {
        return Err(Fault::Subject);
    };
    let tag = only.attr_value().tag();
    let is_text = tag == x509_parser::asn1_rs::Tag::Utf8String
        || tag == x509_parser::asn1_rs::Tag::PrintableString;
    if *only.attr_type() != x509_parser::oid_registry::OID_X509_COMMON_NAME || !is_text {
        return Err(Fault::Subject);
    }
    Ok(only.as_str().map_err(|_| Fault::Subject)?.to_owned())
}

fn serial(raw: &[u8]) -> Result<Serial, Fault> {
    serial_octets(raw).map(|octets| Serial(octets.into())).ok_or(Fault::Serial)
}

/// 1 to 20 octets, positive (RFC 5280, 4.1.2.2), and as few as can be: a revocation list names
/// serials by their octets, so one number must not have two forms.
pub(super) fn serial_octets(raw: &[u8]) -> Option<&[u8]> {
    let positive = match raw {
        [0, second, ..] => second & 0x80 != 0,
        [first, ..] => first & 0x80 == 0 && *first != 0,
        [] => false,
    };
    (positive && raw.len() <= 20).then_some(raw)
}
