//! A tap: the host's end of one network interface of a machine.
//!
//! It is made by its descriptor and gone with it, is set up while it is down, filtered, read back,
//! and only then goes up and tells whose its addresses are.

use std::os::fd::OwnedFd;

use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoKind, LinkAttribute,
};
use rustix::io::Errno;
use tracing::{info, warn};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::Interface;
use vmm_proto::resource::TapName;

use super::announce;
use super::filter::{FilterError, Rules};
use super::link::{Link, Mac};
use super::netlink::{self, Netlink};
use super::owner::{Identity, Owner};
use super::port;
use super::tun::{self, TUN};

/// The group of taps whose machines see each other without further ado; those of group N have the
/// number after the Nth. Nothing else on a host should have numbers from here on.
pub const GROUP_BASE: u32 = 0x564d_0000;

/// Groups at most, beside that of none.
pub const GROUPS_MAX: u32 = 0xFFFE;

/// What the hardware address of the host's side of every tap begins with: high, so that no bridge
/// takes it for its own as long as it has another, and of nobody. No machine has such a one.
pub const HOST_MAC: u8 = 0xFE;

/// What the rules about a tap follow from.
#[derive(Debug, Clone, Copy)]
pub struct TapFacts<'a> {
    /// Its name.
    pub name: TapName,
    /// Its number in the host's network namespace.
    pub index: u32,
    /// The number of its group (`IFLA_GROUP`), from [`GROUP_BASE`] on.
    pub group: u32,
    /// The machine that it is of.
    pub machine: MachineId,
    /// The hardware address of the host's side. The guest's is in `interface`.
    pub host_mac: Mac,
    /// What was asked for: bridge, hardware address, addresses.
    pub interface: &'a Interface,
}

/// A tap that is up, as its machine gets it.
#[derive(Debug)]
pub struct Tap {
    /// The name by which the guest knows it.
    pub device: String,
    /// The hardware address of the guest's side.
    pub mac: Mac,
    /// The longest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// What frames go through. The tap is gone when the last copy is closed.
    pub descriptor: OwnedFd,
    /// What bridges of this kernel cannot do ([`port::lacking`]).
    pub lacking: Vec<&'static str>,
}

/// Why there is no tap.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The bridge is not there.
    #[error("bridge {0:?} does not exist on this host")]
    NoBridge(String),
    /// What is called so is something else.
    #[error("bridge {0:?} is no bridge: an interface of this name is something else")]
    NotABridge(String),
    /// The group is out of range.
    #[error("there are at most {GROUPS_MAX} groups on a bridge")]
    Group,
    /// The hardware address is one of many, or of the kind that hosts have.
    #[error("{} cannot be the hardware address of an interface: {rule}", hex(.mac))]
    Mac {
        /// The address.
        mac: Mac,
        /// Why not.
        rule: &'static str,
    },
    /// The hardware address is somebody's.
    #[error("bridge {bridge:?} has the hardware address {} already: it is {whose}", hex(.mac))]
    Taken {
        /// The bridge.
        bridge: String,
        /// The address.
        mac: Mac,
        /// Whose it is.
        whose: String,
    },
    /// There is one of its name, which is not of this installation.
    #[error("the interface {0} is there already, and not of this vmm-spawn")]
    Foreign(TapName),
    /// The device cannot be used.
    #[error("cannot make a tap with {TUN}: {0}")]
    Make(Errno),
    /// The kernel refused something.
    #[error("cannot {what}: {error}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What the kernel says.
        error: netlink::Error,
    },
    /// The kernel took an order and did not do it.
    #[error("the tap is not as it should be: {0}")]
    NotAsSet(&'static str),
    /// {0}
    #[error("what it sends cannot be filtered: {0}")]
    Filter(#[from] FilterError),
}

/// For `map_err`: names what failed.
pub(super) fn failed(what: &'static str) -> impl FnOnce(netlink::Error) -> TapError {
    move |error| TapError::Kernel { what, error }
}

/// As it is usually written.
pub fn hex(mac: &Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// What taps are made with.
#[derive(Debug)]
pub struct Maker<'a> {
    /// The kernel.
    pub netlink: &'a mut Netlink,
    /// The filters.
    pub rules: &'a Rules,
    /// What is written on what belongs to this installation.
    pub owner: &'a Owner,
}

/// One that is on its bridge and down.
struct Prepared<'a> {
    facts: TapFacts<'a>,
    bridge: Link,
    descriptor: OwnedFd,
}

impl Maker<'_> {
    /// Makes the tap `index` of `machine`, as `interface` says, and has it carry packets.
    ///
    /// # Errors
    /// It is not there then; its filter may be.
    pub fn make(
        &mut self,
        machine: MachineId,
        index: u16,
        interface: &Interface,
    ) -> Result<Tap, TapError> {
        let prepared = self.prepare(machine, index, interface)?;
        let facts = prepared.facts;
        self.rules.apply(&facts)?;
        let tap = self.activate(prepared)?;
        for frame in announce::frames(Identity::of(interface)) {
            // Without it, others find out later.
            if let Err(error) = rustix::io::write(&tap.descriptor, &frame) {
                warn!(name = %facts.name, "its addresses cannot be announced: {error}");
            }
        }
        Ok(tap)
    }

    /// Makes one, on its bridge and down.
    fn prepare<'a>(
        &mut self,
        machine: MachineId,
        index: u16,
        interface: &'a Interface,
    ) -> Result<Prepared<'a>, TapError> {
        check_mac(interface.mac)?;
        let group = group_of(interface)?;
        let bridge = self.bridge(&interface.bridge)?;
        let name = TapName::of(machine, index);
        // From here on, whatever fails closes it, and so removes it.
        let descriptor = self.create(name)?;
        let link = self.netlink.link(name.as_str()).map_err(failed("find the tap"))?;
        let index = link.ok_or(TapError::NotAsSet("it is not there"))?.index;
        let host_mac = host_mac(machine, name);
        let facts = TapFacts { name, index, group, machine, host_mac, interface };
        self.describe(&facts, &bridge)?;
        self.plug(&facts, &bridge)?;
        Ok(Prepared { facts, bridge, descriptor })
    }

    fn alias(&self, facts: &TapFacts<'_>) -> String {
        self.owner.alias_with(facts.machine, Identity::of(facts.interface))
    }

    /// Has one carry packets.
    fn activate(&mut self, prepared: Prepared<'_>) -> Result<Tap, TapError> {
        let Prepared { facts, bridge, descriptor } = prepared;
        self.netlink.set_up(facts.index, true).map_err(failed("switch the tap on"))?;
        let lacking = port::lacking(&self.check(&facts, &bridge)?.port);
        let TapFacts { machine, name, interface: Interface { device, mac, .. }, .. } = facts;
        info!(id = %machine, %name, bridge = bridge.name, mac = hex(mac), "a tap is made");
        Ok(Tap { device: device.clone(), mac: *mac, mtu: bridge.mtu, descriptor, lacking })
    }

    fn bridge(&mut self, name: &str) -> Result<Link, TapError> {
        let bridge = self.netlink.link(name).map_err(failed("look at the bridge"))?;
        let bridge = bridge.ok_or_else(|| TapError::NoBridge(name.to_owned()))?;
        if bridge.is_bridge() { Ok(bridge) } else { Err(TapError::NotABridge(name.to_owned())) }
    }

    /// The tap itself, where one that an earlier run of this machine has left is in no way.
    fn create(&mut self, name: TapName) -> Result<OwnedFd, TapError> {
        let error = match tun::make(name.as_str()) {
            Err(error @ (Errno::BUSY | Errno::EXIST)) => error,
            made => return made.map_err(TapError::Make),
        };
        let left = self.netlink.link(name.as_str()).map_err(failed("find the tap"))?;
        match left {
            Some(link) if self.owner.of(&link).is_none() => return Err(TapError::Foreign(name)),
            Some(link) => {
                warn!(%name, "an earlier tap is in the way, and removed");
                self.netlink.delete_link(link.index).map_err(failed("remove an earlier tap"))?;
            }
            None => warn!(%name, "an earlier tap was in the way: {error}"),
        }
        tun::make(name.as_str()).map_err(TapError::Make)
    }

    /// What it is, before it is on the bridge: a bridge takes over the smallest MTU of its ports.
    fn describe(&mut self, facts: &TapFacts<'_>, bridge: &Link) -> Result<(), TapError> {
        let mut attributes = vec![
            LinkAttribute::IfAlias(self.alias(facts)),
            LinkAttribute::Group(facts.group),
            LinkAttribute::Address(facts.host_mac.to_vec()),
            LinkAttribute::Mtu(bridge.mtu),
        ];
        // Where the bridge has none, the kernel has no IPv6.
        if bridge.own_ipv6.is_some() {
            let none = vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)];
            attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(none)]));
        }
        self.netlink.change_link(facts.index, attributes).map_err(failed("set the tap up"))
    }

    /// Whether the kernel has done what it was told; what there is.
    fn check(&mut self, facts: &TapFacts<'_>, bridge: &Link) -> Result<Link, TapError> {
        let link = self.netlink.link_at(facts.index).map_err(failed("look at the tap"))?;
        let link = link.ok_or(TapError::NotAsSet("it is gone"))?;
        let alias = self.alias(facts);
        let right = [
            (link.name == facts.name.as_str(), "its name is another"),
            (link.kind == Some(InfoKind::Tun), "it is no tap"),
            (link.is_up, "it is down"),
            (link.controller == Some(bridge.index), "it is not on its bridge"),
            (link.alias.as_deref() == Some(alias.as_str()), "it is not marked"),
            (link.group == facts.group, "it is not in its group"),
            (link.mtu == bridge.mtu, "its MTU is not the bridge's"),
            (link.mac == Some(facts.host_mac), "its hardware address is another"),
            (
                matches!(link.own_ipv6, None | Some(In6AddrGenMode::None)),
                "it gets an address of the host",
            ),
        ];
        if let Some((_, wrong)) = right.into_iter().find(|(right, _)| !right) {
            return Err(TapError::NotAsSet(wrong));
        }
        port::check(&link.port).map_err(TapError::NotAsSet)?;
        let known = self
            .netlink
            .behind(bridge.index, facts.interface.mac)
            .map_err(failed("look at what the bridge knows"))?;
        match known {
            Some(it) if it.port == facts.index && it.is_sticky => Ok(link),
            _ => Err(TapError::NotAsSet("the bridge has its hardware address elsewhere")),
        }
    }
}

fn check_mac(mac: Mac) -> Result<(), TapError> {
    let refused = |rule| Err(TapError::Mac { mac, rule });
    match mac {
        [0, 0, 0, 0, 0, 0] => refused("it is nobody's"),
        [first, ..] if first & 1 != 0 => refused("it is that of a group"),
        [HOST_MAC, ..] => refused("those that begin with fe are for the host's side of machines"),
        _ => Ok(()),
    }
}

/// The number of the group that an interface is in.
fn group_of(interface: &Interface) -> Result<u32, TapError> {
    match interface.group {
        None => Ok(GROUP_BASE),
        Some(number) if number < GROUPS_MAX => Ok(GROUP_BASE + 1 + number),
        Some(_) => Err(TapError::Group),
    }
}

/// Another one for each tap: out of the random bits of its machine, and its place.
fn host_mac(machine: MachineId, name: TapName) -> Mac {
    let mut mac = [HOST_MAC; 6];
    mac[1..].copy_from_slice(&machine.0[..5]);
    // The last two digits of the name are the place, and differ in their lowest bits.
    let place = &name.as_str().as_bytes()[TapName::LENGTH - 2..];
    mac[4] ^= place[0];
    mac[5] ^= place[1];
    mac
}

#[cfg(test)]
#[path = "tap_tests.rs"]
mod tests;
