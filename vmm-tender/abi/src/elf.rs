//! The ELF header and the program headers (the Solo5 ABI, sections 1.1 and 1.2).

use alloc::vec::Vec;
use core::fmt;

use crate::bytes::{array, u16_at, u32_at, u64_at};
use crate::error::{ElfError, SegmentError};
use crate::image::{ReadAt, ReadError};
use crate::{IMAGE_FLOOR, ImageError, PAGE_SIZE};

/// Budget of program headers; real images have about ten.
pub(crate) const PROGRAM_HEADERS_MAX: u16 = 256;

const HEADER_SIZE: u16 = 64;
const PROGRAM_HEADER_SIZE: u16 = 56;
const TYPE_EXEC: u16 = 2;
const MACHINE_X86_64: u16 = 62;

pub(crate) const PT_LOAD: u32 = 1;
pub(crate) const PT_NOTE: u32 = 4;

/// What the ELF header says, as far as a tender cares.
pub(crate) struct Header {
    pub(crate) entry: u64,
    pub(crate) program_headers: Vec<ProgramHeader>,
}

/// One program header as it stands in the file: nothing in it is checked yet.
#[derive(Clone, Copy)]
pub(crate) struct ProgramHeader {
    pub(crate) kind: u32,
    flags: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) file_size: u64,
    pub(crate) memory_size: u64,
    align: u64,
}

/// A segment to load; all rules that do not depend on the size of guest memory hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Index of its program header, for messages.
    pub index: u16,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Where its bytes go in guest memory.
    pub address: u64,
    /// How many bytes come from the file, at least one.
    pub file_size: u64,
    /// How many bytes it has in memory; those past `file_size` are zero.
    pub memory_size: u64,
    /// First byte of its pages, a multiple of 4096.
    pub start: u64,
    /// First byte behind its pages, a multiple of 4096.
    pub end: u64,
    /// What the guest may do with its pages.
    pub flags: SegmentFlags,
}

/// Permissions of a segment; never writable and executable at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFlags {
    /// The guest may read it.
    pub read: bool,
    /// The guest may write it.
    pub write: bool,
    /// The guest may execute it.
    pub execute: bool,
}

impl SegmentFlags {
    fn new(bits: u32) -> Result<Self, SegmentError> {
        let flags = Self { read: bits & 4 != 0, write: bits & 2 != 0, execute: bits & 1 != 0 };
        if flags.write && flags.execute {
            return Err(SegmentError::WritableAndExecutable);
        }
        Ok(flags)
    }
}

/// Letters as `r`, `rw`, `rx`; `-` for a segment without any permission.
impl fmt::Display for SegmentFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(self.read, "r"), (self.write, "w"), (self.execute, "x")];
        if letters.iter().all(|(set, _)| !set) {
            return f.write_str("-");
        }
        letters.iter().filter(|(set, _)| *set).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

impl Header {
    pub(crate) fn read<R: ReadAt + ?Sized>(file: &R) -> Result<Self, ImageError> {
        let mut header = [0; HEADER_SIZE as usize];
        read_exact(file, 0, &mut header)?.ok_or(ElfError::Truncated("ELF header"))?;
        check_header(&header)?;
        let entry = u64_at(&header, 24);
        if entry < IMAGE_FLOOR {
            return Err(ElfError::EntryTooLow(entry).into());
        }
        let count = usize::from(u16_at(&header, 56));
        let mut table = alloc::vec![0; count * usize::from(PROGRAM_HEADER_SIZE)];
        read_exact(file, u64_at(&header, 32), &mut table)?
            .ok_or(ElfError::Truncated("program headers"))?;
        let program_headers =
            table.chunks_exact(usize::from(PROGRAM_HEADER_SIZE)).map(ProgramHeader::parse);
        Ok(Self { entry, program_headers: program_headers.collect() })
    }

    /// The segments to load, in order, checked against each other and against the file's size.
    pub(crate) fn segments(&self, file_size: u64) -> Result<Vec<Segment>, ElfError> {
        let mut segments: Vec<Segment> = Vec::new();
        for (index, header) in (0..).zip(&self.program_headers) {
            // Linkers emit empty segments, some of them at address 0: not an error.
            if header.kind != PT_LOAD || header.file_size == 0 {
                continue;
            }
            let segment = header
                .segment(index, segments.last(), file_size)
                .map_err(|error| ElfError::Segment { index, error })?;
            segments.push(segment);
        }
        if !segments.iter().any(|s| s.flags.execute && (s.start..s.end).contains(&self.entry)) {
            return Err(ElfError::EntryNotExecutable(self.entry));
        }
        Ok(segments)
    }
}

/// Reads `buf` full; `None` when the file ends before.
pub(crate) fn read_exact<R: ReadAt + ?Sized>(
    file: &R,
    offset: u64,
    buf: &mut [u8],
) -> Result<Option<()>, ReadError> {
    // A range that wraps around is past the end of every file.
    if offset.checked_add(buf.len() as u64).is_none() {
        return Ok(None);
    }
    Ok((file.read_at(offset, buf)? == buf.len()).then_some(()))
}

fn check_header(header: &[u8; HEADER_SIZE as usize]) -> Result<(), ElfError> {
    let magic = array(header, 0);
    let program_headers = u16_at(header, 56);
    match () {
        () if magic != *b"\x7fELF" => Err(ElfError::Magic(magic)),
        () if header[4] != 2 => Err(ElfError::Class(header[4])),
        () if header[5] != 1 => Err(ElfError::ByteOrder(header[5])),
        () if u32_at(header, 20) != 1 => Err(ElfError::Version(u32_at(header, 20))),
        () if u16_at(header, 16) != TYPE_EXEC => Err(ElfError::Type(u16_at(header, 16))),
        () if u16_at(header, 18) != MACHINE_X86_64 => Err(ElfError::Machine(u16_at(header, 18))),
        () if u16_at(header, 52) != HEADER_SIZE => Err(ElfError::HeaderSize(u16_at(header, 52))),
        () if u16_at(header, 54) != PROGRAM_HEADER_SIZE => {
            Err(ElfError::ProgramHeaderSize(u16_at(header, 54)))
        }
        () if program_headers == 0 => Err(ElfError::NoProgramHeaders),
        () if program_headers > PROGRAM_HEADERS_MAX => {
            Err(ElfError::TooManyProgramHeaders(program_headers))
        }
        () => Ok(()),
    }
}

impl ProgramHeader {
    fn parse(bytes: &[u8]) -> Self {
        Self {
            kind: u32_at(bytes, 0),
            flags: u32_at(bytes, 4),
            offset: u64_at(bytes, 8),
            address: u64_at(bytes, 16),
            file_size: u64_at(bytes, 32),
            memory_size: u64_at(bytes, 40),
            align: u64_at(bytes, 48),
        }
    }

    fn segment(
        &self,
        index: u16,
        previous: Option<&Segment>,
        file_size: u64,
    ) -> Result<Segment, SegmentError> {
        if self.address < IMAGE_FLOOR {
            return Err(SegmentError::TooLow(self.address));
        }
        if previous.is_some_and(|previous| self.address < previous.address) {
            return Err(SegmentError::OutOfOrder(self.address));
        }
        let (start, end) = self.pages()?;
        if let Some(previous) = previous.filter(|previous| start < previous.end) {
            return Err(SegmentError::Overlap { start, previous_end: previous.end });
        }
        let file_end = self.offset.checked_add(self.file_size).ok_or(SegmentError::Wraps)?;
        if file_end > file_size {
            return Err(SegmentError::PastEndOfFile { end: file_end, file_size });
        }
        Ok(Segment {
            index,
            offset: self.offset,
            address: self.address,
            file_size: self.file_size,
            memory_size: self.memory_size,
            start,
            end,
            flags: SegmentFlags::new(self.flags)?,
        })
    }

    /// First byte and end of the segment, aligned by its own alignment, which must come out as
    /// whole pages.
    fn pages(&self) -> Result<(u64, u64), SegmentError> {
        if !self.align.is_power_of_two() {
            return Err(SegmentError::Alignment(self.align));
        }
        let start = self.address & !(self.align - 1);
        if start < IMAGE_FLOOR {
            return Err(SegmentError::TooLow(start));
        }
        if self.memory_size < self.file_size {
            return Err(SegmentError::FileLargerThanMemory {
                file_size: self.file_size,
                memory_size: self.memory_size,
            });
        }
        let end = self
            .address
            .checked_add(self.memory_size)
            .and_then(|end| end.checked_next_multiple_of(self.align))
            .ok_or(SegmentError::Wraps)?;
        if !start.is_multiple_of(PAGE_SIZE) || !end.is_multiple_of(PAGE_SIZE) {
            return Err(SegmentError::NotPageAligned { start, end });
        }
        Ok((start, end))
    }
}
