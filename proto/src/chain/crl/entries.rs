//! The entries of a list, one after another.

use super::CrlError;
use super::der::{self, Reader, tag};
use super::parse::{each_extension, time};
use crate::chain::certificate::serial_octets;
use crate::revocation::MAX_SERIALS;

/// Object identifiers of entries' extensions, as DER content octets: id-ce (2.5.29) and one more arc.
mod oid {
    pub(super) const REASON: &[u8] = &[0x55, 0x1d, 21];
    pub(super) const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
}

/// `CRLReason` (RFC 5280, 5.3.1): 7 is not used, 8 is removeFromCRL, 10 is the last one.
const REMOVE_FROM_CRL: u8 = 8;
const LAST_REASON: u8 = 10;

/// The serial numbers of a list in the order in which they stand, each checked when its turn comes. It
/// ends after an error, and after [`MAX_SERIALS`] entries with one.
#[derive(Debug, Clone)]
pub struct Entries<'d> {
    left: Reader<'d>,
    room: usize,
}

impl<'d> Entries<'d> {
    pub(super) const fn of(contents: &'d [u8]) -> Self {
        Self { left: Reader(contents), room: MAX_SERIALS }
    }

    fn entry(&mut self) -> Result<&'d [u8], CrlError> {
        self.room = self.room.checked_sub(1).ok_or(CrlError::TooMany)?;
        let mut fields = Reader(self.left.expect(tag::SEQUENCE)?.contents);
        let serial =
            serial_octets(fields.expect(tag::INTEGER)?.contents).ok_or(CrlError::Serial)?;
        time(fields.any()?)?;
        if let Some(extensions) = fields.optional(tag::SEQUENCE)? {
            self::extensions(extensions.contents)?;
        }
        fields.end()?;
        Ok(serial)
    }
}

impl<'d> Iterator for Entries<'d> {
    type Item = Result<&'d [u8], CrlError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.left = Reader(&[]);
        }
        Some(entry)
    }
}

fn extensions(contents: &[u8]) -> Result<(), CrlError> {
    each_extension(contents, |extension| {
        if extension.oid == oid::CERTIFICATE_ISSUER {
            return Err(CrlError::Indirect);
        }
        extension.not_critical()?;
        if extension.oid == oid::REASON { reason(extension.value) } else { Ok(()) }
    })
}

/// Every reason takes the certificate back, certificateHold too; but an entry that gives one back is
/// none of a full list.
fn reason(value: &[u8]) -> Result<(), CrlError> {
    match der::only(value, tag::ENUMERATED) {
        Ok([REMOVE_FROM_CRL]) => Err(CrlError::RemoveFromCrl),
        Ok([reason]) if *reason <= LAST_REASON && *reason != 7 => Ok(()),
        _ => Err(CrlError::Extension("reasonCode")),
    }
}
