//! Guest memory: the one place where addresses that a guest or an image names are turned into
//! bytes.

mod mapping;

use std::ops::Range;

use mapping::Mapping;
pub(crate) use mapping::Rights;
use rustix::io::Errno;
use vmm_tender_abi::{GuestAddress, GuestRange, IMAGE_FLOOR, Image, PAGE_SIZE, ReadAt, Segment};

use crate::Error;

/// The memory of a guest, zero at first. The guest runs only while the tender borrows it
/// mutably, or once the tender itself is gone, so that no slice of it changes behind its back.
pub(crate) struct GuestMemory {
    mapping: Mapping,
    /// Guest address of the first mapped byte.
    floor: u64,
    /// First guest address past the memory.
    size: u64,
    /// First guest address past what is mapped: what lies between is no memory of the guest's
    /// own, but what the tender shares with it.
    end: u64,
    /// Pages with less than read and write, by rising address.
    protected: Vec<(GuestRange, Rights)>,
}

/// Whether segments keep their right to be executed in this process's address space.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Execution {
    /// The guest runs in this process.
    Here,
    /// The guest runs on a CPU of its own: here, its code is data.
    Elsewhere,
}

impl GuestMemory {
    /// Memory of an hvt guest: `size` bytes from guest-physical address 0 on, somewhere in this
    /// process. Behind them are `shared` bytes more, which no hypercall can name.
    pub(crate) fn anywhere(size: u64, shared: u64) -> Result<Self, Error> {
        let end = size + shared;
        let mapping =
            Mapping::anywhere(to_usize(end)).map_err(Error::host("reserve guest memory"))?;
        Ok(Self { mapping, floor: 0, size, end, protected: Vec::new() })
    }

    /// Memory of an spt guest: the addresses from `floor` to `size` of this process itself,
    /// where data is `executable` only on request.
    pub(crate) fn in_place(floor: u64, size: u64, executable: bool) -> Result<Self, Error> {
        let mapping = Mapping::in_place(to_usize(floor), to_usize(size - floor), executable)
            .map_err(Error::host("map guest memory (is vm.mmap_min_addr above 65536, or is the guest too large for this host?)"))?;
        Ok(Self { mapping, floor, size, end: size, protected: Vec::new() })
    }

    /// First guest address past the memory.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// First guest address past what is mapped.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The host memory behind it, for the kernel's virtual machine.
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Loads and protects the segments of `image`.
    pub(crate) fn load<R: ReadAt>(
        &mut self,
        image: &Image,
        file: &R,
        execution: Execution,
    ) -> Result<(), Error> {
        image.check_fits(self.size)?;
        image.segments().iter().try_for_each(|segment| self.load_segment(segment, file, execution))
    }

    fn load_segment<R: ReadAt>(
        &mut self,
        segment: &Segment,
        file: &R,
        execution: Execution,
    ) -> Result<(), Error> {
        let bytes = self.writable(GuestAddress(segment.address), segment.file_size)?;
        // The rest of the segment is zero already: memory starts as zeros, and segments share no
        // page.
        let read = file.read_at(segment.offset, bytes)?;
        if read as u64 != segment.file_size {
            return Err(Error::ImageShrunk);
        }
        let flags = segment.flags;
        let rights = match execution {
            Execution::Here => {
                Rights { read: flags.read, write: flags.write, execute: flags.execute }
            }
            Execution::Elsewhere => {
                Rights { read: flags.read || flags.execute, write: flags.write, execute: false }
            }
        };
        self.protect(GuestAddress(segment.start), segment.end - segment.start, rights)
    }

    /// Sets what may be done with whole pages, here and, on hvt, in the guest.
    pub(crate) fn protect(
        &mut self,
        at: GuestAddress,
        len: u64,
        rights: Rights,
    ) -> Result<(), Error> {
        let (range, host) = self.locate(at, len)?;
        self.mapping.protect(host, rights).map_err(Error::host("protect guest memory"))?;
        self.protected.push((range, rights));
        Ok(())
    }

    /// Stores what the tender itself gives the guest, at any address.
    pub(crate) fn store(&mut self, at: GuestAddress, bytes: &[u8]) -> Result<(), Error> {
        self.writable(at, bytes.len() as u64)?.copy_from_slice(bytes);
        Ok(())
    }

    /// The `N` bytes of a hypercall's structure, copied: a guest that changes them later changes
    /// nothing.
    pub(crate) fn structure<const N: usize>(&self, at: GuestAddress) -> Result<[u8; N], Error> {
        let mut copy = [0; N];
        copy.copy_from_slice(self.buffer(at, N as u64)?);
        Ok(copy)
    }

    /// A copy of `N` bytes of what the tender shares with the guest.
    pub(crate) fn shared<const N: usize>(&self, at: GuestAddress) -> Result<[u8; N], Error> {
        let (_, host) = self.locate(at, N as u64)?;
        let mut copy = [0; N];
        copy.copy_from_slice(self.mapping.bytes(host));
        Ok(copy)
    }

    /// Memory that a hypercall names to be read.
    pub(crate) fn buffer(&self, at: GuestAddress, len: u64) -> Result<&[u8], Error> {
        self.check_hypercall_range(at, len)?;
        let (range, host) = self.locate(at, len)?;
        if !self.permits(range, |rights| rights.read) {
            return Err(Error::GuestAccess { address: at, len });
        }
        Ok(self.mapping.bytes(host))
    }

    /// Memory that a hypercall names to be written: not low memory, which the guest itself
    /// cannot write either.
    pub(crate) fn buffer_mut(&mut self, at: GuestAddress, len: u64) -> Result<&mut [u8], Error> {
        self.check_hypercall_range(at, len)?;
        if at.0 < IMAGE_FLOOR {
            return Err(Error::GuestAccess { address: at, len });
        }
        self.writable(at, len)
    }

    /// The rule of the hvt ABI, section 3.8: strictly below the end, even if empty.
    fn check_hypercall_range(&self, at: GuestAddress, len: u64) -> Result<(), Error> {
        let end = at.checked_add(len);
        if at.0 < self.size && end.is_some_and(|end| end.0 < self.size) {
            return Ok(());
        }
        Err(Error::GuestAccess { address: at, len })
    }

    /// Visits the pages in memory that can be read, by rising address, until a visit fails. What
    /// is left out has never been touched, cannot be read by the guest either, or is swapped out.
    pub(crate) fn for_resident_pages(
        &self,
        mut visit: impl FnMut(GuestAddress, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        const AT_ONCE: u64 = 4 << 20;
        for start in (self.floor..self.size).step_by(to_usize(AT_ONCE)) {
            let pages = (self.size - start).min(AT_ONCE) / PAGE_SIZE;
            let mut resident = vec![false; to_usize(pages)];
            self.mapping.resident(to_usize(start - self.floor), &mut resident)?;
            let pages = (start..).step_by(to_usize(PAGE_SIZE)).zip(resident);
            for (page, _) in pages.filter(|(_, resident)| *resident) {
                let located = self.locate(GuestAddress(page), PAGE_SIZE);
                let readable =
                    located.ok().filter(|(range, _)| self.permits(*range, |rights| rights.read));
                if let Some((range, host)) = readable {
                    visit(range.start(), self.mapping.bytes(host))?;
                }
            }
        }
        Ok(())
    }

    fn writable(&mut self, at: GuestAddress, len: u64) -> Result<&mut [u8], Error> {
        let (range, host) = self.locate(at, len)?;
        if !self.permits(range, |rights| rights.write) {
            return Err(Error::GuestAccess { address: at, len });
        }
        Ok(self.mapping.bytes_mut(host))
    }

    fn permits(&self, range: GuestRange, right: impl Fn(Rights) -> bool) -> bool {
        !self.protected.iter().any(|(pages, rights)| pages.overlaps(range) && !right(*rights))
    }

    /// Where the bytes are in the mapping, if all of them are.
    fn locate(&self, at: GuestAddress, len: u64) -> Result<(GuestRange, Range<usize>), Error> {
        let refused = Error::GuestAccess { address: at, len };
        match GuestRange::new(at, len) {
            Some(range) if at.0 >= self.floor && range.end().0 <= self.end => {
                let host = to_usize(at.0 - self.floor)..to_usize(range.end().0 - self.floor);
                Ok((range, host))
            }
            _ => Err(refused),
        }
    }
}

/// This program runs on 64-bit machines only.
#[expect(clippy::cast_possible_truncation, reason = "asserted not to")]
fn to_usize(value: u64) -> usize {
    const { assert!(size_of::<usize>() == size_of::<u64>()) };
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 0x20_0000;

    fn memory() -> GuestMemory {
        let mut memory = GuestMemory::anywhere(SIZE, 0).unwrap();
        let read_only = Rights { read: true, write: false, execute: false };
        memory.protect(GuestAddress(0x10_0000), 0x2000, read_only).unwrap();
        let nothing = Rights { read: false, write: false, execute: false };
        memory.protect(GuestAddress(0x18_0000), 0x1000, nothing).unwrap();
        memory
    }

    #[test]
    fn a_hypercall_range_ends_strictly_below_the_end_of_memory() {
        let memory = memory();
        let accepted = |at, len| memory.buffer(GuestAddress(at), len).is_ok();
        assert!(accepted(SIZE - 1, 0) && accepted(SIZE - 9, 8) && accepted(0, 16));
        assert!(!accepted(SIZE, 0) && !accepted(SIZE - 8, 8) && !accepted(SIZE - 1, 1));
        assert!(!accepted(u64::MAX, 2) && !accepted(8, u64::MAX) && !accepted(0, SIZE));
    }

    #[test]
    fn protected_pages_are_respected_instead_of_hit() {
        let mut memory = memory();
        assert!(memory.buffer(GuestAddress(0x10_0000), 16).is_ok());
        assert!(memory.buffer(GuestAddress(0x17_FFF8), 16).is_err());
        assert!(memory.buffer_mut(GuestAddress(0x17_FFF8), 16).is_err());
        assert!(memory.buffer_mut(GuestAddress(0x10_1FFF), 2).is_err());
        assert!(memory.buffer_mut(GuestAddress(0x10_2000), 2).is_ok());
        assert!(memory.store(GuestAddress(0x10_0000), &[1]).is_err());
    }

    #[test]
    fn low_memory_can_be_read_but_not_written_for_a_guest() {
        let mut memory = memory();
        memory.store(GuestAddress(0x1_0000), b"boot").unwrap();
        assert_eq!(memory.structure(GuestAddress(0x1_0000)).unwrap(), *b"boot");
        assert!(memory.buffer_mut(GuestAddress(0x1_0000), 4).is_err());
    }

    #[test]
    fn what_is_shared_is_there_for_the_tender_and_out_of_reach_for_calls() {
        let mut memory = GuestMemory::anywhere(SIZE, 0x2000).unwrap();
        memory.store(GuestAddress(SIZE + 0x1FFC), b"ring").unwrap();
        assert_eq!(memory.shared(GuestAddress(SIZE + 0x1FFC)).unwrap(), *b"ring");
        assert!(memory.shared::<4>(GuestAddress(SIZE + 0x1FFD)).is_err());
        for at in [SIZE - 2, SIZE - 1, SIZE, SIZE + 0x1000] {
            assert!(memory.buffer(GuestAddress(at), 4).is_err(), "{at:#x}");
            assert!(memory.buffer_mut(GuestAddress(at), 4).is_err(), "{at:#x}");
        }
    }

    #[test]
    fn memory_below_its_floor_does_not_exist() {
        let mapping = Mapping::anywhere(0x1000).unwrap();
        let (floor, end) = (0x1_0000, 0x1_1000);
        let memory = GuestMemory { mapping, floor, size: end, end, protected: vec![] };
        assert!(memory.buffer(GuestAddress(0x1_0000), 8).is_ok());
        assert!(memory.buffer(GuestAddress(0xFFFF), 8).is_err());
    }
}
