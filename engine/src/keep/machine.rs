//! What must outlive the process of a machine: plain data, from which another process goes on.
//!
//! There are no tokens in it: nobody waits for an answer after a restart. Times are of the wall
//! clock, as monotonic clocks do not outlive their process; whoever goes on bounds what is left by
//! what was granted, so that a clock that was set does no harm.

use std::sync::Arc;

use vmm_proto::authority::{LeafIdentity, Link};
use vmm_proto::id::MachineId;
use vmm_proto::name::MachineName;

use crate::event::{Exit, Spec};
use crate::networks::Interface;

/// A machine as it is kept: a listed one, one that waits to take the place of a listed one, or one
/// whose successor is on probation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMachine {
    /// Its id.
    pub id: MachineId,
    /// Its full name.
    pub name: MachineName,
    /// What it is, its image included.
    pub spec: Arc<Spec>,
    /// The delegations of its last deploy, one for each label of its path, outermost first.
    pub chain: Arc<[Link]>,
    /// The leaf of its last deploy, if that was its own: one that is exactly this machine.
    pub leaf: Option<LeafIdentity>,
    /// Its network interfaces, in the order of the networks of `spec`: of its last start, or as
    /// reserved for its first.
    pub interfaces: Arc<[Interface]>,
    /// The number of its last start; 0 before the first.
    pub run: u64,
    /// What it is in the middle of.
    pub phase: KeptPhase,
    /// Its process, while it is known to have one.
    pub pid: Option<u32>,
    /// When it was last started, in milliseconds since the Unix epoch.
    pub started_unix_ms: Option<u64>,
    /// How it last ended; nothing while it runs.
    pub exit: Option<Exit>,
    /// Why it is in its state, when the state and the exit do not say it.
    pub reason: Option<String>,
    /// Automatic restarts since it last ran healthily, or since somebody started it.
    pub in_a_row: u32,
    /// Automatic restarts since it was deployed.
    pub restarts: u32,
    /// Bytes of console output it had produced when its process last ended.
    pub output_end: u64,
    /// When the end of its authority was last looked at, in Unix seconds: what came due since then
    /// is still to be announced.
    pub looked_s: i64,
    /// The machine whose place it has taken, while that is not for good.
    pub probation: Option<Box<KeptProbation>>,
}

/// What a kept machine is in the middle of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptPhase {
    /// The start with the number [`KeptMachine::run`] is intended, given or under way.
    Starting {
        /// for whom
        by: StartedBy,
        /// what to do as soon as there is a process to stop, or none
        stop: Option<KeptStop>,
    },
    /// It runs.
    Running,
    /// It was told to end.
    Stopping(KeptStop),
    /// It waits to be started again by its policy.
    Waiting {
        /// until then, in milliseconds since the Unix epoch
        until_unix_ms: u64,
    },
    /// It is to run, and waits for its turn: it ran when the host, or this program, went down.
    Queued,
    /// It has ended, and stays listed.
    Ended {
        /// how
        outcome: Outcome,
        /// its place in the order in which machines ended: larger ones ended later
        place: u64,
    },
}

/// For whom a machine is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartedBy {
    /// Somebody asked for it.
    Request,
    /// Its restart policy.
    Policy,
    /// The host, to go on as before: after a reboot, or since its replacement failed.
    Host,
}

/// A kept machine is to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptStop {
    /// How long it may take before it is killed, in milliseconds.
    pub timeout_ms: u64,
    /// When it is killed (again), in milliseconds since the Unix epoch; nothing while it is being
    /// started.
    pub deadline_unix_ms: Option<u64>,
    /// Whether its time is over.
    pub killed: bool,
    /// Whether somebody wanted it to be gone: then it does not stay, whatever else is called off.
    pub gone: bool,
    /// What comes then.
    pub then: KeptThen,
}

/// What comes after a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptThen {
    /// It stays listed as stopped.
    Stay,
    /// It stays listed as failed.
    Fail,
    /// It stays listed as revoked.
    Revoke,
    /// It is forgotten.
    Destroy,
    /// It is started again.
    Start,
    /// It is to run again when this program does.
    Hold,
    /// Another machine takes its place.
    Replace {
        /// that machine
        successor: Box<KeptMachine>,
        /// how long that one is on probation, in milliseconds; 0: not at all
        probation_ms: u64,
    },
}

/// A machine that was replaced, and is started again if its successor fails in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptProbation {
    /// The machine that was replaced.
    pub former: KeptMachine,
    /// How long the successor's probation lasts, in milliseconds from when it first runs.
    pub probation_ms: u64,
    /// When that is over, in milliseconds since the Unix epoch; nothing before it first runs.
    pub until_unix_ms: Option<u64>,
}

/// How a machine has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// On request.
    Stopped,
    /// By itself, with whatever exit code.
    Exited,
    /// It could not be started, or was ended by a signal, by lack of memory, or unseen.
    Failed,
    /// Its authority was taken back.
    Revoked,
}
