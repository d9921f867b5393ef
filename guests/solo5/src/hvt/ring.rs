//! The network ring: frames are handed over many at once, where the tender offers that.
//!
//! A frame that is sent is copied to a slot of our own, and its entry waits for the next kick; one
//! kick is for all that wait. [`inbox`] fetches frames ahead. So a guest under load leaves its CPU
//! once for many frames, and not several times for each.
//!
//! Nothing here relies on the tender being done when a kick returns: another one may serve the
//! ring in a thread of its own.

pub(super) mod inbox;

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

use crate::arguments;

/// Port of a kick.
const KICK_PORT: u16 = 0x600;

/// Entries of the ring, and commits.
const ENTRIES: u32 = 1024;
const ENTRIES_AT: usize = 128;
const COMMITS_AT: usize = 32896;

/// Counters of the guest: entries written, commits taken.
const ENTRY_TAIL_AT: usize = 0;
const COMMIT_HEAD_AT: usize = 4;
/// Counters of the tender: entries taken, commits written; and whether it wants to be told.
const ENTRY_HEAD_AT: usize = 64;
const COMMIT_TAIL_AT: usize = 68;
const NEEDS_KICK_AT: usize = 72;

/// Frames that wait to be sent at most.
const OUTGOING: u32 = 32;
/// The largest frame that a slot takes.
const SLOT_SIZE: usize = 2048;

/// What is to be done.
#[derive(Clone, Copy)]
enum Operation {
    Write = 1,
    Read = 2,
}

#[repr(C)]
struct Entry {
    operation: u32,
    handle: u32,
    data: u64,
    len: u32,
    id: u32,
    reserved: u64,
}

/// What became of a read.
#[derive(Clone, Copy)]
#[repr(C)]
struct Commit {
    id: u32,
    result: i32,
    len: u32,
    reserved: u32,
}

/// Room for `N` frames.
#[repr(C, align(64))]
struct Slots<const N: usize>(UnsafeCell<[[u8; SLOT_SIZE]; N]>);

// SAFETY: there is one thread and no interrupt.
unsafe impl<const N: usize> Sync for Slots<N> {}

impl<const N: usize> Slots<N> {
    const fn new() -> Self {
        Self(UnsafeCell::new([[0; SLOT_SIZE]; N]))
    }

    fn slot(&self, index: usize) -> *mut u8 {
        self.0.get().cast::<u8>().wrapping_add(index % N * SLOT_SIZE)
    }
}

static OUTBOX: Slots<{ OUTGOING as usize }> = Slots::new();

/// Address of the ring, 0 if there is none.
static ADDRESS: AtomicUsize = AtomicUsize::new(0);

pub(super) fn start(host_features: u32, address: u64) {
    const RING_OFFERED: u32 = 1;
    if host_features & RING_OFFERED != 0 {
        ADDRESS.store(usize::try_from(address).unwrap_or_default(), Ordering::Relaxed);
    }
}

/// Address of the network ring, if one is offered.
pub fn net_ring() -> Option<usize> {
    let address = ADDRESS.load(Ordering::Relaxed);
    (address != 0).then_some(address)
}

/// A ring that is used.
#[derive(Clone, Copy)]
pub(super) struct Ring {
    at: usize,
}

impl Ring {
    /// The one that is offered, unless the command line says that it shall not be used.
    pub(super) fn offered() -> Option<Self> {
        net_ring().filter(|_| arguments::net_ring_wanted()).map(|at| Self { at })
    }

    /// Has `frame` sent with the next kick. `false` if it is too large for that.
    pub(super) fn queue(self, handle: u64, frame: &[u8]) -> bool {
        if frame.len() > SLOT_SIZE {
            return false;
        }
        if self.waiting() >= OUTGOING {
            self.kick();
            while self.waiting() >= OUTGOING {
                spin_loop();
            }
        }
        let slot = OUTBOX.slot(self.counter(ENTRY_TAIL_AT).load(Ordering::Relaxed) as usize);
        // SAFETY: the slot has room, and nobody looks at it: fewer entries wait than there are
        // slots, and each entry has the slot behind that of the one before.
        unsafe { slot.copy_from_nonoverlapping(frame.as_ptr(), frame.len()) };
        self.submit(Operation::Write, handle, slot, frame.len());
        true
    }

    /// Has the tender look at what waits, unless it is about to.
    pub(super) fn kick(self) {
        if self.waiting() == 0 {
            return;
        }
        // Either the tender sees the entries, or this sees that it wants to be told.
        fence(Ordering::SeqCst);
        if self.counter(NEEDS_KICK_AT).load(Ordering::Relaxed) != 0 {
            // SAFETY: the tender touches the ring and what its entries name, and whoever wrote
            // those vouches for that.
            unsafe { super::out32(KICK_PORT, 0) };
        }
    }

    /// Entries that the tender has not taken yet.
    fn waiting(self) -> u32 {
        let taken = self.counter(ENTRY_HEAD_AT).load(Ordering::Acquire);
        self.counter(ENTRY_TAIL_AT).load(Ordering::Relaxed).wrapping_sub(taken)
    }

    /// Writes an entry. Fewer than all are in use: the two kinds of slots together are fewer.
    fn submit(self, operation: Operation, handle: u64, data: *mut u8, len: usize) {
        let tail = self.counter(ENTRY_TAIL_AT).load(Ordering::Relaxed);
        let entry = Entry {
            operation: operation as u32,
            handle: u32::try_from(handle).unwrap_or(u32::MAX),
            data: data.expose_provenance() as u64,
            len: u32::try_from(len).unwrap_or(u32::MAX),
            id: tail,
            reserved: 0,
        };
        let at = self.at + ENTRIES_AT + (tail % ENTRIES) as usize * size_of::<Entry>();
        // SAFETY: the tender has a ring there, and leaves this entry alone until the tail moves.
        unsafe { with_exposed_provenance_mut::<Entry>(at).write_volatile(entry) };
        self.counter(ENTRY_TAIL_AT).store(tail.wrapping_add(1), Ordering::Release);
    }

    /// The next commit, once it is there.
    fn commit(self) -> Commit {
        let head = self.counter(COMMIT_HEAD_AT).load(Ordering::Relaxed);
        while self.counter(COMMIT_TAIL_AT).load(Ordering::Acquire) == head {
            spin_loop();
        }
        let at = self.at + COMMITS_AT + (head % ENTRIES) as usize * size_of::<Commit>();
        // SAFETY: the tender has written it, and leaves it alone until the head moves.
        let commit = unsafe { with_exposed_provenance_mut::<Commit>(at).read_volatile() };
        self.counter(COMMIT_HEAD_AT).store(head.wrapping_add(1), Ordering::Release);
        commit
    }

    fn counter(&self, at: usize) -> &AtomicU32 {
        // SAFETY: the tender has a ring there, whose counters are aligned and always touched as
        // a whole.
        unsafe { &*with_exposed_provenance_mut::<AtomicU32>(self.at + at) }
    }
}
