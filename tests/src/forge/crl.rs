//! One revocation list before it is signed: each field of it can be anything.

use super::certificate::Draft;
use super::der;
use super::extensions::{self, AUTHORITY_KEY_ID, Content, Extended, Extension};
use super::names::Name;
use super::signing::Signing;
use super::times::Time;

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
        fields.extend(extensions::sequence(&self.extensions, issuer, issuer).unwrap_or_default());
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
    /// How it is signed.
    pub signing: Signing,
}

impl List {
    /// A list of that number, which revokes these serials.
    pub fn of(number: u64, serials: &[&[u8]]) -> Self {
        Self {
            version: Some(1),
            issuer: None,
            this_update: Time::utc("260101000000Z"),
            next_update: Some(Time::utc("491231235959Z")),
            entries: match serials {
                [] => Entries::Absent,
                serials => Entries::Of(serials.iter().map(|serial| Entry::of(serial)).collect()),
            },
            extensions: vec![
                Extension::of(AUTHORITY_KEY_ID, false, Content::IssuerKeyId),
                Extension::raw(CRL_NUMBER, false, der::integer(number)),
            ],
            signing: Signing::default(),
        }
    }

    /// Makes it a list of these entries.
    pub fn revoke(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries = Entries::Of(entries.into_iter().collect());
    }

    /// The list, signed by `issuer`.
    pub fn sign(&self, issuer: &Draft) -> Vec<u8> {
        let mut fields = self.version.map(der::integer).unwrap_or_default();
        fields.extend(self.signing.inner(&issuer.key));
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
        if let Some(extensions) = extensions::sequence(&self.extensions, issuer, issuer) {
            fields.extend(der::tlv(der::constructed(0), &extensions));
        }
        self.signing.sign(fields, &issuer.key)
    }
}

impl Extended for List {
    fn extensions(&mut self) -> &mut Vec<Extension> {
        &mut self.extensions
    }
}
