//! A machine that has taken the place of one that should run is on probation for a while: if it
//! fails, that one is started again.
//!
//! Both have room all the time: until the probation is over, the larger of the two is held, as it
//! is while the old one is still being stopped. Only one of them has a process at any time. Whoever
//! stops, restarts, destroys or replaces the new one has looked after it: then it is over, too.

use vmm_proto::id::MachineId;

use crate::effect::Effect;
use crate::engine::{Engine, Turn};
use crate::expiry::OnExpiry;
use crate::machine::{Machine, Phase, Probation, Why};
use crate::record::What;
use crate::restart::{End, is_failure};

impl Engine {
    /// Takes a machine without a process off all lists, but for the case that its successor fails.
    pub(crate) fn retire(
        &mut self,
        turn: &mut Turn,
        id: MachineId,
        by: MachineId,
    ) -> Option<Machine> {
        self.set_timer(id, None);
        self.unwatch_expiry(id);
        let mut former = self.machines.remove(id)?;
        self.ledger.exchange(&former.name.path, former.held, crate::Amount::default());
        former.held = crate::Amount::default();
        former.pid = None;
        former.phase = Phase::Queued;
        self.names.remove(&former.name);
        self.formers.insert(id);
        turn.record(&former, None, What::Replaced { by });
        turn.push(Effect::Settled { id, output_end: former.output_end });
        Some(former)
    }

    /// A machine runs: the time of its probation begins, if it has not yet.
    pub(crate) fn begin_probation(&mut self, turn: &Turn, id: MachineId) {
        let Some(machine) = self.machines.note(id) else { return };
        let Some(probation) = &mut machine.probation else { return };
        if probation.due_ms.is_none() {
            let due_ms = turn.now.monotonic_ms.saturating_add(probation.ms);
            probation.due_ms = Some(due_ms);
            self.probations.insert((due_ms, id));
        }
    }

    /// Ends the probations whose time is over.
    pub(crate) fn probation_tick(&mut self, turn: &mut Turn) {
        let now_ms = turn.now.monotonic_ms;
        while let Some((_, id)) = self.probations.first().copied().filter(|(due, _)| *due <= now_ms)
        {
            self.end_probation(turn, id);
        }
    }

    /// A machine has its place for good.
    pub(crate) fn end_probation(&mut self, turn: &mut Turn, id: MachineId) {
        if self.machines.get(id).is_none_or(|machine| machine.probation.is_none()) {
            return;
        }
        let Some(probation) = self.machines.change(id).and_then(|it| it.probation.take()) else {
            return;
        };
        self.forget_former(turn, id, *probation);
        self.hold(id);
    }

    /// Forgets the machine whose place `id` has for good.
    pub(crate) fn forget_former(&mut self, turn: &mut Turn, id: MachineId, probation: Probation) {
        let Probation { former, due_ms, .. } = probation;
        if let Some(due_ms) = due_ms {
            self.probations.remove(&(due_ms, id));
        }
        self.formers.remove(&former.id);
        turn.push(Effect::ForgetMachine { id: former.id });
        self.let_go(turn, &former);
    }

    /// A run has ended that nobody asked to end: if the machine is on probation and this was a
    /// failure, the former one gets its place back, and is started. Returns whether it did.
    pub(crate) fn roll_back(
        &mut self,
        turn: &mut Turn,
        id: MachineId,
        end: End,
        how: String,
    ) -> bool {
        let Some(machine) = self.machines.get(id) else { return false };
        let Some(probation) = &machine.probation else { return false };
        if !is_failure(&[], end) {
            return false;
        }
        let in_time = probation.due_ms.is_none_or(|due_ms| turn.now.monotonic_ms < due_ms);
        if !in_time || self.has_lost_authority(turn, &probation.former) {
            self.end_probation(turn, id);
            return false;
        }
        let Some(probation) = self.machines.change(id).and_then(|it| it.probation.take()) else {
            return false;
        };
        let Probation { mut former, due_ms, .. } = *probation;
        if let Some(due_ms) = due_ms {
            self.probations.remove(&(due_ms, id));
        }
        self.formers.remove(&former.id);
        former.reason =
            Some(format!("started again, since {id}, which had replaced it, failed: {how}"));
        former.in_a_row = 0;
        let to = former.id;
        self.forget(turn, id, None, What::RolledBack { to, reason: how });
        self.enlist(former);
        self.hold(to);
        self.run(turn, to, Why::Host);
        true
    }

    /// Whether the host does not want a machine to run any more since its authority has ended.
    fn has_lost_authority(&self, turn: &Turn, machine: &Machine) -> bool {
        let ends = || self.authority_ends(&machine.chain, &machine.name.path);
        self.on_expiry == OnExpiry::Stop
            && ends().is_some_and(|(not_after, _)| not_after < turn.now.unix_s())
    }

    /// Ends the probations after which a machine would be started that has no authority any more.
    pub(crate) fn end_revoked_probations(&mut self, turn: &mut Turn) {
        let revoked = |machine: &&Machine| {
            let former = machine.probation.as_ref().map(|probation| &probation.former);
            former.is_some_and(|former| self.chain_revoked(former).is_some())
        };
        let mut ids: Vec<MachineId> =
            self.machines.iter().filter(revoked).map(|machine| machine.id).collect();
        ids.sort_unstable();
        for id in ids {
            self.end_probation(turn, id);
        }
    }
}
