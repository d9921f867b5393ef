//! Images made by hand, to break one rule at a time.

use std::path::PathBuf;

pub(crate) const EXECUTE: u32 = 1;
pub(crate) const WRITE: u32 = 2;
pub(crate) const READ: u32 = 4;

const LOAD: u32 = 1;
const NOTE: u32 = 4;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// Where the text of such an image begins, and where it is entered.
pub(crate) const TEXT: u64 = 0x10_0000;

/// A program header and its bytes.
#[derive(Clone)]
pub(crate) struct Part {
    kind: u32,
    pub(crate) flags: u32,
    pub(crate) address: u64,
    pub(crate) memory_size: u64,
    pub(crate) align: u64,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn load(address: u64, flags: u32, bytes: &[u8]) -> Part {
    let memory_size = bytes.len() as u64;
    Part { kind: LOAD, flags, address, memory_size, align: 4096, bytes: bytes.to_vec() }
}

fn note(kind: [u8; 4], description: &[u8]) -> Part {
    let size = u32::try_from(description.len()).unwrap();
    let sizes = [[6, 0, 0, 0], size.to_le_bytes(), kind];
    let bytes = [sizes.as_flattened(), b"Solo5\0\0\0", description].concat();
    Part { kind: NOTE, flags: READ, address: 0, memory_size: 0, align: 8, bytes }
}

pub(crate) fn abi(target: u32, version: u32) -> Part {
    let words = [target, version, 0, 0].map(u32::to_le_bytes);
    note(*b"ABI1", words.as_flattened())
}

/// A manifest with the reserved entry and these: name and type (1 block, 2 net).
pub(crate) fn manifest(devices: &[(&str, u32)]) -> Part {
    let mut description = vec![0; 4];
    description.extend(1u32.to_le_bytes());
    description.extend(u32::try_from(devices.len() + 1).unwrap().to_le_bytes());
    for (name, kind) in [("", 0x4000_0000)].iter().chain(devices) {
        let mut entry = [0; 104];
        entry[..name.len()].copy_from_slice(name.as_bytes());
        entry[68..72].copy_from_slice(&kind.to_le_bytes());
        description.extend(entry);
    }
    note(*b"MFT1", &description)
}

/// An ELF file of `parts`.
pub(crate) fn elf(parts: &[Part]) -> Vec<u8> {
    let mut out = vec![0; HEADER + PROGRAM_HEADER * parts.len()];
    out[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    out[16..24].copy_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
    out[24..32].copy_from_slice(&TEXT.to_le_bytes());
    out[32] = 64;
    out[52] = 64;
    out[54] = 56;
    out[56] = u8::try_from(parts.len()).unwrap();
    for (index, part) in parts.iter().enumerate() {
        let fields = [
            u64::from(part.kind) | u64::from(part.flags) << 32,
            out.len() as u64,
            part.address,
            0,
            part.bytes.len() as u64,
            part.memory_size,
            part.align,
        ];
        let at = HEADER + PROGRAM_HEADER * index;
        for (field, value) in fields.into_iter().enumerate() {
            out[at + 8 * field..at + 8 * field + 8].copy_from_slice(&value.to_le_bytes());
        }
        out.extend(&part.bytes);
    }
    out
}

/// An image with `text` at its entry point, for spt.
pub(crate) fn spt(text: &[u8], more: &[Part]) -> Vec<u8> {
    let mut parts = vec![load(TEXT, READ | EXECUTE, text)];
    parts.extend_from_slice(more);
    parts.extend([abi(2, 2), manifest(&[])]);
    elf(&parts)
}

/// Images in files, as long as this lives.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn with(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("image");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
