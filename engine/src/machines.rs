//! The listed machines by their ids, and which of them an event has changed.

use std::collections::HashMap;

use vmm_proto::id::MachineId;

use crate::machine::Machine;

/// All listed machines.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    /// Boxed: a table of large values is slow to find one in, once there are many.
    by_id: HashMap<MachineId, Box<Machine>>,
    /// What was changed, came or went since it was last asked for; some more than once.
    changed: Vec<MachineId>,
}

impl Machines {
    /// One to look at.
    pub(crate) fn get(&self, id: MachineId) -> Option<&Machine> {
        self.by_id.get(&id).map(AsRef::as_ref)
    }

    /// Whether it is listed.
    pub(crate) fn contains(&self, id: MachineId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Machine> {
        self.by_id.values().map(AsRef::as_ref)
    }

    /// One that is about to change in what is kept of it.
    pub(crate) fn change(&mut self, id: MachineId) -> Option<&mut Machine> {
        let machine = self.by_id.get_mut(&id)?;
        self.changed.push(id);
        Some(machine)
    }

    /// One that is about to change in what is not kept: what the ledger holds for it, and when it
    /// is looked at.
    pub(crate) fn note(&mut self, id: MachineId) -> Option<&mut Machine> {
        self.by_id.get_mut(&id).map(AsMut::as_mut)
    }

    /// Adds one.
    pub(crate) fn insert(&mut self, machine: Machine) {
        self.changed.push(machine.id);
        self.by_id.insert(machine.id, Box::new(machine));
    }

    /// Adds one that is kept already.
    pub(crate) fn restore(&mut self, machine: Machine) {
        self.by_id.insert(machine.id, Box::new(machine));
    }

    /// Takes one away.
    pub(crate) fn remove(&mut self, id: MachineId) -> Option<Machine> {
        let machine = self.by_id.remove(&id)?;
        self.changed.push(id);
        Some(*machine)
    }

    /// What has changed up to now.
    pub(crate) fn changed(&self) -> &[MachineId] {
        &self.changed
    }

    /// What has changed since this was last asked, each once.
    pub(crate) fn take_changed(&mut self) -> Vec<MachineId> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}
