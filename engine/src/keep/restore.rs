//! A kept machine as it was.

use vmm_proto::id::MachineId;

use crate::Amount;
use crate::ended::Place;
use crate::engine::{Engine, Turn};
use crate::images::Content;
use crate::machine::{Machine, Phase, Probation, Replacement, Stop, Then, Why};
use crate::restart::LONGEST_WAIT_MS;

use super::{KeptMachine, KeptPhase, KeptProbation, KeptStop, KeptThen, StartedBy};

/// What has to be looked at of a restored machine as soon as the time is known, by the wall clock.
#[derive(Debug)]
pub(crate) struct Restored {
    id: MachineId,
    /// When it is to be started again, or killed.
    due_unix_ms: Option<u64>,
    /// When its probation is over.
    probation_unix_ms: Option<u64>,
}

impl Engine {
    /// Takes back a listed machine, with everything that comes with it. It is started, stopped or
    /// looked for only when vmm-spawn has said what it knows.
    pub(super) fn restore_machine(&mut self, kept: KeptMachine) {
        let due_unix_ms = match &kept.phase {
            KeptPhase::Waiting { until_unix_ms } => Some(*until_unix_ms),
            KeptPhase::Stopping(stop) => Some(stop.deadline_unix_ms.unwrap_or(u64::MAX)),
            KeptPhase::Starting { .. }
            | KeptPhase::Running
            | KeptPhase::Queued
            | KeptPhase::Ended { .. } => None,
        };
        let probation = kept.probation.as_ref();
        let probation_unix_ms = probation.and_then(|probation| probation.until_unix_ms);
        let machine = self.restored(kept);
        let id = machine.id;
        match &machine.phase {
            Phase::Queued => self.boot.enqueue(machine.spec.priority, id),
            Phase::Ended { place, .. } => self.ended.restore(&machine.name.path, *place),
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping(_)
            | Phase::Waiting => {}
        }
        self.successors.extend(machine.successor());
        self.formers.extend(machine.former());
        self.names.insert(machine.name.clone(), id);
        self.machines.restore(machine);
        self.hold(id);
        self.restored.push(Restored { id, due_unix_ms, probation_unix_ms });
    }

    /// A machine, and what it and those that it brings along hold of images and networks.
    fn restored(&mut self, kept: KeptMachine) -> Machine {
        let (path, sha256) = (kept.name.path.clone(), kept.spec.image_sha256);
        let content = Content { path, sha256, size: kept.spec.image_size };
        self.images.restore(kept.spec.image, content);
        self.networks.take(&kept.name, &kept.interfaces);
        let phase = self.restored_phase(kept.id, kept.phase);
        let probation = kept.probation.map(|probation| {
            let KeptProbation { former, probation_ms, .. } = *probation;
            Box::new(Probation { former: self.restored(former), ms: probation_ms, due_ms: None })
        });
        Machine {
            id: kept.id,
            name: kept.name,
            spec: kept.spec,
            chain: kept.chain,
            leaf: kept.leaf,
            interfaces: kept.interfaces,
            phase,
            run: kept.run,
            held: Amount::default(),
            due_ms: None,
            expiry_s: None,
            pid: kept.pid,
            started_unix_ms: kept.started_unix_ms,
            exit: kept.exit,
            reason: kept.reason,
            in_a_row: kept.in_a_row,
            restarts: kept.restarts,
            output_end: kept.output_end,
            looked_s: kept.looked_s,
            probation,
        }
    }

    fn restored_phase(&mut self, id: MachineId, kept: KeptPhase) -> Phase {
        match kept {
            KeptPhase::Starting { by, stop } => Phase::Starting {
                why: match by {
                    StartedBy::Request => Why::Asked(None),
                    StartedBy::Policy => Why::Policy,
                    StartedBy::Host => Why::Host,
                },
                stop: stop.map(|stop| self.restored_stop(stop)),
            },
            KeptPhase::Running => Phase::Running { since_ms: 0, before_ms: 0 },
            KeptPhase::Stopping(stop) => Phase::Stopping(self.restored_stop(stop)),
            KeptPhase::Waiting { .. } => Phase::Waiting,
            KeptPhase::Queued => Phase::Queued,
            KeptPhase::Ended { outcome, place } => {
                Phase::Ended { outcome, place: Place { sequence: place, id } }
            }
        }
    }

    fn restored_stop(&mut self, kept: KeptStop) -> Stop {
        Stop {
            timeout_ms: kept.timeout_ms,
            killed: kept.killed,
            gone: kept.gone,
            stoppers: Vec::new(),
            destroyers: Vec::new(),
            then: match kept.then {
                KeptThen::Stay => Then::Stay,
                KeptThen::Fail => Then::Fail,
                KeptThen::Revoke => Then::Revoke,
                KeptThen::Destroy => Then::Destroy,
                KeptThen::Start => Then::Start(None),
                KeptThen::Hold => Then::Hold,
                KeptThen::Replace { successor, probation_ms } => {
                    let machine = self.restored(*successor);
                    Then::Replace(Box::new(Replacement { machine, token: None, probation_ms }))
                }
            },
        }
    }

    /// Sets the timers of what was restored, now that the time is known. What is left of each is
    /// bounded by what it was at most: a clock that was set back makes nobody wait for long.
    pub(crate) fn look_at_restored(&mut self, turn: &Turn) {
        for Restored { id, due_unix_ms, probation_unix_ms } in std::mem::take(&mut self.restored) {
            let left = |at: u64, most: u64| at.saturating_sub(turn.now.unix_ms).min(most);
            let Some(machine) = self.machines.note(id) else { continue };
            let mut most = LONGEST_WAIT_MS;
            match &mut machine.phase {
                Phase::Running { since_ms, before_ms } => {
                    let started = machine.started_unix_ms.unwrap_or(turn.now.unix_ms);
                    *since_ms = turn.now.monotonic_ms;
                    *before_ms = turn.now.unix_ms.saturating_sub(started);
                }
                Phase::Stopping(stop) => most = stop.timeout_ms.max(crate::KILL_AGAIN_MS),
                Phase::Starting { .. } | Phase::Waiting | Phase::Queued | Phase::Ended { .. } => {}
            }
            if let (Some(probation), Some(at)) = (&mut machine.probation, probation_unix_ms) {
                let due_ms = turn.now.monotonic_ms.saturating_add(left(at, probation.ms));
                probation.due_ms = Some(due_ms);
                self.probations.insert((due_ms, id));
            }
            let looked_s = machine.looked_s;
            let due_ms = |at| turn.now.monotonic_ms.saturating_add(left(at, most));
            self.set_timer(id, due_unix_ms.map(due_ms));
            self.watch_expiry(looked_s, id);
        }
    }
}
