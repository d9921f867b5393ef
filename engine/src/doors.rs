//! A host that takes no new machines, so that it becomes empty; and the end of this program, if
//! that is to end all machines too.

use std::collections::HashSet;

use vmm_proto::id::MachineId;

use crate::effect::{Answer, Effect};
use crate::ending::DEFAULT_STOP_MS;
use crate::engine::{Engine, Turn};
use crate::event::Token;
use crate::keep::{Keep, KeptHost};
use crate::machine::{Machine, Phase, Then};
use crate::record::Record;
use crate::refusal::Refusal;

/// Who may come in, and who waits for all to have gone.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    pub(crate) draining: bool,
    /// Who waits for nothing to be live.
    drainers: Vec<Token>,
    /// Whether this program ends and all machines with it.
    pub(crate) ending: bool,
    /// Who waits for that.
    enders: Vec<Token>,
    /// The machines that may still have a process.
    left: HashSet<MachineId>,
}

impl Engine {
    /// Why no machine is taken now, whichever it is.
    pub(crate) fn closed(&self) -> Option<Refusal> {
        if self.doors.ending {
            return Some(Refusal::Ending);
        }
        self.doors.draining.then_some(Refusal::Draining)
    }

    /// Whether the host takes no new machines.
    pub fn is_draining(&self) -> bool {
        self.doors.draining
    }

    pub(crate) fn drain(&mut self, turn: &mut Turn, token: Token, on: bool) {
        if self.doors.draining != on {
            self.doors.draining = on;
            turn.push(Effect::Keep(Keep::Host(KeptHost { draining: on })));
            turn.push(Effect::Record(Record::Doors { draining: on, cause: Some(token) }));
        }
        if !on {
            for waits in std::mem::take(&mut self.doors.drainers) {
                turn.reply(waits, Err(Refusal::NotDraining));
            }
        }
        let live = self.ledger.used(&[]).machines;
        turn.reply(token, Ok(Answer::Doors { draining: on, live }));
    }

    pub(crate) fn await_drained(&mut self, turn: &mut Turn, token: Token) {
        if self.doors.draining {
            self.doors.drainers.push(token);
        } else {
            turn.reply(token, Err(Refusal::NotDraining));
        }
    }

    pub(crate) fn stop_all(&mut self, turn: &mut Turn, token: Token) {
        self.doors.enders.push(token);
        self.doors.ending = true;
        let with_process = self.machines.iter().filter(|machine| machine.has_process());
        let mut left: Vec<MachineId> = with_process.map(|machine| machine.id).collect();
        left.sort_unstable();
        self.doors.left = left.iter().copied().collect();
        for id in left {
            let is_left_alone = self.machines.get(id).is_some_and(|machine| {
                matches!(machine.phase, Phase::Running { .. } | Phase::Starting { stop: None, .. })
            });
            if is_left_alone {
                self.ask_to_stop(turn, id, DEFAULT_STOP_MS, Then::Hold, Some(token));
            }
        }
    }

    /// Answers those who wait for machines to be gone, if the last one went with this event.
    pub(crate) fn tell_who_waits(&mut self, turn: &mut Turn) {
        if !self.doors.drainers.is_empty() && self.ledger.used(&[]).machines == 0 {
            for token in std::mem::take(&mut self.doors.drainers) {
                turn.reply(token, Ok(Answer::Drained));
            }
        }
        if self.doors.enders.is_empty() {
            return;
        }
        for id in self.machines.changed() {
            if !self.machines.get(*id).is_some_and(Machine::has_process) {
                self.doors.left.remove(id);
            }
        }
        if self.doors.left.is_empty() {
            for token in std::mem::take(&mut self.doors.enders) {
                turn.reply(token, Ok(Answer::AllStopped));
            }
        }
    }
}
