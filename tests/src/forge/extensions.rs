//! Extensions of certificates and of revocation lists, and what stands in those that the profile
//! speaks of.

use super::certificate::Draft;
use super::der;
use super::grant::Grant;

/// The arcs of the profile's extension, without its version.
pub const GRANT_BASE: [u128; 3] = [2, 25, 2_342_026_648_582_221_423];
/// The profile's extension.
pub const GRANT: &[u128] = &[2, 25, GRANT_BASE[2], 1];
/// subjectKeyIdentifier
pub const SUBJECT_KEY_ID: &[u128] = &[2, 5, 29, 14];
/// keyUsage
pub const KEY_USAGE: &[u128] = &[2, 5, 29, 15];
/// subjectAltName
pub const SUBJECT_ALT_NAME: &[u128] = &[2, 5, 29, 17];
/// basicConstraints
pub const BASIC_CONSTRAINTS: &[u128] = &[2, 5, 29, 19];
/// nameConstraints
pub const NAME_CONSTRAINTS: &[u128] = &[2, 5, 29, 30];
/// certificatePolicies
pub const POLICIES: &[u128] = &[2, 5, 29, 32];
/// authorityKeyIdentifier
pub const AUTHORITY_KEY_ID: &[u128] = &[2, 5, 29, 35];
/// extKeyUsage
pub const EXT_KEY_USAGE: &[u128] = &[2, 5, 29, 37];
/// Nobody's extension: an arc for documentation (RFC 5612).
pub const UNKNOWN: &[u128] = &[1, 3, 6, 1, 4, 1, 32473, 1];

/// id-kp-serverAuth
pub const SERVER_AUTH: &[u128] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
/// id-kp-clientAuth
pub const CLIENT_AUTH: &[u128] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];
/// id-kp-codeSigning
pub const CODE_SIGNING: &[u128] = &[1, 3, 6, 1, 5, 5, 7, 3, 3];
/// anyExtendedKeyUsage
pub const ANY_USAGE: &[u128] = &[2, 5, 29, 37, 0];

/// The bits of keyUsage that the profile speaks of.
pub const DIGITAL_SIGNATURE: usize = 0;
/// keyCertSign
pub const CERT_SIGN: usize = 5;
/// cRLSign
pub const CRL_SIGN: usize = 6;

/// What stands in an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Just these octets.
    Raw(Vec<u8>),
    /// The certificate's own key identifier.
    OwnKeyId,
    /// The issuer's key identifier.
    IssuerKeyId,
    /// [`Draft::grant`].
    Grant,
}

/// One extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// The content octets of its OID.
    pub oid: Vec<u8>,
    /// Whether it is critical.
    pub critical: bool,
    /// What stands in it.
    pub content: Content,
}

impl Extension {
    /// An extension of that OID.
    pub fn of(oid: &[u128], critical: bool, content: Content) -> Self {
        Self { oid: der::arcs(oid), critical, content }
    }

    /// An extension with fixed octets.
    pub fn raw(oid: &[u128], critical: bool, value: Vec<u8>) -> Self {
        Self::of(oid, critical, Content::Raw(value))
    }

    fn element(&self, own: &Draft, issuer: &Draft) -> Vec<u8> {
        let value = match &self.content {
            Content::Raw(value) => value.clone(),
            Content::OwnKeyId => der::tlv(der::OCTET_STRING, &own.identifier()),
            Content::IssuerKeyId => {
                der::sequence(&[der::tlv(der::context(0), &issuer.identifier())])
            }
            Content::Grant => own.grant.as_ref().map(Grant::to_der).unwrap_or_default(),
        };
        let mut parts = vec![der::tlv(der::OID, &self.oid)];
        if self.critical {
            parts.push(der::tlv(der::BOOLEAN, &[0xff]));
        }
        parts.push(der::tlv(der::OCTET_STRING, &value));
        der::sequence(&parts)
    }
}

/// The SEQUENCE of these extensions in what `issuer` signs; `None` where there are none. `own` is
/// the certificate that they stand in: for a list and its entries the issuer's.
pub(super) fn sequence(extensions: &[Extension], own: &Draft, issuer: &Draft) -> Option<Vec<u8>> {
    let elements: Vec<_> =
        extensions.iter().map(|extension| extension.element(own, issuer)).collect();
    (!elements.is_empty()).then(|| der::sequence(&elements))
}

/// What has extensions that can be changed.
pub trait Extended {
    /// All of them, in their order.
    fn extensions(&mut self) -> &mut Vec<Extension>;

    /// The first extension of that OID. Panics when there is none: then a test does not change
    /// what it thinks it does.
    fn extension(&mut self, oid: &[u128]) -> &mut Extension {
        let octets = der::arcs(oid);
        let found = self.extensions().iter_mut().find(|extension| extension.oid == octets);
        found.unwrap_or_else(|| panic!("there is no extension {oid:?}"))
    }

    /// Puts other octets into an extension.
    fn set(&mut self, oid: &[u128], value: Vec<u8>) {
        self.extension(oid).content = Content::Raw(value);
    }

    /// Leaves an extension out.
    fn drop(&mut self, oid: &[u128]) {
        let extension = self.extension(oid).clone();
        self.extensions().retain(|other| *other != extension);
    }

    /// Adds an extension behind the last one.
    fn add(&mut self, oid: &[u128], critical: bool, value: Vec<u8>) {
        self.extensions().push(Extension::raw(oid, critical, value));
    }

    /// Adds an extension that is there once more behind the last one.
    fn twice(&mut self, oid: &[u128]) {
        let again = self.extension(oid).clone();
        self.extensions().push(again);
    }
}

/// basicConstraints
pub fn basic_constraints(ca: bool, path_length: Option<u64>) -> Vec<u8> {
    let mut parts = Vec::new();
    if ca {
        parts.push(der::tlv(der::BOOLEAN, &[0xff]));
    }
    parts.extend(path_length.map(der::integer));
    der::sequence(&parts)
}

/// keyUsage
pub fn key_usage(bits: &[usize]) -> Vec<u8> {
    der::tlv(der::BIT_STRING, &der::bits(bits))
}

/// extKeyUsage
pub fn ext_key_usage(purposes: &[&[u128]]) -> Vec<u8> {
    der::sequence(&purposes.iter().map(|purpose| der::oid(purpose)).collect::<Vec<_>>())
}

/// subjectAltName of DNS names and IP addresses.
pub fn alternative_names(dns: &[&str], addresses: &[&[u8]]) -> Vec<u8> {
    let dns = dns.iter().map(|name| der::tlv(der::context(2), name.as_bytes()));
    let addresses = addresses.iter().map(|address| der::tlv(der::context(7), address));
    der::sequence(&dns.chain(addresses).collect::<Vec<_>>())
}
