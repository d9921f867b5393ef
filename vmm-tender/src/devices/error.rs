//! Why devices could not be attached.

use std::path::PathBuf;

use rustix::io::Errno;
use vmm_tender_abi::{Device, DeviceKind, DeviceName};

use crate::descriptors::DescriptorNumber;

/// Why a device could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The image has no such device.
    #[error("Resource not declared in manifest: '{name}' as {kind} device")]
    NotDeclared {
        /// Its name.
        name: DeviceName,
        /// What was to be attached.
        kind: DeviceKind,
    },
    /// The image has devices that nothing is attached to.
    #[error("{}", not_attached(.0))]
    NotAttached(Vec<Device>),
    /// An interface could not be used.
    #[error("Could not attach interface: {name}: {error}")]
    Interface {
        /// The device.
        device: DeviceName,
        /// The interface.
        name: String,
        /// Why.
        error: Errno,
    },
    /// A descriptor is not what frames can go through.
    #[error("Could not attach interface: {number}: {reason}")]
    NetDescriptor {
        /// The device.
        device: DeviceName,
        /// The descriptor.
        number: DescriptorNumber,
        /// The rule.
        reason: &'static str,
    },
    /// A file could not be opened.
    #[error("Could not open block device: {path:?}: {error}")]
    OpenBlock {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: Errno,
    },
    /// What was opened cannot be a block device.
    #[error("Could not attach block device '{name}': {reason}")]
    Block {
        /// The device.
        name: DeviceName,
        /// The rule.
        reason: &'static str,
    },
    /// A file does not consist of blocks.
    #[error(
        "Backing storage size must be block aligned ({block_size} bytes): '{name}' has {capacity} bytes"
    )]
    NotAligned {
        /// The device.
        name: DeviceName,
        /// Size of its blocks.
        block_size: u16,
        /// Size of the file.
        capacity: u64,
    },
    /// A file is empty.
    #[error("Backing storage must be at least 1 block ({block_size} bytes) in size: '{name}'")]
    Empty {
        /// The device.
        name: DeviceName,
        /// Size of its blocks.
        block_size: u16,
    },
    /// Something on the host failed.
    #[error("cannot {what} device '{name}': {error}")]
    Host {
        /// The device.
        name: DeviceName,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: Errno,
    },
}

impl DeviceError {
    /// The type of a device as users of Solo5 know it.
    pub(crate) fn type_name(kind: DeviceKind) -> &'static str {
        match kind {
            DeviceKind::Net => "NET_BASIC",
            DeviceKind::Block => "BLOCK_BASIC",
        }
    }
}

fn not_attached(devices: &[Device]) -> String {
    let each = devices.iter().map(|Device { name, kind, .. }| {
        let kind = DeviceError::type_name(*kind);
        format!("Device '{name}' of type {kind} declared but not attached. ")
    });
    each.collect::<String>() + "All declared devices must be attached"
}
