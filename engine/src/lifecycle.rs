//! What becomes of machines: the reports of their processes, and the passing of time. How they are
//! brought to an end is in [`crate::ending`].

use vmm_proto::id::MachineId;
use vmm_proto::name::Path;

use crate::effect::{Answer, Effect};
use crate::engine::{Engine, Turn};
use crate::event::{Exit, Token};
use crate::keep::Outcome;
use crate::machine::{Phase, Why};
use crate::reconcile::another;
use crate::record::What;
use crate::refusal::Refusal;
use crate::restart::{self, End, HEALTHY_MS, Verdict};

/// SIGKILL is repeated so often until the exit is reported: the order may have been lost together
/// with the connection to vmm-spawn.
pub const KILL_AGAIN_MS: u64 = 5_000;

impl Engine {
    /// Has a listed machine started, and reserves what it takes: the caller has seen that it fits.
    pub(crate) fn run(&mut self, turn: &mut Turn, id: MachineId, why: Why) {
        self.set_timer(id, None);
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let before = std::mem::replace(&mut machine.phase, Phase::Starting { why, stop: None });
        if let Phase::Ended { place, .. } = before {
            self.ended.remove(&machine.name.path, place);
        }
        let amount = machine.amount();
        self.ledger.exchange(&machine.name.path, machine.held, amount);
        machine.held = amount;
        match why {
            Why::Asked(_) => {
                machine.in_a_row = 0;
                machine.exit = None;
                machine.reason = None;
            }
            Why::Policy => {
                machine.in_a_row = machine.in_a_row.saturating_add(1);
                machine.restarts = machine.restarts.saturating_add(1);
            }
        }
        let start = machine.start();
        self.watch_expiry(turn.now.unix_s(), id);
        turn.push(start);
    }

    pub(crate) fn started(&mut self, turn: &mut Turn, id: MachineId, run: u64, pid: u32) {
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.run == run) else {
            // Nobody may run that is not accounted for.
            return turn.push(Effect::StopMachine { id, run, force: true });
        };
        let (why, stop) = match &mut machine.phase {
            Phase::Starting { why, stop } => (*why, stop.take()),
            Phase::Running { .. } | Phase::Stopping(_) => return,
            Phase::Waiting | Phase::Ended { .. } => {
                return turn.push(Effect::StopMachine { id, run, force: true });
            }
        };
        machine.phase = Phase::Running { since_ms: turn.now.monotonic_ms };
        machine.pid = Some(pid);
        machine.started_unix_ms = Some(turn.now.unix_ms);
        machine.exit = None;
        if stop.is_none() {
            machine.reason = None;
        }
        turn.record(machine, why.token(), What::Started { pid });
        if let Why::Asked(token) = why {
            turn.reply(token, Ok(Answer::Running { id, pid }));
        }
        if let Some(stop) = stop {
            self.signal(turn, id, stop, None);
        }
    }

    pub(crate) fn start_failed(
        &mut self,
        turn: &mut Turn,
        id: MachineId,
        run: u64,
        reason: String,
        jitter: u32,
    ) {
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.run == run) else {
            return;
        };
        let Phase::Starting { why, stop } = &mut machine.phase else { return };
        let (why, stop) = (*why, stop.take());
        machine.reason = Some(reason.clone());
        turn.record(machine, why.token(), What::StartFailed { reason: reason.clone() });
        let name = machine.name.clone();
        match (why, stop) {
            (Why::Asked(token), None) => {
                self.end(turn, id, Outcome::Failed);
                turn.reply(token, Err(Refusal::StartFailed { name, reason }));
                self.list_ended(turn, id);
            }
            (Why::Asked(token), Some(stop)) => {
                turn.reply(token, Err(Refusal::StartFailed { name, reason }));
                self.conclude(turn, id, stop);
            }
            (Why::Policy, Some(stop)) => self.conclude(turn, id, stop),
            (Why::Policy, None) => {
                self.ended_by_itself(turn, id, End::NotStarted, jitter);
            }
        }
    }

    pub(crate) fn exited(
        &mut self,
        turn: &mut Turn,
        id: MachineId,
        run: u64,
        (exit, output_end): (Exit, u64),
        jitter: u32,
    ) {
        let Some(machine) = self.machines.get_mut(&id) else {
            // Of a machine that was forgotten, or never known: there is nothing to keep of it.
            return turn.push(Effect::ForgetMachine { id });
        };
        if machine.run != run {
            return;
        }
        match &machine.phase {
            Phase::Waiting | Phase::Ended { .. } => return,
            Phase::Starting { .. } => {
                machine.output_end = machine.output_end.max(output_end);
                machine.exit = Some(exit);
                let reason = format!("it ended while it was being started: {exit}");
                return self.start_failed(turn, id, run, reason, jitter);
            }
            Phase::Running { .. } | Phase::Stopping(_) => {}
        }
        machine.output_end = machine.output_end.max(output_end);
        machine.exit = Some(exit);
        machine.pid = None;
        turn.record(machine, None, What::Exited { exit });
        match std::mem::replace(&mut machine.phase, Phase::Waiting) {
            Phase::Stopping(stop) => self.conclude(turn, id, stop),
            Phase::Running { since_ms } => {
                if turn.now.monotonic_ms.saturating_sub(since_ms) >= HEALTHY_MS {
                    machine.in_a_row = 0;
                }
                self.ended_by_itself(turn, id, End::Exit(exit), jitter);
            }
            Phase::Starting { .. } | Phase::Waiting | Phase::Ended { .. } => {}
        }
    }

    /// A run ended that nobody asked to end: the restart policy decides.
    fn ended_by_itself(&mut self, turn: &mut Turn, id: MachineId, end: End, jitter: u32) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        match restart::judge(&machine.spec.restart, end, machine.in_a_row, jitter) {
            Verdict::Again { delay_ms, attempt } => {
                machine.phase = Phase::Waiting;
                turn.record(machine, None, What::Restarting { delay_ms, attempt });
                self.set_timer(id, Some(turn.now.monotonic_ms.saturating_add(delay_ms)));
            }
            Verdict::Stay { reason } => {
                if let Some(limit) = reason {
                    machine.reason = Some(match machine.reason.take() {
                        Some(reason) => format!("{reason}; {limit}"),
                        None => limit,
                    });
                }
                let outcome = match end {
                    End::Exit(exit) => exit.outcome(),
                    End::NotStarted => Outcome::Failed,
                };
                self.end(turn, id, outcome);
                self.list_ended(turn, id);
            }
        }
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn) {
        let is_due = |(due_ms, _): &&(u64, MachineId)| *due_ms <= turn.now.monotonic_ms;
        let due: Vec<_> = self.timers.iter().take_while(is_due).copied().collect();
        for (due_ms, id) in due {
            if self.timers.remove(&(due_ms, id)) {
                self.due(turn, id);
            }
        }
    }

    /// The time of one machine has come.
    fn due(&mut self, turn: &mut Turn, id: MachineId) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        machine.due_ms = None;
        match &mut machine.phase {
            Phase::Waiting => self.run(turn, id, Why::Policy),
            Phase::Stopping(stop) => {
                let first = !std::mem::replace(&mut stop.killed, true);
                if first {
                    turn.record(machine, None, What::Killed);
                }
                turn.push(Effect::StopMachine { id, run: machine.run, force: true });
                self.set_timer(id, Some(turn.now.monotonic_ms.saturating_add(KILL_AGAIN_MS)));
            }
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Ended { .. } => {}
        }
    }

    pub(crate) fn spawn_lost(&mut self, turn: &mut Turn, jitter: u32) {
        let starting: Vec<(MachineId, u64)> = self
            .names
            .below(&Path::host())
            .into_iter()
            .filter_map(|id| self.machines.get(&id))
            .filter(|machine| matches!(machine.phase, Phase::Starting { .. }))
            .map(|machine| (machine.id, machine.run))
            .collect();
        let mut jitter = jitter;
        for (id, run) in starting {
            let reason = "vmm-spawn, which starts machines, is gone".to_owned();
            self.start_failed(turn, id, run, reason, jitter);
            jitter = another(jitter);
        }
    }
}

impl Why {
    fn token(self) -> Option<Token> {
        match self {
            Self::Asked(token) => Some(token),
            Self::Policy => None,
        }
    }
}
