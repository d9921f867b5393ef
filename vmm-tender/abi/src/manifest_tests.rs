use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn entry(name: &[u8], kind: u32) -> [u8; ENTRY_SIZE] {
    let mut out = [0; ENTRY_SIZE];
    put(&mut out, 0, name);
    put(&mut out, TYPE_AT, &kind.to_le_bytes());
    out
}

fn manifest(entries: &[[u8; ENTRY_SIZE]]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(VERSION.to_le_bytes());
    out.extend(u32::try_from(entries.len()).unwrap().to_le_bytes());
    out.extend(entries.as_flattened());
    out
}

const RESERVED: u32 = TYPE_RESERVED_FIRST;

#[test]
fn devices_have_the_index_of_their_entry_as_handle() {
    let bytes = manifest(&[
        entry(b"", RESERVED),
        entry(b"storage", TYPE_BLOCK),
        entry(b"later use", RESERVED + 7),
        entry(b"service", TYPE_NET),
    ]);
    let parsed = Manifest::parse(&bytes).unwrap();
    let devices: Vec<_> =
        parsed.devices().iter().map(|d| (d.handle, d.name.as_str(), d.kind)).collect();
    assert_eq!(devices, [(1, "storage", DeviceKind::Block), (3, "service", DeviceKind::Net)]);
}

#[test]
fn each_broken_rule_has_its_error() {
    let first = entry(b"", RESERVED);
    let mut attached = entry(b"a", TYPE_NET);
    attached[ATTACHED_AT] = 1;
    let long = entry(&[b'a'; NAME_SIZE], TYPE_NET);
    let refused = |entries: &[[u8; ENTRY_SIZE]]| Manifest::parse(&manifest(entries)).unwrap_err();
    assert_eq!(refused(&[]), ManifestError::Entries(0));
    assert_eq!(refused(&[first; 65]), ManifestError::Entries(65));
    assert_eq!(refused(&[entry(b"", TYPE_NET)]), ManifestError::FirstEntry);
    assert_eq!(refused(&[entry(b"x", RESERVED)]), ManifestError::FirstEntry);
    assert_eq!(refused(&[first, long]), ManifestError::NameNotTerminated(1));
    assert_eq!(refused(&[first, attached]), ManifestError::Attached(1));
    assert_eq!(refused(&[first, entry(b"", TYPE_NET)]), ManifestError::Name(1));
    assert_eq!(refused(&[first, entry(b"a b", TYPE_NET)]), ManifestError::Name(1));
    assert_eq!(refused(&[first, entry(b"a", 3)]), ManifestError::Type { entry: 1, value: 3 });
    let twice = [first, entry(b"a", TYPE_NET), entry(b"a", TYPE_BLOCK)];
    assert_eq!(refused(&twice), ManifestError::DoubledName(DeviceName::new("a").unwrap()));
    let mut bytes = manifest(&[first]);
    bytes.push(0);
    assert_eq!(Manifest::parse(&bytes), Err(ManifestError::Size { size: 113, entries: 1 }));
    bytes[0] = 2;
    assert_eq!(Manifest::parse(&bytes), Err(ManifestError::Version(2)));
}

#[test]
fn what_a_file_presets_is_not_passed_on() {
    let mut preset = entry(b"service\0junk", TYPE_NET);
    preset[PROPERTIES_AT..ATTACHED_AT].fill(0xAA);
    let parsed = Manifest::parse(&manifest(&[entry(b"", RESERVED), preset])).unwrap();
    let clean = manifest(&[entry(b"", RESERVED), entry(b"service", TYPE_NET)]);
    assert_eq!(parsed.encode(|_| None), clean);
}

#[test]
fn attachments_are_encoded_where_the_abi_has_them() {
    let entries = [entry(b"", RESERVED), entry(b"n", TYPE_NET), entry(b"b", TYPE_BLOCK)];
    let parsed = Manifest::parse(&manifest(&entries)).unwrap();
    let encoded = parsed.encode(|device| {
        Some(match device.kind {
            DeviceKind::Net => Attachment::Net { mac: [2, 1, 1, 1, 1, 1], mtu: 1500, host_fd: 7 },
            DeviceKind::Block => {
                Attachment::Block { capacity: 1 << 33, block_size: 512, host_fd: -1 }
            }
        })
    });
    let mut expected = entries;
    put(&mut expected[1], 72, &[2, 1, 1, 1, 1, 1, 0xDC, 5]);
    put(&mut expected[1], 88, &[7, 0, 0, 0]);
    put(&mut expected[2], 72, &[0, 0, 0, 0, 2, 0, 0, 0, 0, 2]);
    put(&mut expected[2], 88, &[0xFF; 4]);
    (expected[1][96], expected[2][96]) = (1, 1);
    assert_eq!(encoded, manifest(&expected));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Manifest::parse(&bytes);
    }

    #[test]
    fn almost_valid_manifests_never_panic_and_encode_to_their_size(
        names in proptest::collection::vec("[a-c0-9 ]{0,4}", 0..8),
        kinds in proptest::collection::vec(0u32..4, 8),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut entries = alloc::vec![entry(b"", RESERVED)];
        entries.extend(names.iter().zip(kinds).map(|(name, kind)| entry(name.as_bytes(), kind)));
        let mut bytes = manifest(&entries);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(parsed) = Manifest::parse(&bytes) {
            let encoded = parsed.encode(|_| None);
            prop_assert_eq!(encoded.len(), bytes.len());
            let again = Manifest::parse(&encoded).unwrap();
            prop_assert_eq!(again.devices(), parsed.devices());
        }
    }
}
