//! One certificate before it is signed: each field of it can be anything.

use super::der;
use super::grant::Grant;
use super::key::{Key, bit_string, sha256};

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

/// commonName
pub const COMMON_NAME: &[u128] = &[2, 5, 4, 3];
/// organizationName
pub const ORGANIZATION: &[u128] = &[2, 5, 4, 10];

/// An attribute of a name: its type, and the tag and content octets of its value.
pub type Attribute<'a> = (&'a [u128], u8, &'a [u8]);

/// A distinguished name in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub Vec<u8>);

impl Name {
    /// One commonName as `UTF8String`.
    pub fn common(text: &str) -> Self {
        Self::of(&[&[(COMMON_NAME, der::UTF8_STRING, text.as_bytes())]])
    }

    /// Relative distinguished names in their order, each of one or more attributes.
    pub fn of(parts: &[&[Attribute<'_>]]) -> Self {
        let attribute = |(kind, tag, value): &Attribute<'_>| {
            der::sequence(&[der::oid(kind), der::tlv(*tag, value)])
        };
        let part = |attributes: &&[Attribute<'_>]| {
            der::tlv(der::SET, &attributes.iter().flat_map(attribute).collect::<Vec<_>>())
        };
        Self(der::sequence(&parts.iter().map(part).collect::<Vec<_>>()))
    }
}

/// A time as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    tag: u8,
    text: String,
}

impl Time {
    /// `UTCTime`: `YYMMDDhhmmssZ`.
    pub fn utc(text: &str) -> Self {
        Self { tag: der::UTC_TIME, text: text.to_owned() }
    }

    /// `GeneralizedTime`: `YYYYMMDDhhmmssZ`.
    pub fn generalized(text: &str) -> Self {
        Self { tag: der::GENERALIZED_TIME, text: text.to_owned() }
    }

    /// Unix seconds, written as RFC 5280 wants it: `UTCTime` until 2049. From 1950 on.
    pub fn unix(seconds: i64) -> Self {
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Days since 1 March 0000, by years that begin in March: leap days come last.
        let days = days + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
        if year < 2050 {
            Self::utc(&format!("{:02}{rest}", year % 100))
        } else {
            Self::generalized(&format!("{year:04}{rest}"))
        }
    }

    /// As it is written, without its tag.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn element(&self) -> Vec<u8> {
        der::tlv(self.tag, self.text.as_bytes())
    }
}

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
    /// An extension with fixed octets.
    pub fn raw(oid: &[u128], critical: bool, value: Vec<u8>) -> Self {
        Self { oid: der::arcs(oid), critical, content: Content::Raw(value) }
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

/// A change to finished bytes.
pub type Edit = fn(&mut Vec<u8>);

/// A certificate before it is signed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// 2 for version 3; `None` leaves the field out, which means version 1.
    pub version: Option<u64>,
    /// The content octets of the INTEGER.
    pub serial: Vec<u8>,
    /// The AlgorithmIdentifier that is signed; `None`: that of the signer.
    pub inner_algorithm: Option<Vec<u8>>,
    /// The AlgorithmIdentifier beside the signature; `None`: that of the signer.
    pub outer_algorithm: Option<Vec<u8>>,
    /// `None`: the issuer's subject.
    pub issuer: Option<Name>,
    /// The first moment.
    pub not_before: Time,
    /// The last moment.
    pub not_after: Time,
    /// The subject.
    pub subject: Name,
    /// The subject's key.
    pub key: Key,
    /// `None`: the key's own.
    pub spki: Option<Vec<u8>>,
    /// `None`: the key's own.
    pub key_id: Option<Vec<u8>>,
    /// In this order.
    pub extensions: Vec<Extension>,
    /// What the extension with [`Content::Grant`] says.
    pub grant: Option<Grant>,
    /// `None`: the issuer's key, for the root its own.
    pub signer: Option<Key>,
    /// A change to the contents of `TBSCertificate` before they are signed.
    pub edit_signed: Option<Edit>,
    /// A change to the signature.
    pub edit_signature: Option<Edit>,
    /// A change to the finished certificate.
    pub edit: Option<Edit>,
}

impl Draft {
    fn new(label: &str, key_name: &str) -> Self {
        // The second bit set and the first one not: positive and of 16 octets, whatever the rest.
        let mut serial = sha256(key_name.as_bytes())[..16].to_vec();
        serial[0] = serial[0] & 0x3f | 0x40;
        Self {
            version: Some(2),
            serial,
            inner_algorithm: None,
            outer_algorithm: None,
            issuer: None,
            not_before: Time::utc("200101000000Z"),
            not_after: Time::utc("491231235959Z"),
            subject: Name::common(label),
            key: Key::named(key_name),
            spki: None,
            key_id: None,
            extensions: Vec::new(),
            grant: None,
            signer: None,
            edit_signed: None,
            edit_signature: None,
            edit: None,
        }
    }

    fn with(mut self, oid: &[u128], critical: bool, content: Content) -> Self {
        self.extensions.push(Extension { oid: der::arcs(oid), critical, content });
        self
    }

    fn authority(self) -> Self {
        self.with(BASIC_CONSTRAINTS, true, Content::Raw(basic_constraints(true, None)))
            .with(KEY_USAGE, true, Content::Raw(key_usage(&[CERT_SIGN, CRL_SIGN])))
            .with(SUBJECT_KEY_ID, false, Content::OwnKeyId)
    }

    fn end(self, purpose: &[u128]) -> Self {
        self.with(BASIC_CONSTRAINTS, true, Content::Raw(basic_constraints(false, None)))
            .with(KEY_USAGE, true, Content::Raw(key_usage(&[DIGITAL_SIGNATURE])))
            .with(EXT_KEY_USAGE, false, Content::Raw(ext_key_usage(&[purpose])))
            .with(AUTHORITY_KEY_ID, false, Content::IssuerKeyId)
    }

    fn grants(mut self, grant: Grant) -> Self {
        self.grant = Some(grant);
        self.with(GRANT, false, Content::Grant)
    }

    pub(super) fn root(name: &str) -> Self {
        Self::new(name, name).authority()
    }

    pub(super) fn delegation(label: &str, key_name: &str, grant: Grant) -> Self {
        Self::new(label, key_name)
            .authority()
            .with(EXT_KEY_USAGE, false, Content::Raw(ext_key_usage(&[CLIENT_AUTH])))
            .with(AUTHORITY_KEY_ID, false, Content::IssuerKeyId)
            .grants(grant)
    }

    pub(super) fn leaf(label: &str, key_name: &str, grant: Grant) -> Self {
        Self::new(label, key_name).end(CLIENT_AUTH).grants(grant)
    }

    pub(super) fn server(label: &str, key_name: &str, names: Vec<u8>) -> Self {
        Self::new(label, key_name).end(SERVER_AUTH).with(
            SUBJECT_ALT_NAME,
            false,
            Content::Raw(names),
        )
    }

    /// The first extension of that OID. Panics when there is none: then a test does not change
    /// what it thinks it does.
    pub fn extension(&mut self, oid: &[u128]) -> &mut Extension {
        let octets = der::arcs(oid);
        let found = self.extensions.iter_mut().find(|extension| extension.oid == octets);
        found.unwrap_or_else(|| panic!("the draft has no extension {oid:?}"))
    }

    /// Puts other octets into an extension.
    pub fn set(&mut self, oid: &[u128], value: Vec<u8>) {
        self.extension(oid).content = Content::Raw(value);
    }

    /// Leaves an extension out.
    pub fn drop(&mut self, oid: &[u128]) {
        let extension = self.extension(oid).clone();
        self.extensions.retain(|other| *other != extension);
    }

    /// Adds an extension behind the last one.
    pub fn add(&mut self, oid: &[u128], critical: bool, value: Vec<u8>) {
        self.extensions.push(Extension::raw(oid, critical, value));
    }

    /// Puts other octets in the place of the grant.
    pub fn set_grant(&mut self, der: Vec<u8>) {
        self.set(GRANT, der);
    }

    /// The fields of the delegation or machine in it. Panics when it holds none.
    pub fn fields(&mut self) -> &mut super::grant::Fields {
        match &mut self.grant {
            Some(Grant::Delegation(fields) | Grant::Machine(fields)) => fields,
            other => panic!("the draft has no fields in its grant: {other:?}"),
        }
    }

    /// Its own key identifier.
    pub fn identifier(&self) -> Vec<u8> {
        self.key_id.clone().unwrap_or_else(|| self.key.identifier())
    }

    pub(super) fn write(&self, extension: &Extension, issuer: &Draft) -> Vec<u8> {
        let value = match &extension.content {
            Content::Raw(value) => value.clone(),
            Content::OwnKeyId => der::tlv(der::OCTET_STRING, &self.identifier()),
            Content::IssuerKeyId => {
                der::sequence(&[der::tlv(der::context(0), &issuer.identifier())])
            }
            Content::Grant => self.grant.as_ref().map(Grant::to_der).unwrap_or_default(),
        };
        let mut parts = vec![der::tlv(der::OID, &extension.oid)];
        if extension.critical {
            parts.push(der::tlv(der::BOOLEAN, &[0xff]));
        }
        parts.push(der::tlv(der::OCTET_STRING, &value));
        der::sequence(&parts)
    }

    /// The certificate, signed by `issuer` (its own draft for a root).
    pub fn sign(&self, issuer: &Draft) -> Vec<u8> {
        let signer = self.signer.as_ref().unwrap_or(&issuer.key);
        let inner = self.inner_algorithm.clone().unwrap_or_else(|| signer.algorithm());
        let outer = self.outer_algorithm.clone().unwrap_or_else(|| signer.algorithm());
        let mut fields = Vec::new();
        if let Some(version) = self.version {
            fields.extend(der::tlv(der::constructed(0), &der::integer(version)));
        }
        fields.extend(der::tlv(der::INTEGER, &self.serial));
        fields.extend(inner);
        fields.extend(&self.issuer.as_ref().unwrap_or(&issuer.subject).0);
        fields.extend(der::sequence(&[self.not_before.element(), self.not_after.element()]));
        fields.extend(&self.subject.0);
        fields.extend(self.spki.clone().unwrap_or_else(|| self.key.spki()));
        let extensions: Vec<_> =
            self.extensions.iter().map(|extension| self.write(extension, issuer)).collect();
        if !extensions.is_empty() {
            fields.extend(der::tlv(der::constructed(3), &der::sequence(&extensions)));
        }
        edited(self.edit_signed, &mut fields);
        let tbs = der::tlv(der::SEQUENCE, &fields);
        let mut signature = signer.sign(&tbs);
        edited(self.edit_signature, &mut signature);
        let mut certificate = der::sequence(&[tbs, outer, bit_string(&signature)]);
        edited(self.edit, &mut certificate);
        certificate
    }
}

pub(super) fn edited(edit: Option<Edit>, bytes: &mut Vec<u8>) {
    if let Some(edit) = edit {
        edit(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_5280_wants_them() {
        assert_eq!(Time::unix(0), Time::utc("700101000000Z"));
        assert_eq!(Time::unix(951_782_399), Time::utc("000228235959Z"));
        assert_eq!(Time::unix(951_782_400), Time::utc("000229000000Z"));
        assert_eq!(Time::unix(2_524_607_999), Time::utc("491231235959Z"));
        assert_eq!(Time::unix(2_524_608_000), Time::generalized("20500101000000Z"));
        assert_eq!(Time::unix(253_402_300_799), Time::generalized("99991231235959Z"));
    }
}
