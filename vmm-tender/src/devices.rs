//! What is attached to a machine: network interfaces and block devices, exactly those that its
//! image declares (the Solo5 ABI, section 5).
//!
//! [`options`] is what whoever starts a machine asks for; [`Devices::attach`] compares it with the
//! manifest before anything is opened. [`tap`] and [`disk`] are the devices themselves.

mod arguments;
mod disk;
mod error;
mod ifreq;
pub mod options;
#[cfg(any(feature = "fuzzing", test))]
pub(crate) mod samples;
mod tap;

use std::os::fd::{AsFd, AsRawFd};

use vmm_tender_abi::{Attachment, Device, DeviceKind, DeviceName, Manifest};

use crate::Error;

pub(crate) use arguments::{DeviceArguments, Orphan};
pub(crate) use disk::Disk;
pub use error::DeviceError;
use options::{BlockOption, DeviceOptions, NetOption};
pub(crate) use tap::Tap;

/// The open devices of a machine.
pub(crate) struct Devices {
    /// By handle, where there is one.
    slots: Vec<Option<Backend>>,
}

enum Backend {
    Net(Tap),
    Block(Disk),
}

/// Whether a guest is told the numbers of the descriptors behind its devices.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descriptors {
    /// It uses them itself.
    Shown,
    /// They are none of its business.
    Hidden,
}

impl Devices {
    /// Opens what `options` name for the devices of `manifest`: all of them, and nothing else.
    ///
    /// # Errors
    /// A device is not attached, or what is attached is not declared or cannot be used.
    pub(crate) fn attach(manifest: &Manifest, options: DeviceOptions) -> Result<Self, Error> {
        check_declared(manifest, &options)?;
        let last = manifest.devices().last().map_or(0, |device| device.handle);
        let mut slots: Vec<_> = (0..=last).map(|_| None).collect();
        let mut missing = Vec::new();
        let DeviceOptions { mut nets, mut blocks } = options;
        let mut wanted = Vec::new();
        for device in manifest.devices() {
            let name = device.name;
            let option = match device.kind {
                DeviceKind::Net => take(&mut nets, |net| net.name == name).map(Wanted::Net),
                DeviceKind::Block => take(&mut blocks, |b| b.name == name).map(Wanted::Block),
            };
            match option {
                Some(option) => wanted.push((device.handle, option)),
                None => missing.push(device.clone()),
            }
        }
        if !missing.is_empty() {
            return Err(DeviceError::NotAttached(missing).into());
        }
        for (handle, option) in wanted {
            slots[handle as usize] = Some(option.open()?);
        }
        Ok(Self { slots })
    }

    /// None at all, for tests of what needs none.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { slots: Vec::new() }
    }

    /// The network interface with this handle, all 64 bits of it.
    pub(crate) fn net(&self, handle: u64) -> Option<&Tap> {
        match self.slot(handle) {
            Some(Backend::Net(tap)) => Some(tap),
            _ => None,
        }
    }

    /// The block device with this handle, all 64 bits of it.
    pub(crate) fn disk(&self, handle: u64) -> Option<&Disk> {
        match self.slot(handle) {
            Some(Backend::Block(disk)) => Some(disk),
            _ => None,
        }
    }

    /// All network interfaces, with their handles.
    pub(crate) fn nets(&self) -> impl Iterator<Item = (u64, &Tap)> {
        (0..).zip(&self.slots).filter_map(|(handle, slot)| match slot {
            Some(Backend::Net(tap)) => Some((handle, tap)),
            _ => None,
        })
    }

    /// All block devices.
    pub(crate) fn disks(&self) -> impl Iterator<Item = &Disk> {
        self.slots.iter().filter_map(|slot| match slot {
            Some(Backend::Block(disk)) => Some(disk),
            _ => None,
        })
    }

    /// What the guest is told about `device`.
    pub(crate) fn attachment(&self, device: &Device, shown: Descriptors) -> Option<Attachment> {
        let number = |fd: i32| if shown == Descriptors::Shown { fd } else { -1 };
        Some(match self.slot(device.handle.into())? {
            Backend::Net(tap) => Attachment::Net {
                mac: tap.mac().0,
                mtu: tap.mtu(),
                host_fd: number(tap.as_fd().as_raw_fd()),
            },
            Backend::Block(disk) => Attachment::Block {
                capacity: disk.capacity(),
                block_size: disk.block_size(),
                host_fd: number(disk.as_fd().as_raw_fd()),
            },
        })
    }

    fn slot(&self, handle: u64) -> Option<&Backend> {
        self.slots.get(usize::try_from(handle).ok()?)?.as_ref()
    }
}

enum Wanted {
    Net(NetOption),
    Block(BlockOption),
}

impl Wanted {
    fn open(self) -> Result<Backend, Error> {
        Ok(match self {
            Self::Net(NetOption { name, source, mac, mtu }) => {
                Backend::Net(Tap::attach(name, source, mac, mtu)?)
            }
            Self::Block(BlockOption { name, source, sector_size }) => {
                Backend::Block(Disk::attach(name, source, sector_size)?)
            }
        })
    }
}

fn take<T>(from: &mut Vec<T>, which: impl Fn(&T) -> bool) -> Option<T> {
    from.iter().position(which).map(|index| from.swap_remove(index))
}

fn check_declared(manifest: &Manifest, options: &DeviceOptions) -> Result<(), DeviceError> {
    let nets = options.nets.iter().map(|net| (net.name, DeviceKind::Net));
    let blocks = options.blocks.iter().map(|block| (block.name, DeviceKind::Block));
    nets.chain(blocks).try_for_each(|(name, kind)| declared(manifest, name, kind))
}

/// Whether the image declares the device, of this type.
pub(crate) fn declared(
    manifest: &Manifest,
    name: DeviceName,
    kind: DeviceKind,
) -> Result<(), DeviceError> {
    let mut devices = manifest.devices().iter();
    if devices.any(|device| device.name == name && device.kind == kind) {
        return Ok(());
    }
    Err(DeviceError::NotDeclared { name, kind })
}
