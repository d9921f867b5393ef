//! Why a host network is not made, or not removed.

use vmm_proto::resource::{BridgeName, MAX_HOST_NETWORKS};

use crate::refusal::Refusal;

/// Why a host network is not made, or not removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostNetworkRefusal {
    /// There is another one of that name.
    #[error(
        "there is a host network \"{name}\" already, with {address}; remove it first, or choose \
         another name"
    )]
    Exists {
        /// its name
        name: BridgeName,
        /// what it has
        address: String,
    },
    /// There are enough.
    #[error(
        "this host has {MAX_HOST_NETWORKS} host networks, as many as it may have; remove one that is \
         not needed any more"
    )]
    TooMany,
    /// Its addresses are another one's.
    #[error(
        "{address} has addresses in common with host network \"{other}\", which has {others}; choose \
         another subnet"
    )]
    Overlap {
        /// what was asked for
        address: String,
        /// the other one
        other: BridgeName,
        /// what that has
        others: String,
    },
    /// There is none of that name.
    #[error("there is no host network \"{0}\"; `host network list` shows those that there are")]
    NotFound(BridgeName),
    /// Machines are on it.
    #[error(
        "host network \"{name}\" is not removed: {machines} live machines have an interface on it; \
         destroy or stop them first"
    )]
    InUse {
        /// its name
        name: BridgeName,
        /// how many
        machines: u32,
    },
    /// vmm-spawn could not, or would not.
    #[error("host network \"{name}\": {reason}")]
    NotDone {
        /// its name
        name: BridgeName,
        /// why
        reason: String,
    },
    /// There is no vmm-spawn.
    #[error(
        "vmm-spawn, which makes host networks, is not connected; what is asked for is not done, try \
         again when it is back"
    )]
    NoSpawn,
    /// There is no vmm-spawn any more.
    #[error(
        "vmm-spawn was lost while it changed host network \"{0}\"; it is done when it is back, see \
         `host network list`"
    )]
    SpawnLost(BridgeName),
}

impl From<HostNetworkRefusal> for Refusal {
    fn from(refusal: HostNetworkRefusal) -> Self {
        Self::HostNetwork(Box::new(refusal))
    }
}
