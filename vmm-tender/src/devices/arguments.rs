//! Gathering what is to be attached from arguments that come in any order.

use std::fmt;

use vmm_tender_abi::DeviceName;

use super::options::{
    BlockOption, BlockSource, DeviceOptions, MacAddress, Mtu, NetOption, NetSource, SectorSize,
};

/// What has been said about devices so far, each thing once for each name.
#[derive(Default)]
pub(crate) struct DeviceArguments {
    nets: Vec<(DeviceName, NetSource)>,
    macs: Vec<(DeviceName, MacAddress)>,
    mtus: Vec<(DeviceName, Mtu)>,
    blocks: Vec<(DeviceName, BlockSource)>,
    sector_sizes: Vec<(DeviceName, SectorSize)>,
}

/// The same thing has been said about a device before.
#[derive(Debug)]
pub(crate) struct Twice(DeviceName);

impl fmt::Display for Twice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is given twice", self.0)
    }
}

/// Properties of devices to which nothing is attached.
#[derive(Debug)]
pub(crate) enum Orphan {
    Mac(DeviceName),
    Mtu(DeviceName),
    SectorSize(DeviceName),
}

impl DeviceArguments {
    pub(crate) fn net(&mut self, name: DeviceName, source: NetSource) -> Result<(), Twice> {
        insert(&mut self.nets, name, source)
    }

    /// Whether `source` is attached to a device already.
    pub(crate) fn has_net(&self, source: &NetSource) -> bool {
        self.nets.iter().any(|(_, present)| present == source)
    }

    pub(crate) fn mac(&mut self, name: DeviceName, mac: MacAddress) -> Result<(), Twice> {
        insert(&mut self.macs, name, mac)
    }

    pub(crate) fn mtu(&mut self, name: DeviceName, mtu: Mtu) -> Result<(), Twice> {
        insert(&mut self.mtus, name, mtu)
    }

    pub(crate) fn block(&mut self, name: DeviceName, source: BlockSource) -> Result<(), Twice> {
        insert(&mut self.blocks, name, source)
    }

    pub(crate) fn sector_size(&mut self, name: DeviceName, size: SectorSize) -> Result<(), Twice> {
        insert(&mut self.sector_sizes, name, size)
    }

    /// Puts together what belongs together, and tells what belongs to nothing.
    pub(crate) fn finish(mut self) -> (DeviceOptions, Vec<Orphan>) {
        let nets = self.nets.into_iter().map(|(name, source)| NetOption {
            name,
            source,
            mac: remove(&mut self.macs, name),
            mtu: remove(&mut self.mtus, name),
        });
        let nets = nets.collect();
        let blocks = self.blocks.into_iter().map(|(name, source)| BlockOption {
            name,
            source,
            sector_size: remove(&mut self.sector_sizes, name).unwrap_or(SectorSize::DEFAULT),
        });
        let blocks = blocks.collect();
        let macs = self.macs.into_iter().map(|(name, _)| Orphan::Mac(name));
        let mtus = self.mtus.into_iter().map(|(name, _)| Orphan::Mtu(name));
        let sizes = self.sector_sizes.into_iter().map(|(name, _)| Orphan::SectorSize(name));
        (DeviceOptions { nets, blocks }, macs.chain(mtus).chain(sizes).collect())
    }
}

fn insert<T>(list: &mut Vec<(DeviceName, T)>, name: DeviceName, value: T) -> Result<(), Twice> {
    if list.iter().any(|(present, _)| *present == name) {
        return Err(Twice(name));
    }
    list.push((name, value));
    Ok(())
}

fn remove<T>(list: &mut Vec<(DeviceName, T)>, name: DeviceName) -> Option<T> {
    let at = list.iter().position(|(present, _)| *present == name)?;
    Some(list.swap_remove(at).1)
}
