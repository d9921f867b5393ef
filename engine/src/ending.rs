//! How machines are brought to an end, and what comes then.

use std::sync::Arc;

use vmm_proto::id::MachineId;
use vmm_proto::name::Path;

use crate::effect::{Answer, Effect};
use crate::engine::{Engine, Turn};
use crate::event::Token;
use crate::keep::Outcome;
use crate::ledger::Amount;
use crate::machine::{Machine, Phase, Probation, Replacement, Stop, Then, Why};
use crate::record::What;
use crate::refusal::Refusal;
use crate::restart::End;

/// How long a machine that is replaced or destroyed may take to end before it is killed.
pub const DEFAULT_STOP_MS: u64 = 10_000;

impl Engine {
    /// A machine is to stop. If it was to already, both requests are served, and what comes then
    /// is the later one's wish; nothing takes back that a machine is to be destroyed but another
    /// one in its place.
    pub(crate) fn ask_to_stop(
        &mut self,
        turn: &mut Turn,
        id: MachineId,
        timeout_ms: u64,
        then: Then,
        cause: Option<Token>,
    ) {
        // Who asks for that has looked after it.
        if !matches!(then, Then::Hold | Then::Fail) {
            self.end_probation(turn, id);
        }
        let Some(machine) = self.machines.change(id) else { return };
        match &mut machine.phase {
            Phase::Starting { stop: stop @ None, .. } => *stop = Some(Stop::new(timeout_ms, then)),
            Phase::Running { .. } => self.signal(turn, id, Stop::new(timeout_ms, then), cause),
            Phase::Starting { stop: Some(stop), .. } => {
                stop.timeout_ms = stop.timeout_ms.min(timeout_ms);
                let revoked = stop.then_rather(then);
                self.call_off(turn, id, revoked);
            }
            Phase::Stopping(stop) => {
                let due_ms = turn.now.monotonic_ms.saturating_add(timeout_ms);
                let sooner = !stop.killed && machine.due_ms.is_none_or(|due| due_ms < due);
                let revoked = stop.then_rather(then);
                if sooner {
                    self.set_timer(id, Some(due_ms));
                }
                self.call_off(turn, id, revoked);
            }
            Phase::Waiting | Phase::Queued | Phase::Ended { .. } => {}
        }
    }

    /// Tells the process of a running machine to end.
    pub(crate) fn signal(
        &mut self,
        turn: &mut Turn,
        id: MachineId,
        stop: Stop,
        cause: Option<Token>,
    ) {
        let Some(machine) = self.machines.change(id) else { return };
        let timeout_ms = stop.timeout_ms;
        machine.phase = Phase::Stopping(stop);
        turn.record(machine, cause, What::Stopping { timeout_ms });
        turn.push(Effect::StopMachine { id, run: machine.run, force: false });
        self.set_timer(id, Some(turn.now.monotonic_ms.saturating_add(timeout_ms)));
        self.if_due(turn, id);
    }

    /// Answers a request that a later one took back, and undoes what it had brought about.
    fn call_off(&mut self, turn: &mut Turn, id: MachineId, then: Then) {
        let Some(machine) = self.machines.get(id) else { return };
        let by = match machine.stop().map(|stop| &stop.then) {
            Some(Then::Destroy) => "destroyed",
            Some(Then::Replace(..)) => "replaced",
            Some(Then::Revoke) => "revoked",
            Some(Then::Stay | Then::Fail | Then::Hold | Then::Start(_)) | None => "stopped",
        };
        let refusal = Refusal::CalledOff { name: machine.name.clone(), by };
        match then {
            Then::Start(Some(token)) => {
                turn.refuse(token, machine.name.clone(), Some(id), refusal);
            }
            Then::Stay
            | Then::Fail
            | Then::Revoke
            | Then::Destroy
            | Then::Hold
            | Then::Start(None) => {}
            Then::Replace(replacement) => {
                self.hold(id);
                let Replacement { machine: successor, token, .. } = *replacement;
                self.successors.remove(&successor.id);
                if let Some(token) = token {
                    turn.refuse(token, successor.name.clone(), Some(successor.id), refusal);
                }
                self.let_go(turn, &successor);
            }
        }
    }

    /// A machine that was to stop has no process any more.
    pub(crate) fn conclude(&mut self, turn: &mut Turn, id: MachineId, stop: Stop, end: End) {
        self.set_timer(id, None);
        let Stop { stoppers, destroyers, then, .. } = stop;
        let stopped = stoppers.into_iter().map(|token| (token, Answer::Stopped { id }));
        let destroyed = destroyers.into_iter().map(|token| (token, Answer::Destroyed { id }));
        let answers: Vec<_> = stopped.chain(destroyed).collect();
        let answer = |turn: &mut Turn| {
            for (token, answer) in answers {
                turn.reply(token, Ok(answer));
            }
        };
        match then {
            Then::Stay => {
                self.end(turn, id, Outcome::Stopped);
                answer(turn);
                self.list_ended(turn, id);
            }
            Then::Revoke => {
                self.end(turn, id, Outcome::Revoked);
                answer(turn);
                self.list_ended(turn, id);
            }
            Then::Fail => {
                let how = "vmm-spawn did not answer in time".to_owned();
                if !self.roll_back(turn, id, End::NotStarted, how) {
                    self.end(turn, id, Outcome::Failed);
                    answer(turn);
                    self.list_ended(turn, id);
                }
            }
            Then::Hold => self.queue(id),
            Then::Destroy => {
                self.forget(turn, id, None, What::Destroyed);
                answer(turn);
            }
            Then::Start(token) => {
                answer(turn);
                self.run(turn, id, Why::Asked(token));
            }
            Then::Replace(mut replacement) => {
                if matches!(end, End::NotStarted) {
                    replacement.probation_ms = 0;
                }
                self.succeed(turn, id, *replacement);
                answer(turn);
            }
        }
    }

    /// Puts a machine into the place of one that has no process.
    pub(crate) fn succeed(&mut self, turn: &mut Turn, old: MachineId, replacement: Replacement) {
        let Replacement { machine: mut successor, probation_ms, .. } = replacement;
        self.successors.remove(&successor.id);
        self.end_probation(turn, old);
        let by = successor.id;
        let is_missed = self.machines.get(old).is_some_and(|old| old.state().is_live());
        if probation_ms > 0 && is_missed {
            let former = self.retire(turn, old, by);
            let new = |former| Box::new(Probation { former, ms: probation_ms, due_ms: None });
            successor.probation = former.map(new);
        } else {
            self.forget(turn, old, None, What::Replaced { by });
        }
        self.install(turn, successor);
    }

    /// A machine has ended and gives its reservation back; it stays listed, see
    /// [`Self::list_ended`].
    pub(crate) fn end(&mut self, turn: &mut Turn, id: MachineId, outcome: Outcome) {
        self.set_timer(id, None);
        self.unwatch_expiry(id);
        self.end_probation(turn, id);
        let Some(machine) = self.machines.change(id) else { return };
        self.ledger.exchange(&machine.name.path, machine.held, Amount::default());
        machine.held = Amount::default();
        machine.pid = None;
        let place = self.ended.add(&machine.name.path, id);
        machine.phase = Phase::Ended { outcome, place };
        if outcome == Outcome::Stopped {
            turn.record(machine, None, What::Stopped);
        }
        turn.push(Effect::Settled { id, output_end: machine.output_end });
    }

    /// Makes room for a machine that just ended, in the lists of everything above it.
    pub(crate) fn list_ended(&mut self, turn: &mut Turn, id: MachineId) {
        let Some(machine) = self.machines.get(id) else { return };
        let path = machine.name.path.clone();
        let chain = Arc::clone(&machine.chain);
        let limits: Vec<u64> =
            self.bounds_above(&chain, &path).map(|bounds| bounds.machines).collect();
        for (above, limit) in limits.into_iter().enumerate() {
            self.push_out(turn, &path.ancestor(path.depth().saturating_sub(above)), limit);
        }
    }

    /// Forgets ended machines until at most `limit` are listed at and below `path`.
    pub(crate) fn push_out(&mut self, turn: &mut Turn, path: &Path, limit: u64) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        while let Some(id) = self.ended.surplus(path.labels(), limit) {
            self.forget(turn, id, None, What::PushedOut { full: path.clone() });
        }
    }

    /// Takes a machine without a process off all lists.
    pub(crate) fn forget(
        &mut self,
        turn: &mut Turn,
        id: MachineId,
        cause: Option<Token>,
        what: What,
    ) {
        self.set_timer(id, None);
        self.unwatch_expiry(id);
        let Some(mut machine) = self.machines.remove(id) else { return };
        let probation = machine.probation.take();
        self.ledger.exchange(&machine.name.path, machine.held, Amount::default());
        self.names.remove(&machine.name);
        turn.record(&machine, cause, what);
        match machine.phase {
            Phase::Ended { place, .. } => self.ended.remove(&machine.name.path, place),
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping(_)
            | Phase::Waiting
            | Phase::Queued => {
                turn.push(Effect::Settled { id, output_end: machine.output_end });
            }
        }
        turn.push(Effect::ForgetMachine { id });
        self.let_go(turn, &machine);
        if let Some(probation) = probation {
            self.forget_former(turn, id, *probation);
        }
    }

    /// A machine is no more: what was there for it alone is given back.
    pub(crate) fn let_go(&mut self, turn: &mut Turn, machine: &Machine) {
        self.networks.release(&machine.name, &machine.interfaces);
        let unneeded = self.images.unused(machine.spec.image);
        turn.effects.extend(unneeded.map(|image| Effect::DropImage { image }));
    }
}

impl Stop {
    pub(crate) fn new(timeout_ms: u64, then: Then) -> Self {
        Self {
            timeout_ms,
            killed: false,
            gone: matches!(then, Then::Destroy),
            stoppers: Vec::new(),
            destroyers: Vec::new(),
            then,
        }
    }

    /// Changes what comes then, and returns the wish that is not fulfilled: usually the former.
    /// What somebody wants to be gone does not stay; one that is revoked can only be replaced or
    /// destroyed; and what is to end anyway need not be held or given up.
    fn then_rather(&mut self, then: Then) -> Then {
        let unfulfilled = match (&self.then, &then) {
            (Then::Revoke, Then::Stay | Then::Start(_))
            | (Then::Replace(..) | Then::Destroy, Then::Revoke)
            | (_, Then::Hold | Then::Fail) => true,
            (_, Then::Start(_)) => self.gone,
            _ => false,
        };
        if unfulfilled {
            return then;
        }
        self.gone |= matches!(then, Then::Destroy);
        match then {
            Then::Stay if self.gone => std::mem::replace(&mut self.then, Then::Destroy),
            then => std::mem::replace(&mut self.then, then),
        }
    }
}
