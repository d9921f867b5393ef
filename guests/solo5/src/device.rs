//! Devices: what a unikernel declares is what it gets, or it is not started.

use core::ffi::CStr;
use core::ptr::with_exposed_provenance;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::note::{KIND_BLOCK, KIND_NET, ManifestEntry, ManifestHeader};
use crate::target;

/// Address of the manifest that the tender has filled in.
static MANIFEST: AtomicUsize = AtomicUsize::new(0);

/// A device in the declaration of a unikernel. Names have 1 to 67 ASCII letters and digits.
#[derive(Clone, Copy, Debug)]
pub enum Declared {
    /// A network interface.
    Net(&'static str),
    /// A block device.
    Block(&'static str),
}

/// Why a call on a device did not do what it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The arguments are outside the device.
    InvalidArgument,
    /// The host could not.
    Unspecified,
}

/// How a target names a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    /// Index in the manifest.
    #[cfg_attr(solo5_spt, expect(dead_code, reason = "system calls take descriptors"))]
    pub(crate) number: u64,
    /// Descriptor in the host's process.
    #[cfg_attr(solo5_hvt, expect(dead_code, reason = "hypercalls take handles"))]
    pub(crate) descriptor: i32,
}

/// A network interface.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    handle: Handle,
    mac: [u8; 6],
    mtu: u16,
}

/// A block device.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    handle: Handle,
    capacity: u64,
    /// Size of one block.
    unit: u16,
}

pub(crate) fn start(manifest: usize) {
    MANIFEST.store(manifest, Ordering::Relaxed);
}

/// The entries that the tender has left in memory.
fn entries() -> &'static [ManifestEntry] {
    let address = MANIFEST.load(Ordering::Relaxed);
    let header = with_exposed_provenance::<ManifestHeader>(address);
    // SAFETY: the tender stores a manifest there, which nobody changes.
    let count = unsafe { (*header).count } as usize;
    // SAFETY: the entries follow the header.
    let first = unsafe { header.add(1) };
    // SAFETY: there are as many as the header says, at most 64.
    unsafe { core::slice::from_raw_parts(first.cast(), count) }
}

fn find(name: &str, kind: u32) -> Option<(Handle, &'static ManifestEntry)> {
    let matches = |entry: &ManifestEntry| {
        let found = CStr::from_bytes_until_nul(&entry.name).map(CStr::to_bytes);
        entry.kind == kind && entry.attached == 1 && found == Ok(name.as_bytes())
    };
    let (number, entry) = (0..).zip(entries()).find(|(_, entry)| matches(entry))?;
    Some((Handle { number, descriptor: entry.host_fd }, entry))
}

/// The `N` bytes at `at` of an entry's properties.
fn bytes<const N: usize>(entry: &ManifestEntry, at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&entry.properties[at..at + N]);
    out
}

impl Net {
    /// The interface that is declared by this name.
    pub fn named(name: &str) -> Option<Self> {
        let (handle, entry) = find(name, KIND_NET)?;
        let mtu = u16::from_le_bytes(bytes(entry, 6));
        Some(Self { handle, mac: bytes(entry, 0), mtu })
    }

    /// Its hardware address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The largest payload of a frame, without its 14 bytes of header.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Sends one frame, and what [`Net::queue`] was given before.
    ///
    /// # Errors
    /// It was not sent. Where the tender offers a ring for frames, nobody tells.
    pub fn send(&self, frame: &[u8]) -> Result<(), Failure> {
        target::net_write(self.handle, frame)
    }

    /// Has one frame sent soon: with the next [`Net::send`] or [`Net::receive`] that needs the
    /// host, before the next wait, at the latest when the guest ends. Where the tender takes many
    /// frames at once, that costs much less than sending each; elsewhere it is sent now.
    ///
    /// # Errors
    /// It was not sent. That a frame was lost later, nobody tells.
    pub fn queue(&self, frame: &[u8]) -> Result<(), Failure> {
        target::net_queue(self.handle, frame)
    }

    /// Receives one frame, if there is one. `room` has to have `mtu + 14` bytes, or frames are
    /// cut.
    ///
    /// # Errors
    /// The host could not tell.
    pub fn receive(&self, room: &mut [u8]) -> Result<Option<usize>, Failure> {
        target::net_read(self.handle, room)
    }
}

impl Block {
    /// The device that is declared by this name.
    pub fn named(name: &str) -> Option<Self> {
        let (handle, entry) = find(name, KIND_BLOCK)?;
        let capacity = u64::from_le_bytes(bytes(entry, 0));
        Some(Self { handle, capacity, unit: u16::from_le_bytes(bytes(entry, 8)) })
    }

    /// Its size in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The size of a block in bytes.
    pub fn block_size(&self) -> u16 {
        self.unit
    }

    /// Reads one block. `offset` is a multiple of the block size, `block` has that size.
    ///
    /// # Errors
    /// It is not a block of the device, or the host could not.
    pub fn read(&self, offset: u64, block: &mut [u8]) -> Result<(), Failure> {
        self.check(offset, block.len())?;
        target::block_read(self.handle, offset, block)
    }

    /// Writes one block, by the same rules.
    ///
    /// # Errors
    /// As for [`Block::read`].
    pub fn write(&self, offset: u64, block: &[u8]) -> Result<(), Failure> {
        self.check(offset, block.len())?;
        target::block_write(self.handle, offset, block)
    }

    fn check(&self, offset: u64, len: usize) -> Result<(), Failure> {
        let block_size = u64::from(self.unit);
        let whole = len as u64 == block_size && offset.is_multiple_of(block_size);
        let inside = offset < self.capacity && self.capacity - offset >= block_size;
        if whole && inside { Ok(()) } else { Err(Failure::InvalidArgument) }
    }
}

/// For tests of tenders: the number by which the target names a device, a handle or a descriptor.
pub trait RawHandle {
    /// The handle (hvt) or the descriptor (spt).
    fn raw(&self) -> u64;
}

impl RawHandle for Net {
    fn raw(&self) -> u64 {
        target::raw_handle(self.handle)
    }
}

impl RawHandle for Block {
    fn raw(&self) -> u64 {
        target::raw_handle(self.handle)
    }
}
