//! What the engine shows.

use vmm_proto::id::MachineId;
use vmm_proto::name::{MachineName, Path};
use vmm_proto::resource::{BridgeName, CpuSet};

use crate::event::{Exit, Spec};
use crate::networks::Interface;

/// What a machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It was asked to stop.
    Stopping,
    /// It was stopped on request.
    Stopped,
    /// It ended, and waits to be started again: by its restart policy, or since the host went down.
    Restarting,
    /// It ended by itself, with whatever exit code.
    Exited,
    /// Its authority was taken back.
    Revoked,
    /// It could not be started, or was ended by a signal, by lack of memory, or unseen.
    Failed,
}

impl State {
    /// Its name, as `info` shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Revoked => "revoked",
            Self::Failed => "failed",
        }
    }

    /// Whether it holds its share of every delegation above it.
    pub const fn is_live(self) -> bool {
        match self {
            Self::Starting | Self::Running | Self::Stopping | Self::Restarting => true,
            Self::Stopped | Self::Exited | Self::Revoked | Self::Failed => false,
        }
    }

    /// Whether a machine of the same name needs `replace` to take its place (rule 12).
    pub const fn needs_replace(self) -> bool {
        !matches!(self, Self::Exited | Self::Revoked | Self::Failed)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One listed machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View<'a> {
    /// Its full name.
    pub name: &'a MachineName,
    /// Its id.
    pub id: MachineId,
    /// The number of its last start: 1 or more.
    pub run: u64,
    /// What it does.
    pub state: State,
    /// What it is.
    pub spec: &'a Spec,
    /// Its network interfaces, in the order of the networks of `spec`; reserved also when it has
    /// ended. The tap of each is `vmm_proto::resource::TapName::of(id, index)`.
    pub interfaces: &'a [Interface],
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// When it was last started, in milliseconds since the Unix epoch; kept when it has ended.
    pub started_unix_ms: Option<u64>,
    /// How often its restart policy has started it again since it was deployed.
    pub restarts: u32,
    /// How it last ended; nothing while it runs.
    pub exit: Option<Exit>,
    /// Why it is in this state, when the state and the exit do not say it.
    pub reason: Option<&'a str>,
    /// Bytes of console output it had produced when its process last ended.
    pub output_end: u64,
    /// Whether it lives below a delegation that has become smaller than what runs below it.
    pub over_quota: bool,
    /// When its name is about to be taken over: the id of the machine that will have it.
    pub successor: Option<MachineId>,
    /// While it is on probation: the id of the machine that has the name again if it fails.
    pub former: Option<MachineId>,
}

/// A limit and what is used of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// At most so much; less than `used` after the limit was lowered.
    pub limit: u64,
    /// So much is in use.
    pub used: u64,
}

/// One delegation, or the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaRow {
    /// Which; the empty path is the host.
    pub path: Path,
    /// Machines.
    pub machines: Used,
    /// MiB of memory.
    pub memory_mib: Used,
    /// MiB of storage.
    pub storage_mib: Used,
    /// CPUs usable.
    pub cpus: CpuSet,
    /// Bridges usable; empty for the host while its bridges are not known.
    pub bridges: Vec<BridgeName>,
}

/// A machine that takes a part of what is bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: MachineName,
    /// What it does.
    pub state: State,
    /// MiB that are held in its name: while it is replaced, the larger of it and its successor.
    pub memory_mib: u64,
}
