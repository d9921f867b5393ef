//! Frames that were fetched before they are asked for: the more there are, the more at once.

use core::cell::UnsafeCell;

use super::super::outcome;
use super::{Commit, Operation, Ring, SLOT_SIZE, Slots};
use crate::device::Failure;

/// Frames that are fetched at once at most.
const INCOMING: usize = 16;

static SLOTS: Slots<INCOMING> = Slots::new();

/// What was fetched from one device.
struct Inbox {
    handle: u64,
    /// Slot and size of each frame, in the order in which they came.
    frames: [(usize, usize); INCOMING],
    /// Those that were taken, and all of them.
    taken: usize,
    count: usize,
    /// Whether there were no more of them, which whoever has taken the last is still to be told.
    drained: bool,
    /// How many to fetch the next time.
    wanted: usize,
}

struct Shared(UnsafeCell<Inbox>);

// SAFETY: there is one thread and no interrupt.
unsafe impl Sync for Shared {}

static INBOX: Shared = Shared(UnsafeCell::new(Inbox {
    handle: 0,
    frames: [(0, 0); INCOMING],
    taken: 0,
    count: 0,
    drained: false,
    wanted: 1,
}));

fn inbox<T>(work: impl FnOnce(&mut Inbox) -> T) -> T {
    // SAFETY: no `work` below calls this again, and there is one thread.
    work(unsafe { &mut *INBOX.0.get() })
}

/// The device whose frames were fetched and not taken.
pub(in crate::hvt) fn ready() -> Option<u64> {
    inbox(|inbox| inbox.has_frames().then_some(inbox.handle))
}

/// Takes one frame of the device `handle`: one that was fetched, or what the tender has.
pub(in crate::hvt) fn receive(
    ring: Ring,
    handle: u64,
    room: &mut [u8],
) -> Result<Option<usize>, Failure> {
    inbox(|inbox| {
        if inbox.handle == handle {
            if inbox.has_frames() {
                return Ok(Some(inbox.take(room)));
            }
            if core::mem::take(&mut inbox.drained) {
                // There was nothing a moment ago; if there is by now, no wait will be long.
                return Ok(None);
            }
        }
        if inbox.has_frames() || room.len() > SLOT_SIZE {
            return receive_one(ring, handle, room);
        }
        inbox.fetch(ring, handle, room.len())?;
        Ok(inbox.has_frames().then(|| inbox.take(room)))
    })
}

/// One frame, past the slots.
fn receive_one(ring: Ring, handle: u64, room: &mut [u8]) -> Result<Option<usize>, Failure> {
    ring.submit(Operation::Read, handle, room.as_mut_ptr(), room.len());
    ring.kick();
    let Commit { result, len, .. } = ring.commit();
    Ok(outcome(result)?.then(|| (len as usize).min(room.len())))
}

impl Inbox {
    fn has_frames(&self) -> bool {
        self.taken < self.count
    }

    fn take(&mut self, room: &mut [u8]) -> usize {
        let (slot, size) = self.frames[self.taken];
        self.taken += 1;
        let size = size.min(room.len());
        // SAFETY: the slot has a frame of at least that size, and nobody writes to it now.
        unsafe { room.as_mut_ptr().copy_from_nonoverlapping(SLOTS.slot(slot), size) };
        size
    }

    /// Fetches frames of up to `room` bytes, all of which were taken before.
    fn fetch(&mut self, ring: Ring, handle: u64, room: usize) -> Result<(), Failure> {
        let wanted = self.wanted;
        for slot in 0..wanted {
            ring.submit(Operation::Read, handle, SLOTS.slot(slot), room);
        }
        ring.kick();
        (self.handle, self.taken, self.count) = (handle, 0, 0);
        let mut failure = None;
        for slot in 0..wanted {
            let Commit { result, len, .. } = ring.commit();
            match outcome(result) {
                Ok(true) => {
                    self.frames[self.count] = (slot, (len as usize).min(room));
                    self.count += 1;
                }
                Ok(false) => {}
                Err(error) => failure = Some(error),
            }
        }
        // With nothing to take, this call itself tells.
        self.drained = 0 < self.count && self.count < wanted;
        // One more than came: it is the one that finds out that there are no more.
        let next = if self.count == wanted { 2 * wanted } else { self.count + 1 };
        self.wanted = next.min(INCOMING);
        match failure {
            // What has come is not lost for it; a failure that lasts comes again.
            Some(failure) if self.count == 0 => Err(failure),
            _ => Ok(()),
        }
    }
}
