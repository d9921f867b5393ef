//! Why a request is refused.
//!
//! A message names the thing, the rule or limit, and the way out. A refusal by a delegation above
//! the requester's own path names that delegation and its limit, never what others use of it.

use std::fmt;

use vmm_proto::authority::Validity;
use vmm_proto::id::MachineId;
use vmm_proto::name::{MachineName, Path};
use vmm_proto::resource::{BridgeName, CpuSet};

use crate::event::ImageId;
use crate::view::State;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[must_use]
pub enum Refusal {
    /// A newer certificate of a delegation in the chain was seen (rule 9).
    #[error(
        "the certificate of delegation \"{path}\" is outdated: it has generation {presented}, and \
         generation {newest} was seen here; ask the issuer for the newest certificate"
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
    #[error("{}", quota(path, *quantity, *limit, *asked, *used))]
    Quota {
        /// whose limit; the empty path is the host
        path: Path,
        /// of what
        quantity: Quantity,
        /// at most so much
        limit: u64,
        /// so much was asked for
        asked: u64,
        /// so much is used; only told of the requester's own path and what is below it
        used: Option<u64>,
    },
    /// A CPU is not to be used.
    #[error("CPU {cpu} may not be used: {} has {allowed}", place(path))]
    Cpu {
        /// whose limit; the empty path is the host
        path: Path,
        /// the CPU
        cpu: u16,
        /// those it has
        allowed: CpuSet,
    },
    /// A bridge is not to be used.
    #[error("bridge \"{bridge}\" may not be used: {} has no bridge of that name", place(path))]
    Bridge {
        /// whose limit
        path: Path,
        /// the bridge
        bridge: BridgeName,
    },
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
    /// A short name for programs, stable.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Stale { .. } | Self::OtherShare { .. } => "stale",
            Self::Expired { .. } => "expired",
            Self::BrokenChain => "chain",
            Self::TooManyDelegations { .. } | Self::UnknownDelegation { .. } => "delegation",
            Self::Outside { .. } => "outside",
            Self::Quota { .. } => "quota",
            Self::Cpu { .. } => "cpu",
            Self::Bridge { .. } => "bridge",
            Self::ImageRoom { .. } | Self::NoImage { .. } => "image",
            Self::NameInUse { .. } => "name",
            Self::NotFound { .. } => "not-found",
            Self::StartFailed { .. } => "start-failed",
            Self::Busy { .. } => "busy",
            Self::AlreadyRunning { .. } => "running",
            Self::CalledOff { .. } => "called-off",
            Self::IdInUse { .. } | Self::ImageInUse { .. } => "internal",
        }
    }
}

/// What a delegation has a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Machines running at the same time.
    Machines,
    /// MiB of memory.
    Memory,
}

impl Quantity {
    const fn unit(self) -> &'static str {
        match self {
            Self::Machines => "machines",
            Self::Memory => "MiB of memory",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machines => "machines",
            Self::Memory => "memory",
        })
    }
}

fn place(path: &Path) -> String {
    if path.is_host() { "this host".to_owned() } else { format!("delegation \"{path}\"") }
}

fn when(validity: Validity, now_s: i64) -> String {
    if now_s < validity.not_before {
        format!("is not valid for another {} s", validity.not_before.saturating_sub(now_s))
    } else {
        format!("expired {} s ago", now_s.saturating_sub(validity.not_after))
    }
}

fn way(validity: Validity, now_s: i64) -> &'static str {
    if now_s < validity.not_before {
        "wait, or compare the clocks"
    } else {
        "ask its issuer for a new certificate"
    }
}

fn quota(path: &Path, quantity: Quantity, limit: u64, asked: u64, used: Option<u64>) -> String {
    let unit = quantity.unit();
    let limit_of = format!("the limit of {} is {limit} {unit}", place(path));
    match used {
        _ if asked > limit => format!("{limit_of}, and this machine alone asks for {asked}"),
        Some(used) => {
            let left = limit.saturating_sub(used);
            format!(
                "{limit_of}: {used} in use, {left} left, {asked} asked for; stop a machine first"
            )
        }
        None => format!("{limit_of}, and {asked} more do not fit now; ask whoever manages it"),
    }
}

fn room(path: &Path, limit: u64, asked: u64, used: Option<u64>) -> String {
    let limit_of = format!("cached images below {} may have {limit} bytes together", place(path));
    match used {
        _ if asked > limit => format!("{limit_of}, and this one alone has {asked}"),
        Some(used) => format!(
            "{limit_of}: {used} are in use and this one has {asked}; destroy machines that are not \
             needed any more, also ended ones"
        ),
        None => format!("{limit_of}, and {asked} more do not fit now; ask whoever manages it"),
    }
}
