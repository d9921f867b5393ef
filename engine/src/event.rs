//! What the engine is told: requests, what became of its effects, and the passing of time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vmm_proto::authority::{Authorization, LeafIdentity, Link};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{MachineName, Path};
use vmm_proto::resource::{Arguments, BridgeName, CpuSet, Devices, HostNetwork, Restart};
use vmm_proto::revocation::RevocationList;

/// The time at which an event happens. The engine has no clock of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since the Unix epoch: what is shown, and what certificates are judged by.
    pub unix_ms: u64,
    /// Milliseconds of a clock that never goes back: what timers are measured by.
    pub monotonic_ms: u64,
}

impl Now {
    /// Unix seconds, as certificates count them.
    pub(crate) fn unix_s(self) -> i64 {
        i64::try_from(self.unix_ms / 1000).unwrap_or(i64::MAX)
    }
}

/// One request. The shell chooses it, and gets exactly one [`crate::Effect::Reply`] with it, at
/// once or after later events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// One image file, stored or about to be. The shell makes the number up and never uses it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub u64);

/// What this host has for machines. It bounds everything, also the admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLimits {
    /// Machines running at the same time.
    pub machines: u32,
    /// MiB of memory for all machines, and for all cached images.
    pub memory_mib: u64,
    /// MiB of volumes and kept images.
    pub storage_mib: u64,
    /// CPUs that machines may run on.
    pub cpus: CpuSet,
}

/// Which of the two Solo5 ABIs an image was built for; the shell reads it from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A guest of the hardware's virtualization.
    Hvt,
    /// A process under seccomp.
    Spt,
}

impl Kind {
    /// `hvt` or `spt`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hvt => "hvt",
            Self::Spt => "spt",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A machine to run. The shell has checked the image; everything else holds by its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// What the image is built for.
    pub kind: Kind,
    /// The stored file.
    pub image: ImageId,
    /// What the file holds.
    pub image_sha256: Digest,
    /// Bytes of the file.
    pub image_size: u32,
    /// MiB of guest memory, 1 or more.
    pub memory_mib: u32,
    /// The CPUs it may run on, at least one.
    pub cpus: CpuSet,
    /// Its networks and volumes.
    pub devices: Devices,
    /// What its guest is told.
    pub arguments: Arguments,
    /// What happens when it ends by itself.
    pub restart: Restart,
    /// Start order after a reboot: 0 (first) to 100.
    pub priority: u8,
}

/// What a machine will ask of every delegation above it: the part of a [`Spec`] that is known
/// before the image (and so its [`Kind`]) is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// MiB of guest memory.
    pub memory_mib: u32,
    /// The CPUs it may run on.
    pub cpus: CpuSet,
    /// Its networks and volumes.
    pub devices: Devices,
    /// What its guest will be told: it may ask for addresses.
    pub arguments: Arguments,
}

/// The verified chain of whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// The delegations, outermost first.
    pub links: Vec<Link>,
    /// The leaf; the host's admin has none.
    pub leaf: Option<LeafIdentity>,
    /// Whether the leaf is exactly one machine's. What it deploys then lives by it: when it is
    /// revoked, the machine ends (rule 8).
    pub of_machine: bool,
}

impl From<&Authorization> for Chain {
    fn from(authorization: &Authorization) -> Self {
        Self {
            links: authorization.links().to_vec(),
            leaf: authorization.leaf_identity().cloned(),
            of_machine: authorization.own_machine().is_some(),
        }
    }
}

/// What one run of a machine has used, its process and all of that one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Processor time in user mode, in microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, in microseconds.
    pub system_us: u64,
    /// The most memory that was resident, in KiB.
    pub max_resident_kib: u64,
}

/// How a machine's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
    /// Killed because its memory was used up.
    OutOfMemory,
    /// Nobody saw it.
    Unknown,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::Unknown => f.write_str("ended unseen"),
        }
    }
}

/// The last run of a machine that vmm-spawn knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownRun {
    /// Which machine.
    pub id: MachineId,
    /// Which start of it.
    pub run: u64,
    /// Its process, while it has one. Without one, its end is reported next, unless that was
    /// acknowledged.
    pub pid: Option<u32>,
    /// Whether its guest runs.
    pub ready: bool,
}

/// Something that happened. Requests carry a [`Token`]; the shell has already checked that the
/// requester has the permission (`vmm_proto::authority::Authorization::may`).
///
/// `jitter` is a random number over the whole range of its type; it spreads restarts out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A chain was shown: after a handshake, and again at every request of an open session
    /// (rule 9). Answered with [`crate::Answer::Accepted`].
    Presented {
        /// the request
        token: Token,
        /// the chain
        chain: Chain,
    },
    /// Somebody is about to deploy a machine and asks whether its image must be uploaded. The
    /// deploy is judged as if it came now, so that nothing is uploaded for a doomed one. Answered
    /// with [`crate::Answer::Have`] or [`crate::Answer::Upload`]; while the same image is being
    /// uploaded under the same path, the answer waits for its end.
    ///
    /// Whoever gets an answer holds the image until [`Event::ReleaseImage`], and also owes
    /// [`Event::UploadEnded`] or [`Event::UploadBroke`] for an `Upload`: also when its session has
    /// gone meanwhile. An `Upload` with another number than `fresh` goes on with a part that is
    /// there.
    OfferImage {
        /// the request
        token: Token,
        /// the number that the file gets if it must be uploaded
        fresh: ImageId,
        /// SHA-256 of the image
        sha256: Digest,
        /// bytes of the image
        size: u32,
        /// the machine it is for; the image will belong to its path
        name: MachineName,
        /// what that machine asks for
        need: Need,
        /// the requester's chain
        chain: Chain,
        /// whether it may take the place of a live machine
        replace: bool,
    },
    /// An upload is over. When it was not `stored`, the shell has removed what there was of it.
    UploadEnded {
        /// the file
        image: ImageId,
        /// whether the file is complete and its digest right
        stored: bool,
    },
    /// An upload broke off: what there is of it is kept for whoever goes on. When nobody does within
    /// [`crate::PARKED_MS`], it is dropped. Whoever was uploading also owes
    /// [`Event::ReleaseImage`].
    UploadBroke {
        /// the file
        image: ImageId,
    },
    /// A session no longer needs an image that an offer gave it. What nobody needs is dropped.
    ReleaseImage {
        /// the file
        image: ImageId,
    },
    /// Deploy a machine. Answered with [`crate::Answer::Running`] when it runs.
    Deploy {
        /// the request
        token: Token,
        /// the new machine's id, never used before
        id: MachineId,
        /// its full name
        name: MachineName,
        /// what it is
        spec: Spec,
        /// the requester's chain
        chain: Chain,
        /// whether it may take the place of a live machine
        replace: bool,
        /// when it takes the place of one that should run: for how many milliseconds from when it
        /// first runs its failure brings that one back; 0 for not at all
        probation_ms: u64,
    },
    /// A machine that was to be started runs.
    Started {
        /// which
        id: MachineId,
        /// which start of it
        run: u64,
        /// its process
        pid: u32,
    },
    /// A machine that was to be started did not get to run its guest.
    StartFailed {
        /// which
        id: MachineId,
        /// which start of it
        run: u64,
        /// why, for people
        reason: String,
        /// see [`Event`]
        jitter: u32,
    },
    /// A machine's process has ended.
    Exited {
        /// which
        id: MachineId,
        /// which start of it
        run: u64,
        /// how
        exit: Exit,
        /// bytes of console output it has produced in its life, over all its runs
        output_end: u64,
        /// what this run has used; nothing when nobody saw its end
        spent: Option<Spent>,
        /// see [`Event`]
        jitter: u32,
    },
    /// Stop a machine. Answered with [`crate::Answer::Stopped`] when it does not run any more; at
    /// once, and without a change, for one that has ended already.
    Stop {
        /// the request
        token: Token,
        /// which
        name: MachineName,
        /// how long it is asked before it is killed
        timeout_ms: u64,
    },
    /// Start a machine that has ended. Answered with [`crate::Answer::Running`].
    Start {
        /// the request
        token: Token,
        /// which
        name: MachineName,
        /// the path that the requester speaks for: a refusal shows what is used below it only
        own: Path,
    },
    /// Stop a machine and start it again; one that has ended is just started. Answered with
    /// [`crate::Answer::Running`].
    Restart {
        /// the request
        token: Token,
        /// which
        name: MachineName,
        /// how long it is asked before it is killed
        timeout_ms: u64,
        /// see [`Event::Start`]
        own: Path,
    },
    /// Stop a machine, in whatever state it is, and forget it. Answered with
    /// [`crate::Answer::Destroyed`] when it is gone.
    Destroy {
        /// the request
        token: Token,
        /// which
        name: MachineName,
    },
    /// Take this list, which has been verified with its issuer's chain (rule 8). Answered with
    /// [`crate::Answer::Revoked`].
    Revoke {
        /// the request
        token: Token,
        /// the list
        list: Arc<RevocationList>,
    },
    /// What vmm-spawn knows, at the beginning of a connection: all machines of which it has
    /// anything. The reports that nobody acknowledged yet follow as events of their own.
    ///
    /// What runs and should is adopted, what runs and should not is ended, what nobody owns is swept.
    /// A start that vmm-spawn never got is given again, under the same number. What it does not know
    /// any more has ended unseen; after a reboot that is no failure, and it is started again, by
    /// priority and a few at a time. Nothing is started before the first of these events.
    SpawnKnows {
        /// whether the host has not been booted anew since vmm-spawn was last heard, by this or a
        /// former process
        same_boot: bool,
        /// the last run of each machine that it knows
        known: Vec<KnownRun>,
        /// see [`Event`]
        jitter: u32,
    },
    /// The bridges of the host that machines may be put on, as vmm-spawn says at the beginning of a
    /// connection, and again when they change. Until the first of these events they are not known,
    /// and no machine is refused for them.
    BridgesOffered {
        /// all of them
        bridges: BTreeSet<BridgeName>,
    },
    /// Make a private network of the host. Only for its admin. Answered with
    /// [`crate::Answer::NetworkDone`] when it is there; the same again is no change.
    AddNetwork {
        /// the request
        token: Token,
        /// what it is
        network: HostNetwork,
    },
    /// Remove one that no live machine is on. Only for the host's admin. Answered with
    /// [`crate::Answer::NetworkDone`] when it is gone.
    RemoveNetwork {
        /// the request
        token: Token,
        /// which
        name: BridgeName,
    },
    /// What became of the host networks, in answer to [`crate::Effect::HostNetworks`], and when that
    /// has changed.
    NetworksAre {
        /// that of the last effect
        number: u64,
        /// all that were told, and those that are still there; and what is wrong with them
        states: BTreeMap<BridgeName, Option<String>>,
    },
    /// The connection to vmm-spawn is gone. What ran is taken to run on, and keeps its reservation.
    /// Nothing is started until [`Event::SpawnKnows`]; a request that waits for a start is refused
    /// after [`crate::START_PATIENCE_MS`].
    SpawnLost,
    /// Take no new machines from now on, or take them again. Only for the host's admin. Answered
    /// with [`crate::Answer::Doors`]. It stays so over restarts.
    Drain {
        /// the request
        token: Token,
        /// whether to take none
        on: bool,
    },
    /// Wait until nothing is live while the host takes no new machines. Only for the host's admin.
    /// Answered with [`crate::Answer::Drained`]; refused when it takes machines, also later.
    AwaitDrained {
        /// the request
        token: Token,
    },
    /// End every process, since this program will end; nothing is started any more, and every
    /// request to is refused. What ran, and nobody wanted stopped, runs again in the next life of
    /// this program. Answered with [`crate::Answer::AllStopped`].
    StopAll {
        /// the request
        token: Token,
    },
    /// Time has passed: due at [`crate::Engine::next_wake`], harmless at any other time.
    Tick,
}
