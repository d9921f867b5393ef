//! The lines of a database.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vmm_proto::authority::{Serial, Validity};
use vmm_proto::chain::certificate::{Certificate, Role};
use vmm_proto::id::Digest;
use vmm_proto::resource::Delegation;

use super::revocation::{ListMade, Revoked, RevokedRecord, Sealed};
use crate::{Error, pem};

/// The name and version of the format.
const FORMAT: &str = "vmm-ca database 2";

/// The format before the first line counted the others. Such a file is read and written as it is.
const UNCOUNTED: &str = "vmm-ca database 1";

/// The digits of a count, so that the first line can be written over.
const DIGITS: usize = 10;

/// What of a certificate matters to its issuer later on.
#[derive(Debug, Clone, PartialEq)]
pub struct Issued {
    /// Its serial number.
    pub serial: Serial,
    /// Its subject: a label, or the name of the root.
    pub name: String,
    /// When it may be used.
    pub validity: Validity,
    /// SHA-256 of its key.
    pub key: Digest,
    /// What it is, and what it promises.
    pub kind: Kind,
}

/// What a certificate is, with the numbers that an issuer has to add up.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// the root itself
    Root,
    /// a server
    Server,
    /// a share
    Delegation(Box<Delegation>),
    /// interactive use
    Permissions,
    /// a machine
    Machine {
        /// MiB
        memory_mib: u32,
    },
}

impl Kind {
    /// A word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Server => "server",
            Self::Delegation(_) => "delegation",
            Self::Permissions => "permissions",
            Self::Machine { .. } => "machine",
        }
    }
}

impl Issued {
    /// What there is to know of a certificate.
    ///
    /// # Errors
    /// [`Error::Malformed`] for one that is not as the profile wants it.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let parsed =
            Certificate::parse(certificate).map_err(|error| Error::Malformed(error.to_string()))?;
        let kind = match parsed.role {
            Role::Root => Kind::Root,
            Role::Server => Kind::Server,
            Role::Delegation(delegation) => Kind::Delegation(Box::new(delegation)),
            Role::Permissions(_) => Kind::Permissions,
            Role::Machine(machine) => Kind::Machine { memory_mib: machine.memory_mib },
        };
        Ok(Self {
            serial: parsed.serial,
            name: parsed.subject,
            validity: parsed.validity,
            key: parsed.key,
            kind,
        })
    }
}

/// The first line: whose the file is, and how many records there are at least. It is written over
/// after each record, and always as long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) issuer: Digest,
    /// `None` in a file that was begun before records were counted.
    pub(super) records: Option<u64>,
}

/// The first line as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    format: String,
    issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<String>,
    /// SHA-256 of the issuer and the count, as they stand here
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl Header {
    pub(super) const fn new(issuer: Digest) -> Self {
        Self { issuer, records: Some(0) }
    }

    /// What a first line says.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let written: HeaderLine =
            serde_json::from_slice(line).map_err(|_| "not the first line of one".to_owned())?;
        let issuer =
            digest(&written.issuer).ok_or_else(|| "the issuer is not a SHA-256".to_owned())?;
        let records = match written.format.as_str() {
            UNCOUNTED => None,
            FORMAT => written.records.as_deref().and_then(|digits| digits.parse().ok()),
            other => return Err(format!("its format is {other:?}, and this is {FORMAT:?}")),
        };
        let header = Self { issuer, records };
        let again = header.to_line().map_err(|error| error.to_string())?;
        if again.trim_end().as_bytes() == line {
            Ok(header)
        } else {
            Err("the first line does not agree with its own SHA-256".to_owned())
        }
    }

    pub(super) fn to_line(&self) -> Result<String, Error> {
        let issuer = self.issuer.to_string();
        let Some(records) = self.records else {
            let format = UNCOUNTED.to_owned();
            return line(&HeaderLine { format, issuer, records: None, sha256: None });
        };
        let records = format!("{records:0DIGITS$}");
        let sha256 = Digest(Sha256::digest(format!("{issuer} {records}")).into()).to_string();
        let (records, sha256) = (Some(records), Some(sha256));
        line(&HeaderLine { format: FORMAT.to_owned(), issuer, records, sha256 })
    }
}

/// Any further line. What is beside the certificate is for people and scripts that read the file;
/// it must agree with the certificate.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Record {
    Issued(IssuedRecord),
    Revoked(Sealed<RevokedRecord>),
    List(Sealed<ListMade>),
}

/// What a line said.
pub(super) enum Entry {
    Issued(Issued),
    Revoked(Revoked),
    List(ListMade),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuedRecord {
    serial: String,
    name: String,
    kind: String,
    /// Unix seconds
    not_before: i64,
    /// Unix seconds
    not_after: i64,
    /// SHA-256 of the certificate in DER
    sha256: String,
    /// PEM
    certificate: String,
}

impl IssuedRecord {
    fn of(issued: &Issued, certificate: &CertificateDer<'_>) -> Self {
        Self {
            serial: issued.serial.to_string(),
            name: issued.name.clone(),
            kind: issued.kind.name().to_owned(),
            not_before: issued.validity.not_before,
            not_after: issued.validity.not_after,
            sha256: Digest(Sha256::digest(certificate).into()).to_string(),
            certificate: pem::encode("CERTIFICATE", certificate),
        }
    }

    /// What it says, if it agrees with the certificate in it.
    fn into_issued(self) -> Result<Issued, String> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes())
            .map_err(|_| "its certificate is not PEM".to_owned())?;
        let issued = Issued::of(&certificate).map_err(|error| error.to_string())?;
        if self == Self::of(&issued, &certificate) {
            Ok(issued)
        } else {
            Err("the record does not agree with its own certificate".to_owned())
        }
    }
}

impl Record {
    pub(super) fn issued(issued: &Issued, certificate: &CertificateDer<'_>) -> Self {
        Self::Issued(IssuedRecord::of(issued, certificate))
    }

    pub(super) fn revoked(revoked: &Revoked) -> Result<Self, Error> {
        Sealed::of(RevokedRecord::of(revoked)).map(Self::Revoked)
    }

    pub(super) fn list(list: ListMade) -> Result<Self, Error> {
        Sealed::of(list).map(Self::List)
    }

    /// What a line says, if it agrees with the certificate in it.
    pub(super) fn parse(line: &[u8]) -> Result<Entry, String> {
        let record = serde_json::from_slice(line)
            .map_err(|error| format!("not a record that this version knows ({error})"))?;
        match record {
            Self::Issued(record) => record.into_issued().map(Entry::Issued),
            Self::Revoked(record) => {
                record.open().and_then(RevokedRecord::into_revoked).map(Entry::Revoked)
            }
            Self::List(list) => list.open().map(Entry::List),
        }
    }

    pub(super) fn to_line(&self) -> Result<String, Error> {
        line(self)
    }
}

fn line(value: &impl Serialize) -> Result<String, Error> {
    let mut line = serde_json::to_string(value)
        .map_err(|error| Error::Malformed(format!("cannot be written as JSON: {error}")))?;
    line.push('\n');
    Ok(line)
}

fn digest(hex: &str) -> Option<Digest> {
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let octets: Vec<u8> = hex
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok()))
        .collect::<Option<_>>()?;
    octets.try_into().ok().map(Digest)
}
