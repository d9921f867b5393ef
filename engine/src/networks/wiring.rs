//! When machines get their interfaces, and what is done about one that cannot have them (any more).

use std::sync::Arc;

use vmm_proto::id::MachineId;
use vmm_proto::resource::Arguments;

use super::{Plan, Wanted, had};
use crate::admission::{Admitted, Order};
use crate::effect::Effect;
use crate::engine::{Engine, Turn};
use crate::event::Now;
use crate::machine::{Machine, Phase, Why};
use crate::reconcile::another;
use crate::refusal::Refusal;

impl Engine {
    /// What a new machine would get, or everything for which it does not.
    pub(crate) fn plan_of_order(
        &self,
        now: Now,
        Order { name, claim, links, .. }: Order<'_>,
        admitted: &Admitted,
    ) -> Result<Plan, Vec<Refusal>> {
        let (devices, arguments) = (claim.devices, claim.arguments);
        let had = self.listed(name).map(had).unwrap_or_default();
        let (chain, own) = (admitted.chain.as_slice(), links.len());
        let wanted = Wanted { name, devices, arguments, chain, own, had };
        self.plan(now, &wanted).map_err(refusals)
    }

    /// What a listed machine would get if it were started now, or everything for which it would not.
    /// For `own` see [`Wanted::own`].
    pub(crate) fn plan_of_start(
        &self,
        now: Now,
        machine: &Machine,
        own: usize,
    ) -> Result<Plan, Vec<Refusal>> {
        let Machine { name, spec, chain, .. } = machine;
        let (devices, arguments, had) = (&spec.devices, &spec.arguments, had(machine));
        let wanted = Wanted { name, devices, arguments, chain, own, had };
        self.plan(now, &wanted).map_err(refusals)
    }

    /// Orders a listed machine to be started, with the interfaces that it has or gets now.
    pub(crate) fn order_start(&mut self, turn: &mut Turn, id: MachineId) {
        let Some(machine) = self.machines.get(id) else { return };
        // What others have is told to nobody: who reads it later is not known.
        match self.plan_of_start(turn.now, machine, usize::MAX) {
            Ok(plan) => self.start_with(turn, id, plan),
            Err(refusals) => {
                if let Some(refusal) = refusals.into_iter().next() {
                    self.cannot_start(turn, id, refusal);
                }
            }
        }
    }

    fn start_with(&mut self, turn: &mut Turn, id: MachineId, plan: Plan) {
        let Plan { interfaces, arguments } = plan;
        self.rewire(id, interfaces);
        let Some(machine) = self.machines.get(id) else { return };
        turn.push(Effect::StartMachine {
            id,
            run: machine.run,
            name: machine.name.clone(),
            spec: Arc::clone(&machine.spec),
            interfaces: Arc::clone(&machine.interfaces),
            arguments: arguments.unwrap_or_else(|| own_arguments(machine)),
        });
    }

    /// Reserves these interfaces for a listed machine instead of those that it has.
    fn rewire(&mut self, id: MachineId, interfaces: Vec<super::Interface>) {
        if self.machines.get(id).is_none_or(|machine| *machine.interfaces == *interfaces) {
            return;
        }
        let Some(machine) = self.machines.change(id) else { return };
        let before = std::mem::replace(&mut machine.interfaces, interfaces.into());
        // In this order the group of its delegation keeps its number.
        self.networks.take(&machine.name, &machine.interfaces);
        self.networks.release(&machine.name, &before);
    }

    /// A machine that is being started does not get its networks: its start has failed.
    fn cannot_start(&mut self, turn: &mut Turn, id: MachineId, refusal: Refusal) {
        let Some(machine) = self.machines.change(id) else { return };
        let run = machine.run;
        let reason = refusal.summary();
        if let Phase::Starting { why: Why::Asked(token), .. } = &mut machine.phase
            && let Some(token) = token.take()
        {
            turn.reply(token, Err(refusal));
        }
        // Nobody else has the same id: what could not be started together is not tried together.
        let [a, b, c, d, ..] = id.0;
        let jitter = another(u32::from_be_bytes([a, b, c, d]));
        self.start_failed(turn, id, run, reason, jitter);
    }
}

fn own_arguments(machine: &Machine) -> Arguments {
    machine.spec.arguments.clone()
}

fn refusals(refusals: Vec<super::NetworkRefusal>) -> Vec<Refusal> {
    refusals.into_iter().map(|refusal| Refusal::Network(Box::new(refusal))).collect()
}
