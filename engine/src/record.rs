//! What goes to the event log.

use std::net::IpAddr;

use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{MachineName, Path};
use vmm_proto::resource::{BridgeName, CpuSet, HostNetwork};
use vmm_proto::revocation::CrlNumber;

use crate::event::{Exit, Kind, Spent, Token};

/// An entry for the event log. The shell adds the time, which it gave, and who the `cause` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Something happened to a machine.
    Machine {
        /// its name
        name: MachineName,
        /// its id; `None` when a request named a machine that there is not
        id: Option<MachineId>,
        /// the request that led to it, when one directly did
        cause: Option<Token>,
        /// what happened
        what: What,
    },
    /// A revocation list came into force (rule 8).
    Revoked {
        /// whose list: the path of the delegation that issued it, or the host's for the root
        issuer: Path,
        /// its number
        number: CrlNumber,
        /// how many serial numbers it holds
        serials: usize,
        /// the request that handed it in
        cause: Option<Token>,
    },
    /// The host takes no new machines from now on, or takes them again.
    Doors {
        /// whether it takes none
        draining: bool,
        /// the request for that
        cause: Option<Token>,
    },
    /// A private network of the host was made or removed.
    HostNetwork {
        /// which
        network: HostNetwork,
        /// whether it is gone
        removed: bool,
        /// the request for that
        cause: Option<Token>,
    },
    /// A newer certificate of a delegation was shown, and rules from now on (rule 9).
    Renewed {
        /// the delegation
        path: Path,
        /// the generation that ruled before
        before: u64,
        /// the generation that rules now
        generation: u64,
    },
    /// A delegation is known or renewed, and has addresses that a sibling of it has, too. Each of
    /// them goes to whoever is first.
    Overlap(Box<Overlap>),
}

/// Addresses that two delegations of one issuer have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The delegation that was shown.
    pub path: Path,
    /// Its sibling: the first one of those with which it has addresses in common.
    pub sibling: Path,
    /// On which bridge.
    pub bridge: BridgeName,
    /// The first address that both have.
    pub first: IpAddr,
    /// The last one.
    pub last: IpAddr,
    /// How many more siblings have some of its addresses.
    pub more: usize,
}

/// What happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It was admitted.
    Deployed {
        /// what its image is built for
        kind: Kind,
        /// its image
        image: Digest,
        /// MiB of memory
        memory_mib: u32,
        /// its CPUs
        cpus: CpuSet,
    },
    /// It runs.
    Started {
        /// its process, unless that had ended before anybody here heard of it
        pid: Option<u32>,
    },
    /// It could not be started.
    StartFailed {
        /// why
        reason: String,
    },
    /// Its process ended.
    Exited {
        /// how
        exit: Exit,
        /// what this run has used; nothing when nobody saw its end
        spent: Option<Spent>,
    },
    /// It will be started again by its restart policy.
    Restarting {
        /// after so many milliseconds
        delay_ms: u64,
        /// restarts in a row, this one included
        attempt: u32,
    },
    /// It was asked to stop.
    Stopping {
        /// and will be killed after so many milliseconds
        timeout_ms: u64,
    },
    /// It did not stop when asked, and is killed.
    Killed,
    /// It was stopped on request and stays listed.
    Stopped,
    /// Its authority is about to end.
    Expires {
        /// the delegation that ends it
        path: Path,
        /// the last second of it, in Unix seconds
        not_after: i64,
    },
    /// Its authority has ended.
    Expired {
        /// the delegation that ended it
        path: Path,
        /// the last second of it, in Unix seconds
        not_after: i64,
        /// whether it is stopped for that
        stopped: bool,
    },
    /// Its authority was taken back.
    Revoked {
        /// which certificate was revoked
        reason: String,
    },
    /// It was forgotten on request.
    Destroyed,
    /// Another machine has its name now.
    Replaced {
        /// that machine
        by: MachineId,
    },
    /// It failed on probation: the machine that it had replaced is started again, and it is
    /// forgotten.
    RolledBack {
        /// the machine that has its name again
        to: MachineId,
        /// how it failed
        reason: String,
    },
    /// It had ended, and newer ended machines took its place in the list.
    PushedOut {
        /// the delegation whose list was full
        full: Path,
    },
    /// A request was refused.
    Refused {
        /// [`crate::Refusal::code`]
        code: &'static str,
        /// the message
        message: String,
    },
}

impl What {
    /// Its name in the log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Deployed { .. } => "deployed",
            Self::Started { .. } => "started",
            Self::StartFailed { .. } => "start-failed",
            Self::Exited { .. } => "exited",
            Self::Restarting { .. } => "restarting",
            Self::Stopping { .. } => "stopping",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::Expires { .. } => "expires",
            Self::Expired { .. } => "expired",
            Self::Revoked { .. } => "revoked",
            Self::Destroyed => "destroyed",
            Self::Replaced { .. } => "replaced",
            Self::RolledBack { .. } => "rolled-back",
            Self::PushedOut { .. } => "pushed-out",
            Self::Refused { .. } => "refused",
        }
    }
}
