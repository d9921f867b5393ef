//! One certificate before it is signed: each field of it can be anything.

use super::der;
use super::extensions::{
    self, AUTHORITY_KEY_ID, BASIC_CONSTRAINTS, CERT_SIGN, CLIENT_AUTH, CRL_SIGN, Content,
    DIGITAL_SIGNATURE, EXT_KEY_USAGE, Extended, Extension, GRANT, KEY_USAGE, SERVER_AUTH,
    SUBJECT_ALT_NAME, SUBJECT_KEY_ID, basic_constraints, ext_key_usage, key_usage,
};
use super::grant::{Fields, Grant};
use super::key::{Key, sha256};
use super::names::Name;
use super::signing::Signing;
use super::times::Time;

/// A certificate before it is signed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// 2 for version 3; `None` leaves the field out, which means version 1.
    pub version: Option<u64>,
    /// The content octets of the INTEGER.
    pub serial: Vec<u8>,
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
    /// How it is signed.
    pub signing: Signing,
}

impl Draft {
    fn new(label: &str, key_name: &str) -> Self {
        // The second bit set and the first one not: positive and of 16 octets, whatever the rest.
        let mut serial = sha256(key_name.as_bytes())[..16].to_vec();
        serial[0] = serial[0] & 0x3f | 0x40;
        Self {
            version: Some(2),
            serial,
            issuer: None,
            not_before: Time::utc("200101000000Z"),
            not_after: Time::utc("491231235959Z"),
            subject: Name::common(label),
            key: Key::named(key_name),
            spki: None,
            key_id: None,
            extensions: Vec::new(),
            grant: None,
            signing: Signing::default(),
        }
    }

    fn with(mut self, oid: &[u128], critical: bool, content: Content) -> Self {
        self.extensions.push(Extension::of(oid, critical, content));
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

    /// Puts other octets in the place of the grant.
    pub fn set_grant(&mut self, der: Vec<u8>) {
        self.set(GRANT, der);
    }

    /// The fields of the delegation or machine in it. Panics when it holds none.
    pub fn fields(&mut self) -> &mut Fields {
        match &mut self.grant {
            Some(Grant::Delegation(fields) | Grant::Machine(fields)) => fields,
            other => panic!("the draft has no fields in its grant: {other:?}"),
        }
    }

    /// Its own key identifier.
    pub fn identifier(&self) -> Vec<u8> {
        self.key_id.clone().unwrap_or_else(|| self.key.identifier())
    }

    /// The certificate, signed by `issuer` (its own draft for a root).
    pub fn sign(&self, issuer: &Draft) -> Vec<u8> {
        let mut fields = Vec::new();
        if let Some(version) = self.version {
            fields.extend(der::tlv(der::constructed(0), &der::integer(version)));
        }
        fields.extend(der::tlv(der::INTEGER, &self.serial));
        fields.extend(self.signing.inner(&issuer.key));
        fields.extend(&self.issuer.as_ref().unwrap_or(&issuer.subject).0);
        fields.extend(der::sequence(&[self.not_before.element(), self.not_after.element()]));
        fields.extend(&self.subject.0);
        fields.extend(self.spki.clone().unwrap_or_else(|| self.key.spki()));
        if let Some(extensions) = extensions::sequence(&self.extensions, self, issuer) {
            fields.extend(der::tlv(der::constructed(3), &extensions));
        }
        self.signing.sign(fields, &issuer.key)
    }
}

impl Extended for Draft {
    fn extensions(&mut self) -> &mut Vec<Extension> {
        &mut self.extensions
    }
}
