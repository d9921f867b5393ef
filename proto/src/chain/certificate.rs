//! One certificate, held against the profile's table of fields.

use rustls_pki_types::SignatureVerificationAlgorithm;
use sha2::{Digest as _, Sha256};
use x509_parser::asn1_rs::{Any, FromDer as _};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, ParsedExtension, X509Extension};
use x509_parser::oid_registry as oids;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name, X509Version};

use super::{ChainError, Fault};
use crate::authority::{Serial, Validity};
use crate::grant::{self, Grant};
use crate::id::Digest;
use crate::name::Label;
use crate::permission::Permissions;
use crate::resource::{Delegation, Machine};

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
    signed: Signed,
}

/// What a signature is over, and by which algorithms.
#[derive(Debug, Clone)]
struct Signed {
    message: Vec<u8>,
    signature: Vec<u8>,
    public_key: Vec<u8>,
    key_algorithm: &'static [u8],
    signature_algorithm: &'static [u8],
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
        let key_algorithm = key_algorithm(parsed.public_key())?;
        let signature_algorithm = signature_algorithm(&parsed.signature_algorithm)?;
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
            signed: Signed {
                message: parsed.tbs_certificate.as_ref().to_vec(),
                signature: parsed.signature_value.data.to_vec(),
                public_key: parsed.public_key().subject_public_key.data.to_vec(),
                key_algorithm,
                signature_algorithm,
            },
        })
    }

    /// Whether its signature is by its own key.
    pub(super) fn is_signed_by_itself(
        &self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let Signed { message, signature, public_key, key_algorithm, signature_algorithm } =
            &self.signed;
        algorithms.iter().any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == *key_algorithm
                && algorithm.signature_alg_id().as_ref() == *signature_algorithm
                && algorithm.verify_signature(public_key, message, signature).is_ok()
        })
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

/// 1 to 20 octets, positive (RFC 5280, 4.1.2.2), and as few as can be: a revocation list names
/// serials by their octets, so one number must not have two forms.
fn serial(raw: &[u8]) -> Result<Serial, Fault> {
    let positive = match raw {
        [0, second, ..] => second & 0x80 != 0,
        [first, ..] => first & 0x80 == 0 && *first != 0,
        [] => false,
    };
    if positive && raw.len() <= 20 { Ok(Serial(raw.into())) } else { Err(Fault::Serial) }
}

/// The AlgorithmIdentifiers of keys that the profile allows, as DER content octets.
static KEY_ALGORITHMS: [&[u8]; 3] = [
    // id-Ed25519
    &[6, 3, 0x2b, 0x65, 0x70],
    // id-ecPublicKey, secp256r1
    &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
    // id-ecPublicKey, secp384r1
    &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22],
];

fn key_algorithm(key: &SubjectPublicKeyInfo<'_>) -> Result<&'static [u8], Fault> {
    // The AlgorithmIdentifier is the first element of the SubjectPublicKeyInfo. All that are
    // allowed are short, so their lengths have one octet.
    let inner = key.raw.get(2..).filter(|_| key.raw.get(1).is_some_and(|length| *length < 0x80));
    KEY_ALGORITHMS
        .into_iter()
        .find(|algorithm| {
            inner.is_some_and(|inner| {
                inner.first() == Some(&0x30)
                    && inner.get(1).map(|length| usize::from(*length)) == Some(algorithm.len())
                    && inner.get(2..).is_some_and(|rest| rest.starts_with(algorithm))
            })
        })
        .ok_or(Fault::KeyAlgorithm)
}

/// The AlgorithmIdentifiers of signatures that the profile allows, as DER content octets: Ed25519,
/// ecdsa-with-SHA256, ecdsa-with-SHA384, none of which has parameters.
static SIGNATURE_ALGORITHMS: [&[u8]; 3] = [
    &[6, 3, 0x2b, 0x65, 0x70],
    &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
    &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
];

fn signature_algorithm(algorithm: &AlgorithmIdentifier<'_>) -> Result<&'static [u8], Fault> {
    let oid = algorithm.algorithm.as_bytes();
    SIGNATURE_ALGORITHMS
        .into_iter()
        .find(|known| known.get(2..) == Some(oid))
        .filter(|_| algorithm.parameters.is_none())
        .ok_or(Fault::SignatureAlgorithm)
}

/// The extensions that the profile speaks of.
#[derive(Default)]
struct Extensions {
    /// Whether basicConstraints say CA; `None` when they are missing or not critical.
    ca: Option<bool>,
    has_path_length: bool,
    /// A critical keyUsage.
    key_usage: Option<KeyUsage>,
    extended: Option<Usages>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    has_alternative_name: bool,
    grant: Option<Grant>,
}

/// An extKeyUsage as far as the profile tells purposes apart.
#[derive(PartialEq, Eq)]
enum Usages {
    OnlyClient,
    OnlyServer,
    Other,
}

/// A keyUsage as far as the profile tells them apart.
#[derive(PartialEq, Eq)]
enum KeyUsage {
    DigitalSignature,
    CertSignAndCrlSign,
    Other,
}

/// By its bytes: x509-parser keeps the first 16 bits only. In DER a named bit list has one form.
fn key_usage(der: &[u8]) -> KeyUsage {
    match der {
        [3, 2, 7, 0x80] => KeyUsage::DigitalSignature,
        [3, 2, 1, 0x06] => KeyUsage::CertSignAndCrlSign,
        _ => KeyUsage::Other,
    }
}

/// The name of an extension whose contents the profile's table judges. All others are ignored,
/// unless they are critical: the path verifier refuses those.
fn judged(extension: &X509Extension<'_>) -> Option<&'static str> {
    [
        (&oids::OID_X509_EXT_BASIC_CONSTRAINTS, "basicConstraints"),
        (&oids::OID_X509_EXT_KEY_USAGE, "keyUsage"),
        (&oids::OID_X509_EXT_EXTENDED_KEY_USAGE, "extKeyUsage"),
        (&oids::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, "subjectKeyIdentifier"),
        (&oids::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, "authorityKeyIdentifier"),
    ]
    .into_iter()
    .find_map(|(oid, name)| (extension.oid == *oid).then_some(name))
}

impl Extensions {
    fn read(parsed: &X509Certificate<'_>) -> Result<Self, Fault> {
        let mut all = Self::default();
        for (index, extension) in parsed.extensions().iter().enumerate() {
            let oid = extension.oid.as_bytes();
            if parsed.extensions()[..index].iter().any(|earlier| earlier.oid == extension.oid) {
                return Err(Fault::ExtensionTwice(extension.oid.to_string()));
            }
            if oid.starts_with(grant::BASE_OID) {
                all.grant = Some(read_grant(oid, extension)?);
            } else {
                all.note(extension)?;
            }
        }
        Ok(all)
    }

    fn note(&mut self, extension: &X509Extension<'_>) -> Result<(), Fault> {
        // Whether its names are right is for the path verifier.
        self.has_alternative_name |= extension.oid == oids::OID_X509_EXT_SUBJECT_ALT_NAME;
        let Some(name) = judged(extension) else { return Ok(()) };
        // x509-parser lets bytes behind the contents pass.
        if !Any::from_der(extension.value).is_ok_and(|(rest, _)| rest.is_empty()) {
            return Err(Fault::Extension(name));
        }
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(basic) if extension.critical => {
                self.ca = Some(basic.ca);
                self.has_path_length = basic.path_len_constraint.is_some();
            }
            ParsedExtension::KeyUsage(_) if extension.critical => {
                self.key_usage = Some(key_usage(extension.value));
            }
            ParsedExtension::ExtendedKeyUsage(usage) => self.extended = Some(usages(usage)),
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::ParseError { .. } => return Err(Fault::Extension(name)),
            _ => {}
        }
        Ok(())
    }

    /// Which row of the profile's table this is, all of it checked.
    fn role(&self, subject: &str, self_issued: bool) -> Result<Role, Fault> {
        if self.ca.ok_or(Fault::BasicConstraints)? {
            self.ca_role(subject, self_issued)
        } else {
            self.end_role()
        }
    }

    fn ca_role(&self, subject: &str, self_issued: bool) -> Result<Role, Fault> {
        if self.key_usage != Some(KeyUsage::CertSignAndCrlSign) {
            return Err(Fault::KeyUsage("keyCertSign and cRLSign"));
        }
        if self.subject_key_id.is_none() {
            return Err(Fault::SubjectKeyId);
        }
        // A delegation below one of the same label is self-issued too, but has an extKeyUsage and
        // a grant.
        let meant_as_root =
            self.extended.is_none() || self.grant.is_none() && subject.contains(' ');
        if self_issued && meant_as_root {
            return self.root_role(subject);
        }
        self.only_client()?;
        match &self.grant {
            Some(Grant::Delegation(delegation)) => Ok(Role::Delegation(delegation.clone())),
            Some(other) => Err(Fault::LeafGrantInCa(other.kind())),
            None => Err(Fault::NoGrant),
        }
    }

    fn root_role(&self, subject: &str) -> Result<Role, Fault> {
        if self.extended.is_some() {
            return Err(Fault::ExtendedKeyUsage("absent in a root"));
        }
        if self.grant.is_some() {
            return Err(Fault::RootGrant);
        }
        // No label holds a space, so a root and a delegation never have the same name.
        if !subject.contains(' ') {
            return Err(Fault::RootName);
        }
        // The path verifier does not look at the trust anchor's.
        if self.has_path_length {
            return Err(Fault::RootPathLength);
        }
        Ok(Role::Root)
    }

    fn end_role(&self) -> Result<Role, Fault> {
        if self.key_usage != Some(KeyUsage::DigitalSignature) {
            return Err(Fault::KeyUsage("digitalSignature"));
        }
        if self.extended == Some(Usages::OnlyServer) {
            return self.server_role();
        }
        self.only_client()?;
        match &self.grant {
            Some(Grant::Permissions(permissions)) => Ok(Role::Permissions(*permissions)),
            Some(Grant::Machine(machine)) => Ok(Role::Machine(Box::new(machine.clone()))),
            Some(Grant::Delegation(_)) => Err(Fault::DelegationInLeaf),
            None => Err(Fault::NoGrant),
        }
    }

    fn server_role(&self) -> Result<Role, Fault> {
        if self.grant.is_some() {
            Err(Fault::ServerGrant)
        } else if self.has_alternative_name {
            Ok(Role::Server)
        } else {
            Err(Fault::SubjectAltName)
        }
    }

    fn only_client(&self) -> Result<(), Fault> {
        match self.extended {
            Some(Usages::OnlyClient) => Ok(()),
            _ => Err(Fault::ExtendedKeyUsage("clientAuth")),
        }
    }
}

fn read_grant(oid: &[u8], extension: &X509Extension<'_>) -> Result<Grant, Fault> {
    if oid != grant::OID {
        return Err(Fault::OtherGrantVersion);
    }
    if extension.critical {
        return Err(Fault::GrantCritical);
    }
    Grant::from_der(extension.value).map_err(Fault::Grant)
}

fn usages(usage: &ExtendedKeyUsage<'_>) -> Usages {
    let others = usage.any
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    match (usage.client_auth, usage.server_auth, others) {
        (true, false, false) => Usages::OnlyClient,
        (false, true, false) => Usages::OnlyServer,
        _ => Usages::Other,
    }
}
