//! Images whose notes or manifest break a rule.

use crate::images::{EXIT_WITH_7, assert_refused, run};
use crate::support::End;
use crate::support::image::{self, EXECUTE, Files, Part, READ, TEXT, load};
use crate::support::{Kind, guest, tender};

fn text() -> Part {
    load(TEXT, READ | EXECUTE, &EXIT_WITH_7)
}

/// An image with text and these notes.
fn with(notes: &[Part]) -> Vec<u8> {
    image::elf(&[&[text()], notes].concat())
}

#[test]
fn images_without_notes_or_with_bad_ones_are_refused() {
    let text = || load(TEXT, READ | EXECUTE, &EXIT_WITH_7);
    let reason = "not a Solo5 image: it has no ABI1 note";
    assert_refused(&image::elf(&[text()]), reason);
    let reason = "not a Solo5 image: it has no MFT1 note";
    assert_refused(&image::elf(&[text(), image::abi(2, 2)]), reason);
    let twice = [text(), image::abi(2, 2), image::manifest(&[]), image::manifest(&[])];
    assert_refused(&image::elf(&twice), "there are two MFT1 notes");
    let odd = [text(), image::abi(2, 2), image::manifest(&[("a", 77)])];
    let reason = "manifest entry 1 has the unknown device type 0x4d";
    assert_refused(&image::elf(&odd), reason);
}

/// Where entry `index` of the manifest is in its note: behind the note's head, padding, and the
/// manifest's head.
fn entry_at(index: usize) -> usize {
    20 + 4 + 8 + 104 * index
}

fn assert_manifest_refused(manifest: Part, reason: &str) {
    assert_refused(&with(&[image::abi(2, 2), manifest]), reason);
}

#[test]
fn a_note_counts_only_as_the_first_of_a_note_segment() {
    let (abi, manifest) = (image::abi(2, 2), image::manifest(&[]));
    let mut both = abi.clone();
    both.bytes.extend(&manifest.bytes);
    assert_refused(&with(&[both]), "not a Solo5 image: it has no MFT1 note");
    let mut reversed = manifest.clone();
    reversed.bytes.extend(&abi.bytes);
    assert_refused(&with(&[reversed]), "not a Solo5 image: it has no ABI1 note");
    // A segment of another type holds no notes, whatever its bytes are.
    let loaded = load(TEXT + 0x1000, READ, &abi.bytes);
    let reason = "not a Solo5 image: it has no ABI1 note";
    assert_refused(&with(&[loaded, manifest.clone()]), reason);
    let files = Files::new();
    let path = files.with(&with(&[manifest, abi]));
    assert_eq!(run(&path).status, 7, "their order is free");
}

#[test]
fn notes_of_a_wrong_size_are_refused() {
    let mut tiny = image::abi(2, 2);
    tiny.bytes.truncate(11);
    let reason = "a note segment of 11 bytes is too small for a note";
    assert_refused(&with(&[tiny, image::manifest(&[])]), reason);
    let mut cut = image::manifest(&[]);
    cut.bytes.pop();
    assert_manifest_refused(cut, "the MFT1 note ends past its segment");
    let mut high = image::manifest(&[]);
    high.bytes[7] = 1;
    let reason = "the MFT1 note does not fall within valid size (its description claims 16777332 bytes, 5 to 6668 are possible)";
    assert_manifest_refused(high, reason);
    let mut short = image::abi(2, 2);
    short.bytes[4] = 8;
    let reason = "the ABI1 note does not fall within valid size (its description claims 8 bytes, 16 to 32 are possible)";
    assert_refused(&with(&[short, image::manifest(&[])]), reason);
}

#[test]
fn a_manifest_has_1_to_64_entries_and_as_many_as_it_says() {
    let names: Vec<_> = (0..64).map(|number| format!("d{number}")).collect();
    let devices: Vec<_> = names.iter().map(|name| (&**name, 1)).collect();
    // The reserved entry and 64 devices: more than a note may have.
    let reason = "the MFT1 note does not fall within valid size (its description claims 6772 bytes, 5 to 6668 are possible)";
    assert_manifest_refused(image::manifest(&devices), reason);
    let says = |count: u8| {
        let mut manifest = image::manifest(&[]);
        manifest.bytes[28] = count;
        manifest
    };
    for count in [0, 65, 255] {
        let reason = format!("manifest with {count} entries, not 1 to 64");
        assert_manifest_refused(says(count), &reason);
    }
    let reason = "manifest of 112 bytes does not fit its 2 entries";
    assert_manifest_refused(says(2), reason);
    let mut version = says(1);
    version.bytes[24] = 2;
    assert_manifest_refused(version, "manifest version 2, not 1");
}

#[test]
fn names_in_a_manifest_are_terminated_valid_and_each_there_once() {
    let mut long = image::manifest(&[("a", 1)]);
    long.bytes[entry_at(1)..entry_at(1) + 68].fill(b'a');
    assert_manifest_refused(long, "manifest entry 1 has a name that is not NUL-terminated");
    for name in ["", "a b", "a-b", "\u{e9}"] {
        let reason = "manifest entry 1 has a name that is not 1 to 67 ASCII letters and digits";
        assert_manifest_refused(image::manifest(&[(name, 2)]), reason);
    }
    let twice = image::manifest(&[("a", 1), ("a", 2)]);
    assert_manifest_refused(twice, "manifest declares the device 'a' twice");
}

#[test]
fn the_first_entry_is_reserved_and_none_is_attached_in_a_file() {
    let mut named = image::manifest(&[]);
    named.bytes[entry_at(0)] = b'a';
    assert_manifest_refused(named, "manifest entry 0 is not the reserved entry");
    let mut device = image::manifest(&[]);
    device.bytes[entry_at(0) + 71] = 0;
    device.bytes[entry_at(0) + 68] = 1;
    assert_manifest_refused(device, "manifest entry 0 is not the reserved entry");
    let mut attached = image::manifest(&[("a", 1)]);
    attached.bytes[entry_at(1) + 96] = 1;
    assert_manifest_refused(attached, "manifest entry 1 claims to be attached already");
}

#[test]
fn unknown_device_types_are_refused_and_reserved_ones_ignored() {
    for kind in [0, 3, 0x3FFF_FFFF] {
        let reason = format!("manifest entry 1 has the unknown device type {kind:#x}");
        assert_manifest_refused(image::manifest(&[("a", kind)]), &reason);
    }
    let files = Files::new();
    for kind in [0x4000_0000, 0x4000_0001, u32::MAX] {
        let path = files.with(&with(&[image::abi(2, 2), image::manifest(&[("a", kind)])]));
        assert_eq!(run(&path).status, 7, "{kind:#x}");
    }
}

#[test]
fn images_of_the_first_abi_version_run_too() {
    for kind in Kind::available() {
        let mut bytes = std::fs::read(guest("hello", kind)).unwrap();
        let head = b"ABI1Solo5\0\0\0";
        let notes: Vec<_> =
            (0..bytes.len() - 20).filter(|&at| bytes[at..].starts_with(head)).collect();
        let [note] = notes[..] else { panic!("{notes:?}") };
        let version = note + head.len() + 4;
        assert_eq!(bytes[version..version + 4], [2, 0, 0, 0]);
        bytes[version] = 1;
        let files = Files::new();
        let end = End::of(tender(["run", "--mem=8"]).arg(files.with(&bytes)));
        assert_eq!((end.status, &*end.stdout), (0, "Hello from hello\n"), "{kind:?}");
        for version_of_none in [0, 3] {
            bytes[version] = version_of_none;
            let end = End::of(tender(["run", "--mem=8"]).arg(files.with(&bytes)));
            let expected = format!("version {version_of_none} of the ");
            assert!(end.status == 1 && end.stderr.contains(&expected), "{}", end.stderr);
        }
    }
}
