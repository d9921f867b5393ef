//! The network ring: frames that a guest hands over many at once (the Solo5 hvt ABI, section 3.9).
//!
//! It is served where hypercalls are: a kick stops the guest's only CPU, everything that waits is
//! done, and the guest goes on with its commits in place. So nothing spins, nobody is woken, a
//! machine with one CPU has all of it, and the guest cannot change an entry while it is looked at;
//! each is copied all the same. What it costs is one exit a kick, however many frames that is.
//! The tender asks for every kick, as it looks at the ring at no other time.

use vmm_tender_abi::hypercall::CallResult;
use vmm_tender_abi::ring::{
    Commit, ENTRY_HEAD_AT, ENTRY_TAIL_AT, Entry, NEEDS_KICK_AT, Operation, SIZE, SLOTS,
};
use vmm_tender_abi::{GuestAddress, PAGE_SIZE};

use crate::Error;
use crate::devices::Devices;
use crate::memory::{GuestMemory, Rights};

/// The tender's side of the ring. What it counts it never reads back: the guest can write there.
pub(crate) struct Ring {
    at: GuestAddress,
    /// Entries that were taken.
    taken: u32,
    /// Commits that were written.
    committed: u32,
}

impl Ring {
    /// An empty ring behind the guest's own `memory`. What else is shared there is nobody's.
    pub(crate) fn new(memory: &mut GuestMemory) -> Result<Self, Error> {
        let ring = Self { at: GuestAddress(memory.size()), taken: 0, committed: 0 };
        let pages = SIZE.next_multiple_of(PAGE_SIZE);
        let rest = GuestAddress(memory.size() + pages);
        let nothing = Rights { read: false, write: false, execute: false };
        memory.protect(rest, memory.end() - rest.0, nothing)?;
        memory.store(ring.place(NEEDS_KICK_AT), &1u32.to_le_bytes())?;
        Ok(ring)
    }

    /// Where the guest finds it.
    pub(crate) fn address(&self) -> GuestAddress {
        self.at
    }

    /// Entries that were taken and commits that were written, counted freely.
    pub(crate) fn counted(&self) -> [u32; 2] {
        [self.taken, self.committed]
    }

    /// Does everything that waits: at most as much as there is room for.
    pub(crate) fn kicked(
        &mut self,
        memory: &mut GuestMemory,
        devices: &Devices,
    ) -> Result<(), Error> {
        let tail = u32::from_le_bytes(memory.shared(self.place(ENTRY_TAIL_AT))?);
        let waiting = tail.wrapping_sub(self.taken);
        if waiting > SLOTS {
            return Err(Error::GuestRing(waiting));
        }
        let mut drained = Drained::default();
        while self.taken != tail {
            let entry = Entry::decode(&memory.shared(self.place(Entry::offset(self.taken)))?);
            self.taken = self.taken.wrapping_add(1);
            match entry.operation {
                Some(Operation::Write) => write(&entry, memory, devices)?,
                Some(Operation::Read) => self.read(&entry, &mut drained, memory, devices)?,
                None => {}
            }
        }
        let counted = self.counted().map(u32::to_le_bytes);
        memory.store(self.place(ENTRY_HEAD_AT), counted.as_flattened())
    }

    fn read(
        &mut self,
        entry: &Entry,
        drained: &mut Drained,
        memory: &mut GuestMemory,
        devices: &Devices,
    ) -> Result<(), Error> {
        let received = match devices.net(entry.handle.into()) {
            Some(_) if drained.contains(entry.handle) => Err(CallResult::Again),
            Some(tap) => tap.receive(memory.buffer_mut(entry.data, entry.len.into())?),
            None => Err(CallResult::InvalidArgument),
        };
        if received == Err(CallResult::Again) {
            drained.add(entry.handle);
        }
        let (result, len) = match received {
            // A frame is never larger than its room, whose size has 32 bits.
            Ok(len) => (CallResult::Ok, u32::try_from(len).unwrap_or(u32::MAX)),
            Err(result) => (result, 0),
        };
        let commit = Commit { id: entry.id, result, len };
        memory.store(self.place(Commit::offset(self.committed)), &commit.encode())?;
        self.committed = self.committed.wrapping_add(1);
        Ok(())
    }

    fn place(&self, offset: u64) -> GuestAddress {
        GuestAddress(self.at.0 + offset)
    }
}

/// Nobody is told what became of a frame that is sent: one that fails is lost, as any can be.
fn write(entry: &Entry, memory: &GuestMemory, devices: &Devices) -> Result<(), Error> {
    if let Some(tap) = devices.net(entry.handle.into()) {
        let _ = tap.send(memory.buffer(entry.data, entry.len.into())?);
    }
    Ok(())
}

/// The interfaces that had nothing more in this kick. A guest that asks for many frames at once
/// costs one system call for the first that is not there.
#[derive(Default)]
struct Drained(u64);

impl Drained {
    fn contains(&self, handle: u32) -> bool {
        handle < u64::BITS && self.0 & 1 << handle != 0
    }

    fn add(&mut self, handle: u32) {
        // A manifest has at most 64 devices.
        if handle < u64::BITS {
            self.0 |= 1 << handle;
        }
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
