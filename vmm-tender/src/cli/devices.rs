//! The arguments that attach devices, in whatever order they come.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use vmm_tender_abi::DeviceName;

use super::usage;
use crate::Error;
use crate::devices::options::{
    BlockOption, BlockSource, DeviceOptions, MacAddress, NetOption, NetSource, SectorSize,
};

/// The options that [`DeviceArguments::take`] understands.
pub(super) const OPTIONS: [&str; 4] = [NET, NET_MAC, BLOCK, SECTOR_SIZE];

const NET: &str = "--net";
const NET_MAC: &str = "--net-mac";
const BLOCK: &str = "--block";
const SECTOR_SIZE: &str = "--block-sector-size";

/// What has been said about devices so far, each thing once for each name.
#[derive(Default)]
pub(crate) struct DeviceArguments {
    nets: Vec<(DeviceName, NetSource)>,
    macs: Vec<(DeviceName, MacAddress)>,
    blocks: Vec<(DeviceName, BlockSource)>,
    sector_sizes: Vec<(DeviceName, SectorSize)>,
}

impl DeviceArguments {
    /// Takes `NAME=VALUE` of one of [`OPTIONS`].
    pub(super) fn take(&mut self, option: &str, value: &OsStr) -> Result<(), Error> {
        match option {
            NET => {
                let (name, text) = pair(option, value, "NAME=TAP")?;
                self.net(name, text)
            }
            NET_MAC => {
                let (name, text) = pair(option, value, "NAME=MAC")?;
                let mac = text.to_str().and_then(MacAddress::parse).ok_or_else(|| {
                    usage(format!("--net-mac {name} wants aa:bb:cc:dd:ee:ff, not {text:?}"))
                })?;
                if mac.is_multicast() {
                    let text = format!("--net-mac {name}: {text:?} is the address of a group");
                    return Err(usage(text));
                }
                insert(&mut self.macs, name, mac, option)
            }
            BLOCK => {
                let (name, path) = pair(option, value, "NAME=PATH")?;
                insert(&mut self.blocks, name, BlockSource::parse(path)?, option)
            }
            _ => {
                let (name, text) = pair(option, value, "NAME=N")?;
                let size = text.to_str().and_then(SectorSize::parse).ok_or_else(|| {
                    usage(format!("{option} {name} wants a power of two from 512 to 32768"))
                })?;
                insert(&mut self.sector_sizes, name, size, option)
            }
        }
    }

    fn net(&mut self, name: DeviceName, text: &OsStr) -> Result<(), Error> {
        let source = NetSource::parse(text).ok_or_else(|| {
            usage(format!("--net {name} wants an interface name of 1 to 15 bytes or @N"))
        })?;
        insert(&mut self.nets, name, source?, NET)
    }

    /// Puts together what belongs together.
    pub(super) fn finish(mut self) -> Result<DeviceOptions, Error> {
        let nets = self.nets.into_iter().map(|(name, source)| NetOption {
            name,
            source,
            mac: remove(&mut self.macs, name),
        });
        let nets = nets.collect();
        let blocks = self.blocks.into_iter().map(|(name, source)| BlockOption {
            name,
            source,
            sector_size: remove(&mut self.sector_sizes, name).unwrap_or(SectorSize::DEFAULT),
        });
        let blocks = blocks.collect();
        let macs = self.macs.iter().map(|(name, _)| (NET_MAC, NET, name));
        let sizes = self.sector_sizes.iter().map(|(name, _)| (SECTOR_SIZE, BLOCK, name));
        if let Some((option, wanted, name)) = macs.chain(sizes).next() {
            return Err(usage(format!("{option} {name} is given without {wanted} {name}")));
        }
        Ok(DeviceOptions { nets, blocks })
    }
}

/// Splits `NAME=VALUE`.
fn pair<'a>(option: &str, value: &'a OsStr, form: &str) -> Result<(DeviceName, &'a OsStr), Error> {
    let bytes = value.as_bytes();
    let parts = bytes.iter().position(|&byte| byte == b'=').map(|at| bytes.split_at(at));
    let Some((name, [_, rest @ ..])) = parts else {
        return Err(usage(format!("{option} wants {form}, not {value:?}")));
    };
    let name = std::str::from_utf8(name).ok().and_then(DeviceName::new).ok_or_else(|| {
        usage(format!("{option} wants {form}, where NAME has 1 to 67 letters and digits"))
    })?;
    if rest.is_empty() && option == BLOCK {
        return Err(usage(format!("{option} wants {form}, not {value:?}")));
    }
    Ok((name, OsStr::from_bytes(rest)))
}

fn insert<T>(
    list: &mut Vec<(DeviceName, T)>,
    name: DeviceName,
    value: T,
    option: &str,
) -> Result<(), Error> {
    if list.iter().any(|(present, _)| *present == name) {
        return Err(usage(format!("{option} {name} is given twice")));
    }
    list.push((name, value));
    Ok(())
}

fn remove<T>(list: &mut Vec<(DeviceName, T)>, name: DeviceName) -> Option<T> {
    let at = list.iter().position(|(present, _)| *present == name)?;
    Some(list.swap_remove(at).1)
}
