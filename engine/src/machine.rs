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

use std::sync::Arc;

use vmm_proto::authority::{LeafIdentity, Link};
use vmm_proto::id::MachineId;
use vmm_proto::name::MachineName;

use crate::effect::Effect;
use crate::ended::Place;
use crate::event::{Exit, Spec, Token};
use crate::keep::Outcome;
use crate::ledger::Amount;
use crate::view::State;

/// A listed machine, or one that waits to take the place of a listed one.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: MachineId,
    pub(crate) name: MachineName,
    pub(crate) spec: Arc<Spec>,
    /// The delegations of its last deploy, one for each label of its path (rule 11).
    pub(crate) chain: Vec<Link>,
    /// The leaf of its last deploy, if that was its own: one that is exactly this machine.
    pub(crate) leaf: Option<LeafIdentity>,
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
}

/// What a machine is in the middle of.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The shell was told to start it.
    Starting { why: Why, stop: Option<Stop> },
    /// It runs, since this time of the monotonic clock.
    Running { since_ms: u64 },
    /// It was told to end.
    Stopping(Stop),
    /// It waits to be started again by its policy.
    Waiting,
    /// It has ended.
    Ended { outcome: Outcome, place: Place },
}

/// Why a machine is started.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Why {
    /// Somebody waits for it.
    Asked(Token),
    /// By its restart policy.
    Policy,
}

/// A machine is to stop: who waits for it, and what comes then.
#[derive(Debug)]
pub(crate) struct Stop {
    /// How long it may take before it is killed.
    pub(crate) timeout_ms: u64,
    /// Whether its time is over.
    pub(crate) killed: bool,
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
    /// It stays listed as revoked.
    Revoke,
    /// It is forgotten.
    Destroy,
    /// It is started again, for this request.
    Start(Token),
    /// This machine takes its place, for this request.
    Replace(Box<Machine>, Token),
}

impl Machine {
    /// A machine that was just admitted.
    pub(crate) fn new(
        id: MachineId,
        name: MachineName,
        spec: Spec,
        chain: Vec<Link>,
        leaf: Option<LeafIdentity>,
        token: Token,
    ) -> Self {
        Self {
            id,
            name,
            spec: Arc::new(spec),
            chain,
            leaf,
            phase: Phase::Starting { why: Why::Asked(token), stop: None },
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
        }
    }

    /// Its next start: from now on reports of earlier ones count no more.
    pub(crate) fn start(&mut self) -> Effect {
        self.run += 1;
        let (id, run, name) = (self.id, self.run, self.name.clone());
        Effect::StartMachine { id, run, name, spec: Arc::clone(&self.spec) }
    }

    /// What it takes when it is live.
    pub(crate) fn amount(&self) -> Amount {
        Amount::of_machine(self.spec.memory_mib)
    }

    pub(crate) fn state(&self) -> State {
        match &self.phase {
            Phase::Starting { stop: None, .. } => State::Starting,
            Phase::Starting { stop: Some(_), .. } | Phase::Stopping(_) => State::Stopping,
            Phase::Running { .. } => State::Running,
            Phase::Waiting => State::Restarting,
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
            Phase::Waiting | Phase::Ended { .. } => false,
        }
    }

    /// The stop that it is in the middle of.
    pub(crate) fn stop(&self) -> Option<&Stop> {
        match &self.phase {
            Phase::Starting { stop, .. } => stop.as_ref(),
            Phase::Stopping(stop) => Some(stop),
            Phase::Running { .. } | Phase::Waiting | Phase::Ended { .. } => None,
        }
    }

    /// The machine that is about to take its place.
    pub(crate) fn successor(&self) -> Option<MachineId> {
        match &self.stop()?.then {
            Then::Replace(machine, _) => Some(machine.id),
            Then::Stay | Then::Revoke | Then::Destroy | Then::Start(_) => None,
        }
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
