//! Between a client and `vmmd`, over TLS or the local socket.
//!
//! The client opens a request with a number of its own; everything that belongs to it carries that
//! number, in both directions, until [`Reply::Done`] or [`Reply::Error`].

use std::net::{Ipv4Addr, Ipv6Addr};

use bincode::{Decode, Encode};

use super::spawn::HostNetwork;
use super::{ConsoleStart, Exit, Output, Sample, Traffic, why};
use crate::id::{Digest, MachineId};
use crate::verb::Verb;

/// At most so many requests are open at once on one connection.
pub const MAX_OPEN: usize = 32;

/// From the client.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToServer {
    /// Opens a request.
    Open(Request),
    /// A piece of what [`Reply::NeedImage`] or [`Reply::NeedList`] asked for, at most
    /// [`crate::frame::MAX_DATA`] bytes.
    Data(Vec<u8>),
    /// Ends the request early.
    Cancel,
}

/// What a client asks for. Names are relative to the certificate's path, or full with a leading
/// slash.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Deploy a machine. Answers: [`Reply::NeedImage`] perhaps, [`Reply::Deployed`], then its
    /// console if asked, and [`Reply::Ended`].
    Deploy {
        /// `None`: the machine that the leaf is. Otherwise a machine described here.
        described: Option<Described>,
        /// Follow its console until it has ended.
        attach: bool,
        /// When it takes the place of a machine that runs: for how many milliseconds its failure
        /// brings that one back; 0 for not at all, `None` for the server's choice.
        probation_ms: Option<u32>,
    },
    /// List machines. Answers: [`Reply::Machines`], as often as needed.
    Info {
        /// A machine, or `NAME/` for all below a delegation.
        name: Option<String>,
    },
    /// Read a console. Answers: [`Reply::Output`], and [`Reply::Ended`] when it follows.
    Attach {
        /// The machine.
        name: String,
        /// Where to begin.
        start: ConsoleStart,
        /// Whether to go on with what the machine writes later.
        follow: bool,
    },
    /// End one's own attachments to a console. Answer: [`Reply::Detached`].
    Detach {
        /// The machine.
        name: String,
    },
    /// What machines use. Answers: [`Reply::Statistics`].
    Statistics {
        /// A machine, or `NAME/` for all below a delegation.
        name: Option<String>,
        /// Whether to go on each second.
        follow: bool,
    },
    /// The event log. Answers: [`Reply::LogLine`].
    Log {
        /// A machine, or `NAME/` for all below a delegation.
        name: Option<String>,
        /// Only what is not older, in Unix milliseconds.
        since_ms: Option<u64>,
        /// Whether to go on with what happens later.
        follow: bool,
    },
    /// Limits and their use. Answer: [`Reply::Quota`].
    Quota,
    /// Start a machine that is not running.
    Start {
        /// The machine.
        name: String,
    },
    /// Stop a machine.
    Stop {
        /// The machine.
        name: String,
        /// How long it is given to end by itself, in milliseconds; `None`: the server's choice.
        timeout_ms: Option<u32>,
    },
    /// Stop and start a machine.
    Restart {
        /// The machine.
        name: String,
        /// As in [`Request::Stop`].
        timeout_ms: Option<u32>,
    },
    /// Stop a machine and forget it.
    Destroy {
        /// The machine.
        name: String,
    },
    /// Hand in a revocation list (rule 8). Answers: [`Reply::NeedList`], then, when all pieces have
    /// come, [`Reply::Revoked`].
    Revoke {
        /// Bytes of the list in DER, at most [`crate::revocation::MAX_BYTES`].
        size: u32,
        /// The certificates of its issuer's chain in DER, that one first; the root may be last or left
        /// out. All together at most [`crate::revocation::MAX_CHAIN_BYTES`].
        chain: Vec<Vec<u8>>,
    },
    /// Whether something would be accepted now, and what stands in its way. Answers:
    /// [`Reply::Why`], part by part. Nothing is changed.
    Why(why::Deed),
    /// Change whether the host takes new machines. Only for who speaks for the host itself. Answer:
    /// [`Reply::Doors`]; when draining is waited for, another one at its end.
    Host(Doorkeeping),
    /// Look at or change the private networks of the host. Only for its admin, on the local socket.
    /// Answer to a list: [`Reply::HostNetworks`].
    HostNetwork(NetworkDeed),
}

/// What is to become of the host's own networks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum NetworkDeed {
    /// Make one, and keep it over reboots. The same again changes nothing.
    Add(HostNetwork),
    /// List them.
    List,
    /// Remove one on which there is no machine.
    Remove {
        /// The name of its bridge.
        name: String,
    },
}

/// What is to become of the host's doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Doorkeeping {
    /// Take no new machines from now on, also after a restart.
    Drain {
        /// Answer again when nothing is live any more.
        wait: bool,
    },
    /// Take new machines again.
    Open,
}

impl Request {
    /// The row of the table of verbs that it falls under.
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Deploy { .. } => Verb::Deploy,
            Self::Info { .. } => Verb::Info,
            Self::Attach { .. } => Verb::Attach,
            Self::Detach { .. } => Verb::Detach,
            Self::Statistics { .. } => Verb::Statistics,
            Self::Log { .. } => Verb::Log,
            Self::Quota => Verb::Quota,
            Self::Start { .. } => Verb::Start,
            Self::Stop { .. } => Verb::Stop,
            Self::Restart { .. } => Verb::Restart,
            Self::Destroy { .. } => Verb::Destroy,
            Self::Revoke { .. } => Verb::Revoke,
            Self::Why(_) => Verb::Why,
            Self::Host(_) | Self::HostNetwork(_) => Verb::Host,
        }
    }
}

/// A machine that a request describes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// A [`crate::grant::Grant::Machine`] in DER, unsigned.
    pub grant: Vec<u8>,
}

/// From the server.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// The image's bytes from `offset` on are needed.
    NeedImage {
        /// How many bytes the server already has.
        offset: u64,
    },
    /// The machine runs.
    Deployed(Machine),
    /// Machines, in the order of their names.
    Machines(Vec<Machine>),
    /// A piece of a console.
    Output(Output),
    /// The machine whose console was followed has ended.
    Ended {
        /// Its state: `exited`, `failed`, `stopped`, or `destroyed` when it is no longer listed.
        state: String,
        /// How it ended.
        exit: Option<Exit>,
    },
    /// Attachments that were ended.
    Detached(u32),
    /// What machines use.
    Statistics(Vec<Usage>),
    /// One record of the event log, as a JSON document.
    LogLine(String),
    /// Limits and their use, from the certificate's path down.
    Quota(Vec<Quota>),
    /// The request is done.
    Done,
    /// The request is refused, or failed.
    Error(Error),
    /// The bytes of the list are needed, from the first one on.
    NeedList,
    /// The list is verified, kept, and in force.
    Revoked(Revoked),
    /// A part of why something would be refused.
    Why(why::Part),
    /// Whether the host takes new machines.
    Doors(Doors),
    /// The private networks of the host, in the order of their names.
    HostNetworks(Vec<HostNetworkInfo>),
}

/// A listed private network of the host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HostNetworkInfo {
    /// What it is.
    pub network: HostNetwork,
    /// Whether it is there; `None`: nobody said so yet.
    pub up: Option<bool>,
    /// Why it is not there.
    pub problem: Option<String>,
    /// Live machines that have an interface on it.
    pub machines: u32,
}

/// Whether the host takes new machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Doors {
    /// Whether it takes none.
    pub draining: bool,
    /// How many machines are live.
    pub live: u32,
}

/// What a revocation list has done.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Revoked {
    /// The path of its issuer; empty for the root.
    pub issuer: String,
    /// Its number, in decimal.
    pub number: String,
    /// How many serial numbers it takes back, those of the last list included.
    pub serials: u32,
    /// How many machines below the client's own path it stops.
    pub machines: u32,
}

/// One listed machine.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[allow(missing_docs, reason = "the fields are those of `info --format json`")]
pub struct Machine {
    pub name: String,
    pub state: String,
    pub id: MachineId,
    pub pid: Option<u32>,
    /// `spt` or `hvt`.
    pub kind: String,
    pub memory_mib: u32,
    pub cpus: Vec<u16>,
    pub image_sha256: Digest,
    pub image_size: u32,
    /// Unix milliseconds.
    pub started_ms: Option<u64>,
    pub restarts: u32,
    pub exit: Option<Exit>,
    pub reason: Option<String>,
    pub over_quota: bool,
    /// What of its jail could not be applied, in words; or that this is not known now.
    pub jail: Vec<String>,
    /// The number of its last start.
    pub run: u64,
    /// While it is on probation: the machine that has its place again if it fails.
    pub former: Option<MachineId>,
    /// Its network interfaces, in the order of its grant; empty while it was never admitted with them.
    pub networks: Vec<Network>,
}

/// A network interface of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Network {
    /// The name by which the guest knows it.
    pub device: String,
    /// The bridge that it is on.
    pub bridge: String,
    /// The host's end of it.
    pub tap: String,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its IPv4 address and the bits of its subnet; none where such addresses are not managed.
    pub address: Option<(Ipv4Addr, u8)>,
    /// The same of IPv6.
    pub address6: Option<(Ipv6Addr, u8)>,
}

/// What one machine uses.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Usage {
    /// The machine's full name.
    pub name: String,
    /// Its id.
    pub id: MachineId,
    /// The newest last; a short history before it. Empty while nothing was measured.
    pub samples: Vec<Sample>,
    /// Its network interfaces, in their order.
    pub interfaces: Vec<InterfaceUsage>,
}

/// What one network interface of a machine has carried.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct InterfaceUsage {
    /// The name by which the guest knows it.
    pub device: String,
    /// What it counted last; none while it was not seen.
    pub traffic: Option<Traffic>,
}

/// A limit and what is used of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[allow(missing_docs, reason = "the fields are their own description")]
pub struct Amount {
    pub limit: u64,
    pub used: u64,
}

/// The limits at one path.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[allow(missing_docs, reason = "the fields are those of `quota --format json`")]
pub struct Quota {
    pub path: String,
    pub machines: Amount,
    pub memory_mib: Amount,
    pub storage_mib: Amount,
    pub cpus: Vec<u16>,
    pub bridges: Vec<String>,
}

/// Of which kind a failure is. The client's exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum ErrorCode {
    /// The request itself is wrong: a name, a grant, a message.
    Usage,
    /// The chain is refused.
    Chain,
    /// The leaf does not have the permission.
    Permission,
    /// A limit, of a delegation or of the host.
    Quota,
    /// No free address.
    Address,
    /// The name is in use.
    Name,
    /// There is no such machine.
    NotFound,
    /// The machine failed to start.
    StartFailed,
    /// The image is not what was signed, or not one that runs here.
    Image,
    /// Something that the request needs is not there: a daemon, a feature.
    Unavailable,
    /// Too much at once; or the other side was too slow.
    Busy,
    /// The server failed.
    Internal,
}

impl ErrorCode {
    /// The word that stands for it in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Chain => "chain",
            Self::Permission => "permission",
            Self::Quota => "quota",
            Self::Address => "address",
            Self::Name => "name",
            Self::NotFound => "not-found",
            Self::StartFailed => "start-failed",
            Self::Image => "image",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Internal => "internal",
        }
    }
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Of which kind it is.
    pub code: ErrorCode,
    /// What was refused, by which rule, and what would do.
    pub message: String,
}

impl Error {
    /// A failure of this kind.
    pub fn new(code: ErrorCode, message: impl std::fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }
}
