//! Requests about machines that exist: stop, start, restart, destroy.

use vmm_proto::id::MachineId;
use vmm_proto::name::{MachineName, Path};

use crate::effect::Answer;
use crate::ending::DEFAULT_STOP_MS;
use crate::engine::{Engine, Turn};
use crate::event::Token;
use crate::keep::Outcome;
use crate::machine::{Machine, Phase, Stop, Then, Why};
use crate::record::What;
use crate::refusal::Refusal;

impl Engine {
    /// Stopping what has ended already is no fault: it is as it was wanted, and stays as it is.
    pub(crate) fn stop(
        &mut self,
        turn: &mut Turn,
        token: Token,
        name: MachineName,
        timeout_ms: u64,
    ) {
        let Some(machine) = self.listed(&name) else {
            return not_found(turn, token, name);
        };
        let id = machine.id;
        match machine.phase {
            Phase::Ended { .. } => turn.reply(token, Ok(Answer::Stopped { id })),
            Phase::Waiting | Phase::Queued => {
                self.end(turn, id, Outcome::Stopped);
                turn.reply(token, Ok(Answer::Stopped { id }));
                self.list_ended(turn, id);
            }
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping(_) => {
                self.ask_to_stop(turn, id, timeout_ms, Then::Stay, Some(token));
                self.wait_for_stop(id, |stop| stop.stoppers.push(token));
            }
        }
    }

    pub(crate) fn destroy(&mut self, turn: &mut Turn, token: Token, name: MachineName) {
        let Some(machine) = self.listed(&name) else {
            return not_found(turn, token, name);
        };
        let id = machine.id;
        if machine.has_process() {
            self.ask_to_stop(turn, id, DEFAULT_STOP_MS, Then::Destroy, Some(token));
            self.wait_for_stop(id, |stop| stop.destroyers.push(token));
        } else {
            self.forget(turn, id, Some(token), What::Destroyed);
            turn.reply(token, Ok(Answer::Destroyed { id }));
        }
    }

    pub(crate) fn start(&mut self, turn: &mut Turn, token: Token, name: MachineName, own: &Path) {
        let Some(machine) = self.listed(&name) else {
            return not_found(turn, token, name);
        };
        let id = machine.id;
        let obstacle = self.start_obstacles(turn.now, machine, own.depth()).next();
        match obstacle {
            Some(refusal) => turn.refuse(token, name, Some(id), refusal),
            None => self.run(turn, id, Why::Asked(Some(token))),
        }
    }

    /// A running machine keeps its place over a restart, so it is not asked whether it fits; but one
    /// that would not get its networks again runs on.
    pub(crate) fn restart(
        &mut self,
        turn: &mut Turn,
        token: Token,
        name: MachineName,
        timeout_ms: u64,
        own: &Path,
    ) {
        let is_running = |machine: &&Machine| matches!(machine.phase, Phase::Running { .. });
        let Some(machine) = self.listed(&name).filter(is_running) else {
            return self.start(turn, token, name, own);
        };
        let id = machine.id;
        let networks = || self.plan_of_restart(turn.now, machine, own.depth()).err();
        let obstacle = if self.doors.ending {
            Some(Refusal::Ending)
        } else {
            networks().and_then(|refusals| refusals.into_iter().next())
        };
        match obstacle {
            Some(refusal) => turn.refuse(token, name, Some(id), refusal),
            None => self.ask_to_stop(turn, id, timeout_ms, Then::Start(Some(token)), Some(token)),
        }
    }

    fn wait_for_stop(&mut self, id: MachineId, wait: impl FnOnce(&mut Stop)) {
        if let Some(Phase::Starting { stop: Some(stop), .. } | Phase::Stopping(stop)) =
            self.machines.note(id).map(|machine| &mut machine.phase)
        {
            wait(stop);
        }
    }
}

fn not_found(turn: &mut Turn, token: Token, name: MachineName) {
    let refusal = Refusal::NotFound { name: name.clone() };
    turn.refuse(token, name, None, refusal);
}
