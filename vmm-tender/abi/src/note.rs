//! The Solo5 notes (the Solo5 ABI, section 1.4).

use alloc::vec::Vec;
use core::fmt;

use crate::bytes::{array, u32_at};
use crate::elf::{PT_NOTE, ProgramHeader, read_exact};
use crate::error::{ImageError, NoteError};
use crate::image::ReadAt;

/// Smallest note segment that is a note at all.
const NOTE_MIN: u64 = 12;
/// Note header with the name `Solo5` and its padding.
const HEADER_SIZE: usize = 20;
/// What the manifest's note has between its header and the manifest, counted as description.
const MANIFEST_PADDING: u32 = 4;

struct Kind {
    name: &'static str,
    id: u32,
    description: core::ops::RangeInclusive<u32>,
}

const ABI: Kind = Kind { name: "ABI1", id: 0x3149_4241, description: 16..=32 };
const MANIFEST: Kind =
    Kind { name: "MFT1", id: 0x3154_464D, description: MANIFEST_PADDING + 1..=6668 };

/// For which tender an image was linked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Hardware virtualized tender.
    Hvt,
    /// Sandboxed process tender.
    Spt,
    /// Virtio, for other hypervisors.
    Virtio,
    /// Muen separation kernel.
    Muen,
    /// Genode (retired).
    Genode,
    /// Xen.
    Xen,
    /// A number that has no meaning in this ABI.
    Unknown(u32),
}

impl Target {
    fn new(number: u32) -> Self {
        match number {
            1 => Self::Hvt,
            2 => Self::Spt,
            3 => Self::Virtio,
            4 => Self::Muen,
            5 => Self::Genode,
            6 => Self::Xen,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hvt => "hvt",
            Self::Spt => "spt",
            Self::Virtio => "virtio",
            Self::Muen => "muen",
            Self::Genode => "genode",
            Self::Xen => "xen",
            Self::Unknown(number) => return write!(f, "unknown({number})"),
        })
    }
}

/// What the ABI note says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbiNote {
    /// The tender that the image wants.
    pub target: Target,
    /// The version of that tender's ABI.
    pub version: u32,
}

impl AbiNote {
    pub(crate) fn read<R: ReadAt + ?Sized>(
        file: &R,
        headers: &[ProgramHeader],
    ) -> Result<Self, ImageError> {
        let description = find(file, headers, &ABI)?;
        Ok(Self { target: Target::new(u32_at(&description, 0)), version: u32_at(&description, 4) })
    }
}

/// The bytes of the manifest, without the padding before them.
pub(crate) fn manifest<R: ReadAt + ?Sized>(
    file: &R,
    headers: &[ProgramHeader],
) -> Result<Vec<u8>, ImageError> {
    let mut description = find(file, headers, &MANIFEST)?;
    description.drain(..MANIFEST_PADDING as usize);
    Ok(description)
}

/// Description of the one note of this kind. Only the first note of each segment counts.
fn find<R: ReadAt + ?Sized>(
    file: &R,
    headers: &[ProgramHeader],
    kind: &Kind,
) -> Result<Vec<u8>, ImageError> {
    let mut found = None;
    for segment in headers.iter().filter(|header| header.kind == PT_NOTE) {
        let Some(size) = description_size(file, segment, kind)? else { continue };
        if found.replace((segment, size)).is_some() {
            return Err(NoteError::Doubled(kind.name).into());
        }
    }
    let (segment, size) = found.ok_or(NoteError::Missing(kind.name))?;
    let mut description = alloc::vec![0; size];
    segment
        .offset
        .checked_add(HEADER_SIZE as u64)
        .map_or(Ok(None), |offset| read_exact(file, offset, &mut description))?
        .ok_or(NoteError::Truncated(kind.name))?;
    Ok(description)
}

/// Size of the description when the segment holds a note of this kind.
fn description_size<R: ReadAt + ?Sized>(
    file: &R,
    segment: &ProgramHeader,
    kind: &Kind,
) -> Result<Option<usize>, ImageError> {
    if segment.file_size < NOTE_MIN {
        return Err(NoteError::SegmentTooSmall(segment.file_size).into());
    }
    if segment.file_size < HEADER_SIZE as u64 {
        return Ok(None);
    }
    let mut header = [0; HEADER_SIZE];
    read_exact(file, segment.offset, &mut header)?.ok_or(NoteError::Truncated(kind.name))?;
    let named = u32_at(&header, 0) == 6 && array(&header, 12) == *b"Solo5\0";
    if !named || u32_at(&header, 8) != kind.id {
        return Ok(None);
    }
    let size = u32_at(&header, 4);
    if !kind.description.contains(&size) {
        let (&min, &max) = (kind.description.start(), kind.description.end());
        return Err(NoteError::DescriptionSize { note: kind.name, size, min, max }.into());
    }
    if segment.file_size < HEADER_SIZE as u64 + u64::from(size) {
        return Err(NoteError::PastSegment(kind.name).into());
    }
    Ok(Some(size as usize))
}
