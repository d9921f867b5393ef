//! A unikernel file, as far as it describes itself.

use alloc::vec::Vec;
use core::fmt;

use crate::elf::{Header, PT_LOAD, ProgramHeader};
use crate::error::{ElfError, ImageError, SegmentError};
use crate::note;
use crate::{AbiNote, IMAGE_FLOOR, Manifest, Segment};

/// What a guest needs on top of its image: Solo5's own library refuses to start with less heap
/// and stack than this.
const HEAP_MIN: u64 = 512 * 1024;

/// A file that can be read at any position.
pub trait ReadAt {
    /// Reads from `offset` on until `buf` is full or the file ends; tells how many bytes it read.
    ///
    /// # Errors
    /// The operating system could not read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError>;

    /// Size of the file.
    ///
    /// # Errors
    /// The operating system could not tell.
    fn size(&self) -> Result<u64, ReadError>;
}

/// The operating system could not read a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadError {
    /// Its error number.
    pub errno: i32,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the image cannot be read (os error {})", self.errno)
    }
}

impl core::error::Error for ReadError {}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn size(&self) -> Result<u64, ReadError> {
        Ok(self.len() as u64)
    }
}

/// What a file says about itself. Every rule of the Solo5 ABI, section 1, that does not depend
/// on the size of guest memory holds for it.
#[derive(Clone, Debug)]
pub struct Image {
    abi: AbiNote,
    entry: u64,
    segments: Vec<Segment>,
    memory_end: u64,
    manifest: Manifest,
}

impl Image {
    /// Reads headers, notes and manifest of `file`, not its segments.
    ///
    /// # Errors
    /// The file is not an image; see [`ImageError`].
    pub fn read<R: ReadAt + ?Sized>(file: &R) -> Result<Self, ImageError> {
        let header = Header::read(file)?;
        let abi = AbiNote::read(file, &header.program_headers)?;
        let manifest = Manifest::parse(&note::manifest(file, &header.program_headers)?)?;
        let segments = header.segments(file.size()?)?;
        let memory_end = memory_end(&header.program_headers);
        Ok(Self { abi, entry: header.entry, segments, memory_end, manifest })
    }

    /// Target and version.
    pub fn abi(&self) -> AbiNote {
        self.abi
    }

    /// Address of the first instruction.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// What to load, by rising address, without overlap.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The devices that it declares.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// End of the last loaded segment, which a guest is told as `kernel_end`.
    pub fn kernel_end(&self) -> u64 {
        self.segments.last().map_or(IMAGE_FLOOR, |segment| segment.end)
    }

    /// Bytes of memory below which the guest has no room for its own data, 512 KiB of heap and
    /// stack included. Advice, not a rule: the tender checks only [`Image::check_fits`], as a
    /// guest may do with less heap.
    pub fn minimal_memory(&self) -> u64 {
        self.memory_end.saturating_add(HEAP_MIN)
    }

    /// Whether all loaded segments and the entry point lie within `mem_size` bytes.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check_fits(&self, mem_size: u64) -> Result<(), ElfError> {
        if let Some(segment) = self.segments.iter().find(|segment| segment.end > mem_size) {
            let error = SegmentError::PastMemory { end: segment.end, mem_size };
            return Err(ElfError::Segment { index: segment.index, error });
        }
        if self.entry >= mem_size {
            return Err(ElfError::EntryPastMemory { entry: self.entry, mem_size });
        }
        Ok(())
    }
}

/// End of everything that the program headers place in memory, also of what has no bytes in the
/// file (zeroed data).
fn memory_end(headers: &[ProgramHeader]) -> u64 {
    headers
        .iter()
        .filter(|header| header.kind == PT_LOAD)
        .map(|header| header.address.saturating_add(header.memory_size))
        .fold(IMAGE_FLOOR, u64::max)
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
