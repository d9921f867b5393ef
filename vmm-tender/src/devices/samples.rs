//! Devices for tests: declared by a manifest of their own, attached by descriptors.

use std::os::fd::{IntoRawFd, OwnedFd};

use vmm_tender_abi::{DeviceName, Manifest};

use super::options::{BlockOption, BlockSource, NetOption, NetSource, SectorSize};
use crate::descriptors::DescriptorNumber;

/// The type of block devices in a manifest.
pub(crate) const BLOCK: u32 = 1;
/// The type of network devices.
pub(crate) const NET: u32 = 2;

/// A manifest with these devices, whose handles count from 1.
pub(crate) fn manifest(devices: &[(&str, u32)]) -> Manifest {
    let count = u32::try_from(devices.len() + 1).unwrap_or(u32::MAX);
    let mut bytes = [1, count].map(u32::to_le_bytes).concat();
    for (name, kind) in [("", 0x4000_0000)].iter().chain(devices) {
        let mut entry = [0; 104];
        entry[..name.len()].copy_from_slice(name.as_bytes());
        entry[68..72].copy_from_slice(&kind.to_le_bytes());
        bytes.extend(entry);
    }
    Manifest::parse(&bytes).unwrap_or_else(|error| panic!("{error}"))
}

/// Attaches `fd` to the network device of this name.
pub(crate) fn net(device: &str, fd: OwnedFd) -> NetOption {
    let source = NetSource::Descriptor(give(fd));
    NetOption { name: name(device), source, mac: None, mtu: None }
}

/// Attaches `fd` to the block device of this name.
pub(crate) fn block(device: &str, fd: OwnedFd) -> BlockOption {
    let source = BlockSource::Descriptor(give(fd));
    BlockOption { name: name(device), source, sector_size: SectorSize::DEFAULT }
}

fn name(text: &str) -> DeviceName {
    DeviceName::new(text).unwrap_or_else(|| panic!("{text} is no name"))
}

/// The number of a descriptor that is given away.
fn give(fd: OwnedFd) -> DescriptorNumber {
    let text = format!("@{}", fd.into_raw_fd());
    match DescriptorNumber::parse(&text) {
        Some(Ok(number)) => number,
        _ => panic!("{text} is a standard stream"),
    }
}
