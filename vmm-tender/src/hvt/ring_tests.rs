use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use vmm_tender_abi::hvt::{MEMORY_UNIT, RING_MEMORY};
use vmm_tender_abi::ring::{COMMIT_TAIL_AT, COMMITS_AT};

use super::*;
use crate::devices::options::DeviceOptions;
use crate::devices::samples::{self, manifest, net};

const OWN: u64 = 2 * MEMORY_UNIT;
const DATA: u64 = 0x19_0000;
const WRITE: u32 = 1;
const READ: u32 = 2;
const NET: u32 = 1;
const OTHER_NET: u32 = 2;

/// A guest with two interfaces and a ring, of which it knows how far it has come.
struct Host {
    memory: GuestMemory,
    devices: Devices,
    ring: Ring,
    peers: [OwnedFd; 2],
    tail: u32,
    seen: u32,
}

impl Host {
    fn new() -> Self {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let ((a, peer_a), (b, peer_b)) = (pair(), pair());
        let options = DeviceOptions { nets: vec![net("a", a), net("b", b)], blocks: vec![] };
        let mut memory = GuestMemory::anywhere(OWN, RING_MEMORY).unwrap();
        let ring = Ring::new(&mut memory).unwrap();
        let manifest = manifest(&[("a", samples::NET), ("b", samples::NET)]);
        let devices = Devices::attach(&manifest, options).unwrap();
        Self { memory, devices, ring, peers: [peer_a, peer_b], tail: 0, seen: 0 }
    }

    /// Writes an entry, without a word to the tender.
    fn submit(&mut self, operation: u32, handle: u32, data: u64, len: u32) {
        let mut entry = [0; Entry::SIZE];
        entry[..4].copy_from_slice(&operation.to_le_bytes());
        entry[4..8].copy_from_slice(&handle.to_le_bytes());
        entry[8..16].copy_from_slice(&data.to_le_bytes());
        entry[16..20].copy_from_slice(&len.to_le_bytes());
        entry[20..24].copy_from_slice(&(self.tail ^ 0xABCD_0000).to_le_bytes());
        self.put(Entry::offset(self.tail), &entry);
        self.set_tail(self.tail.wrapping_add(1));
    }

    fn set_tail(&mut self, tail: u32) {
        self.tail = tail;
        self.put(ENTRY_TAIL_AT, &tail.to_le_bytes());
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        self.memory.store(GuestAddress(OWN + offset), bytes).unwrap();
    }

    fn word(&self, offset: u64) -> u32 {
        u32::from_le_bytes(self.memory.shared(GuestAddress(OWN + offset)).unwrap())
    }

    fn kick(&mut self) -> Result<(), Error> {
        self.ring.kicked(&mut self.memory, &self.devices)
    }

    fn refused(&mut self) -> String {
        self.kick().unwrap_err().to_string()
    }

    /// The commits that are new: number of the entry, result, length.
    fn commits(&mut self) -> Vec<(u32, u32, u32)> {
        let tail = self.word(COMMIT_TAIL_AT);
        let mut commits = Vec::new();
        while self.seen != tail {
            let at = Commit::offset(self.seen);
            let id = self.word(at) ^ 0xABCD_0000;
            commits.push((id, self.word(at + 4), self.word(at + 8)));
            self.seen = self.seen.wrapping_add(1);
        }
        commits
    }

    fn received(&self, peer: usize) -> Option<Vec<u8>> {
        let mut room = [0; 4096];
        match rustix::io::read(&self.peers[peer], &mut room) {
            Ok(len) => Some(room[..len].to_vec()),
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                None
            }
        }
    }

    fn send(&self, peer: usize, frame: &[u8]) {
        assert_eq!(rustix::io::write(&self.peers[peer], frame), Ok(frame.len()));
    }

    fn guest_bytes(&self, len: u64) -> &[u8] {
        self.memory.buffer(GuestAddress(DATA), len).unwrap()
    }
}

#[test]
fn a_new_ring_is_empty_and_wants_kicks() {
    let mut host = Host::new();
    assert_eq!((host.word(NEEDS_KICK_AT), host.word(ENTRY_HEAD_AT)), (1, 0));
    assert_eq!(host.ring.address(), GuestAddress(OWN));
    host.kick().unwrap();
    assert_eq!((host.word(ENTRY_HEAD_AT), host.word(COMMIT_TAIL_AT)), (0, 0));
}

#[test]
fn many_frames_go_out_with_one_kick_each_through_its_interface() {
    let mut host = Host::new();
    host.memory.store(GuestAddress(DATA), b"frame one and two").unwrap();
    host.submit(WRITE, NET, DATA, 9);
    host.submit(WRITE, OTHER_NET, DATA, 13);
    host.submit(WRITE, NET, DATA, 17);
    assert_eq!(host.received(0), None);
    host.kick().unwrap();
    assert_eq!(host.received(0).unwrap(), b"frame one");
    assert_eq!(host.received(0).unwrap(), b"frame one and two");
    assert_eq!(host.received(1).unwrap(), b"frame one and");
    assert_eq!((host.word(ENTRY_HEAD_AT), host.word(COMMIT_TAIL_AT)), (3, 0));
}

#[test]
fn each_read_has_a_commit_in_the_order_of_the_entries() {
    let mut host = Host::new();
    host.send(0, b"first");
    host.send(1, b"other");
    for (handle, at) in [(NET, 0), (NET, 0x100), (OTHER_NET, 0x200), (NET, 0x300), (9, 0x400)] {
        host.submit(READ, handle, DATA + at, 256);
    }
    host.kick().unwrap();
    let expected = [(0, 0, 5), (1, 1, 0), (2, 0, 5), (3, 1, 0), (4, 2, 0)];
    assert_eq!(host.commits(), expected);
    assert_eq!(host.guest_bytes(5), b"first");
    host.send(0, b"later");
    host.submit(READ, NET, DATA, 3);
    host.kick().unwrap();
    assert_eq!(host.commits(), [(5, 0, 3)]);
    assert_eq!(host.guest_bytes(5), b"latst");
}

#[test]
fn writes_are_done_before_the_reads_behind_them() {
    let mut host = Host::new();
    host.memory.store(GuestAddress(DATA), b"out").unwrap();
    host.send(0, b"in!");
    host.submit(WRITE, NET, DATA, 3);
    host.submit(READ, NET, DATA, 64);
    host.submit(WRITE, NET, DATA, 3);
    host.kick().unwrap();
    assert_eq!([host.received(0).unwrap(), host.received(0).unwrap()], [b"out", b"in!"]);
}

#[test]
fn indices_wrap_around_without_losing_anything() {
    let mut host = Host::new();
    let near_the_end = u32::MAX - 1500;
    (host.ring.taken, host.ring.committed) = (near_the_end, u32::MAX - 3);
    (host.tail, host.seen) = (near_the_end, u32::MAX - 3);
    for _ in 0..3 {
        for _ in 0..SLOTS {
            host.submit(READ, 63, 0, 0);
        }
        host.kick().unwrap();
        assert_eq!(host.commits().len(), SLOTS as usize);
        assert_eq!(host.word(ENTRY_HEAD_AT), host.tail);
    }
    assert!(host.tail < 4096);
}

#[test]
fn a_ring_that_says_more_than_it_holds_ends_the_guest() {
    for tail in [SLOTS + 1, u32::MAX, 1 << 31] {
        let mut host = Host::new();
        host.set_tail(tail);
        let expected = format!("Invalid guest network ring: {tail} entries wait, at most 1024 can");
        assert_eq!(host.refused(), expected);
    }
    // Backwards is as bad.
    let mut host = Host::new();
    host.submit(WRITE, 9, 0, 0);
    host.kick().unwrap();
    host.set_tail(0);
    assert!(host.refused().contains("4294967295 entries wait"));
}

#[test]
fn a_full_ring_is_a_valid_one() {
    let mut host = Host::new();
    host.set_tail(SLOTS);
    host.kick().unwrap();
    assert_eq!((host.word(ENTRY_HEAD_AT), host.word(COMMIT_TAIL_AT)), (SLOTS, 0));
}

#[test]
fn what_the_tender_counts_a_guest_cannot_set() {
    let mut host = Host::new();
    host.submit(READ, NET, DATA, 64);
    host.kick().unwrap();
    host.put(ENTRY_HEAD_AT, &[0xFF; 12]);
    host.submit(READ, NET, DATA, 64);
    host.kick().unwrap();
    assert_eq!((host.word(ENTRY_HEAD_AT), host.word(COMMIT_TAIL_AT)), (2, 2));
    assert_eq!(host.commits(), [(0, 1, 0), (1, 1, 0)]);
}

#[test]
fn commits_that_nobody_takes_stay_within_the_ring() {
    let mut host = Host::new();
    for _ in 0..3 {
        for _ in 0..SLOTS {
            host.submit(READ, 9, 0, 0);
        }
        host.kick().unwrap();
    }
    assert_eq!(host.word(COMMIT_TAIL_AT), 3 * SLOTS);
    assert_eq!(host.word(SIZE), 0);
    assert_eq!(host.word(COMMITS_AT - 8), 0, "the last entry has its reserved word still");
}

#[test]
fn unknown_operations_and_devices_cost_an_entry_and_do_nothing() {
    let mut host = Host::new();
    for operation in [0, 3, u32::MAX] {
        host.submit(operation, NET, u64::MAX, u32::MAX);
    }
    for handle in [0, 3, 64, u32::MAX] {
        host.submit(WRITE, handle, u64::MAX, u32::MAX);
        host.submit(READ, handle, u64::MAX, u32::MAX);
    }
    host.kick().unwrap();
    assert_eq!(host.word(ENTRY_HEAD_AT), 11);
    let results = host.commits().into_iter().map(|(_, result, _)| result);
    assert!(results.eq([2; 4]));
}

#[test]
fn entries_name_memory_of_the_guests_own() {
    let ring = OWN;
    for (operation, data, len) in [
        (WRITE, OWN - 8, 8),
        (WRITE, ring, 64),
        (WRITE, DATA, u32::MAX),
        (WRITE, u64::MAX - 7, 8),
        (READ, OWN - 8, 8),
        // Over the entries that come next, over boot information, over page tables.
        (READ, ring + Entry::offset(1), 64),
        (READ, 0x1_0000, 64),
        (READ, 0x2000, 64),
        (READ, DATA, u32::MAX),
        (READ, u64::MAX, u32::MAX),
    ] {
        let mut host = Host::new();
        host.send(0, &[0x5A; 64]);
        host.submit(operation, NET, data, len);
        let expected = format!("Invalid guest access: gpa={data:#x}, sz={len}");
        assert_eq!(host.refused(), expected);
    }
}

#[test]
fn frames_do_not_land_in_pages_that_the_guest_may_not_write() {
    let mut host = Host::new();
    let text = Rights { read: true, write: false, execute: false };
    host.memory.protect(GuestAddress(0x10_0000), 0x1000, text).unwrap();
    host.submit(WRITE, NET, 0x10_0000, 64);
    host.kick().unwrap();
    assert_eq!(host.received(0).unwrap(), [0; 64]);
    host.send(0, &[0x5A; 64]);
    host.submit(READ, NET, 0x10_0FF0, 64);
    assert_eq!(host.refused(), "Invalid guest access: gpa=0x100ff0, sz=64");
}

#[test]
fn frames_of_no_bytes_are_no_frames_to_wait_for() {
    let mut host = Host::new();
    host.submit(READ, NET, DATA, 0);
    host.kick().unwrap();
    assert_eq!(host.commits(), [(0, 1, 0)]);
}

#[test]
fn a_frame_that_cannot_be_sent_is_lost_and_nothing_else() {
    let mut host = Host::new();
    host.memory.store(GuestAddress(DATA), b"frame").unwrap();
    // More than the socket takes.
    for _ in 0..SLOTS {
        host.submit(WRITE, NET, DATA, 5);
    }
    host.kick().unwrap();
    let mut received = 0;
    while host.received(0).is_some() {
        received += 1;
    }
    assert!(received > 0 && received < SLOTS, "{received}");
    assert_eq!(host.word(ENTRY_HEAD_AT), SLOTS);
    host.submit(WRITE, NET, DATA, 5);
    host.kick().unwrap();
    assert_eq!(host.received(0).unwrap(), b"frame");
}
