//! One revocation list before it is signed: each field of it can be anything.

use super::certificate::{AUTHORITY_KEY_ID, Content, Draft, Edit, Extension, Name, Time, edited};
use super::der;
use super::key::{Key, bit_string};

/// cRLNumber
pub const CRL_NUMBER: &[u128] = &[2, 5, 29, 20];
/// reasonCode
pub const REASON: &[u128] = &[2, 5, 29, 21];
/// invalidityDate
pub const INVALIDITY_DATE: &[u128] = &[2, 5, 29, 24];
/// deltaCRLIndicator
pub const DELTA: &[u128] = &[2, 5, 29, 27];
/// issuingDistributionPoint
pub const DISTRIBUTION_POINT: &[u128] = &[2, 5, 29, 28];
/// certificateIssuer
pub const CERTIFICATE_ISSUER: &[u128] = &[2, 5, 29, 29];
/// freshestCRL
pub const FRESHEST: &[u128] = &[2, 5, 29, 46];

/// One revoked certificate.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The content octets of the INTEGER.
    pub serial: Vec<u8>,
    /// When it was revoked.
    pub time: Time,
    /// In this order; none are left out.
    pub extensions: Vec<Extension>,
    /// Put behind the last field.
    pub behind: Vec<u8>,
}

impl Entry {
    /// An entry without extensions.
    pub fn of(serial: &[u8]) -> Self {
        Self {
            serial: serial.to_vec(),
            time: Time::utc("260101000000Z"),
            extensions: Vec::new(),
            behind: Vec::new(),
        }
    }

    /// The same with one more extension.
    #[must_use]
    pub fn with(mut self, oid: &[u128], critical: bool, value: Vec<u8>) -> Self {
        self.extensions.push(Extension::raw(oid, critical, value));
        self
    }

    /// The same with a reasonCode.
    #[must_use]
    pub fn because(self, reason: u8) -> Self {
        self.with(REASON, false, der::tlv(der::ENUMERATED, &[reason]))
    }

    fn element(&self, issuer: &Draft) -> Vec<u8> {
        let mut fields = der::tlv(der::INTEGER, &self.serial);
        fields.extend(self.time.element());
        if !self.extensions.is_empty() {
            fields.extend(der::sequence(&written(&self.extensions, issuer)));
        }
        fields.extend(&self.behind);
        der::tlv(der::SEQUENCE, &fields)
    }
}

/// The entries of a list.
#[derive(Debug, Clone)]
pub enum Entries {
    /// The field is left out.
    Absent,
    /// These.
    Of(Vec<Entry>),
    /// The content octets of the SEQUENCE.
    Raw(Vec<u8>),
}

/// A revocation list before it is signed.
#[derive(Debug, Clone)]
pub struct List {
    /// 1 for version 2; `None` leaves the field out, which means version 1.
    pub version: Option<u64>,
    /// The AlgorithmIdentifier that is signed; `None`: that of the signer.
    pub inner_algorithm: Option<Vec<u8>>,
    /// The AlgorithmIdentifier beside the signature; `None`: that of the signer.
    pub outer_algorithm: Option<Vec<u8>>,
    /// `None`: the issuer's subject.
    pub issuer: Option<Name>,
    /// When it was made.
    pub this_update: Time,
    /// When the next one is due.
    pub next_update: Option<Time>,
    /// What it revokes.
    pub entries: Entries,
    /// In this order; with none the field is left out.
    pub extensions: Vec<Extension>,
    /// `None`: the issuer's key.
    pub signer: Option<Key>,
    /// A change to the contents of `TBSCertList` before they are signed.
    pub edit_signed: Option<Edit>,
    /// A change to the signature.
    pub edit_signature: Option<Edit>,
    /// A change to the finished list.
    pub edit: Option<Edit>,
}

impl List {
    /// A list of that number, which revokes these serials.
    pub fn of(number: u64, serials: &[&[u8]]) -> Self {
        Self {
            version: Some(1),
            inner_algorithm: None,
            outer_algorithm: None,
            issuer: None,
            this_update: Time::utc("260101000000Z"),
            next_update: Some(Time::utc("491231235959Z")),
            entries: match serials {
                [] => Entries::Absent,
                serials => Entries::Of(serials.iter().map(|serial| Entry::of(serial)).collect()),
            },
            extensions: vec![
                Extension {
                    oid: der::arcs(AUTHORITY_KEY_ID),
                    critical: false,
                    content: Content::IssuerKeyId,
                },
                Extension::raw(CRL_NUMBER, false, der::integer(number)),
            ],
            signer: None,
            edit_signed: None,
            edit_signature: None,
            edit: None,
        }
    }

    /// The first extension of that OID. Panics when there is none.
    pub fn extension(&mut self, oid: &[u128]) -> &mut Extension {
        let octets = der::arcs(oid);
        let found = self.extensions.iter_mut().find(|extension| extension.oid == octets);
        found.unwrap_or_else(|| panic!("the list has no extension {oid:?}"))
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

    /// Makes it a list of these entries.
    pub fn revoke(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries = Entries::Of(entries.into_iter().collect());
    }

    /// The list, signed by `issuer`.
    pub fn sign(&self, issuer: &Draft) -> Vec<u8> {
        let signer = self.signer.as_ref().unwrap_or(&issuer.key);
        let inner = self.inner_algorithm.clone().unwrap_or_else(|| signer.algorithm());
        let outer = self.outer_algorithm.clone().unwrap_or_else(|| signer.algorithm());
        let mut fields = self.version.map(der::integer).unwrap_or_default();
        fields.extend(inner);
        fields.extend(&self.issuer.as_ref().unwrap_or(&issuer.subject).0);
        fields.extend(self.this_update.element());
        fields.extend(self.next_update.iter().flat_map(Time::element));
        match &self.entries {
            Entries::Absent => {}
            Entries::Of(entries) => {
                let entries: Vec<_> = entries.iter().map(|entry| entry.element(issuer)).collect();
                fields.extend(der::sequence(&entries));
            }
            Entries::Raw(contents) => fields.extend(der::tlv(der::SEQUENCE, contents)),
        }
        if !self.extensions.is_empty() {
            let extensions = der::sequence(&written(&self.extensions, issuer));
            fields.extend(der::tlv(der::constructed(0), &extensions));
        }
        edited(self.edit_signed, &mut fields);
        let tbs = der::tlv(der::SEQUENCE, &fields);
        let mut signature = signer.sign(&tbs);
        edited(self.edit_signature, &mut signature);
        let mut list = der::sequence(&[tbs, outer, bit_string(&signature)]);
        edited(self.edit, &mut list);
        list
    }
}

fn written(extensions: &[Extension], issuer: &Draft) -> Vec<Vec<u8>> {
    extensions.iter().map(|extension| issuer.write(extension, issuer)).collect()
}
