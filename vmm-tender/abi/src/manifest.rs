//! The devices that an image declares (the Solo5 ABI, section 1.4).

use alloc::vec::Vec;
use core::fmt;

use crate::bytes::{array, put, u32_at};
use crate::error::ManifestError;

const VERSION: u32 = 1;
const HEADER_SIZE: usize = 8;
const ENTRY_SIZE: usize = 104;
const ENTRIES_MAX: u32 = 64;
const NAME_SIZE: usize = 68;

const TYPE_AT: usize = 68;
const PROPERTIES_AT: usize = 72;
const HOST_FD_AT: usize = 88;
const ATTACHED_AT: usize = 96;

const TYPE_BLOCK: u32 = 1;
const TYPE_NET: u32 = 2;
const TYPE_RESERVED_FIRST: u32 = 0x4000_0000;

/// The devices of an image. A device's handle is its entry's index; the first has handle 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    entries: u32,
    devices: Vec<Device>,
}

/// A device that the image wants to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Handle in hypercalls and bit number in a ready set, 1 to 63.
    pub handle: u32,
    /// Its name, by which whoever starts the machine attaches something to it.
    pub name: DeviceName,
    /// What can be attached.
    pub kind: DeviceKind,
}

/// Type of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceKind {
    /// Block device.
    Block,
    /// Network interface.
    Net,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::Net => "net",
        })
    }
}

/// A device name: 1 to 67 ASCII letters and digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DeviceName {
    bytes: [u8; NAME_SIZE],
}

impl DeviceName {
    /// The name `text`, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; NAME_SIZE];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Self::from_bytes(bytes)
    }

    /// The name in a NUL-terminated field; what follows the NUL is dropped.
    fn from_bytes(mut bytes: [u8; NAME_SIZE]) -> Option<Self> {
        let len = bytes.iter().position(|&byte| byte == 0)?;
        bytes[len..].fill(0);
        let valid = len > 0 && bytes[..len].iter().all(u8::is_ascii_alphanumeric);
        valid.then_some(Self { bytes })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let len = self.bytes.iter().position(|&byte| byte == 0).unwrap_or(NAME_SIZE);
        // ASCII by construction.
        core::str::from_utf8(&self.bytes[..len]).unwrap_or_default()
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What the guest is told of an attached device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attachment {
    /// Network interface.
    Net {
        /// Hardware address.
        mac: [u8; 6],
        /// Largest payload of a frame.
        mtu: u16,
        /// Descriptor that an spt guest uses; -1 on hvt.
        host_fd: i32,
    },
    /// Block device.
    Block {
        /// Size in bytes.
        capacity: u64,
        /// Size of a block in bytes.
        block_size: u16,
        /// Descriptor that an spt guest uses; -1 on hvt.
        host_fd: i32,
    },
}

impl Manifest {
    /// Parses and validates the manifest of a file.
    ///
    /// Whatever the file presets as properties of a device is ignored: the host fills them in.
    ///
    /// # Errors
    /// The first broken rule. Names that no command line could mention (empty, doubled, not
    /// alphanumeric) are refused here and not when the device turns out never to be attached.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() < HEADER_SIZE {
            return Err(ManifestError::Size { size: bytes.len(), entries: 0 });
        }
        let version = u32_at(bytes, 0);
        if version != VERSION {
            return Err(ManifestError::Version(version));
        }
        let entries = u32_at(bytes, 4);
        if !(1..=ENTRIES_MAX).contains(&entries) {
            return Err(ManifestError::Entries(entries));
        }
        if bytes.len() != encoded_size(entries) {
            return Err(ManifestError::Size { size: bytes.len(), entries });
        }
        let mut devices: Vec<Device> = Vec::new();
        for (index, entry) in (0..).zip(bytes[HEADER_SIZE..].chunks_exact(ENTRY_SIZE)) {
            let Some(device) = parse_entry(index, entry)? else { continue };
            if devices.iter().any(|other| other.name == device.name) {
                return Err(ManifestError::DoubledName(device.name));
            }
            devices.push(device);
        }
        Ok(Self { entries, devices })
    }

    /// The devices, by rising handle; at most 63.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Size in guest memory, 112 to 6664 bytes.
    pub fn encoded_size(&self) -> usize {
        encoded_size(self.entries)
    }

    /// The manifest as a guest finds it in its memory. `attachment` tells what is attached to a
    /// device; one without attachment, or with one of another kind, stays unattached.
    pub fn encode(&self, attachment: impl Fn(&Device) -> Option<Attachment>) -> Vec<u8> {
        let mut out = alloc::vec![0; self.encoded_size()];
        put(&mut out, 0, &VERSION.to_le_bytes());
        put(&mut out, 4, &self.entries.to_le_bytes());
        for entry in out[HEADER_SIZE..].chunks_exact_mut(ENTRY_SIZE) {
            put(entry, TYPE_AT, &TYPE_RESERVED_FIRST.to_le_bytes());
        }
        for device in &self.devices {
            let at = HEADER_SIZE + device.handle as usize * ENTRY_SIZE;
            encode_device(&mut out[at..at + ENTRY_SIZE], device, attachment(device));
        }
        out
    }
}

fn encoded_size(entries: u32) -> usize {
    HEADER_SIZE + entries as usize * ENTRY_SIZE
}

/// `None` for entries that are reserved for other uses.
fn parse_entry(index: u32, entry: &[u8]) -> Result<Option<Device>, ManifestError> {
    let name: [u8; NAME_SIZE] = array(entry, 0);
    let kind = u32_at(entry, TYPE_AT);
    if name[NAME_SIZE - 1] != 0 {
        return Err(ManifestError::NameNotTerminated(index));
    }
    if entry[ATTACHED_AT] != 0 {
        return Err(ManifestError::Attached(index));
    }
    if index == 0 && (kind != TYPE_RESERVED_FIRST || name[0] != 0) {
        return Err(ManifestError::FirstEntry);
    }
    let kind = match kind {
        TYPE_BLOCK => DeviceKind::Block,
        TYPE_NET => DeviceKind::Net,
        reserved if reserved >= TYPE_RESERVED_FIRST => return Ok(None),
        value => return Err(ManifestError::Type { entry: index, value }),
    };
    let name = DeviceName::from_bytes(name).ok_or(ManifestError::Name(index))?;
    Ok(Some(Device { handle: index, name, kind }))
}

fn encode_device(entry: &mut [u8], device: &Device, attachment: Option<Attachment>) {
    let kind = match device.kind {
        DeviceKind::Block => TYPE_BLOCK,
        DeviceKind::Net => TYPE_NET,
    };
    put(entry, 0, &device.name.bytes);
    put(entry, TYPE_AT, &kind.to_le_bytes());
    let host_fd = match (device.kind, attachment) {
        (DeviceKind::Net, Some(Attachment::Net { mac, mtu, host_fd })) => {
            put(entry, PROPERTIES_AT, &mac);
            put(entry, PROPERTIES_AT + 6, &mtu.to_le_bytes());
            host_fd
        }
        (DeviceKind::Block, Some(Attachment::Block { capacity, block_size, host_fd })) => {
            put(entry, PROPERTIES_AT, &capacity.to_le_bytes());
            put(entry, PROPERTIES_AT + 8, &block_size.to_le_bytes());
            host_fd
        }
        _ => return,
    };
    put(entry, HOST_FD_AT, &host_fd.to_le_bytes());
    entry[ATTACHED_AT] = 1;
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
