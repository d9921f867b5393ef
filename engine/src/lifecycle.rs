//! What becomes of machines: the reports of their processes, and the passing of time. How they are
//! brought to an end is in [`crate::ending`].

use vmm_proto::id::MachineId;

use crate::effect::{Answer, Effect};
use crate::engine::{Engine, Turn};
use crate::event::{Exit, Spent, Token};
use crate::keep::Outcome;
use crate::machine::{Machine, Phase, Stop, Then, Why};
use crate::record::What;
use crate::refusal::Refusal;
use crate::restart::{self, End, HEALTHY_MS, Verdict};

/// SIGKILL is repeated so often until the exit is reported: the order may have been lost together
/// with the connection to vmm-spawn.
pub const KILL_AGAIN_MS: u64 = 5_000;

/// How long a request waits for a start while there is no vmm-spawn.
pub const START_PATIENCE_MS: u64 = 30_000;

impl Engine {
    /// Has a listed machine started, and reserves what it takes: the caller has seen that it fits.
    pub(crate) fn run(&mut self, turn: &mut Turn, id: MachineId, why: Why) {
        self.set_timer(id, None);
        let Some(machine) = self.machines.change(id) else { return };
        machine.run += 1;
        let before = std::mem::replace(&mut machine.phase, Phase::Starting { why, stop: None });
        if let Phase::Ended { place, .. } = before {
            self.ended.remove(&machine.name.path, place);
        }
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
            Why::Host => {}
        }
        // What is live is watched already; what is due of that at this moment is not to be missed.
        if machine.expiry_s.is_none() {
            machine.looked_s = turn.now.unix_s();
            self.watch_expiry(turn.now.unix_s(), id);
        }
        self.hold(id);
        self.give_start(turn, id);
    }

    /// Gives the order for a start, if it can be given now.
    pub(crate) fn give_start(&mut self, turn: &mut Turn, id: MachineId) {
        let Some(machine) = self.machines.get(id) else { return };
        if self.doors.ending {
            if let Phase::Starting { why: Why::Asked(Some(token)), .. } = machine.phase {
                turn.reply(token, Err(Refusal::Ending));
            }
            return self.queue(id);
        }
        if self.joined {
            return self.order_start(turn, id);
        }
        if let Phase::Starting { why: Why::Asked(Some(_)), .. } = machine.phase {
            self.be_patient(turn, id);
        }
    }

    /// Somebody waits for a start while there is no vmm-spawn: not for ever.
    pub(crate) fn be_patient(&mut self, turn: &Turn, id: MachineId) {
        self.set_timer(id, Some(turn.now.monotonic_ms.saturating_add(START_PATIENCE_MS)));
    }

    /// Nobody waits for a start any more. Whether vmm-spawn got the order for it is not known: the
    /// machine keeps its place until it is, and then does not run.
    fn give_up_start(&mut self, turn: &mut Turn, id: MachineId) {
        let Some(machine) = self.machines.change(id) else { return };
        let Phase::Starting { why: Why::Asked(token), stop } = &mut machine.phase else { return };
        let token = token.take();
        if stop.is_none() {
            *stop = Some(Stop::new(0, Then::Fail));
            let reason = Refusal::NoSpawn { name: machine.name.clone() }.to_string();
            machine.reason = Some(reason);
        }
        if let Some(token) = token {
            let name = machine.name.clone();
            turn.refuse(token, name.clone(), Some(id), Refusal::NoSpawn { name });
        }
    }

    pub(crate) fn started(&mut self, turn: &mut Turn, id: MachineId, run: u64, pid: u32) {
        match self.machines.get(id).filter(|it| it.run == run).map(|it| &it.phase) {
            Some(Phase::Starting { .. }) => self.set_timer(id, None),
            Some(Phase::Running { .. } | Phase::Stopping(_)) => return,
            // Nobody may run that is not accounted for.
            Some(Phase::Waiting | Phase::Queued | Phase::Ended { .. }) | None => {
                return turn.push(Effect::StopMachine { id, run, force: true });
            }
        }
        self.runs(turn, id, Some(pid));
    }

    /// A start has come to its end: the guest runs, in a process that is not known if it is gone by now.
    fn runs(&mut self, turn: &mut Turn, id: MachineId, pid: Option<u32>) {
        let Some(machine) = self.machines.change(id) else { return };
        let Phase::Starting { why, stop } = &mut machine.phase else { return };
        let (why, stop) = (*why, stop.take());
        machine.phase = Phase::Running { since_ms: turn.now.monotonic_ms, before_ms: 0 };
        machine.pid = pid;
        machine.started_unix_ms = Some(turn.now.unix_ms);
        machine.exit = None;
        if stop.is_none() && !matches!(why, Why::Host) {
            machine.reason = None;
        }
        turn.record(machine, why.token(), What::Started { pid });
        if let Some((token, pid)) = why.token().zip(pid) {
            turn.reply(token, Ok(Answer::Running { id, pid }));
        }
        self.begin_probation(turn, id);
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
        self.not_started(turn, (id, run), reason, None, jitter);
    }

    /// A start has failed, for whoever asked with this refusal, or else with the reason.
    pub(crate) fn not_started(
        &mut self,
        turn: &mut Turn,
        (id, run): (MachineId, u64),
        reason: String,
        refusal: Option<Refusal>,
        jitter: u32,
    ) {
        let starting = |machine: &&Machine| {
            machine.run == run && matches!(machine.phase, Phase::Starting { .. })
        };
        if !self.machines.get(id).as_ref().is_some_and(starting) {
            return;
        }
        self.set_timer(id, None);
        let Some(machine) = self.machines.change(id) else { return };
        let Phase::Starting { why, stop } = &mut machine.phase else { return };
        let (why, stop) = (*why, stop.take());
        machine.reason = Some(reason.clone());
        let how = format!("it could not be started: {reason}");
        turn.record(machine, why.token(), What::StartFailed { reason: reason.clone() });
        if let Some(token) = why.token() {
            let failed = || Refusal::StartFailed { name: machine.name.clone(), reason };
            turn.reply(token, Err(refusal.unwrap_or_else(failed)));
        }
        match (why, stop) {
            (_, Some(stop)) => self.conclude(turn, id, stop, End::NotStarted),
            (Why::Policy | Why::Host, None) => {
                self.ended_by_itself(turn, id, End::NotStarted, jitter);
            }
            (Why::Asked(_), None) => {
                if !self.roll_back(turn, id, End::NotStarted, how) {
                    self.end(turn, id, Outcome::Failed);
                    self.list_ended(turn, id);
                }
            }
        }
    }

    pub(crate) fn exited(
        &mut self,
        turn: &mut Turn,
        id: MachineId,
        run: u64,
        (exit, output_end, spent): (Exit, u64, Option<Spent>),
        jitter: u32,
    ) {
        let Some(machine) = self.machines.get(id) else {
            // Of a machine that was forgotten, or never known: there is nothing to keep of it.
            if !self.formers.contains(&id) {
                turn.push(Effect::ForgetMachine { id });
            }
            return;
        };
        if machine.run != run || !machine.has_process() {
            return;
        }
        let waited_for = match &machine.phase {
            Phase::Starting { why, .. } => Some(why.token().is_some()),
            _ => None,
        };
        // Its guest ran: only then has it an exit. That it did was not kept, as this process ended
        // before it could be. Whoever is still here to be told is told of a failure.
        if waited_for == Some(false) {
            self.runs(turn, id, None);
        }
        self.set_timer(id, None);
        let Some(machine) = self.machines.change(id) else { return };
        machine.output_end = machine.output_end.max(output_end);
        machine.exit = Some(exit);
        machine.pid = None;
        if waited_for == Some(true) {
            let reason = format!("it ended while it was being started: {exit}");
            return self.start_failed(turn, id, run, reason, jitter);
        }
        turn.record(machine, None, What::Exited { exit, spent });
        match std::mem::replace(&mut machine.phase, Phase::Waiting) {
            Phase::Stopping(stop) => self.conclude(turn, id, stop, End::Exit(exit)),
            Phase::Running { since_ms, before_ms } => {
                let ran_ms = turn.now.monotonic_ms.saturating_sub(since_ms);
                if ran_ms.saturating_add(before_ms) >= HEALTHY_MS {
                    machine.in_a_row = 0;
                }
                self.ended_by_itself(turn, id, End::Exit(exit), jitter);
            }
            Phase::Starting { .. } | Phase::Waiting | Phase::Queued | Phase::Ended { .. } => {}
        }
    }

    /// A run ended that nobody asked to end: the restart policy decides.
    fn ended_by_itself(&mut self, turn: &mut Turn, id: MachineId, end: End, jitter: u32) {
        let how = match end {
            End::Exit(exit) => exit.to_string(),
            End::NotStarted => "it could not be started".to_owned(),
        };
        if self.roll_back(turn, id, end, how) {
            return;
        }
        let Some(machine) = self.machines.change(id) else { return };
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

    /// Does now what is due of one machine, and of no other.
    pub(crate) fn if_due(&mut self, turn: &mut Turn, id: MachineId) {
        let due_ms = self.machines.get(id).and_then(|machine| machine.due_ms);
        if due_ms.is_some_and(|due_ms| due_ms <= turn.now.monotonic_ms) {
            self.set_timer(id, None);
            self.due(turn, id);
        }
    }

    /// The time of one machine has come.
    fn due(&mut self, turn: &mut Turn, id: MachineId) {
        let Some(machine) = self.machines.note(id) else { return };
        machine.due_ms = None;
        match &machine.phase {
            // In its next life this program goes on with it.
            Phase::Waiting if self.doors.ending => {}
            Phase::Waiting => self.run(turn, id, Why::Policy),
            Phase::Starting { .. } if !self.joined => self.give_up_start(turn, id),
            Phase::Stopping(stop) => {
                let (run, first) = (machine.run, !stop.killed);
                if first {
                    self.note_killed(turn, id);
                }
                turn.push(Effect::StopMachine { id, run, force: true });
                self.set_timer(id, Some(turn.now.monotonic_ms.saturating_add(KILL_AGAIN_MS)));
            }
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Queued
            | Phase::Ended { .. } => {}
        }
    }

    fn note_killed(&mut self, turn: &mut Turn, id: MachineId) {
        let Some(machine) = self.machines.change(id) else { return };
        if let Phase::Stopping(stop) = &mut machine.phase {
            stop.killed = true;
        }
        turn.record(machine, None, What::Killed);
    }
}

impl Why {
    fn token(self) -> Option<Token> {
        match self {
            Self::Asked(token) => token,
            Self::Policy | Self::Host => None,
        }
    }
}
