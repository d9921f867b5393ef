//! What the engine makes of what vmm-spawn knows: both sides come to the same knowledge.

use std::collections::HashMap;

use vmm_proto::id::MachineId;
use vmm_proto::name::Path;

use crate::effect::Effect;
use crate::engine::{Engine, Turn};
use crate::event::{Exit, KnownRun};

impl Engine {
    /// Machines that only vmm-spawn knows or runs are ended; machines that only the engine takes
    /// to run have ended unseen.
    pub(crate) fn spawn_knows(&mut self, turn: &mut Turn, known: Vec<KnownRun>, mut jitter: u32) {
        let mut known: HashMap<MachineId, KnownRun> =
            known.into_iter().map(|known| (known.id, known)).collect();
        for id in self.names.below(&Path::host()) {
            let Some(machine) = self.machines.get(&id) else { continue };
            let (run, output_end) = (machine.run, machine.output_end);
            let should_run = machine.pid.is_some();
            match known.remove(&id) {
                None if should_run => {
                    self.exited(turn, id, run, (Exit::Unknown, output_end), jitter);
                    jitter = another(jitter);
                }
                // Its start was given up when the connection was lost, and went on all the same.
                Some(known) if known.pid.is_some() && !should_run => {
                    turn.push(Effect::StopMachine { id, run: known.run, force: true });
                }
                _ => {}
            }
        }
        let mut nobodys: Vec<MachineId> = known.into_keys().collect();
        nobodys.sort_unstable();
        turn.effects.extend(nobodys.into_iter().map(|id| Effect::ForgetMachine { id }));
    }
}

/// Another random number made of one: one number for all machines would bring them back all at
/// once.
pub(crate) const fn another(jitter: u32) -> u32 {
    jitter.wrapping_mul(0x9E37_79B1).wrapping_add(0x7F4A_7C15)
}
