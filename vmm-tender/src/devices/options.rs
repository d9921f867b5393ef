//! What whoever starts a machine wants to have attached to it.

use std::ffi::OsStr;
use std::path::PathBuf;

use vmm_tender_abi::DeviceName;

use crate::descriptors::DescriptorNumber;

/// The longest interface name of Linux.
const INTERFACE_NAME_MAX: usize = 15;

/// Devices to attach, each name once.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct DeviceOptions {
    /// Network interfaces.
    pub nets: Vec<NetOption>,
    /// Block devices.
    pub blocks: Vec<BlockOption>,
}

impl DeviceOptions {
    /// The inherited descriptors among what is attached.
    pub fn descriptors(&self) -> impl Iterator<Item = DescriptorNumber> {
        let nets = self.nets.iter().filter_map(|net| match net.source {
            NetSource::Descriptor(number) => Some(number),
            NetSource::Interface(_) => None,
        });
        let blocks = self.blocks.iter().filter_map(|block| match block.source {
            BlockSource::Descriptor(number) => Some(number),
            BlockSource::Path(_) => None,
        });
        nets.chain(blocks)
    }
}

/// A network interface to attach.
#[derive(PartialEq, Eq, Debug)]
pub struct NetOption {
    /// The device in the manifest.
    pub name: DeviceName,
    /// What is attached.
    pub source: NetSource,
    /// Its hardware address; a random one if there is none.
    pub mac: Option<MacAddress>,
    /// Its MTU, where the interface need not be asked.
    pub mtu: Option<Mtu>,
}

/// Where frames come from and go to.
#[derive(PartialEq, Eq, Debug)]
pub enum NetSource {
    /// A TAP interface that exists.
    Interface(InterfaceName),
    /// A descriptor that is attached to one.
    Descriptor(DescriptorNumber),
}

/// A block device to attach.
#[derive(PartialEq, Eq, Debug)]
pub struct BlockOption {
    /// The device in the manifest.
    pub name: DeviceName,
    /// What is attached.
    pub source: BlockSource,
    /// Size of its blocks.
    pub sector_size: SectorSize,
}

/// Where blocks are kept.
#[derive(PartialEq, Eq, Debug)]
pub enum BlockSource {
    /// A file or a block device of the host.
    Path(PathBuf),
    /// One that is open already.
    Descriptor(DescriptorNumber),
}

impl NetSource {
    /// An interface name, or `@N`; `None` if it is neither.
    pub(crate) fn parse(value: &OsStr) -> Option<Result<Self, crate::Error>> {
        let text = value.to_str()?;
        match DescriptorNumber::parse(text) {
            Some(number) => Some(number.map(Self::Descriptor)),
            None => InterfaceName::new(text).map(|name| Ok(Self::Interface(name))),
        }
    }
}

impl BlockSource {
    /// A path, or `@N`.
    ///
    /// # Errors
    /// What follows `@` is not a number from 3 on.
    pub(crate) fn parse(value: &OsStr) -> Result<Self, crate::Error> {
        match value.to_str().and_then(DescriptorNumber::parse) {
            Some(number) => number.map(Self::Descriptor),
            None => Ok(Self::Path(value.into())),
        }
    }
}

/// Name of an interface: 1 to 15 bytes without white space, `/` and what ends it early.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name `text`, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=INTERFACE_NAME_MAX).contains(&text.len());
        let valid = !text.contains(|c: char| c == '/' || c == ':' || c <= ' ');
        (fits && valid).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Hardware address of a network interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Parses `aa:bb:cc:dd:ee:ff`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut out = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut out {
            let part = parts.next().filter(|part| part.len() == 2)?;
            *byte = u8::from_str_radix(part, 16).ok().filter(|_| !part.starts_with('+'))?;
        }
        parts.next().is_none().then_some(Self(out))
    }

    /// Whether it is the address of a group and not of one interface.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

/// The longest packet in bytes, without the Ethernet header: 68 (the least of IPv4) to 65521 (the
/// most of a TAP interface).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mtu(u16);

impl Mtu {
    /// Parses a decimal number.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let mtu: u16 = text.parse().ok().filter(|_| digits)?;
        (68..=65521).contains(&mtu).then_some(Self(mtu))
    }

    /// Bytes.
    pub fn bytes(self) -> u16 {
        self.0
    }
}

/// Size of a block in bytes: a power of two from 512 to 32768.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SectorSize(u16);

impl SectorSize {
    /// What is used if nothing else is said.
    pub const DEFAULT: Self = Self(512);

    /// Parses a decimal number.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let size: u16 = text.parse().ok().filter(|_| digits)?;
        (size >= 512 && size.is_power_of_two()).then_some(Self(size))
    }

    /// Bytes.
    pub fn bytes(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_six_pairs_of_digits() {
        let parsed = MacAddress::parse("02:00:aB:cd:0e:ff").unwrap();
        assert_eq!(parsed, MacAddress([2, 0, 0xAB, 0xCD, 0x0E, 0xFF]));
        for bad in
            ["", "02:00:ab:cd:0e", "02:00:ab:cd:0e:ff:00", "2:0:a:c:e:f", "02-00-ab-cd-0e-ff"]
        {
            assert_eq!(MacAddress::parse(bad), None, "{bad}");
        }
        assert_eq!(MacAddress::parse("+2:00:ab:cd:0e:ff"), None);
    }

    #[test]
    fn sector_sizes_are_powers_of_two_from_512_to_32768() {
        let valid: Vec<_> = (0..=65536)
            .filter(|size: &u32| SectorSize::parse(&size.to_string()).is_some())
            .collect();
        assert_eq!(valid, [512, 1024, 2048, 4096, 8192, 16384, 32768]);
        for bad in ["", "+512", "512x", "-512", "0x200"] {
            assert_eq!(SectorSize::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn mtus_are_those_of_taps() {
        let valid: Vec<_> =
            (0..=70000).filter(|mtu: &u32| Mtu::parse(&mtu.to_string()).is_some()).collect();
        assert_eq!(valid, (68..=65521).collect::<Vec<_>>());
        for bad in ["", "+1500", "1500x", "-1500", "0x5dc"] {
            assert_eq!(Mtu::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn interface_names_have_1_to_15_bytes() {
        assert!(InterfaceName::new("tap0").is_some());
        assert!(InterfaceName::new("a-15-bytes-long").is_some());
        for bad in ["", "a-16-bytes-long-", "tap 0", "a/b", "a\0b", "a:b"] {
            assert_eq!(InterfaceName::new(bad), None, "{bad}");
        }
    }
}
