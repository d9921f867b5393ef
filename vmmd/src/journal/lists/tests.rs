//! Long lists and the journal.

use std::path::Path;
use std::sync::Arc;

use vmm_engine::Keep;
use vmm_proto::id::Digest;
use vmm_proto::revocation::RevocationList;

use crate::journal::{Changes, Journal};

fn changes(list: &Arc<RevocationList>) -> Changes {
    let keep = Keep::Revocations(Arc::clone(list));
    Changes { kept: [(keep.slot(), keep)].into(), ..Changes::default() }
}

/// A list of so many entries, and its DER. Its signature is none: that is looked at before.
fn list(number: u8, count: u32) -> (Arc<RevocationList>, Vec<u8>) {
    fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
        let length = contents.len();
        let length = match u8::try_from(length) {
            Ok(length) if length < 0x80 => vec![length],
            Ok(length) => vec![0x81, length],
            Err(_) => {
                let octets = u32::try_from(length).unwrap().to_be_bytes();
                let octets: Vec<u8> = octets.into_iter().skip_while(|octet| *octet == 0).collect();
                [&[0x80 | u8::try_from(octets.len()).unwrap()], octets.as_slice()].concat()
            }
        };
        [&[tag], length.as_slice(), contents].concat()
    }
    let ed25519 = tlv(0x30, &tlv(0x06, &[0x2b, 0x65, 0x70]));
    let time = |time: &[u8]| tlv(0x17, time);
    let entries: Vec<u8> = (0..count)
        .flat_map(|serial| {
            let serial = tlv(0x02, &(serial | 1 << 30).to_be_bytes());
            tlv(0x30, &[serial, time(b"260101000000Z")].concat())
        })
        .collect();
    let entries = if count == 0 { Vec::new() } else { tlv(0x30, &entries) };
    let extension = [tlv(0x06, &[0x55, 0x1d, 20]), tlv(0x04, &tlv(0x02, &[number]))].concat();
    let fields = [
        tlv(0x02, &[1]),
        ed25519.clone(),
        tlv(0x30, &[]),
        time(b"260101000000Z"),
        time(b"270101000000Z"),
        entries,
        tlv(0xa0, &tlv(0x30, &tlv(0x30, &extension))),
    ];
    let der = [tlv(0x30, &fields.concat()), ed25519, tlv(0x03, &[0, 1])].concat();
    let der = tlv(0x30, &der);
    let path = vmm_proto::name::Path::parse("dev/alice").unwrap();
    let crl = vmm_proto::chain::crl::Crl::parse(&der).unwrap();
    (Arc::new(crl.to_list(Digest([9; 32]), path).unwrap()), der)
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("lists")).unwrap().count()
}

#[test]
fn a_list_comes_back_as_it_was_however_long_it_is_and_only_a_long_one_has_a_file() {
    let dir = tempfile::tempdir().unwrap();
    for (number, count, count_of_files) in [(1, 10_000, 1), (2, 20_000, 1), (3, 7, 0)] {
        let (list, der) = list(number, count);
        let journal = Journal::open(dir.path()).unwrap();
        journal.load().unwrap();
        journal.store_list(&list, &der).unwrap();
        journal.commit(&changes(&list)).unwrap();
        let kept = [Keep::Revocations(list)];
        journal.remove_replaced_lists().unwrap();
        assert_eq!(files(dir.path()), count_of_files);
        assert_eq!(journal.load().unwrap().kept, kept);
        drop(journal);
        assert_eq!(Journal::open(dir.path()).unwrap().load().unwrap().kept, kept);
    }
}

#[test]
fn a_file_that_belongs_to_no_list_in_force_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let [(kept, kept_der), (lost, lost_der)] = [list(1, 5000), list(2, 5000)];
    journal.store_list(&kept, &kept_der).unwrap();
    journal.commit(&changes(&kept)).unwrap();
    journal.store_list(&lost, &lost_der).unwrap();
    journal.discard_list(&lost).unwrap();
    assert_eq!(files(dir.path()), 1);
    // Or when there was no time for that.
    journal.store_list(&lost, &lost_der).unwrap();
    std::fs::write(dir.path().join("lists/torn.new"), b"half of one").unwrap();
    drop(journal);
    let journal = Journal::open(dir.path()).unwrap();
    assert_eq!(journal.load().unwrap().kept, [Keep::Revocations(kept)]);
    assert_eq!(files(dir.path()), 1);
}

#[test]
fn a_long_list_whose_file_is_missing_or_another_one_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let (list, mut der) = list(1, 5000);
    assert!(journal.commit(&changes(&list)).is_err(), "it is not stored yet");
    journal.store_list(&list, &der).unwrap();
    journal.commit(&changes(&list)).unwrap();
    let file = dir.path().join("lists").join(format!("{}.crl", list.sha256));
    *der.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &der).unwrap();
    let error = journal.load().unwrap_err();
    assert!(format!("{error:#}").contains("not the list that was stored"), "{error:#}");
    std::fs::remove_file(&file).unwrap();
    let error = journal.load().unwrap_err();
    assert!(format!("{error:#}").contains(&list.sha256.to_string()), "{error:#}");
}
