//! The options that attach devices: `--OPTION NAME=VALUE`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use vmm_tender_abi::DeviceName;

use super::usage;
use crate::Error;
use crate::devices::options::{BlockSource, DeviceOptions, MacAddress, Mtu, NetSource, SectorSize};
use crate::devices::{DeviceArguments, Orphan};

/// The options that [`take`] understands.
pub(super) const OPTIONS: [&str; 5] = [NET, NET_MAC, NET_MTU, BLOCK, SECTOR_SIZE];

const NET: &str = "--net";
const NET_MAC: &str = "--net-mac";
const NET_MTU: &str = "--net-mtu";
const BLOCK: &str = "--block";
const SECTOR_SIZE: &str = "--block-sector-size";

/// Adds the `NAME=VALUE` of one of [`OPTIONS`] to `devices`.
pub(super) fn take(
    devices: &mut DeviceArguments,
    option: &str,
    value: &OsStr,
) -> Result<(), Error> {
    let (name, value) = pair(option, value)?;
    let text = value.to_str();
    let wrong = |rule: &str| usage(format!("{option} {name} wants {rule}, not {value:?}"));
    let taken = match option {
        NET => {
            let source = NetSource::parse(value);
            let rule = "an interface name of 1 to 15 bytes or @N";
            devices.net(name, source.ok_or_else(|| wrong(rule))??)
        }
        NET_MAC => {
            let mac = text.and_then(MacAddress::parse);
            let mac = mac.ok_or_else(|| wrong("aa:bb:cc:dd:ee:ff"))?;
            if mac.is_multicast() {
                return Err(wrong("the address of one interface, which is not that of a group"));
            }
            devices.mac(name, mac)
        }
        NET_MTU => {
            let mtu = text.and_then(Mtu::parse);
            devices.mtu(name, mtu.ok_or_else(|| wrong("a number of bytes from 68 to 65521"))?)
        }
        BLOCK if value.is_empty() => return Err(wrong("a path or @N")),
        BLOCK => devices.block(name, BlockSource::parse(value)?),
        _ => {
            let size = text.and_then(SectorSize::parse);
            let rule = "a power of two from 512 to 32768";
            devices.sector_size(name, size.ok_or_else(|| wrong(rule))?)
        }
    };
    taken.map_err(|twice| usage(format!("{option} {twice}")))
}

/// What is to be attached; nothing may have been said about devices that nothing is attached to.
pub(super) fn finish(devices: DeviceArguments) -> Result<DeviceOptions, Error> {
    let (options, orphans) = devices.finish();
    match orphans.first() {
        None => Ok(options),
        Some(Orphan::Mac(name)) => {
            Err(usage(format!("{NET_MAC} {name} is given without {NET} {name}")))
        }
        Some(Orphan::Mtu(name)) => {
            Err(usage(format!("{NET_MTU} {name} is given without {NET} {name}")))
        }
        Some(Orphan::SectorSize(name)) => {
            Err(usage(format!("{SECTOR_SIZE} {name} is given without {BLOCK} {name}")))
        }
    }
}

/// Splits `NAME=VALUE`.
fn pair<'a>(option: &str, value: &'a OsStr) -> Result<(DeviceName, &'a OsStr), Error> {
    let bytes = value.as_bytes();
    let parts = bytes.iter().position(|&byte| byte == b'=').map(|at| bytes.split_at(at));
    let Some((name, [_, rest @ ..])) = parts else {
        return Err(usage(format!("{option} wants NAME=VALUE, not {value:?}")));
    };
    let name = std::str::from_utf8(name).ok().and_then(DeviceName::new).ok_or_else(|| {
        usage(format!("{option} wants NAME=VALUE, where NAME has 1 to 67 letters and digits"))
    })?;
    Ok((name, OsStr::from_bytes(rest)))
}
