//! Between `vmm-spawn` and its two clients, `vmmd` and `vmm-console`.
//!
//! One message a packet on a sequenced-packet Unix socket; descriptors travel beside it. Small
//! enough to read in one sitting: this is what the privileged process understands.

use std::net::{Ipv4Addr, Ipv6Addr};

use bincode::{Decode, Encode};

use super::Exit;
use crate::id::MachineId;
use crate::resource::{self, BridgeName, HostNetworkError, ResourceError};

/// The largest packet in bytes: a machine's arguments have at most 8 KiB, its interfaces about as
/// much.
pub const MAX_PACKET: usize = 32 << 10;

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Role {
    /// `vmmd`: starts and stops machines. There is one at a time; a new one replaces the old.
    Supervisor,
    /// `vmm-console`: gets the rings. There is one at a time; a new one replaces the old.
    Console,
}

/// To `vmm-spawn`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToSpawn {
    /// The first message.
    Hello {
        /// [`super::VERSION`]
        version: u16,
        /// Who connects.
        role: Role,
    },
    /// Start a machine. One descriptor beside it: the image, open for reading. Answered by
    /// [`FromSpawn::Started`] or [`FromSpawn::StartFailed`].
    Start(Start),
    /// End a machine. Its exit is reported when it has ended.
    Stop {
        /// Which one.
        id: MachineId,
        /// Which start of it; another one is left alone.
        run: u64,
        /// At once (SIGKILL), or asked to (SIGTERM).
        force: bool,
    },
    /// The end of this run ([`FromSpawn::Exited`] or [`FromSpawn::StartFailed`]) was seen and need
    /// not be kept. A machine whose only start failed is forgotten with it.
    EndSeen {
        /// Which one.
        id: MachineId,
        /// Which start of it.
        run: u64,
    },
    /// Drop everything about a machine, its console ring too. One that runs is killed first.
    Forget {
        /// Which one.
        id: MachineId,
    },
    /// Say something: whoever answers is there, and not stopped. From the supervisor; answered by
    /// [`FromSpawn::Pong`].
    Ping,
    /// These are all host networks from now on: what of them there is not is made, what there is
    /// besides is removed, where no machine is on it. Answered by [`FromSpawn::HostNetworks`].
    HostNetworks {
        /// How many times this was told, by this connection.
        number: u64,
        /// All of them, in any order: at most [`crate::resource::MAX_HOST_NETWORKS`].
        networks: Vec<HostNetwork>,
    },
}

/// A private network of the host: [`crate::resource::HostNetwork`] says what is one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HostNetwork {
    /// The name of its bridge.
    pub name: String,
    /// The host's address on it.
    pub address: Ipv4Addr,
    /// Bits of its subnet.
    pub prefix: u8,
    /// The interface through which machines reach others; without one, any.
    pub uplink: Option<String>,
}

impl HostNetwork {
    /// The network that this describes.
    ///
    /// # Errors
    /// It describes none.
    pub fn checked(&self) -> Result<resource::HostNetwork, NoHostNetwork> {
        let name = BridgeName::parse(&self.name)?;
        let uplink = self.uplink.as_deref().map(BridgeName::parse).transpose()?;
        Ok(resource::HostNetwork::new(name, self.address, self.prefix, uplink)?)
    }
}

impl From<&resource::HostNetwork> for HostNetwork {
    fn from(network: &resource::HostNetwork) -> Self {
        Self {
            name: network.name().to_string(),
            address: network.address(),
            prefix: network.prefix(),
            uplink: network.uplink().map(ToString::to_string),
        }
    }
}

/// What is wrong with the description of a host network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoHostNetwork {
    /// A name is none.
    #[error(transparent)]
    Name(#[from] ResourceError),
    /// Something else.
    #[error(transparent)]
    Network(#[from] HostNetworkError),
}

/// What became of a host network.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HostNetworkState {
    /// The name of its bridge.
    pub name: String,
    /// Why it is not there, if it was told; why it is still there, if it was not. At most
    /// [`MAX_REASON`] bytes.
    pub problem: Option<String>,
}

/// The longest reason of a [`HostNetworkState`], in bytes.
pub const MAX_REASON: usize = 400;

/// How to start a machine.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Start {
    /// Which one; started before, it writes to the same ring.
    pub id: MachineId,
    /// Which start of it this is: 1 or more, and more than every one before. A start that was
    /// given before is not given again: it is answered with what became of it.
    pub run: u64,
    /// MiB of guest memory.
    pub memory_mib: u32,
    /// CPUs that it may run on, ascending, at least one.
    pub cpus: Vec<u16>,
    /// Words for the guest.
    pub arguments: Vec<String>,
    /// Its network interfaces: at most [`MAX_INTERFACES`].
    pub networks: Vec<Interface>,
}

/// The most network interfaces of a machine: a Solo5 manifest has room for 63 devices.
pub const MAX_INTERFACES: usize = 63;

/// A network interface of a machine: a tap on a bridge. Nothing leaves it that pretends to be
/// somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Interface {
    /// The name by which the guest knows it: 1 to 67 bytes, `[A-Za-z0-9]+`.
    pub device: String,
    /// The bridge, one of those of [`FromSpawn::Welcome`].
    pub bridge: String,
    /// Its hardware address, of one interface: the only one that it sends from.
    pub mac: [u8; 6],
    /// Its address, the only one that it sends from; none where addresses are not managed.
    pub address: Option<Ipv4Addr>,
    /// The same of IPv6, beside the link-local address that follows from `mac`.
    pub address6: Option<Ipv6Addr>,
    /// On one bridge, only interfaces of the same group see each other; none is a group, too.
    pub group: Option<u32>,
}

/// From `vmm-spawn`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FromSpawn {
    /// The answer to [`ToSpawn::Hello`].
    Welcome {
        /// [`super::VERSION`]
        version: u16,
        /// What of the jail cannot be applied on this host, in words.
        jail: Vec<String>,
        /// The bridges that machines may be put on.
        bridges: Vec<String>,
        /// So many [`FromSpawn::Known`] (to the supervisor) or [`FromSpawn::Ring`] (to the console)
        /// follow at once.
        known: u32,
    },
    /// To the supervisor: after the welcome, one for each machine that is known, in any state.
    Known {
        /// Which one.
        id: MachineId,
        /// Its last start.
        run: u64,
        /// Its process, while it has one.
        pid: Option<u32>,
        /// Whether its guest runs.
        ready: bool,
    },
    /// The machine's guest runs.
    Started {
        /// Which one.
        id: MachineId,
        /// Which start of it.
        run: u64,
        /// Its process.
        pid: u32,
    },
    /// The machine could not be started, and nothing of the attempt is left. Kept until
    /// [`ToSpawn::EndSeen`] where a process was started for it; what was refused at once counts as
    /// never asked for.
    StartFailed {
        /// Which one.
        id: MachineId,
        /// Which start of it.
        run: u64,
        /// Why.
        reason: String,
    },
    /// The machine has ended. Kept until [`ToSpawn::EndSeen`].
    Exited {
        /// Which one.
        id: MachineId,
        /// Which start of it.
        run: u64,
        /// How.
        exit: Exit,
        /// How many bytes it has written to its console in all.
        output_end: u64,
        /// Processor time in user mode, in microseconds.
        user_us: u64,
        /// Processor time in the kernel, in microseconds.
        system_us: u64,
        /// The most memory that was resident, in KiB.
        max_resident_kib: u64,
    },
    /// To the console: a machine's ring. Four descriptors beside it: the ring ([`crate::ring`]), open
    /// for reading; an eventfd that becomes readable when the ring has grown; and two FIFOs that
    /// are only to be held open, never read: what a machine writes while no `vmm-spawn` lives is in
    /// them, and stays there as long as anyone has them open, also when the machine ends.
    Ring {
        /// Which machine.
        id: MachineId,
    },
    /// To the console: this machine is forgotten.
    RingGone {
        /// Which machine.
        id: MachineId,
    },
    /// The answer to [`ToSpawn::Ping`].
    Pong,
    /// The answer to [`ToSpawn::HostNetworks`], and again when something of it has changed.
    HostNetworks {
        /// The number of the last [`ToSpawn::HostNetworks`].
        number: u64,
        /// Those that were told, and those that could not be removed: at most twice
        /// [`crate::resource::MAX_HOST_NETWORKS`].
        states: Vec<HostNetworkState>,
        /// The bridges that machines may be put on from now on, as in [`FromSpawn::Welcome`].
        bridges: Vec<String>,
    },
}
