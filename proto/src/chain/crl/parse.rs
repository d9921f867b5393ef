//! The fields of a list (RFC 5280, 5.1 and 5.2), all but its entries.

use sha2::{Digest as _, Sha256};
use x509_parser::asn1_rs::{FromDer as _, Oid};
use x509_parser::time::ASN1Time;

use super::der::{self, Element, Reader, tag};
use super::entries::Entries;
use super::{CrlError, MAX_DER, MAX_EXTENSIONS};
use crate::chain::certificate::key;
use crate::id::Digest;
use crate::name::Path;
use crate::revocation::{CrlNumber, RevocationList, Serials};

/// Object identifiers of extensions, as DER content octets: id-ce (2.5.29) and one more arc.
mod oid {
    pub(super) const NUMBER: &[u8] = &[0x55, 0x1d, 20];
    pub(super) const DELTA: &[u8] = &[0x55, 0x1d, 27];
    pub(super) const DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
    pub(super) const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 35];
}

/// A list whose fields are as they must be. Nothing of it is believed yet: its signature, its issuer
/// and the time are for [`super::authorize_crl`].
#[derive(Debug, Clone)]
pub struct Crl<'d> {
    whole: &'d [u8],
    pub(super) signed: &'d [u8],
    pub(super) algorithm: &'static [u8],
    pub(super) signature: &'d [u8],
    /// The issuer's name in DER.
    pub(super) issuer: &'d [u8],
    this_update: i64,
    next_update: i64,
    entries: &'d [u8],
    extensions: Extensions<'d>,
}

impl<'d> Crl<'d> {
    /// Parses a list in DER, all but its entries.
    ///
    /// # Errors
    /// [`CrlError`] for everything that can be said of it by itself.
    pub fn parse(der: &'d [u8]) -> Result<Self, CrlError> {
        if der.len() > MAX_DER {
            return Err(CrlError::TooLarge(der.len()));
        }
        let mut outer = Reader(der);
        let mut list = Reader(outer.expect(tag::SEQUENCE)?.contents);
        if !outer.is_empty() {
            return Err(CrlError::Trailing);
        }
        let signed = list.expect(tag::SEQUENCE)?;
        let outer_algorithm = list.expect(tag::SEQUENCE)?;
        let signature = signature(list.expect(tag::BIT_STRING)?.contents)?;
        list.end()?;

        let mut fields = Reader(signed.contents);
        version(&mut fields)?;
        let inner_algorithm = fields.expect(tag::SEQUENCE)?;
        if inner_algorithm.whole != outer_algorithm.whole {
            return Err(CrlError::AlgorithmMismatch);
        }
        let algorithm =
            key::signature_known(outer_algorithm.contents).ok_or(CrlError::SignatureAlgorithm)?;
        let issuer = fields.expect(tag::SEQUENCE)?.whole;
        let (this_update, next_update) = times(&mut fields)?;
        let entries = fields.optional(tag::SEQUENCE)?.map_or(&[][..], |entries| entries.contents);
        let extensions = match fields.optional(tag::EXTENSIONS)? {
            Some(extensions) => Extensions::read(extensions.contents)?,
            None => return Err(CrlError::NoNumber),
        };
        fields.end()?;
        Ok(Self {
            whole: der,
            signed: signed.whole,
            algorithm,
            signature,
            issuer,
            this_update,
            next_update,
            entries,
            extensions,
        })
    }

    /// What it says for the issuer with this key (SHA-256 of its SubjectPublicKeyInfo) and path, who
    /// are believed to have signed it.
    ///
    /// # Errors
    /// [`CrlError`] for what is wrong with an entry.
    pub fn to_list(&self, issuer: Digest, path: Path) -> Result<RevocationList, CrlError> {
        Ok(RevocationList {
            issuer,
            path,
            number: self.number(),
            this_update: self.this_update,
            next_update: self.next_update,
            sha256: Digest(Sha256::digest(self.whole).into()),
            serials: Serials::collect(self.entries())?,
        })
    }

    /// The serial numbers it takes back, as they come: see [`Entries`].
    pub const fn entries(&self) -> Entries<'d> {
        Entries::of(self.entries)
    }

    /// Its number.
    pub const fn number(&self) -> CrlNumber {
        self.extensions.number
    }

    /// When it was made, in Unix seconds.
    pub const fn this_update(&self) -> i64 {
        self.this_update
    }

    /// When the next one is due, in Unix seconds.
    pub const fn next_update(&self) -> i64 {
        self.next_update
    }

    /// The keyIdentifier of its authorityKeyIdentifier, if it has that extension.
    pub const fn authority_key_id(&self) -> Option<&'d [u8]> {
        self.extensions.authority_key_id
    }
}

fn version(fields: &mut Reader<'_>) -> Result<(), CrlError> {
    match fields.optional(tag::INTEGER)? {
        Some(version) if version.contents == [1] => Ok(()),
        _ => Err(CrlError::Version),
    }
}

/// The octets of a BIT STRING that is whole octets.
fn signature(contents: &[u8]) -> Result<&[u8], CrlError> {
    match contents.split_first() {
        Some((0, signature)) => Ok(signature),
        _ => Err(CrlError::Der),
    }
}

fn times(fields: &mut Reader<'_>) -> Result<(i64, i64), CrlError> {
    let this_update = time(fields.any()?)?;
    let next = match fields.0.first() {
        Some(&tag::UTC_TIME | &tag::GENERALIZED_TIME) => time(fields.any()?)?,
        _ => return Err(CrlError::NoNextUpdate),
    };
    if next > this_update { Ok((this_update, next)) } else { Err(CrlError::NextUpdateFirst) }
}

/// A Time in Unix seconds: in UTC, with seconds, without fractions (RFC 5280, 4.1.2.5).
pub(super) fn time(element: Element<'_>) -> Result<i64, CrlError> {
    let digits = match element.tag {
        tag::UTC_TIME => 12,
        tag::GENERALIZED_TIME => 14,
        _ => return Err(CrlError::Time),
    };
    let (Some(number), Some(b"Z")) =
        (element.contents.get(..digits), element.contents.get(digits..))
    else {
        return Err(CrlError::Time);
    };
    if !number.iter().all(u8::is_ascii_digit) {
        return Err(CrlError::Time);
    }
    let (_, time) = ASN1Time::from_der(element.whole).map_err(|_| CrlError::Time)?;
    Ok(time.timestamp())
}

/// What the extensions of a list say.
#[derive(Debug, Clone)]
struct Extensions<'d> {
    number: CrlNumber,
    authority_key_id: Option<&'d [u8]>,
}

impl<'d> Extensions<'d> {
    fn read(der: &'d [u8]) -> Result<Self, CrlError> {
        let (mut number, mut authority_key_id) = (None, None);
        each_extension(der::only(der, tag::SEQUENCE)?, |extension| {
            match extension.oid {
                oid::DELTA => return Err(CrlError::Delta),
                oid::DISTRIBUTION_POINT => return Err(CrlError::Partial),
                _ => extension.not_critical()?,
            }
            match extension.oid {
                oid::NUMBER => {
                    let octets = der::only(extension.value, tag::INTEGER);
                    let read = octets.ok().and_then(CrlNumber::from_der);
                    number = Some(read.ok_or(CrlError::Number)?);
                }
                oid::AUTHORITY_KEY => authority_key_id = Some(key_id(extension.value)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(Self { number: number.ok_or(CrlError::NoNumber)?, authority_key_id })
    }
}

/// The keyIdentifier, which conforming CAs write (RFC 5280, 5.2.1); what else there is, is not
/// looked at.
fn key_id(value: &[u8]) -> Result<&[u8], CrlError> {
    let broken = || CrlError::Extension("authorityKeyIdentifier");
    let contents = der::only(value, tag::SEQUENCE).map_err(|_| broken())?;
    let id = Reader(contents).optional(tag::KEY_IDENTIFIER).map_err(|_| broken())?;
    id.map(|id| id.contents).ok_or(CrlError::AuthorityKeyId)
}

/// One extension.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extension<'d> {
    pub(super) oid: &'d [u8],
    pub(super) critical: bool,
    pub(super) value: &'d [u8],
}

impl Extension<'_> {
    pub(super) fn not_critical(&self) -> Result<(), CrlError> {
        if self.critical { Err(CrlError::Critical(dotted(self.oid))) } else { Ok(()) }
    }
}

/// Reads `Extensions` (RFC 5280, 4.1) and shows each to `take`.
pub(super) fn each_extension<'d>(
    contents: &'d [u8],
    mut take: impl FnMut(Extension<'d>) -> Result<(), CrlError>,
) -> Result<(), CrlError> {
    let mut reader = Reader(contents);
    let mut seen: [&[u8]; MAX_EXTENSIONS] = [&[]; MAX_EXTENSIONS];
    let mut count = 0;
    while !reader.is_empty() {
        let mut fields = Reader(reader.expect(tag::SEQUENCE)?.contents);
        let oid = fields.expect(tag::OID)?.contents;
        let critical = match fields.optional(tag::BOOLEAN)? {
            None => false,
            // FALSE is the default, which DER leaves out.
            Some(critical) if critical.contents == [0xff] => true,
            Some(_) => return Err(CrlError::Der),
        };
        let value = fields.expect(tag::OCTET_STRING)?.contents;
        fields.end()?;
        if seen[..count].contains(&oid) {
            return Err(CrlError::ExtensionTwice(dotted(oid)));
        }
        *seen.get_mut(count).ok_or(CrlError::TooManyExtensions)? = oid;
        count += 1;
        take(Extension { oid, critical, value })?;
    }
    if count == 0 { Err(CrlError::Der) } else { Ok(()) }
}

fn dotted(oid: &[u8]) -> String {
    /// A longer one is not written out.
    const LONGEST: usize = 32;
    if oid.len() > LONGEST {
        return "of a long identifier".to_owned();
    }
    Oid::new(oid.into()).to_id_string()
}
