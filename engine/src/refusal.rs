//! Why a request is refused.
//!
//! A message names the thing, the rule or limit, and the way out. A refusal by a delegation above
//! the requester's own path names that delegation and its limit, never what others use of it.

mod text;

use std::fmt;

use vmm_proto::authority::{Serial, Validity};
use vmm_proto::id::MachineId;
use vmm_proto::name::{Label, MachineName, Path};
use vmm_proto::resource::{BridgeName, CpuSet};
use vmm_proto::revocation::NotTaken;

use crate::event::ImageId;
use crate::host_networks::HostNetworkRefusal;
use crate::networks::NetworkRefusal;
use crate::view::{State, User};
use text::{cpu, no_bridge, place, quota, room, time, way, when};

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[must_use]
pub enum Refusal {
    /// A newer certificate of a delegation in the chain was seen (rule 9).
    #[error(
        "the certificate of delegation \"{path}\" is outdated: it has generation {presented}, and \
         generation {newest} was seen here at {}; ask the issuer for the newest certificate",
        time(*seen_unix_ms)
    )]
    Stale {
        /// the delegation
        path: Path,
        /// the generation in the chain
        presented: u64,
        /// the newest one seen
        newest: u64,
        /// when that was seen first, in milliseconds since the Unix epoch
        seen_unix_ms: u64,
    },
    /// Another grant of the same generation was seen (rule 9).
    #[error(
        "the certificate of delegation \"{path}\" contradicts another one of the same generation \
         {generation}; its issuer has to sign a newer one"
    )]
    OtherShare {
        /// the delegation
        path: Path,
        /// the generation of both
        generation: u64,
    },
    /// A certificate of the chain has been taken back by its issuer (rule 8).
    #[error(
        "the certificate of \"{label}\" (serial {serial}) has been revoked by its issuer; get a new \
         one"
    )]
    Revoked {
        /// its label
        label: Label,
        /// its serial number
        serial: Serial,
    },
    /// A revocation list is not taken (rule 8).
    #[error("{0}")]
    ListNotTaken(Box<NotTaken>),
    /// A delegation is not valid now.
    #[error("delegation \"{path}\" {}; {}", when(*validity, *now_s), way(*validity, *now_s))]
    Expired {
        /// the delegation
        path: Path,
        /// when it may be used
        validity: Validity,
        /// when it was judged, in Unix seconds
        now_s: i64,
    },
    /// The delegations do not follow from each other.
    #[error("the certificates given do not form a chain from the root of this host")]
    BrokenChain,
    /// More delegations than are remembered (rule 9).
    #[error(
        "{} has {limit} valid delegations below it, and no more are remembered; \"{path}\" is \
         refused until one of them expires",
        place(above)
    )]
    TooManyDelegations {
        /// the new one
        path: Path,
        /// below which there are too many
        above: Path,
        /// how many may be
        limit: usize,
    },
    /// A delegation between the requester's path and the machine was never shown (rule 11).
    #[error(
        "delegation \"{path}\" is not known to this host; it becomes known when somebody below it \
         connects"
    )]
    UnknownDelegation {
        /// the delegation
        path: Path,
    },
    /// The machine is not below the requester's path.
    #[error("\"{name}\" is not below \"{path}/\", which is all that this chain speaks for")]
    Outside {
        /// the machine
        name: MachineName,
        /// the requester's path
        path: Path,
    },
    /// A limit would be exceeded (rule 7).
    #[error("{}", quota(path, *quantity, *limit, (*asked, *held), *used, context))]
    Quota {
        /// whose limit; the empty path is the host
        path: Path,
        /// of what
        quantity: Quantity,
        /// at most so much
        limit: u64,
        /// so much was asked for
        asked: u64,
        /// so much of it is held by the machine that would be replaced
        held: u64,
        /// so much is used; only told of the requester's own path and what is below it
        used: Option<u64>,
        /// what else is good to know
        context: Box<Context>,
    },
    /// A CPU is not to be used.
    #[error("{}", cpu(path, cpus, allowed))]
    Cpu {
        /// whose limit; the empty path is the host
        path: Path,
        /// the CPUs
        cpus: CpuSet,
        /// those it has
        allowed: CpuSet,
    },
    /// A bridge is not to be used.
    #[error("{}", no_bridge(path, bridge))]
    Bridge {
        /// whose limit
        path: Path,
        /// the bridge
        bridge: BridgeName,
    },
    /// The machine does not get the networks that it asks for.
    #[error("{0}")]
    Network(Box<NetworkRefusal>),
    /// A host network is not made, or not removed.
    #[error("{0}")]
    HostNetwork(Box<HostNetworkRefusal>),
    /// There is no room to cache the image (rule 10).
    #[error("{}", room(path, *limit, *asked, *used))]
    ImageRoom {
        /// whose limit; the empty path is the host
        path: Path,
        /// bytes that all cached images may have
        limit: u64,
        /// bytes of this one
        asked: u64,
        /// bytes in use; only told of the requester's own path and what is below it
        used: Option<u64>,
    },
    /// There are too many cached images already (rule 10).
    #[error(
        "{} has {limit} cached images, as many as it may have; destroy machines that are not \
         needed any more, also ended ones",
        place(path)
    )]
    ImageCount {
        /// whose limit; the empty path is the host
        path: Path,
        /// how many may be
        limit: u64,
    },
    /// An image cannot be larger than its machine (rule 10).
    #[error(
        "the image has {size} bytes, more than the {memory_mib} MiB of memory of its machine; give \
         the machine more, or strip the image of its symbols"
    )]
    ImageTooLarge {
        /// bytes of the image
        size: u32,
        /// MiB of the machine
        memory_mib: u32,
    },
    /// The image of a deploy is not there, or not that machine's (rule 10).
    #[error("the image of \"{name}\" is not stored under its path; offer it again")]
    NoImage {
        /// the machine
        name: MachineName,
        /// the file it named
        image: ImageId,
    },
    /// A live machine has that name (rule 12).
    #[error(
        "there is a machine \"{name}\" already, and it is {state}; --replace lets the new one take \
         its place"
    )]
    NameInUse {
        /// the name
        name: MachineName,
        /// what that machine does
        state: State,
    },
    /// There is no such machine.
    #[error("there is no machine \"{name}\"")]
    NotFound {
        /// the name
        name: MachineName,
    },
    /// The machine did not get to run its guest.
    #[error("\"{name}\" could not be started: {reason}")]
    StartFailed {
        /// the machine
        name: MachineName,
        /// why
        reason: String,
    },
    /// There was no vmm-spawn to start the machine, for too long.
    #[error(
        "\"{name}\" could not be started: vmm-spawn, which starts machines, has not answered for {} \
         s; the host's admin has to look after it",
        crate::START_PATIENCE_MS / 1000
    )]
    NoSpawn {
        /// the machine
        name: MachineName,
    },
    /// The host takes no new machines.
    #[error(
        "this host is being drained: it takes no new machines, and starts none that have ended; \
         use another host, or ask its admin to open it"
    )]
    Draining,
    /// Nobody waits any more for the host to be empty, as it takes machines again.
    #[error("this host takes machines; drain it first, to wait until it has none")]
    NotDraining,
    /// This program stops all machines and ends.
    #[error("the supervisor of this host stops all machines and ends; try again when it is back")]
    Ending,
    /// The machine is in the middle of something else.
    #[error("\"{name}\" {doing}; try again when that is over")]
    Busy {
        /// the machine
        name: MachineName,
        /// what it is in the middle of
        doing: &'static str,
    },
    /// The machine runs already.
    #[error("\"{name}\" runs already; to start it afresh, restart it")]
    AlreadyRunning {
        /// the machine
        name: MachineName,
    },
    /// A later request took back what this one wanted.
    #[error("called off: somebody wanted \"{name}\" {by} meanwhile")]
    CalledOff {
        /// the machine
        name: MachineName,
        /// what was wanted
        by: &'static str,
    },
    /// What the request has changed could not be made durable.
    #[error("nothing was done, since it could not be made durable: {reason}")]
    NotKept {
        /// why
        reason: String,
    },
    /// The shell used an id twice: a fault of this program, not of the request.
    #[error("the id {id} is in use; try again")]
    IdInUse {
        /// the id
        id: MachineId,
    },
    /// The shell used the number of an image twice: a fault of this program, not of the request.
    #[error("the image number {} is in use; try again", image.0)]
    ImageInUse {
        /// the number
        image: ImageId,
    },
}

impl Refusal {
    /// The same, for someone who may not list machines.
    pub fn without_names(mut self) -> Self {
        match &mut self {
            Self::Quota { context, .. } => context.users.clear(),
            Self::Network(refusal) => refusal.without_names(),
            _ => {}
        }
        self
    }

    /// Its first line: what was refused, and by which limit.
    pub fn summary(&self) -> String {
        let text = self.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// A short name for programs, stable.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Stale { .. } | Self::OtherShare { .. } => "stale",
            Self::Revoked { .. } => "revoked",
            Self::ListNotTaken(_) => "list",
            Self::Expired { .. } => "expired",
            Self::BrokenChain => "chain",
            Self::TooManyDelegations { .. } | Self::UnknownDelegation { .. } => "delegation",
            Self::Outside { .. } => "outside",
            Self::Quota { .. } => "quota",
            Self::Cpu { .. } => "cpu",
            Self::Bridge { .. } => "bridge",
            Self::Network(refusal) => refusal.code(),
            Self::HostNetwork(_) => "host-network",
            Self::ImageRoom { .. }
            | Self::ImageCount { .. }
            | Self::ImageTooLarge { .. }
            | Self::NoImage { .. } => "image",
            Self::NameInUse { .. } => "name",
            Self::NotFound { .. } => "not-found",
            Self::StartFailed { .. } | Self::NoSpawn { .. } => "start-failed",
            Self::Draining | Self::NotDraining => "draining",
            Self::Ending => "ending",
            Self::Busy { .. } => "busy",
            Self::AlreadyRunning { .. } => "running",
            Self::CalledOff { .. } => "called-off",
            Self::NotKept { .. } => "journal",
            Self::IdInUse { .. } | Self::ImageInUse { .. } => "internal",
        }
    }
}

/// What is told with a limit that would be exceeded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// The delegations above the machine, outermost first, by their newest certificates.
    pub shares: Vec<Share>,
    /// What is used at the path of the limit, and by which machines; empty above the requester's
    /// own path.
    pub users: Vec<User>,
}

/// A delegation in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Which.
    pub path: Path,
    /// Machines.
    pub machines: u64,
    /// MiB of memory.
    pub memory_mib: u64,
}

/// What a delegation has a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Machines running at the same time.
    Machines,
    /// MiB of memory.
    Memory,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machines => "machines",
            Self::Memory => "memory",
        })
    }
}
