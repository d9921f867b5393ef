//! What the engine makes of what vmm-spawn knows: both sides come to the same knowledge.

use std::collections::HashMap;

use vmm_proto::id::MachineId;
use vmm_proto::name::Path;

use crate::effect::Effect;
use crate::engine::{Engine, Turn};
use crate::event::{Exit, KnownRun};
use crate::machine::{Phase, Why};
use crate::record::What;
use crate::refusal::Refusal;

/// What is to be done about one machine.
enum Finding {
    /// Both sides agree, or a report will follow.
    Nothing,
    /// It is being started.
    Comes,
    /// Its guest runs, which was not known here.
    Runs { pid: u32 },
    /// It runs, as was known here.
    RunsOn { pid: u32 },
    /// It was told to end, maybe by an order that was lost.
    Stop { force: bool },
    /// It runs and should not.
    Stray { run: u64 },
    /// vmm-spawn never got the order to start it.
    NotGiven,
    /// It was to be stopped before it was started.
    NeverRan,
    /// It has ended, and nobody saw how.
    EndedUnseen,
}

impl Engine {
    pub(crate) fn spawn_knows(
        &mut self,
        turn: &mut Turn,
        same_boot: bool,
        known: Vec<KnownRun>,
        mut jitter: u32,
    ) {
        // What has no authority any more, and is to be stopped for that, is not started first.
        self.expiry_tick(turn);
        self.joined = true;
        turn.push(Effect::Joined);
        self.host_networks.tell(turn);
        let mut known: HashMap<MachineId, KnownRun> =
            known.into_iter().map(|known| (known.id, known)).collect();
        for id in self.names.below(&Path::host()) {
            self.reconcile(turn, same_boot, id, known.remove(&id), jitter);
            jitter = another(jitter);
        }
        let mut others: Vec<KnownRun> = known.into_values().collect();
        others.sort_unstable_by_key(|known| known.id);
        for KnownRun { id, run, pid, .. } in others {
            // One may have come back just now, in the place of another.
            if !self.formers.contains(&id) && !self.machines.contains(id) {
                turn.push(Effect::ForgetMachine { id });
            } else if pid.is_some() {
                turn.push(Effect::StopMachine { id, run, force: true });
            }
        }
    }

    fn reconcile(
        &mut self,
        turn: &mut Turn,
        same_boot: bool,
        id: MachineId,
        known: Option<KnownRun>,
        jitter: u32,
    ) {
        let Some(machine) = self.machines.get(id) else { return };
        let (run, output_end) = (machine.run, machine.output_end);
        // Another run than the last one here has no right to be; and none after it is numbered less.
        let other = known.filter(|known| known.run != run);
        if let Some(other) = other.filter(|other| other.pid.is_some()) {
            turn.push(Effect::StopMachine { id, run: other.run, force: true });
        }
        match find(&machine.phase, run, known.filter(|known| known.run == run)) {
            Finding::Nothing => {}
            Finding::Comes => self.set_timer(id, None),
            Finding::Runs { pid } => self.started(turn, id, run, pid),
            Finding::RunsOn { pid } => {
                if machine.pid != Some(pid)
                    && let Some(machine) = self.machines.change(id)
                {
                    machine.pid = Some(pid);
                }
            }
            Finding::Stop { force } => turn.push(Effect::StopMachine { id, run, force }),
            Finding::Stray { run } => turn.push(Effect::StopMachine { id, run, force: true }),
            Finding::NotGiven => {
                self.number_after(id, other);
                self.give_again(turn, same_boot, id);
            }
            Finding::NeverRan => {
                let reason = "it was to be stopped before it had been started".to_owned();
                self.start_failed(turn, id, run, reason, jitter);
            }
            Finding::EndedUnseen if same_boot => {
                self.exited(turn, id, run, (Exit::Unknown, output_end, None), jitter);
            }
            Finding::EndedUnseen => self.went_down(turn, id, jitter),
        }
        self.number_after(id, other);
    }

    /// Sees to it that the next start of a machine has a number that vmm-spawn takes.
    fn number_after(&mut self, id: MachineId, other: Option<KnownRun>) {
        let Some(other) = other else { return };
        let Some(machine) = self.machines.get(id).filter(|machine| machine.run < other.run) else {
            return;
        };
        let starting = matches!(machine.phase, Phase::Starting { .. });
        if let Some(machine) = self.machines.change(id) {
            machine.run = other.run + u64::from(starting);
        }
    }

    /// Gives an order to start again that was lost, or has it wait for its turn after a reboot.
    fn give_again(&mut self, turn: &mut Turn, same_boot: bool, id: MachineId) {
        self.set_timer(id, None);
        let Some(machine) = self.machines.get(id) else { return };
        let Phase::Starting { why, .. } = machine.phase else { return };
        if same_boot {
            if matches!(why, Why::Host) {
                self.boot.begin(id);
            }
            return self.order_start(turn, id);
        }
        if let Why::Asked(Some(token)) = why {
            let reason = "the host was booted anew; it is started again by itself".to_owned();
            let name = machine.name.clone();
            turn.reply(token, Err(Refusal::StartFailed { name, reason }));
        }
        self.queue(id);
    }

    /// The process of a machine went down with the host: that is no failure of its own.
    fn went_down(&mut self, turn: &mut Turn, id: MachineId, jitter: u32) {
        let Some(machine) = self.machines.get(id) else { return };
        if !matches!(machine.phase, Phase::Running { .. }) {
            let (run, output_end) = (machine.run, machine.output_end);
            return self.exited(turn, id, run, (Exit::Unknown, output_end, None), jitter);
        }
        let Some(machine) = self.machines.change(id) else { return };
        machine.exit = Some(Exit::Unknown);
        turn.record(machine, None, What::Exited { exit: Exit::Unknown, spent: None });
        self.queue(id);
    }

    pub(crate) fn spawn_lost(&mut self, turn: &mut Turn) {
        self.joined = false;
        self.host_networks.lost(turn);
        let waited_for = self.machines.iter().filter(|machine| {
            matches!(machine.phase, Phase::Starting { why: Why::Asked(Some(_)), .. })
        });
        let ids: Vec<MachineId> = waited_for.map(|machine| machine.id).collect();
        for id in ids {
            self.be_patient(turn, id);
        }
    }
}

/// What is to be done about a machine that is in `phase` with its last run `run`, of which vmm-spawn
/// knows `known`, if anything.
fn find(phase: &Phase, run: u64, known: Option<KnownRun>) -> Finding {
    let process = known.and_then(|known| known.pid);
    match phase {
        Phase::Starting { stop, .. } => match (known, process) {
            (Some(KnownRun { ready: true, .. }), Some(pid)) => Finding::Runs { pid },
            (Some(_), _) => Finding::Comes,
            (None, _) if stop.is_some() => Finding::NeverRan,
            (None, _) => Finding::NotGiven,
        },
        Phase::Running { .. } => match (known, process) {
            (_, Some(pid)) => Finding::RunsOn { pid },
            (Some(_), None) => Finding::Nothing,
            (None, None) => Finding::EndedUnseen,
        },
        Phase::Stopping(stop) => match (known, process) {
            (_, Some(_)) => Finding::Stop { force: stop.killed },
            (Some(_), None) => Finding::Nothing,
            (None, None) => Finding::EndedUnseen,
        },
        Phase::Waiting | Phase::Queued | Phase::Ended { .. } => {
            if process.is_some() {
                Finding::Stray { run }
            } else {
                Finding::Nothing
            }
        }
    }
}

/// Another random number made of one: one number for all machines would bring them back all at
/// once.
pub(crate) const fn another(jitter: u32) -> u32 {
    jitter.wrapping_mul(0x9E37_79B1).wrapping_add(0x7F4A_7C15)
}
