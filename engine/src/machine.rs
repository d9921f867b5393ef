//! One machine: what is known of it, and what it is in the middle of.
//!
//! ```text
//!            StartMachine                    Exited, policy: again
//!   deploy ──────────────▶ Starting ─Started─▶ Running ───────────▶ Waiting ──(time)──▶ Starting
//!   start                     │                 │    │
//!                             │ StartFailed     │    └─Exited─▶ Ended(Exited | Failed)
//!                             ▼                 ▼ stop, restart, destroy, replace
//!                       Ended(Failed)        Stopping ─Exited─▶ Ended(Stopped), Starting, or gone
//! ```
//!
//! Whoever wants a machine in `Starting` to stop leaves a [`Stop`] there: it is acted upon as soon
//! as there is a process to stop, or none.
//!
//! `Queued` is beside the picture: what should run and had its process taken away by the host (a
//! reboot, or an end of this program that stops machines) waits there for its turn to be started.

use std::sync::Arc;

use vmm_proto::authority::{LeafIdentity, Link};
use vmm_proto::id::MachineId;
use vmm_proto::name::MachineName;

use crate::ended::Place;
use crate::event::{Exit, Spec, Token};
use crate::keep::Outcome;
use crate::ledger::Amount;
use crate::networks::Interface;
use crate::view::State;

/// A listed machine, or one that waits to take the place of a listed one.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: MachineId,
    pub(crate) name: MachineName,
    pub(crate) spec: Arc<Spec>,
    /// The delegations of its last deploy, one for each label of its path (rule 11).
    pub(crate) chain: Arc<[Link]>,
    /// The leaf of its last deploy, if that was its own: one that is exactly this machine.
    pub(crate) leaf: Option<LeafIdentity>,
    /// Its network interfaces, in the order of its spec's networks.
    pub(crate) interfaces: Arc<[Interface]>,
    pub(crate) phase: Phase,
    /// The number of its last start: 0 before the first.
    pub(crate) run: u64,
    /// What the ledger holds in its name: nothing once it has ended, and while it is being
    /// replaced the larger of it and its successor.
    pub(crate) held: Amount,
    /// When it has to be looked at next: to be started again, or to be killed.
    pub(crate) due_ms: Option<u64>,
    /// At which Unix second the end of its authority has to be looked at next.
    pub(crate) expiry_s: Option<i64>,
    pub(crate) pid: Option<u32>,
    pub(crate) started_unix_ms: Option<u64>,
    pub(crate) exit: Option<Exit>,
    pub(crate) reason: Option<String>,
    /// Automatic restarts since it last ran healthily, or since somebody started it.
    pub(crate) in_a_row: u32,
    /// Automatic restarts since it was deployed.
    pub(crate) restarts: u32,
    pub(crate) output_end: u64,
    /// When the end of its authority was last looked at, in Unix seconds.
    pub(crate) looked_s: i64,
    /// The machine whose place it has taken, while that is not for good.
    pub(crate) probation: Option<Box<Probation>>,
}

/// What a machine is in the middle of.
#[derive(Debug)]
pub(crate) enum Phase {
    /// It is being started, or will be as soon as there is a vmm-spawn.
    Starting { why: Why, stop: Option<Stop> },
    /// It runs: since this time of the monotonic clock, and so long before, when another process
    /// looked after it.
    Running { since_ms: u64, before_ms: u64 },
    /// It was told to end.
    Stopping(Stop),
    /// It waits to be started again by its policy.
    Waiting,
    /// It should run, and waits for its turn.
    Queued,
    /// It has ended.
    Ended { outcome: Outcome, place: Place },
}

/// Why a machine is started.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Why {
    /// Somebody asked for it, and waits for it unless that was in another life of this program.
    Asked(Option<Token>),
    /// By its restart policy.
    Policy,
    /// By the host, to go on as before: after a reboot, or since what had replaced it failed.
    Host,
}

/// A machine whose successor is on probation.
#[derive(Debug)]
pub(crate) struct Probation {
    /// The machine that was replaced.
    pub(crate) former: Machine,
    /// How long the successor is on probation.
    pub(crate) ms: u64,
    /// When that is over, by the monotonic clock; nothing before the successor first runs.
    pub(crate) due_ms: Option<u64>,
}

/// A machine is to stop: who waits for it, and what comes then.
#[derive(Debug)]
pub(crate) struct Stop {
    /// How long it may take before it is killed.
    pub(crate) timeout_ms: u64,
    /// Whether its time is over.
    pub(crate) killed: bool,
    /// Whether somebody wants it to be gone.
    pub(crate) gone: bool,
    /// Who waits for it to have stopped.
    pub(crate) stoppers: Vec<Token>,
    /// Who waits for it to be gone.
    pub(crate) destroyers: Vec<Token>,
    pub(crate) then: Then,
}

/// What comes after a stop.
#[derive(Debug)]
pub(crate) enum Then {
    /// It stays listed as stopped.
    Stay,
    /// It stays listed as failed.
    Fail,
    /// It stays listed as revoked.
    Revoke,
    /// It is forgotten.
    Destroy,
    /// It is started again, for this request.
    Start(Option<Token>),
    /// It is to run again in the next life of this program.
    Hold,
    /// Another machine takes its place.
    Replace(Box<Replacement>),
}

/// A machine that waits to take the place of another.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) machine: Machine,
    /// The request for it.
    pub(crate) token: Option<Token>,
    /// How long it will be on probation; 0: not at all.
    pub(crate) probation_ms: u64,
}

impl Machine {
    /// A machine that was just admitted.
    pub(crate) fn new(
        id: MachineId,
        name: MachineName,
        spec: Spec,
        chain: Vec<Link>,
        leaf: Option<LeafIdentity>,
        interfaces: Vec<Interface>,
        token: Token,
    ) -> Self {
        Self {
            id,
            name,
            spec: Arc::new(spec),
            chain: chain.into(),
            leaf,
            interfaces: interfaces.into(),
            phase: Phase::Starting { why: Why::Asked(Some(token)), stop: None },
            run: 0,
            held: Amount::default(),
            due_ms: None,
            expiry_s: None,
            pid: None,
            started_unix_ms: None,
            exit: None,
            reason: None,
            in_a_row: 0,
            restarts: 0,
            output_end: 0,
            looked_s: i64::MIN,
            probation: None,
        }
    }

    /// What it takes when it is live.
    pub(crate) fn amount(&self) -> Amount {
        Amount::of_machine(self.spec.memory_mib)
    }

    /// What is to be held in its name: while another machine may take its place, the larger of the
    /// two, as only one of them has a process at any time.
    pub(crate) fn needs(&self) -> Amount {
        if !self.state().is_live() {
            return Amount::default();
        }
        let former = self.probation.as_ref().map(|probation| probation.former.amount());
        let successor = self.replacement().map(|replacement| replacement.machine.amount());
        former.into_iter().chain(successor).fold(self.amount(), Amount::larger)
    }

    pub(crate) fn state(&self) -> State {
        match &self.phase {
            Phase::Starting { stop: None, .. } => State::Starting,
            Phase::Starting { stop: Some(_), .. } | Phase::Stopping(_) => State::Stopping,
            Phase::Running { .. } => State::Running,
            Phase::Waiting | Phase::Queued => State::Restarting,
            Phase::Ended { outcome, .. } => match outcome {
                Outcome::Stopped => State::Stopped,
                Outcome::Exited => State::Exited,
                Outcome::Failed => State::Failed,
                Outcome::Revoked => State::Revoked,
            },
        }
    }

    /// Whether the shell has, or is about to have, a process of it.
    pub(crate) fn has_process(&self) -> bool {
        match self.phase {
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping(_) => true,
            Phase::Waiting | Phase::Queued | Phase::Ended { .. } => false,
        }
    }

    /// The stop that it is in the middle of.
    pub(crate) fn stop(&self) -> Option<&Stop> {
        match &self.phase {
            Phase::Starting { stop, .. } => stop.as_ref(),
            Phase::Stopping(stop) => Some(stop),
            Phase::Running { .. } | Phase::Waiting | Phase::Queued | Phase::Ended { .. } => None,
        }
    }

    /// What is about to take its place.
    pub(crate) fn replacement(&self) -> Option<&Replacement> {
        match &self.stop()?.then {
            Then::Replace(replacement) => Some(replacement),
            Then::Stay
            | Then::Fail
            | Then::Revoke
            | Then::Destroy
            | Then::Start(_)
            | Then::Hold => None,
        }
    }

    /// The machine that is about to take its place.
    pub(crate) fn successor(&self) -> Option<MachineId> {
        self.replacement().map(|replacement| replacement.machine.id)
    }

    /// The machine that is started again in its place if it fails in time.
    pub(crate) fn former(&self) -> Option<MachineId> {
        self.probation.as_ref().map(|probation| probation.former.id)
    }
}

impl Exit {
    /// How a machine that ended so, and stays so, is listed.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Code(_) => Outcome::Exited,
            Self::Signal(_) | Self::OutOfMemory | Self::Unknown => Outcome::Failed,
        }
    }
}
