use std::io::{Seek, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;
use crate::devices::options::DeviceOptions;
use crate::devices::samples::{BLOCK, NET, block, manifest, net};
use crate::hvt::calls;

const SIZE: u64 = 0x20_0000;
const AT: GuestAddress = GuestAddress(0x18_0000);
const DATA: GuestAddress = GuestAddress(0x19_0000);
const BLOCK_WRITE: u16 = 4;
const BLOCK_READ: u16 = 5;
const NET_WRITE: u16 = 6;
const NET_READ: u16 = 7;
const CAPACITY: u64 = 4096;

/// A machine with a block device (handle 1) and two network interfaces (handles 2 and 3).
struct Host {
    memory: GuestMemory,
    devices: Devices,
    file: std::fs::File,
    peers: [OwnedFd; 2],
}

impl Host {
    fn new() -> Self {
        let file = tempfile::tempfile().unwrap();
        file.set_len(CAPACITY).unwrap();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let ((a, peer_a), (b, peer_b)) = (pair(), pair());
        let options = DeviceOptions {
            nets: vec![net("a", a), net("b", b)],
            blocks: vec![block("storage", file.try_clone().unwrap().into())],
        };
        let manifest = manifest(&[("storage", BLOCK), ("a", NET), ("b", NET)]);
        Self {
            memory: GuestMemory::anywhere(SIZE, 0).unwrap(),
            devices: Devices::attach(&manifest, options).unwrap(),
            file,
            peers: [peer_a, peer_b],
        }
    }

    /// Makes a call with a structure of these words, and returns its words afterwards.
    fn call(&mut self, number: u16, words: &[u64]) -> Result<Vec<u64>, Error> {
        for (index, word) in (0..).zip(words) {
            self.memory.store(GuestAddress(AT.0 + 8 * index), &word.to_le_bytes())?;
        }
        let flow = calls::answer(0x500 + number, AT, &mut self.memory, &self.devices)?;
        assert_eq!(flow, ControlFlow::Continue(()));
        let bytes = self.memory.buffer(AT, 8 * words.len() as u64)?;
        Ok(bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect())
    }

    /// The result of a call on the block device.
    fn block(&mut self, number: u16, handle: u64, offset: u64, len: u64) -> u64 {
        self.call(number, &[handle, offset, DATA.0, len, 0]).unwrap()[4]
    }

    fn refused(&mut self, number: u16, words: &[u64]) -> String {
        self.call(number, words).unwrap_err().to_string()
    }
}

#[test]
fn blocks_are_written_and_read_anywhere_on_the_device_and_nowhere_else() {
    let mut host = Host::new();
    host.memory.store(DATA, b"twenty-four bytes of it.").unwrap();
    assert_eq!(host.block(BLOCK_WRITE, 1, 4072, 24), 0);
    host.memory.store(DATA, &[0; 24]).unwrap();
    assert_eq!(host.block(BLOCK_READ, 1, 4072, 24), 0);
    assert_eq!(host.memory.buffer(DATA, 24).unwrap(), b"twenty-four bytes of it.");
    for number in [BLOCK_WRITE, BLOCK_READ] {
        assert_eq!(host.block(number, 1, 0, CAPACITY), 0);
        assert_eq!(host.block(number, 1, 0, 0), 0);
        for (offset, len) in
            [(4096, 0), (4072, 25), (0, 4097), (u64::MAX, 2), (0, u64::MAX), (0, 1 << 63)]
        {
            assert_eq!(host.block(number, 1, offset, len), 2, "{offset} {len}");
        }
    }
}

#[test]
fn handles_are_compared_in_full_and_by_type() {
    let mut host = Host::new();
    for handle in [0, 2, 3, 4, 63, 64, 1 << 32 | 1, u64::MAX] {
        assert_eq!(host.block(BLOCK_READ, handle, 0, 512), 2, "{handle:#x}");
        assert_eq!(host.block(BLOCK_WRITE, handle, 0, 512), 2, "{handle:#x}");
    }
    for handle in [0, 1, 4, 63, 64, 1 << 32 | 2, u64::MAX] {
        for number in [NET_READ, NET_WRITE] {
            let words = host.call(number, &[handle, DATA.0, 64, u64::MAX]).unwrap();
            assert_eq!(words, [handle, DATA.0, 64, 0xFFFF_FFFF_0000_0002], "{handle:#x}");
        }
    }
}

#[test]
fn a_device_that_fails_is_a_result_and_not_an_end() {
    let mut host = Host::new();
    host.file.set_len(1024).unwrap();
    assert_eq!(host.block(BLOCK_READ, 1, 1024, 512), 3);
    assert_eq!(host.block(BLOCK_READ, 1, 512, 1024), 3);
    // Not closed: a process that another test is just starting could have it open as well.
    rustix::net::shutdown(&host.peers[0], rustix::net::Shutdown::Both).unwrap();
    assert_eq!(host.call(NET_WRITE, &[2, DATA.0, 64, 0]).unwrap()[3], 3);
}

#[test]
fn frames_go_through_the_interface_that_they_are_for() {
    let mut host = Host::new();
    host.memory.store(DATA, b"a frame").unwrap();
    assert_eq!(host.call(NET_WRITE, &[3, DATA.0, 7, 0]).unwrap(), [3, DATA.0, 7, 0]);
    let mut room = [0; 16];
    assert_eq!(rustix::io::read(&host.peers[1], &mut room), Ok(7));
    assert_eq!(&room[..7], b"a frame");
    assert_eq!(rustix::io::read(&host.peers[0], &mut room), Err(Errno::AGAIN));

    assert_eq!(host.call(NET_READ, &[2, DATA.0, 1514, 9]).unwrap(), [2, DATA.0, 1514, 1]);
    rustix::io::write(&host.peers[0], b"another frame").unwrap();
    assert_eq!(host.call(NET_READ, &[2, DATA.0, 1514, 9]).unwrap(), [2, DATA.0, 13, 0]);
    assert_eq!(host.memory.buffer(DATA, 13).unwrap(), b"another frame");
}

#[test]
fn a_frame_that_does_not_fit_is_cut() {
    let mut host = Host::new();
    rustix::io::write(&host.peers[0], b"a long frame").unwrap();
    assert_eq!(host.call(NET_READ, &[2, DATA.0, 6, 9]).unwrap(), [2, DATA.0, 6, 0]);
    assert_eq!(host.memory.buffer(DATA, 7).unwrap(), b"a long\0");
    assert_eq!(host.call(NET_READ, &[2, DATA.0, 6, 9]).unwrap()[3], 1);
}

#[test]
fn poll_tells_who_has_frames_and_takes_none() {
    let mut host = Host::new();
    assert_eq!(host.call(3, &[0, 9, 9]).unwrap(), [0, 0, 0]);
    rustix::io::write(&host.peers[1], b"frame").unwrap();
    for _ in 0..2 {
        assert_eq!(host.call(3, &[u64::MAX, 0, 0]).unwrap(), [u64::MAX, 1 << 3, 1]);
    }
    rustix::io::write(&host.peers[0], b"frame").unwrap();
    assert_eq!(host.call(3, &[0, 0, 0]).unwrap(), [0, 1 << 3 | 1 << 2, 2]);
}

#[test]
fn poll_waits_as_long_as_it_is_told_and_finds_nothing() {
    let mut host = Host::new();
    let before = Instant::now();
    let words = host.call(3, &[20_000_000, u64::MAX, u64::MAX]).unwrap();
    assert!(before.elapsed() >= Duration::from_millis(20));
    assert_eq!(words, [20_000_000, 0, 0xFFFF_FFFF_0000_0000]);
}

#[test]
fn the_longest_timeout_is_a_valid_one() {
    let longest = timespec(Duration::from_nanos(u64::MAX));
    assert!(longest.tv_sec > 0 && (0..1_000_000_000).contains(&longest.tv_nsec));
}

#[test]
fn buffers_have_to_be_memory_that_the_guest_may_use() {
    let mut host = Host::new();
    // Reading into low memory, which the guest cannot write.
    let expected = "Invalid guest access: gpa=0x10000, sz=512";
    assert_eq!(host.refused(BLOCK_READ, &[1, 0, 0x1_0000, 512, 0]), expected);
    assert_eq!(host.call(BLOCK_WRITE, &[1, 0, 0x1_0000, 512, 0]).unwrap()[4], 0);
    let end = SIZE - 512;
    let expected = format!("Invalid guest access: gpa={end:#x}, sz=512");
    assert_eq!(host.refused(BLOCK_READ, &[1, 0, end, 512, 0]), expected);
    assert_eq!(host.refused(BLOCK_WRITE, &[1, 0, end, 512, 0]), expected);
    assert_eq!(host.refused(NET_READ, &[2, end, 512, 0]), expected);
    assert_eq!(host.refused(NET_WRITE, &[2, end, 512, 0]), expected);
    let expected = format!("Invalid guest access: gpa={DATA}, sz={}", u64::MAX);
    assert_eq!(host.refused(NET_READ, &[2, DATA.0, u64::MAX, 0]), expected);
}

#[test]
fn nothing_is_done_to_a_device_if_the_result_cannot_be_stored() {
    let mut host = Host::new();
    host.file.rewind().unwrap();
    host.file.write_all(b"as before").unwrap();
    // A structure in low memory: readable, but not for results.
    let low = GuestAddress(0x1_0000);
    for (index, word) in (0..).zip([1u64, 0, DATA.0, 512, 0]) {
        host.memory.store(GuestAddress(low.0 + 8 * index), &word.to_le_bytes()).unwrap();
    }
    let error = calls::answer(0x500 + BLOCK_WRITE, low, &mut host.memory, &host.devices);
    assert!(matches!(error, Err(Error::GuestAccess { address: GuestAddress(0x1_0020), len: 4 })));
    let mut bytes = [0; 9];
    rustix::io::pread(&host.file, &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"as before");
}
