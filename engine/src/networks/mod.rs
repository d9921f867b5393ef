//! The network interfaces of machines: which address, hardware address and group each has.
//!
//! A delegation may give addresses out of its range on a bridge; on a bridge without a range, and
//! below no delegation, addresses are not managed. What a machine gets is worked out ([`plan`]) when
//! it is admitted and again at each of its starts, as ranges change; and reserved ([`Networks`]) as
//! long as it is listed, waits to take another one's place, or may come back into its own. What is
//! reserved belongs to the machine's *name*: a machine and the one that replaces it have the same.
//!
//! ```text
//!   admission, start ─▶ wiring ─▶ plan ─┬─▶ pool (ranges, what is delegated further)
//!                                       ├─▶ words (what arguments set, and what is added)
//!                                       ├─▶ macs
//!                                       └─▶ holders, groups (who has what)
//!   delegations that are shown ─▶ overlaps
//! ```

mod groups;
mod holders;
mod macs;
mod numbers;
mod overlaps;
mod plan;
mod pool;
mod refusal;
mod wiring;
mod words;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vmm_proto::id::Digest;
use vmm_proto::name::MachineName;
use vmm_proto::resource::{BridgeName, DeviceName, Family};

use crate::engine::Engine;
use groups::Groups;
use holders::{Addresses, Holders};
use numbers::number;
pub(crate) use plan::{Plan, Wanted, had};
pub use refusal::NetworkRefusal;

/// One network interface of a machine, as it is to be set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The name by which the guest knows it.
    pub device: DeviceName,
    /// The bridge that it is on.
    pub bridge: BridgeName,
    /// Its hardware address: unicast, and of no other machine on that bridge.
    pub mac: [u8; 6],
    /// Its IPv4 address and the bits of its subnet (0 to 32); none where addresses of that family
    /// are not managed. Of no other machine on that bridge.
    pub address: Option<(Ipv4Addr, u8)>,
    /// The same of IPv6 (0 to 128).
    pub address6: Option<(Ipv6Addr, u8)>,
    /// Machines of other groups on the same bridge are neither seen nor reached. Each top-level
    /// delegation has a number, and so have the machines that are below none; none on a bridge whose
    /// machines all see each other ([`crate::Engine::with_bridge_peers`]).
    pub group: Option<u32>,
}

impl Interface {
    /// Its addresses and the bits of their subnets.
    fn addresses(&self) -> impl Iterator<Item = (Family, IpAddr, u8)> {
        let v4 = self.address.map(|(at, prefix)| (Family::V4, at.into(), prefix));
        let v6 = self.address6.map(|(at, prefix)| (Family::V6, at.into(), prefix));
        v4.into_iter().chain(v6)
    }

    /// The number of its address of that family.
    fn number(&self, family: Family) -> Option<u128> {
        self.addresses().find(|(of, ..)| *of == family).map(|(_, at, _)| number(at))
    }
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The place of a family in [`FAMILIES`].
const fn index_of(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

/// What the engine knows of the networks of the host, and of who has what there.
#[derive(Debug)]
pub(crate) struct Networks {
    /// The bridges that machines may be put on; nothing while that is not known.
    pub(crate) offered: Option<BTreeSet<BridgeName>>,
    /// The bridges whose machines all see each other.
    peers: BTreeSet<BridgeName>,
    /// SHA-256 of the host's key.
    host: Digest,
    taken: HashMap<BridgeName, OnBridge>,
    groups: Groups,
}

/// Who has what on one bridge.
#[derive(Debug, Default)]
struct OnBridge {
    macs: Holders<[u8; 6]>,
    /// Of each family.
    addresses: [Addresses; 2],
}

impl OnBridge {
    fn addresses(&self, family: Family) -> &Addresses {
        &self.addresses[index_of(family)]
    }
}

impl Default for Networks {
    fn default() -> Self {
        Self {
            offered: None,
            peers: BTreeSet::new(),
            host: Digest([0; 32]),
            taken: HashMap::new(),
            groups: Groups::default(),
        }
    }
}

impl Networks {
    /// Reserves what a machine of that name has.
    pub(crate) fn take(&mut self, name: &MachineName, interfaces: &[Interface]) {
        for interface in interfaces {
            let on = self.taken.entry(interface.bridge.clone()).or_default();
            on.macs.take(interface.mac, name);
            for (family, at, _) in interface.addresses() {
                on.addresses[index_of(family)].take(number(at), name);
            }
            if let Some(group) = interface.group {
                self.groups.take(name.path.labels().first(), group);
            }
        }
    }

    /// Gives back what a machine of that name had.
    pub(crate) fn release(&mut self, name: &MachineName, interfaces: &[Interface]) {
        for interface in interfaces {
            if interface.group.is_some() {
                self.groups.release(name.path.labels().first());
            }
            let Some(on) = self.taken.get_mut(&interface.bridge) else { continue };
            on.macs.release(&interface.mac, name);
            for (family, at, _) in interface.addresses() {
                on.addresses[index_of(family)].release(number(at), name);
            }
            if on.macs.is_empty() && on.addresses.iter().all(Addresses::is_empty) {
                self.taken.remove(&interface.bridge);
            }
        }
    }
}

impl Engine {
    /// The same engine with bridges whose machines all see each other. On any other bridge only
    /// machines of the same top-level delegation do.
    #[must_use]
    pub fn with_bridge_peers(mut self, bridges: BTreeSet<BridgeName>) -> Self {
        self.networks.peers = bridges;
        self
    }

    /// The same engine for the host with this key (SHA-256 of its SubjectPublicKeyInfo): the hardware
    /// addresses that are derived here are not those of another host, where machines may have the
    /// same names on the same network.
    #[must_use]
    pub fn with_host_key(mut self, key: Digest) -> Self {
        self.networks.host = key;
        self
    }
}
