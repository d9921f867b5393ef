//! A machine as it is kept.

use std::sync::Arc;

use crate::engine::Engine;
use crate::machine::{Machine, Phase, Probation, Stop, Then, Why};

use super::{KeptMachine, KeptPhase, KeptProbation, KeptStop, KeptThen, StartedBy};

impl Engine {
    /// What is to be kept of a machine.
    pub(super) fn kept(&self, machine: &Machine) -> KeptMachine {
        KeptMachine {
            id: machine.id,
            name: machine.name.clone(),
            spec: Arc::clone(&machine.spec),
            chain: Arc::clone(&machine.chain),
            leaf: machine.leaf.clone(),
            interfaces: Arc::clone(&machine.interfaces),
            run: machine.run,
            phase: self.kept_phase(machine),
            pid: machine.pid,
            started_unix_ms: machine.started_unix_ms,
            exit: machine.exit,
            reason: machine.reason.clone(),
            in_a_row: machine.in_a_row,
            restarts: machine.restarts,
            output_end: machine.output_end,
            looked_s: machine.looked_s,
            probation: machine.probation.as_ref().map(|probation| {
                let Probation { former, ms, due_ms } = &**probation;
                Box::new(KeptProbation {
                    former: self.kept(former),
                    probation_ms: *ms,
                    until_unix_ms: due_ms.map(|due_ms| self.wall_clock(due_ms)),
                })
            }),
        }
    }

    fn kept_phase(&self, machine: &Machine) -> KeptPhase {
        let due = machine.due_ms.map(|due_ms| self.wall_clock(due_ms));
        match &machine.phase {
            Phase::Starting { why, stop } => KeptPhase::Starting {
                by: match why {
                    Why::Asked(_) => StartedBy::Request,
                    Why::Policy => StartedBy::Policy,
                    Why::Host => StartedBy::Host,
                },
                stop: stop.as_ref().map(|stop| self.kept_stop(stop, None)),
            },
            Phase::Running { .. } => KeptPhase::Running,
            Phase::Stopping(stop) => KeptPhase::Stopping(self.kept_stop(stop, due)),
            Phase::Waiting => {
                KeptPhase::Waiting { until_unix_ms: due.unwrap_or(self.latest.unix_ms) }
            }
            Phase::Queued => KeptPhase::Queued,
            Phase::Ended { outcome, place } => {
                KeptPhase::Ended { outcome: *outcome, place: place.sequence }
            }
        }
    }

    fn kept_stop(&self, stop: &Stop, deadline_unix_ms: Option<u64>) -> KeptStop {
        KeptStop {
            timeout_ms: stop.timeout_ms,
            deadline_unix_ms,
            killed: stop.killed,
            gone: stop.gone,
            then: match &stop.then {
                Then::Stay => KeptThen::Stay,
                Then::Fail => KeptThen::Fail,
                Then::Revoke => KeptThen::Revoke,
                Then::Destroy => KeptThen::Destroy,
                Then::Start(_) => KeptThen::Start,
                Then::Hold => KeptThen::Hold,
                Then::Replace(replacement) => KeptThen::Replace {
                    successor: Box::new(self.kept(&replacement.machine)),
                    probation_ms: replacement.probation_ms,
                },
            },
        }
    }

    /// A time of the monotonic clock by the wall clock.
    fn wall_clock(&self, monotonic_ms: u64) -> u64 {
        let left_ms = monotonic_ms.saturating_sub(self.latest.monotonic_ms);
        self.latest.unix_ms.saturating_add(left_ms)
    }
}
