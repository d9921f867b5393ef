//! Pages of this process that hold guest memory.
#![allow(unsafe_code, reason = "mapping memory is what this module is for")]

use std::ffi::c_void;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;

use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

const PAGE_SIZE: usize = 4096;

/// What may be done with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rights {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) execute: bool,
}

/// Anonymous memory, zero at first, that only its owner names.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// `len` bytes anywhere. A virtual machine that they are lent to uses the same pages: private
    /// memory costs less than shared memory, which is a file.
    pub(crate) fn anywhere(len: usize) -> Result<Self> {
        Self::new(ptr::null_mut(), len, MapFlags::PRIVATE, ProtFlags::empty())
    }

    /// Exactly the `len` bytes from `address` on. Fails if anything is there.
    pub(crate) fn in_place(address: usize, len: usize, executable: bool) -> Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
        let execute = if executable { ProtFlags::EXEC } else { ProtFlags::empty() };
        let mapping = Self::new(ptr::with_exposed_provenance_mut(address), len, flags, execute)?;
        // Kernels before 4.17 take the address for a wish.
        if mapping.start.addr().get() != address {
            return Err(Errno::EXIST);
        }
        Ok(mapping)
    }

    fn new(address: *mut c_void, len: usize, flags: MapFlags, more: ProtFlags) -> Result<Self> {
        let rights = ProtFlags::READ | ProtFlags::WRITE | more;
        // Not reserved: what a guest may use is limited by whoever runs the machine.
        let flags = flags | MapFlags::NORESERVE;
        // SAFETY: nothing that exists is replaced, as the flags are never `FIXED`.
        let start = unsafe { mmap_anonymous(address, len, rights, flags) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::INVAL)?;
        Ok(Self { start, len })
    }

    /// Where it is in this process.
    pub(crate) fn host_address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    /// Size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of readable pages.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.check(&range);
        // SAFETY: the range is within the mapping.
        let start = unsafe { self.start.add(range.start) };
        // SAFETY: the bytes are initialized (as zeros), and whoever could change them, a guest's
        // CPU, runs only while the owner of this mapping is mutably borrowed.
        unsafe { slice::from_raw_parts(start.as_ptr(), range.len()) }
    }

    /// Bytes of writable pages.
    pub(crate) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.check(&range);
        // SAFETY: the range is within the mapping.
        let start = unsafe { self.start.add(range.start) };
        // SAFETY: as above, and this borrow is the only one.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), range.len()) }
    }

    /// Changes what may be done with whole pages.
    pub(crate) fn protect(&mut self, range: Range<usize>, rights: Rights) -> Result<()> {
        self.check(&range);
        let flags = [
            (rights.read, MprotectFlags::READ),
            (rights.write, MprotectFlags::WRITE),
            (rights.execute, MprotectFlags::EXEC),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect();
        // SAFETY: the range is within the mapping.
        let start = unsafe { self.start.add(range.start) };
        // SAFETY: only pages of this mapping change, and nothing borrows them.
        unsafe { mprotect(start.as_ptr().cast(), range.len(), flags) }
    }

    /// Marks in `resident` which of the pages from `start` on are in memory: those that somebody
    /// has touched, as long as they are not swapped out.
    pub(crate) fn resident(&self, start: usize, resident: &mut [bool]) -> Result<()> {
        self.check(&(start..start + resident.len() * PAGE_SIZE));
        let mut marks = vec![0; resident.len()];
        // SAFETY: the range is within the mapping.
        let address = unsafe { self.start.add(start) };
        let len = resident.len() * PAGE_SIZE;
        // SAFETY: the kernel writes one byte for each page.
        let result = unsafe { libc::mincore(address.as_ptr().cast(), len, marks.as_mut_ptr()) };
        if result == -1 {
            let error = std::io::Error::last_os_error();
            return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
        for (resident, mark) in resident.iter_mut().zip(marks) {
            *resident = mark & 1 != 0;
        }
        Ok(())
    }

    fn check(&self, range: &Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.len, "range outside the mapping");
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the pages are this mapping's, and nothing borrows them any more. Failure is
        // only possible for ranges that are no mapping.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "a mapping could not be unmapped");
    }
}
