//! The network ring: what is wrong about an entry costs that entry, what is wrong about memory or
//! counters ends the guest.

use core::ptr::with_exposed_provenance_mut;

use solo5::println;
use solo5::raw::{net_ring, out32};

const WRITE: u32 = 1;
const READ: u32 = 2;

const KICK_PORT: u16 = 0x600;
const SIZE: usize = 49280;
const ENTRIES: u32 = 1024;

const ENTRY_TAIL_AT: usize = 0;
const ENTRY_HEAD_AT: usize = 64;
const COMMIT_TAIL_AT: usize = 68;
const NEEDS_KICK_AT: usize = 72;

/// The largest number of looks at the counters of a tender that is not done after a kick.
const PATIENCE: u32 = 1 << 20;

struct Ring {
    at: usize,
    tail: u32,
}

pub(super) fn edges(net: u64, disk: u64) {
    let Some(at) = net_ring() else {
        println!("ring: none");
        return;
    };
    let mut ring = Ring { at, tail: 0 };
    ring.say("at first");
    (0..100).for_each(|_| kick());
    ring.say("100 kicks for nothing");
    for operation in [0, 3, u32::MAX] {
        ring.submit(operation, net, u64::MAX, u32::MAX);
    }
    ring.say("no operations");
    for handle in [0, disk, 63, 64, u64::from(u32::MAX)] {
        ring.submit(WRITE, handle, u64::MAX, u32::MAX);
        ring.submit(READ, handle, u64::MAX, u32::MAX);
    }
    ring.say("no interfaces");
    ring.submit(WRITE, net, super::buffer(), 0);
    ring.submit(WRITE, net, super::buffer(), 60);
    ring.say("frames of 0 and 60 bytes");
    (0..ENTRIES).for_each(|_| ring.submit(READ, 0, 0, 0));
    ring.say("a full ring, and commits that nobody takes");
    (0..ENTRIES).for_each(|_| ring.submit(WRITE, 0, 0, 0));
    ring.say("a full ring again");
}

/// Hands over what the tender refuses by ending the guest.
pub(super) fn forbidden(what: &[u8], net: u64, text: u64) -> bool {
    const LOW: u64 = 0x1_0000;
    // Without a ring there is no such port.
    let at = net_ring().unwrap_or_default();
    let (start, mut ring) = (at as u64, Ring { at, tail: 0 });
    match what {
        b"ring-none" => {}
        b"ring-overfull" => ring.move_tail(ENTRIES + 1),
        b"ring-backwards" => ring.move_tail(u32::MAX),
        b"ring-send-past" => ring.submit(WRITE, net, 0xFFFF_F000, 512),
        b"ring-send-ring" => ring.submit(WRITE, net, start, 60),
        b"ring-send-huge" => ring.submit(WRITE, net, super::buffer(), u32::MAX),
        b"ring-around" => ring.submit(WRITE, net, u64::MAX - 9, 60),
        b"ring-receive-text" => ring.submit(READ, net, text, 1514),
        b"ring-receive-low" => ring.submit(READ, net, LOW, 1514),
        b"ring-receive-ring" => ring.submit(READ, net, start + 128, 1514),
        b"ring-beyond" => ring.put(SIZE.next_multiple_of(4096), 1),
        _ => return false,
    }
    kick();
    true
}

fn kick() {
    // SAFETY: the tender touches the ring, and the buffer, which nothing borrows.
    unsafe { out32(KICK_PORT, 0) };
}

impl Ring {
    fn submit(&mut self, operation: u32, handle: u64, data: u64, len: u32) {
        let at = 128 + 32 * (self.tail % ENTRIES) as usize;
        let (data_low, data_high) = (data & 0xFFFF_FFFF, data >> 32);
        let words = [u64::from(operation), handle, data_low, data_high, len.into(), 7];
        for (place, word) in (at..).step_by(4).zip(words) {
            self.put(place, u32::try_from(word).unwrap_or(u32::MAX));
        }
        self.move_tail(self.tail.wrapping_add(1));
    }

    fn move_tail(&mut self, tail: u32) {
        self.tail = tail;
        self.put(ENTRY_TAIL_AT, tail);
    }

    /// Kicks, and tells how far the tender has come, and the last result.
    fn say(&self, what: &str) {
        kick();
        let behind = |_: &u32| self.get(ENTRY_HEAD_AT) != self.tail;
        (0..PATIENCE).take_while(behind).for_each(|_| core::hint::spin_loop());
        let (taken, committed) = (self.get(ENTRY_HEAD_AT), self.get(COMMIT_TAIL_AT));
        let last = 32896 + 16 * (committed.wrapping_sub(1) % ENTRIES) as usize;
        let result = if committed == 0 { 0 } else { self.get(last + 4) };
        let kick = self.get(NEEDS_KICK_AT);
        println!("ring, {what}: taken {taken} committed {committed} result {result} kick {kick}");
    }

    fn put(&self, at: usize, word: u32) {
        // SAFETY: the ring is nobody's else, and behind it the tender is expected to end us.
        unsafe { with_exposed_provenance_mut::<u32>(self.at + at).write_volatile(word) };
    }

    fn get(&self, at: usize) -> u32 {
        // SAFETY: the place is in the ring.
        unsafe { with_exposed_provenance_mut::<u32>(self.at + at).read_volatile() }
    }
}
