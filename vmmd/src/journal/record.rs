//! The records of the journal in DER, and back.

mod asn1;
mod event;
mod host_network;
mod machine;

use anyhow::{Context, ensure};
use rasn::types::OctetString;
use vmm_engine::Remembered;
use vmm_proto::authority::{Link, Serial, Validity};
use vmm_proto::grant::Grant;
use vmm_proto::id::Digest;
use vmm_proto::name::{Label, Path};
use vmm_proto::revocation::{CrlNumber, RevocationList, Serials};

use super::lists::{self, Lists};
use asn1::{Delegation, List};
pub(super) use event::{event, event_to_der};
pub(super) use host_network::{host_network, host_network_to_der};
pub(super) use machine::{machine, machine_to_der};

/// A revocation list, in DER; of a long one all but its serial numbers.
///
/// # Errors
/// When it cannot be encoded.
pub(super) fn list_to_der(list: &RevocationList) -> anyhow::Result<Vec<u8>> {
    let serials = if lists::is_long(list) { None } else { Some(packed(&list.serials)?) };
    let record = List {
        issuer: octets(&list.issuer.0),
        path: list.path.to_string(),
        number: octets(list.number.to_der()),
        this_update: list.this_update,
        next_update: list.next_update,
        serials,
        sha256: Some(octets(&list.sha256.0)),
    };
    rasn::der::encode(&record).context("a revocation list")
}

/// A revocation list, from DER; a long one from its file.
///
/// # Errors
/// When it is not what [`list_to_der`] makes, or the file is not what was stored.
pub(super) fn list(der: &[u8], files: &Lists) -> anyhow::Result<RevocationList> {
    let record = list_record(der)?;
    let issuer = digest(&record.issuer)?;
    let path = Path::parse(&record.path).context("a kept path")?;
    let sha256 = signed_list(&record)?;
    let Some(serials) = &record.serials else {
        return files.load(&sha256, issuer, path);
    };
    Ok(RevocationList {
        issuer,
        path,
        number: CrlNumber::from_der(&record.number).context("a kept list's number")?,
        this_update: record.this_update,
        next_update: record.next_update,
        sha256,
        serials: unpacked(serials)?,
    })
}

/// The name of the file of a long list, from its record in DER.
///
/// # Errors
/// When it is not what [`list_to_der`] makes.
pub(super) fn file_of_list(der: &[u8]) -> anyhow::Result<Option<Digest>> {
    let record = list_record(der)?;
    if record.serials.is_some() { Ok(None) } else { signed_list(&record).map(Some) }
}

/// The SHA-256 of what the issuer has signed; nothing has that of a list that was kept without.
fn signed_list(record: &List) -> anyhow::Result<Digest> {
    record.sha256.as_ref().map_or(Ok(Digest([0; 32])), digest)
}

fn list_record(der: &[u8]) -> anyhow::Result<List> {
    rasn::der::decode(der).context("a revocation list")
}

fn packed(serials: &Serials) -> anyhow::Result<OctetString> {
    let mut packed = Vec::with_capacity(serials.len() * 21);
    for serial in serials.iter() {
        packed.push(u8::try_from(serial.len()).context("a serial number of too many octets")?);
        packed.extend_from_slice(serial);
    }
    Ok(packed.into())
}

fn unpacked(packed: &OctetString) -> anyhow::Result<Serials> {
    let mut rest: &[u8] = packed;
    let serials = std::iter::from_fn(|| {
        let (length, after) = rest.split_first()?;
        let split = after.split_at_checked(usize::from(*length));
        let (serial, after) = match split.context("a kept serial number is cut off") {
            Ok(split) => split,
            Err(error) => {
                rest = &[];
                return Some(Err(error));
            }
        };
        rest = after;
        Some(Ok(serial))
    });
    Serials::collect(serials)
}

/// Under which key a delegation is stored: that of its issuer, and its label.
pub(super) fn delegation_key(issuer: &Digest, label: &Label) -> Vec<u8> {
    [&issuer.0, label.as_str().as_bytes()].concat()
}

/// What is remembered of a delegation, in DER.
///
/// # Errors
/// When it cannot be encoded.
pub(super) fn delegation_to_der(remembered: &Remembered) -> anyhow::Result<Vec<u8>> {
    let Remembered { link, seen_unix_ms, until_s, paths } = remembered;
    let Link { label, issuer, key, serial, grant, validity } = link;
    let record = Delegation {
        label: label.as_str().to_owned(),
        issuer: octets(&issuer.0),
        key: octets(&key.0),
        serial: octets(&serial.0),
        grant: octets(&Grant::Delegation(grant.clone()).to_der()),
        not_before: validity.not_before,
        not_after: validity.not_after,
        seen_unix_ms: *seen_unix_ms,
        until: *until_s,
        paths: paths.iter().map(ToString::to_string).collect(),
    };
    rasn::der::encode(&record).context("a delegation")
}

/// What is remembered of a delegation, from DER.
///
/// # Errors
/// When it is not what [`delegation_to_der`] makes.
pub(super) fn delegation(der: &[u8]) -> anyhow::Result<Remembered> {
    let record: Delegation = rasn::der::decode(der).context("a delegation")?;
    let Grant::Delegation(grant) = Grant::from_der(&record.grant).context("a kept grant")? else {
        anyhow::bail!("the kept grant of \"{}\" is not a delegation's", record.label);
    };
    let link = Link {
        label: record.label.parse::<Label>().context("a kept label")?,
        issuer: digest(&record.issuer)?,
        key: digest(&record.key)?,
        serial: Serial(record.serial.to_vec().into()),
        grant,
        validity: Validity { not_before: record.not_before, not_after: record.not_after },
    };
    ensure!(!record.paths.is_empty(), "the kept delegation \"{}\" has no path", link.label);
    let paths = record.paths.iter().map(|path| Path::parse(path)).collect::<Result<_, _>>();
    let paths = paths.context("a kept path")?;
    Ok(Remembered { link, seen_unix_ms: record.seen_unix_ms, until_s: record.until, paths })
}

fn octets(bytes: &[u8]) -> OctetString {
    OctetString::from(bytes.to_vec())
}

fn digest(octets: &OctetString) -> anyhow::Result<Digest> {
    Ok(Digest(octets.as_ref().try_into().context("a kept key is not a SHA-256")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_kept_before_its_digest_was_is_read() {
        let record = List {
            issuer: octets(&[9; 32]),
            path: "dev/alice".to_owned(),
            number: octets(&[5]),
            this_update: 1,
            next_update: 2,
            serials: Some(octets(&[1, 7, 2, 1, 0])),
            sha256: None,
        };
        let der = rasn::der::encode(&record).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let files = Lists::open(dir.path()).unwrap();
        let list = list(&der, &files).unwrap();
        assert_eq!((list.number, list.path.to_string().as_str()), (5.into(), "dev/alice"));
        assert!(list.serials.contains(&[7]) && list.serials.contains(&[1, 0]));
        assert_eq!(file_of_list(&der).unwrap(), None);
    }
}
