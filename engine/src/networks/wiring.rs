//! When machines get their interfaces, and what is done about one that cannot have them (any more).

use std::sync::Arc;

use vmm_proto::id::MachineId;
use vmm_proto::resource::Arguments;

use super::{Plan, Wanted, had};
use crate::admission::{Admitted, Order};
use crate::effect::Effect;
use crate::engine::{Engine, Turn};
use crate::event::Now;
use crate::machine::Machine;
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

    /// What a listed machine would get if it were started now, its bridges being allowed, or
    /// everything for which it would not. For `own` see [`Wanted::own`].
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

    /// The same of one that keeps its place and is not asked whether it fits. A bridge that something
    /// above it has lost is asked for here: nothing would be known of the addresses there, and the
    /// machine would be left to choose its own.
    pub(crate) fn plan_of_restart(
        &self,
        now: Now,
        machine: &Machine,
        own: usize,
    ) -> Result<Plan, Vec<Refusal>> {
        let lost: Vec<_> = self.bridges_lost(machine).collect();
        if lost.is_empty() { self.plan_of_start(now, machine, own) } else { Err(lost) }
    }

    /// Orders a listed machine to be started, with the interfaces that it has or gets now.
    pub(crate) fn order_start(&mut self, turn: &mut Turn, id: MachineId) {
        let Some(machine) = self.machines.get(id) else { return };
        // What others have is told to nobody: who reads it later is not known.
        match self.plan_of_restart(turn.now, machine, usize::MAX) {
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
        let Some(machine) = self.machines.get(id) else { return };
        if *machine.interfaces == *interfaces {
            return turn.push(machine.start(arguments));
        }
        self.rewire(id, interfaces);
        if let Some(machine) = self.machines.get(id) {
            turn.push(machine.start(arguments));
        }
    }

    /// Reserves these interfaces for a listed machine instead of those that it has.
    fn rewire(&mut self, id: MachineId, interfaces: Vec<super::Interface>) {
        let Some(machine) = self.machines.change(id) else { return };
        let before = std::mem::replace(&mut machine.interfaces, interfaces.into());
        // In this order the group of its delegation keeps its number.
        self.networks.take(&machine.name, &machine.interfaces);
        self.networks.release(&machine.name, &before);
    }

    /// A machine that is being started does not get its networks: its start has failed.
    fn cannot_start(&mut self, turn: &mut Turn, id: MachineId, refusal: Refusal) {
        let Some(machine) = self.machines.get(id) else { return };
        let (run, reason) = (machine.run, refusal.summary());
        // Nobody else has the same id: what could not be started together is not tried together.
        let [a, b, c, d, ..] = id.0;
        let jitter = another(u32::from_be_bytes([a, b, c, d]));
        self.not_started(turn, (id, run), reason, Some(refusal), jitter);
    }
}

impl Machine {
    /// The order to start it, with these arguments or just its own.
    fn start(&self, arguments: Option<Arguments>) -> Effect {
        Effect::StartMachine {
            id: self.id,
            run: self.run,
            name: self.name.clone(),
            spec: Arc::clone(&self.spec),
            interfaces: Arc::clone(&self.interfaces),
            arguments: arguments.unwrap_or_else(|| self.spec.arguments.clone()),
        }
    }
}

fn refusals(refusals: Vec<super::NetworkRefusal>) -> Vec<Refusal> {
    refusals.into_iter().map(|refusal| Refusal::Network(Box::new(refusal))).collect()
}
