//! The vocabulary of the Solo5 `hvt` and `spt` ABI for x86-64, as a host sees it.
//!
//! [`Image`] is what a unikernel file says about itself: it is parsed once, from hostile bytes,
//! and everything in it keeps the rules of the ABI afterwards. [`hvt`] and [`spt`] hold the
//! addresses and encodings of the two targets, [`hypercall`] the structures that an hvt guest
//! passes to its tender, [`ring`] those by which it hands over
//! frames, [`Manifest`] the devices that an image declares.
//!
//! Nothing here opens a file, maps memory or makes a system call. All integers are
//! little-endian, sizes are in bytes, ranges are half-open.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod bytes;
mod elf;
mod error;
pub mod hvt;
pub mod hypercall;
mod image;
mod manifest;
mod note;
pub mod ring;
pub mod spt;
mod symbols;

pub use address::{GuestAddress, GuestRange};
pub use elf::{Segment, SegmentFlags};
pub use error::{ElfError, ImageError, ManifestError, NoteError, SegmentError};
pub use image::{Image, ReadAt, ReadError};
pub use manifest::{Attachment, Device, DeviceKind, DeviceName, Manifest};
pub use note::{AbiNote, Target};
pub use symbols::{Symbol, SymbolTable};

/// Lowest address at which an image may have anything loaded, and lowest entry point
/// (the Solo5 ABI, section 1).
pub const IMAGE_FLOOR: u64 = 0x10_0000;

/// The unit of memory protection.
pub const PAGE_SIZE: u64 = 4096;

/// Longest guest command line, without its terminating NUL.
pub const COMMAND_LINE_MAX: usize = 8191;

/// What the command line buffer takes in guest memory.
pub const COMMAND_LINE_SIZE: usize = COMMAND_LINE_MAX + 1;

/// ABI versions that a tender built on this crate may run, for both targets: 1 (Solo5 0.6 to
/// 0.7) and 2 (since 0.8) have the same wire structures.
pub const ABI_VERSIONS: core::ops::RangeInclusive<u32> = 1..=2;
