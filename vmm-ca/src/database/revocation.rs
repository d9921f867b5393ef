//! What was taken back, as a line of the database.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vmm_proto::authority::Serial;
use vmm_proto::id::Digest;

use super::{Issued, Kind};
use crate::{Error, serial};

/// A certificate that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number.
    pub serial: Serial,
    /// When it was taken back, in Unix seconds.
    pub at: i64,
    /// Its last second (Unix); `None` when the certificate was not at hand. A revocation list names
    /// it until then.
    pub until: Option<i64>,
    /// Its subject, when the certificate was at hand.
    pub name: Option<String>,
    /// What it was (see [`Kind::name`]), when the certificate was at hand.
    pub kind: Option<String>,
}

impl Revoked {
    /// A certificate that is taken back at `now` (Unix seconds).
    pub fn of(issued: &Issued, now: i64) -> Self {
        Self {
            serial: issued.serial.clone(),
            at: now,
            until: Some(issued.validity.not_after),
            name: Some(issued.name.clone()),
            kind: Some(Kind::name(&issued.kind).to_owned()),
        }
    }

    /// A serial number of which nothing else is known.
    pub const fn unknown(serial: Serial, now: i64) -> Self {
        Self { serial, at: now, until: None, name: None, kind: None }
    }

    /// Whether a list made at `now` (Unix seconds) names it: until its certificate has expired.
    pub fn is_listed(&self, now: i64) -> bool {
        self.until.is_none_or(|until| now <= until)
    }
}

/// A revocation list that was made. Its number is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListMade {
    /// Its cRLNumber.
    pub number: u64,
    /// When it was made, in Unix seconds.
    pub at: i64,
    /// Its nextUpdate, in Unix seconds.
    pub next_update: i64,
    /// How many certificates it names.
    pub entries: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokedRecord {
    serial: String,
    /// Unix seconds
    at: i64,
    /// Unix seconds
    not_after: Option<i64>,
    name: Option<String>,
    kind: Option<String>,
}

impl RevokedRecord {
    pub(super) fn of(revoked: &Revoked) -> Self {
        Self {
            serial: revoked.serial.to_string(),
            at: revoked.at,
            not_after: revoked.until,
            name: revoked.name.clone(),
            kind: revoked.kind.clone(),
        }
    }

    pub(super) fn into_revoked(self) -> Result<Revoked, String> {
        let serial = serial::parse(&self.serial)
            .filter(|serial| serial.to_string() == self.serial)
            .ok_or_else(|| "the serial number is not one".to_owned())?;
        let Self { at, not_after: until, name, kind, .. } = self;
        Ok(Revoked { serial, at, until, name, kind })
    }
}

/// A record with a digest of itself, so that damage is noticed where no certificate stands beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sealed<T> {
    record: T,
    /// SHA-256 of the record's JSON
    sha256: String,
}

impl<T: Serialize> Sealed<T> {
    pub(super) fn of(record: T) -> Result<Self, Error> {
        let sha256 = digest(&record)
            .map_err(|error| Error::Malformed(format!("cannot be written as JSON: {error}")))?;
        Ok(Self { record, sha256 })
    }

    pub(super) fn open(self) -> Result<T, String> {
        match digest(&self.record) {
            Ok(sha256) if sha256 == self.sha256 => Ok(self.record),
            _ => Err("the record does not agree with its own SHA-256".to_owned()),
        }
    }
}

fn digest(record: &impl Serialize) -> serde_json::Result<String> {
    Ok(Digest(Sha256::digest(serde_json::to_vec(record)?).into()).to_string())
}
