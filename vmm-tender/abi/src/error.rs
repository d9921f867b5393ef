//! Why a file is not an image that can be loaded. Each error names the rule and the value that
//! broke it.

use core::fmt;

use crate::image::ReadError;
use crate::manifest::DeviceName;

/// Why a file was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// The operating system could not read the file.
    Read(ReadError),
    /// The ELF header or a program header breaks a rule.
    Elf(ElfError),
    /// A Solo5 note is missing or malformed.
    Note(NoteError),
    /// The manifest is malformed.
    Manifest(ManifestError),
}

/// A broken rule of the ELF header (the Solo5 ABI, section 1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElfError {
    /// The file ends inside the named structure.
    Truncated(&'static str),
    /// The file does not begin with the ELF magic.
    Magic([u8; 4]),
    /// Not a 64-bit file.
    Class(u8),
    /// Not little-endian.
    ByteOrder(u8),
    /// Not ELF version 1.
    Version(u32),
    /// Not `ET_EXEC`.
    Type(u16),
    /// Not for x86-64.
    Machine(u16),
    /// The ELF header has an unexpected size.
    HeaderSize(u16),
    /// The program headers have an unexpected size.
    ProgramHeaderSize(u16),
    /// There are no program headers.
    NoProgramHeaders,
    /// More program headers than any linker makes for a unikernel.
    TooManyProgramHeaders(u16),
    /// The entry point is in low memory, which belongs to the tender.
    EntryTooLow(u64),
    /// The entry point is in no executable segment.
    EntryNotExecutable(u64),
    /// The entry point is past the end of guest memory.
    EntryPastMemory {
        /// Entry point.
        entry: u64,
        /// Guest memory.
        mem_size: u64,
    },
    /// A loadable segment breaks a rule.
    Segment {
        /// Index of its program header.
        index: u16,
        /// The rule.
        error: SegmentError,
    },
}

/// A broken rule of a loadable segment (the Solo5 ABI, section 1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentError {
    /// It begins in low memory.
    TooLow(u64),
    /// Its address is below that of the segment before it.
    OutOfOrder(u64),
    /// Its alignment is not a power of two.
    Alignment(u64),
    /// It overlaps the segment before it.
    Overlap {
        /// Its first page.
        start: u64,
        /// Where the segment before it ends.
        previous_end: u64,
    },
    /// It takes more bytes from the file than it has in memory.
    FileLargerThanMemory {
        /// Bytes in the file.
        file_size: u64,
        /// Bytes in memory.
        memory_size: u64,
    },
    /// Its end is not a 64-bit address.
    Wraps,
    /// Its bytes are not all in the file.
    PastEndOfFile {
        /// Where its bytes end.
        end: u64,
        /// Size of the file.
        file_size: u64,
    },
    /// It does not begin and end at pages.
    NotPageAligned {
        /// Its first byte after alignment.
        start: u64,
        /// Its end after alignment.
        end: u64,
    },
    /// It is both writable and executable.
    WritableAndExecutable,
    /// It ends past guest memory.
    PastMemory {
        /// Its end.
        end: u64,
        /// Guest memory.
        mem_size: u64,
    },
}

/// A missing or malformed Solo5 note (the Solo5 ABI, section 1.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoteError {
    /// A note segment is too small to hold a note.
    SegmentTooSmall(u64),
    /// No note of this name was found.
    Missing(&'static str),
    /// There are two notes of this name.
    Doubled(&'static str),
    /// The description has a size that no such note has.
    DescriptionSize {
        /// Which note.
        note: &'static str,
        /// The size it claims.
        size: u32,
        /// The smallest that is valid.
        min: u32,
        /// The largest that is valid.
        max: u32,
    },
    /// The description does not fit into its segment.
    PastSegment(&'static str),
    /// The file ends inside the note.
    Truncated(&'static str),
}

/// A malformed manifest (the Solo5 ABI, section 1.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ManifestError {
    /// Its size is not that of its entries.
    Size {
        /// Bytes there are.
        size: usize,
        /// Entries it claims.
        entries: u32,
    },
    /// Not version 1.
    Version(u32),
    /// Fewer than 1 or more than 64 entries.
    Entries(u32),
    /// The first entry is not the reserved one.
    FirstEntry,
    /// A name has no terminating NUL.
    NameNotTerminated(u32),
    /// A name is not 1 to 67 ASCII letters and digits.
    Name(u32),
    /// An entry claims to be attached already.
    Attached(u32),
    /// An entry has a type that this ABI does not know.
    Type {
        /// Index of the entry.
        entry: u32,
        /// The type.
        value: u32,
    },
    /// Two entries have the same name.
    DoubledName(DeviceName),
}

impl From<ReadError> for ImageError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<ElfError> for ImageError {
    fn from(error: ElfError) -> Self {
        Self::Elf(error)
    }
}

impl From<NoteError> for ImageError {
    fn from(error: NoteError) -> Self {
        Self::Note(error)
    }
}

impl From<ManifestError> for ImageError {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error)
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Elf(error) => error.fmt(f),
            Self::Note(error) => error.fmt(f),
            Self::Manifest(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated(what) => write!(f, "truncated: the file ends inside the {what}"),
            Self::Magic(bytes) => write!(f, "not an ELF file (it begins with {bytes:02x?})"),
            Self::Class(value) => write!(f, "not a 64-bit ELF file (class {value})"),
            Self::ByteOrder(value) => write!(f, "not a little-endian ELF file (data {value})"),
            Self::Version(value) => write!(f, "ELF version {value}, not 1"),
            Self::Type(value) => write!(f, "not a static executable (ELF type {value}, not 2)"),
            Self::Machine(value) => write!(f, "not for x86-64 (ELF machine {value}, not 62)"),
            Self::HeaderSize(value) => write!(f, "ELF header of {value} bytes, not 64"),
            Self::ProgramHeaderSize(value) => {
                write!(f, "program headers of {value} bytes, not 56")
            }
            Self::NoProgramHeaders => f.write_str("no program headers"),
            Self::TooManyProgramHeaders(value) => {
                let max = crate::elf::PROGRAM_HEADERS_MAX;
                write!(f, "{value} program headers, more than {max}")
            }
            Self::EntryTooLow(entry) => write!(f, "entry point {entry:#x} is below 0x100000"),
            Self::EntryNotExecutable(entry) => {
                write!(f, "entry point {entry:#x} is in no executable segment")
            }
            Self::EntryPastMemory { entry, mem_size } => write!(
                f,
                "entry point {entry:#x} is past the guest's {mem_size:#x} bytes of memory"
            ),
            Self::Segment { index, error } => write!(f, "segment {index} {error}"),
        }
    }
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLow(address) => write!(f, "begins at {address:#x}, below 0x100000"),
            Self::OutOfOrder(address) => {
                write!(f, "begins at {address:#x}, below the segment before it")
            }
            Self::Alignment(value) => {
                write!(f, "has alignment {value:#x}, which is not a power of two")
            }
            Self::Overlap { start, previous_end } => write!(
                f,
                "begins at {start:#x} and overlaps the segment before it, which ends at {previous_end:#x}"
            ),
            Self::FileLargerThanMemory { file_size, memory_size } => {
                write!(f, "takes {file_size} bytes from the file but has {memory_size} in memory")
            }
            Self::Wraps => f.write_str("ends past the 64-bit address space"),
            Self::PastEndOfFile { end, file_size } => {
                write!(f, "is truncated: its bytes end at {end} of a file of {file_size} bytes")
            }
            Self::NotPageAligned { start, end } => write!(
                f,
                "covers [{start:#x},{end:#x}), which does not begin and end at multiples of 4096"
            ),
            Self::WritableAndExecutable => f.write_str("is both writable and executable"),
            Self::PastMemory { end, mem_size } => {
                write!(f, "ends at {end:#x}, past the guest's {mem_size:#x} bytes of memory")
            }
        }
    }
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SegmentTooSmall(size) => {
                write!(f, "a note segment of {size} bytes is too small for a note")
            }
            Self::Missing(note) => {
                write!(f, "not a Solo5 image: it has no {note} note")
            }
            Self::Doubled(note) => write!(f, "there are two {note} notes"),
            Self::DescriptionSize { note, size, min, max } => write!(
                f,
                "the {note} note does not fall within valid size (its description claims {size} bytes, {min} to {max} are possible)"
            ),
            Self::PastSegment(note) => write!(f, "the {note} note ends past its segment"),
            Self::Truncated(note) => write!(f, "truncated: the file ends inside the {note} note"),
        }
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { size, entries } => {
                write!(f, "manifest of {size} bytes does not fit its {entries} entries")
            }
            Self::Version(value) => write!(f, "manifest version {value}, not 1"),
            Self::Entries(value) => write!(f, "manifest with {value} entries, not 1 to 64"),
            Self::FirstEntry => f.write_str("manifest entry 0 is not the reserved entry"),
            Self::NameNotTerminated(entry) => {
                write!(f, "manifest entry {entry} has a name that is not NUL-terminated")
            }
            Self::Name(entry) => write!(
                f,
                "manifest entry {entry} has a name that is not 1 to 67 ASCII letters and digits"
            ),
            Self::Attached(entry) => {
                write!(f, "manifest entry {entry} claims to be attached already")
            }
            Self::Type { entry, value } => {
                write!(f, "manifest entry {entry} has the unknown device type {value:#x}")
            }
            Self::DoubledName(name) => write!(f, "manifest declares the device '{name}' twice"),
        }
    }
}

impl core::error::Error for ImageError {}
impl core::error::Error for ElfError {}
impl core::error::Error for SegmentError {}
impl core::error::Error for NoteError {}
impl core::error::Error for ManifestError {}
