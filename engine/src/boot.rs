//! What should run and has no process, since the host took it away, is started by priority and a
//! few at a time: a host that comes up has other things to do as well.

use std::collections::{BTreeSet, HashSet};

use vmm_proto::id::MachineId;

use crate::engine::{Engine, Turn};
use crate::machine::{Phase, Why};

/// At most so many machines are being started by the host itself at the same time. The next one
/// follows when one runs or has failed.
pub const BOOT_AT_ONCE: usize = 8;

/// Who waits for its turn, and whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Boot {
    /// By priority: 0 first. What need not be started any more leaves when its turn comes.
    queue: BTreeSet<(u8, MachineId)>,
    starting: HashSet<MachineId>,
}

impl Boot {
    /// Has a machine wait for its turn.
    pub(crate) fn enqueue(&mut self, priority: u8, id: MachineId) {
        self.queue.insert((priority, id));
    }

    /// Counts a machine among those that are being started.
    pub(crate) fn begin(&mut self, id: MachineId) {
        self.starting.insert(id);
    }
}

impl Engine {
    /// Puts a listed machine, which has no process, among those that wait for their turn.
    pub(crate) fn queue(&mut self, id: MachineId) {
        self.set_timer(id, None);
        let Some(machine) = self.machines.change(id) else { return };
        machine.phase = Phase::Queued;
        machine.pid = None;
        self.boot.enqueue(machine.spec.priority, id);
    }

    fn is_started_by_host(&self, id: MachineId) -> bool {
        let phase = self.machines.get(id).map(|machine| &machine.phase);
        matches!(phase, Some(Phase::Starting { why: Why::Host, .. }))
    }

    /// Starts those whose turn it is by what this event has changed.
    pub(crate) fn start_queued(&mut self, turn: &mut Turn) {
        if !self.boot.starting.is_empty() {
            for id in self.machines.changed() {
                if !self.is_started_by_host(*id) {
                    self.boot.starting.remove(id);
                }
            }
        }
        while self.joined && !self.doors.ending && self.boot.starting.len() < BOOT_AT_ONCE {
            let Some((_, id)) = self.boot.queue.pop_first() else { return };
            let machine = self.machines.get(id);
            if machine.is_some_and(|machine| matches!(machine.phase, Phase::Queued)) {
                self.boot.starting.insert(id);
                self.run(turn, id, Why::Host);
                // It may have failed at once, for want of an address.
                if !self.is_started_by_host(id) {
                    self.boot.starting.remove(&id);
                }
            }
        }
    }
}
