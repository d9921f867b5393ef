//! How machines are brought to an end, and what comes then.

use vmm_proto::id::MachineId;
use vmm_proto::name::Path;

use crate::effect::{Answer, Effect};
use crate::engine::{Engine, Turn};
use crate::event::{Spec, Token};
use crate::keep::Outcome;
use crate::ledger::Amount;
use crate::machine::{Machine, Phase, Stop, Then, Why};
use crate::record::What;
use crate::refusal::Refusal;

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
        let Some(machine) = self.machines.get_mut(&id) else { return };
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
            Phase::Waiting | Phase::Ended { .. } => {}
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
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let timeout_ms = stop.timeout_ms;
        machine.phase = Phase::Stopping(stop);
        turn.record(machine, cause, What::Stopping { timeout_ms });
        turn.push(Effect::StopMachine { id, run: machine.run, force: false });
        self.set_timer(id, Some(turn.now.monotonic_ms.saturating_add(timeout_ms)));
        if timeout_ms == 0 {
            self.tick(turn);
        }
    }

    /// Answers a request that a later one took back, and undoes what it had brought about.
    fn call_off(&mut self, turn: &mut Turn, id: MachineId, then: Then) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let by = match machine.stop().map(|stop| &stop.then) {
            Some(Then::Destroy) => "destroyed",
            Some(Then::Replace(..)) => "replaced",
            Some(Then::Revoke) => "revoked",
            Some(Then::Stay | Then::Start(_)) | None => "stopped",
        };
        let refusal = Refusal::CalledOff { name: machine.name.clone(), by };
        match then {
            Then::Stay | Then::Revoke | Then::Destroy => {}
            Then::Start(token) => turn.refuse(token, machine.name.clone(), Some(id), refusal),
            Then::Replace(successor, token) => {
                let amount = machine.amount();
                self.ledger.exchange(&machine.name.path, machine.held, amount);
                machine.held = amount;
                self.successors.remove(&successor.id);
                turn.refuse(token, successor.name, Some(successor.id), refusal);
                self.drop_if_unneeded(turn, &successor.spec);
            }
        }
    }

    /// A machine that was to stop has no process any more.
    pub(crate) fn conclude(&mut self, turn: &mut Turn, id: MachineId, stop: Stop) {
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
            Then::Stay | Then::Revoke => {
                let revoked = matches!(then, Then::Revoke);
                self.end(turn, id, if revoked { Outcome::Revoked } else { Outcome::Stopped });
                answer(turn);
                self.list_ended(turn, id);
            }
            Then::Destroy => {
                self.forget(turn, id, None, What::Destroyed);
                answer(turn);
            }
            Then::Start(token) => {
                answer(turn);
                self.run(turn, id, Why::Asked(token));
            }
            Then::Replace(successor, _) => {
                self.succeed(turn, id, *successor);
                answer(turn);
            }
        }
    }

    /// Puts a machine into the place of one that has no process.
    pub(crate) fn succeed(&mut self, turn: &mut Turn, old: MachineId, successor: Machine) {
        self.successors.remove(&successor.id);
        // What is held for both goes over to the successor, which then keeps what it needs.
        let held = self.machines.get_mut(&old).map(|old| std::mem::take(&mut old.held));
        self.forget(turn, old, None, What::Replaced { by: successor.id });
        self.install(turn, successor, held.unwrap_or_default());
    }

    /// A machine has ended and gives its reservation back; it stays listed, see
    /// [`Self::list_ended`].
    pub(crate) fn end(&mut self, turn: &mut Turn, id: MachineId, outcome: Outcome) {
        self.set_timer(id, None);
        self.unwatch_expiry(id);
        let Some(machine) = self.machines.get_mut(&id) else { return };
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
        let Some(machine) = self.machines.get(&id) else { return };
        let path = machine.name.path.clone();
        let chain = machine.chain.clone();
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
        let Some(machine) = self.machines.remove(&id) else { return };
        self.ledger.exchange(&machine.name.path, machine.held, Amount::default());
        self.names.remove(&machine.name);
        turn.record(&machine, cause, what);
        match machine.phase {
            Phase::Ended { place, .. } => self.ended.remove(&machine.name.path, place),
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping(_)
            | Phase::Waiting => {
                turn.push(Effect::Settled { id, output_end: machine.output_end });
            }
        }
        turn.push(Effect::ForgetMachine { id });
        self.drop_if_unneeded(turn, &machine.spec);
    }

    fn drop_if_unneeded(&mut self, turn: &mut Turn, spec: &Spec) {
        let unneeded = self.images.unused(spec.image);
        turn.effects.extend(unneeded.map(|image| Effect::DropImage { image }));
    }
}

impl Stop {
    fn new(timeout_ms: u64, then: Then) -> Self {
        Self { timeout_ms, killed: false, stoppers: Vec::new(), destroyers: Vec::new(), then }
    }

    /// Changes what comes then, and returns the wish that is not fulfilled: usually the former.
    /// While somebody waits for the machine to be gone, it does not stay; one that is revoked can
    /// only be replaced or destroyed.
    fn then_rather(&mut self, then: Then) -> Then {
        let unfulfilled = match (&self.then, &then) {
            (Then::Revoke, Then::Stay | Then::Start(_))
            | (Then::Replace(..) | Then::Destroy, Then::Revoke) => true,
            (_, Then::Start(_)) => !self.destroyers.is_empty(),
            _ => false,
        };
        if unfulfilled {
            return then;
        }
        match then {
            Then::Stay if !self.destroyers.is_empty() => {
                std::mem::replace(&mut self.then, Then::Destroy)
            }
            then => std::mem::replace(&mut self.then, then),
        }
    }
}
