//! The network interfaces of machines: which address, hardware address and group each has.

mod refusal;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use vmm_proto::id::Digest;
use vmm_proto::resource::{BridgeName, DeviceName};

use crate::engine::Engine;

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

/// What the engine knows of the networks of the host, and of who has what there.
#[derive(Debug)]
pub(crate) struct Networks {
    /// The bridges that machines may be put on; nothing while that is not known.
    pub(crate) offered: Option<BTreeSet<BridgeName>>,
    /// The bridges whose machines all see each other.
    peers: BTreeSet<BridgeName>,
    /// SHA-256 of the host's key.
    host: Digest,
}

impl Default for Networks {
    fn default() -> Self {
        Self { offered: None, peers: BTreeSet::new(), host: Digest([0; 32]) }
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
