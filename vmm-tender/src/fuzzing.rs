//! A guest without a CPU: for fuzzing what a guest can ask for.

mod ring;

use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{Errno, read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use vmm_tender_abi::GuestAddress;
use vmm_tender_abi::hvt::RING_MEMORY;
use vmm_tender_abi::hypercall::{Hypercall, PORT_BASE};

use crate::devices::Devices;
use crate::devices::options::DeviceOptions;
use crate::devices::samples::{self, BLOCK, NET, block, manifest};
use crate::hvt;
use crate::memory::{GuestMemory, Rights};

pub use ring::play_ring;

const SIZE: u64 = 0x20_0000;
const CAPACITY: u64 = 0x1_0000;
/// Where text would be, which nobody may change.
const TEXT: GuestAddress = GuestAddress(0x10_0000);
const TEXT_SIZE: u64 = 0x1000;
/// Where structures stand.
const STRUCTURES: GuestAddress = GuestAddress(0x18_0000);
const STRUCTURES_SIZE: usize = 0x1000;

/// Memory of 2 MiB, with text, a block device (handle 1) and a network device (handle 2).
pub struct Guest {
    memory: GuestMemory,
    devices: Devices,
    peer: OwnedFd,
}

impl Guest {
    /// Memory full of zeros.
    pub fn new() -> Self {
        Self::try_new().unwrap_or_else(|error| panic!("no guest to be had: {error}"))
    }

    fn try_new() -> Result<Self, crate::Error> {
        let host = crate::Error::host::<Errno>("prepare a device");
        let prepared = (|| {
            let disk = memfd_create("disk", MemfdFlags::CLOEXEC)?;
            ftruncate(&disk, CAPACITY)?;
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let pair = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
            Ok((disk, pair))
        })();
        let (disk, (net, peer)) = prepared.map_err(host)?;
        let mut memory = GuestMemory::anywhere(SIZE, RING_MEMORY)?;
        let text = Rights { read: true, write: false, execute: false };
        memory.protect(TEXT, TEXT_SIZE, text)?;
        let manifest = manifest(&[("storage", BLOCK), ("service", NET)]);
        let options = DeviceOptions {
            nets: vec![samples::net("service", net)],
            blocks: vec![block("storage", disk)],
        };
        let devices = Devices::attach(&manifest, options)?;
        Ok(Self { memory, devices, peer })
    }

    /// Fills memory with `bytes` and makes every call but console output, with its structure at
    /// every eighth of them.
    pub fn make_calls(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(STRUCTURES_SIZE)];
        for number in (0..=9).filter(|&number| number != Hypercall::Puts as u16) {
            for offset in (0..bytes.len().max(1)).step_by(8) {
                let filled = self.memory.store(STRUCTURES, bytes);
                assert!(filled.is_ok(), "memory is memory");
                self.call(number, GuestAddress(STRUCTURES.0 + offset as u64));
            }
        }
        self.check_text();
    }

    fn check_text(&self) {
        let text = self.memory.buffer(TEXT, TEXT_SIZE);
        assert!(text.is_ok_and(|text| text.iter().all(|&byte| byte == 0)), "text has changed");
    }

    fn call(&mut self, number: u16, structure: GuestAddress) {
        self.exchange_frames();
        // Refusals are what most of it is for.
        let _ = hvt::answer_call(PORT_BASE + number, structure, &mut self.memory, &self.devices);
    }
}

impl Guest {
    /// There is always a frame: no call waits. What the guest has sent makes room.
    fn exchange_frames(&self) {
        let _ = read(&self.peer, &mut [0; 64]);
        let _ = write(&self.peer, &[0x55; 60]);
    }
}

impl Default for Guest {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arbitrary_structures_change_neither_text_nor_tender() {
        let mut guest = Guest::new();
        // Words that are near what is valid, in every order that a simple generator comes upon.
        let near = [0, 1, 2, 512, 0xFFFF, 1 << 32 | 1, TEXT.0, TEXT.0 + 0xFFC, SIZE - 512, SIZE];
        let words = near.into_iter().chain([STRUCTURES.0, STRUCTURES.0 + 8, u64::MAX, 1 << 63]);
        let words: Vec<_> = words.collect();
        let mut state = 1u64;
        for _ in 0..300 {
            let bytes: Vec<u8> = (0..12)
                .flat_map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    words[usize::try_from(state >> 40).unwrap() % words.len()].to_le_bytes()
                })
                .collect();
            guest.make_calls(&bytes);
        }
    }
}
