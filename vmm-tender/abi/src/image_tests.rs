use alloc::string::ToString;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::{ManifestError, NoteError, Target};

struct Part {
    kind: u32,
    flags: u32,
    address: u64,
    memory_size: u64,
    align: u64,
    bytes: Vec<u8>,
}

fn load(address: u64, flags: u32, len: usize) -> Part {
    let bytes = alloc::vec![0x90; len];
    Part { kind: PT_LOAD, flags, address, memory_size: len as u64, align: 4096, bytes }
}

fn note(kind: u32, description: &[u8]) -> Part {
    let mut bytes = Vec::new();
    bytes.extend(6u32.to_le_bytes());
    bytes.extend(u32::try_from(description.len()).unwrap().to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(b"Solo5\0\0\0");
    bytes.extend(description);
    Part { kind: 4, flags: 4, address: 0, memory_size: 0, align: 8, bytes }
}

fn abi_note(target: u32, version: u32) -> Part {
    let mut description = [0; 16];
    description[..4].copy_from_slice(&target.to_le_bytes());
    description[4..8].copy_from_slice(&version.to_le_bytes());
    note(0x3149_4241, &description)
}

fn manifest_note() -> Part {
    let mut description = alloc::vec![0; 4 + 8 + 104];
    (description[4], description[8], description[12 + 71]) = (1, 1, 0x40);
    note(0x3154_464D, &description)
}

fn image(entry: u64, parts: &[Part]) -> Vec<u8> {
    let mut out = alloc::vec![0; 64 + 56 * parts.len()];
    out[..6].copy_from_slice(b"\x7fELF\x02\x01");
    out[16..20].copy_from_slice(&[2, 0, 62, 0]);
    out[20] = 1;
    out[24..32].copy_from_slice(&entry.to_le_bytes());
    out[32] = 64;
    (out[52], out[54], out[56]) = (64, 56, u8::try_from(parts.len()).unwrap());
    for (index, part) in parts.iter().enumerate() {
        let offset = out.len() as u64;
        let fields = [
            u64::from(part.kind) | u64::from(part.flags) << 32,
            offset,
            part.address,
            0,
            part.bytes.len() as u64,
            part.memory_size,
            part.align,
        ];
        for (field, value) in fields.into_iter().enumerate() {
            let at = 64 + 56 * index + 8 * field;
            out[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        out.extend(&part.bytes);
    }
    out
}

/// Text, data and the given further parts.
fn with(extra: Vec<Part>) -> Vec<u8> {
    let mut parts = alloc::vec![load(0x10_0000, 5, 100), abi_note(2, 2), manifest_note()];
    parts.extend(extra);
    image(0x10_0000, &parts)
}

fn read(bytes: &[u8]) -> Result<Image, ImageError> {
    Image::read(bytes)
}

fn segment_error(part: Part) -> SegmentError {
    match read(&with(alloc::vec![part])).unwrap_err() {
        ImageError::Elf(ElfError::Segment { index: 3, error }) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_good_image_is_described() {
    let mut data = load(0x10_2100, 6, 16);
    data.memory_size = 0x2000;
    let image = read(&with(alloc::vec![data])).unwrap();
    assert_eq!(image.abi(), AbiNote { target: Target::Spt, version: 2 });
    assert_eq!(image.entry(), 0x10_0000);
    assert_eq!(image.kernel_end(), 0x10_5000);
    assert_eq!(image.minimal_memory(), 0x10_4100 + 512 * 1024);
    let data = image.segments()[1];
    assert_eq!((data.start, data.end), (0x10_2000, 0x10_5000));
    assert_eq!(data.flags.to_string(), "rw");
    assert!(image.manifest().devices().is_empty());
    assert_eq!(image.check_fits(0x10_5000), Ok(()));
    let error = image.check_fits(0x10_4FFF).unwrap_err();
    assert_eq!(
        error.to_string(),
        "segment 3 ends at 0x105000, past the guest's 0x104fff bytes of memory"
    );
}

#[test]
fn empty_segments_are_skipped_wherever_they_are() {
    let empty = |address, memory_size| Part { memory_size, ..load(address, 7, 0) };
    let image = read(&with(alloc::vec![empty(0, 0), empty(0x20_0000, 0x1000)])).unwrap();
    assert_eq!(image.segments().len(), 1);
    assert_eq!(image.kernel_end(), 0x10_1000);
    assert_eq!(image.minimal_memory(), 0x20_1000 + 512 * 1024);
    let absurd = read(&with(alloc::vec![empty(u64::MAX, u64::MAX)])).unwrap();
    assert_eq!(absurd.minimal_memory(), u64::MAX);
}

#[test]
fn each_broken_segment_rule_has_its_error() {
    let aligned = |address, align| Part { align, ..load(address, 6, 4096) };
    let sized = |address, memory_size| Part { memory_size, ..load(address, 6, 16) };
    assert_eq!(segment_error(load(0xF_F000, 6, 1)), SegmentError::TooLow(0xF_F000));
    assert_eq!(segment_error(aligned(0x10_1000, 0)), SegmentError::Alignment(0));
    assert_eq!(segment_error(aligned(0x10_1000, 4097)), SegmentError::Alignment(4097));
    assert_eq!(segment_error(aligned(0x1F_F000, 1 << 21)), SegmentError::TooLow(0));
    assert_eq!(
        segment_error(load(0x10_0800, 6, 16)),
        SegmentError::Overlap { start: 0x10_0000, previous_end: 0x10_1000 }
    );
    assert_eq!(
        segment_error(sized(0x10_1000, 15)),
        SegmentError::FileLargerThanMemory { file_size: 16, memory_size: 15 }
    );
    assert_eq!(segment_error(sized(0x10_1000, u64::MAX)), SegmentError::Wraps);
    assert_eq!(segment_error(sized(0x10_1000, u64::MAX - 0x10_1000)), SegmentError::Wraps);
    assert_eq!(
        segment_error(Part { align: 16, ..load(0x10_1000, 6, 16) }),
        SegmentError::NotPageAligned { start: 0x10_1000, end: 0x10_1010 }
    );
    assert_eq!(segment_error(load(0x10_1000, 7, 1)), SegmentError::WritableAndExecutable);
    let out_of_order = with(alloc::vec![load(0x20_0000, 6, 1), load(0x18_0000, 6, 1)]);
    let error = SegmentError::OutOfOrder(0x18_0000);
    let expected = ElfError::Segment { index: 4, error };
    assert_eq!(read(&out_of_order).unwrap_err(), expected.into());
}

#[test]
fn each_broken_header_rule_has_its_error() {
    let good = with(alloc::vec![]);
    let cases: [(usize, u8, ElfError); 9] = [
        (0, b'M', ElfError::Magic(*b"MELF")),
        (4, 1, ElfError::Class(1)),
        (5, 2, ElfError::ByteOrder(2)),
        (20, 2, ElfError::Version(2)),
        (16, 3, ElfError::Type(3)),
        (18, 183, ElfError::Machine(183)),
        (52, 52, ElfError::HeaderSize(52)),
        (54, 32, ElfError::ProgramHeaderSize(32)),
        (56, 0, ElfError::NoProgramHeaders),
    ];
    for (at, byte, expected) in cases {
        let mut bytes = good.clone();
        bytes[at] = byte;
        assert_eq!(read(&bytes).unwrap_err(), expected.into());
    }
    let mut many = good;
    many[57] = 2;
    assert_eq!(read(&many).unwrap_err(), ElfError::TooManyProgramHeaders(515).into());
}

#[test]
fn the_entry_point_is_in_text_above_low_memory() {
    let parts = || [load(0x10_0000, 5, 100), abi_note(2, 2), manifest_note()];
    let low = image(0xF_FFFF, &parts());
    assert_eq!(read(&low).unwrap_err(), ElfError::EntryTooLow(0xF_FFFF).into());
    let outside = image(0x10_1000, &parts());
    assert_eq!(read(&outside).unwrap_err(), ElfError::EntryNotExecutable(0x10_1000).into());
}

#[test]
fn each_broken_note_rule_has_its_error() {
    let text = || load(0x10_0000, 5, 100);
    let error = |parts: &[Part]| read(&image(0x10_0000, parts)).unwrap_err();
    assert_eq!(error(&[text()]), NoteError::Missing("ABI1").into());
    assert_eq!(error(&[text(), abi_note(1, 2)]), NoteError::Missing("MFT1").into());
    let doubled = [text(), abi_note(1, 2), manifest_note(), manifest_note()];
    assert_eq!(error(&doubled), NoteError::Doubled("MFT1").into());
    let tiny = Part { bytes: alloc::vec![0; 11], ..abi_note(1, 2) };
    assert_eq!(error(&[text(), tiny]), NoteError::SegmentTooSmall(11).into());
    let small = NoteError::DescriptionSize { note: "ABI1", size: 8, min: 16, max: 32 };
    assert_eq!(error(&[text(), note(0x3149_4241, &[0; 8])]), small.into());
    let buggy = NoteError::DescriptionSize { note: "MFT1", size: 1, min: 5, max: 6668 };
    assert_eq!(error(&[text(), abi_note(1, 2), note(0x3154_464D, &[0])]), buggy.into());
    let empty = note(0x3154_464D, &[0; 5]);
    let expected = ManifestError::Size { size: 1, entries: 0 };
    assert_eq!(error(&[text(), abi_note(1, 2), empty]), expected.into());
    let mut cut = manifest_note();
    cut.bytes.pop();
    assert_eq!(error(&[text(), abi_note(1, 2), cut]), NoteError::PastSegment("MFT1").into());
    let mut other_name = abi_note(1, 2);
    other_name.bytes[12] = b's';
    assert_eq!(error(&[text(), other_name]), NoteError::Missing("ABI1").into());
}

#[test]
fn a_truncated_image_is_refused_at_every_length() {
    let good = with(alloc::vec![load(0x10_1000, 6, 50)]);
    for len in 0..good.len() {
        assert!(read(&good[..len]).is_err(), "{len} of {} bytes", good.len());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_damaged_image_never_panics_and_what_is_accepted_keeps_the_rules(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        words in proptest::collection::vec((0usize..28, any::<u64>()), 0..3),
        mem_size in any::<u64>(),
    ) {
        let mut bytes = with(alloc::vec![load(0x10_1000, 6, 50)]);
        let headers = 64 + 56 * 4;
        for (word, value) in words {
            bytes[64 + 8 * word..72 + 8 * word].copy_from_slice(&value.to_le_bytes());
        }
        for (at, byte) in damage {
            let at = at.index(headers);
            bytes[at] = byte;
        }
        let Ok(image) = read(&bytes) else { return Ok(()) };
        let mut floor = IMAGE_FLOOR;
        for segment in image.segments() {
            prop_assert!(segment.start >= floor && segment.start <= segment.address);
            prop_assert!(segment.address + segment.memory_size <= segment.end);
            prop_assert!(segment.start % 4096 == 0 && segment.end % 4096 == 0);
            prop_assert!(segment.offset + segment.file_size <= bytes.len() as u64);
            prop_assert!(!(segment.flags.write && segment.flags.execute));
            floor = segment.end;
        }
        if image.check_fits(mem_size).is_ok() {
            prop_assert!(image.kernel_end() <= mem_size && image.entry() < mem_size);
        }
    }
}
