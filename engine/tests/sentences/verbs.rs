//! Stop, start, restart, destroy and replace in every state, and in every state again after another
//! process has taken over.

use vmm_engine::{Event, Exit, State};
use vmm_proto::id::MachineId;
use vmm_proto::resource::Restart;

use crate::stage::*;

/// Brings `dev/one` into a state.
type Before = (&'static str, fn(&mut Stage) -> MachineId);

const STATES: [Before; 14] = [
    ("starting", |stage| stage.deploy("dev/one", again(), &dev()).id),
    ("starting, to be stopped", |stage| {
        let id = stage.deploy("dev/one", again(), &dev()).id;
        stage.stop("dev/one", 500);
        id
    }),
    ("running", |stage| stage.run("dev/one", again(), &dev())),
    ("stopping", |stage| with(stage, |stage| stage.stop("dev/one", 500))),
    ("being killed", |stage| with(stage, |stage| stage.stop("dev/one", 0))),
    ("being restarted", |stage| with(stage, |stage| stage.restart("dev/one"))),
    ("being destroyed", |stage| with(stage, |stage| stage.destroy("dev/one"))),
    ("being replaced", |stage| {
        with(stage, |stage| stage.deploy_as("dev/one", again(), &dev(), true))
    }),
    ("waiting", |stage| {
        let id = stage.run("dev/one", again(), &dev());
        stage.exited(id, Exit::Code(1));
        id
    }),
    ("stopped", |stage| {
        let id = with(stage, |stage| stage.stop("dev/one", 500));
        stage.exited(id, Exit::Signal(15));
        id
    }),
    ("exited", |stage| {
        let id = stage.run("dev/one", spec(), &dev());
        stage.exited(id, Exit::Code(0));
        id
    }),
    ("failed", |stage| {
        let id = stage.deploy("dev/one", spec(), &dev()).id;
        stage.start_failed(id);
        id
    }),
    ("on probation", |stage| {
        let old = stage.run("dev/one", spec(), &dev());
        stage.probation_ms = 60_000;
        let new = stage.deploy_as("dev/one", again(), &dev(), true).id;
        stage.exited(old, Exit::Signal(15));
        stage.started(new);
        new
    }),
    ("given up", |stage| {
        let id = stage.deploy("dev/one", again(), &dev()).id;
        stage.happen(Event::SpawnLost);
        stage.pass(30_000);
        id
    }),
];

fn again() -> vmm_engine::Spec {
    with_restart(Restart::Always)
}

fn with(stage: &mut Stage, verb: impl FnOnce(&mut Stage) -> Asked) -> MachineId {
    let id = stage.run("dev/one", again(), &dev());
    verb(stage);
    id
}

/// How the supervisor and vmm-spawn fare before the verb comes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meanwhile {
    Nothing,
    /// A new supervisor that has not heard of vmm-spawn yet.
    NewLife,
    /// A new supervisor that has.
    Joined,
    Reboot,
}

const ALL: [Meanwhile; 4] =
    [Meanwhile::Nothing, Meanwhile::NewLife, Meanwhile::Joined, Meanwhile::Reboot];

/// A process, as vmm-spawn has it: whether its guest runs.
struct Processes {
    /// Each machine that has one, its run, and whether its guest runs.
    all: Vec<(MachineId, u64, bool)>,
}

impl Processes {
    /// Those that there are after what was done to `stage`.
    fn of(stage: &Stage, id: MachineId) -> Self {
        let view = stage.engine.by_id(id);
        let all = view.filter(|view| {
            matches!(view.state, State::Starting | State::Running | State::Stopping)
        });
        Self { all: all.map(|view| (id, view.run, view.pid.is_some())).into_iter().collect() }
    }

    fn take(&mut self, effects: &[vmm_engine::Effect]) {
        for effect in effects {
            if let vmm_engine::Effect::StartMachine { id, run, .. } = effect {
                assert!(self.all.iter().all(|(other, ..)| other != id), "{id} runs already");
                self.all.push((*id, *run, false));
            }
        }
    }

    fn known(&self) -> Vec<vmm_engine::KnownRun> {
        let known = |&(id, run, ready): &(MachineId, u64, bool)| vmm_engine::KnownRun {
            id,
            run,
            pid: Some(7),
            ready,
        };
        self.all.iter().map(known).collect()
    }

    /// Whatever is being started runs, and whatever is told to end does, until nothing changes.
    fn settle(&mut self, stage: &mut Stage) {
        for _ in 0..10 {
            for (id, run, ready) in self.all.clone() {
                if !ready {
                    let effects = stage.happen(Event::Started { id, run, pid: 7 });
                    self.all.iter_mut().filter(|it| it.0 == id).for_each(|it| it.2 = true);
                    self.take(&effects);
                }
                let stops = stage.engine.by_id(id).is_none_or(|view| view.state == State::Stopping);
                if stops {
                    self.all.retain(|it| it.0 != id);
                    let exit = Exit::Signal(15);
                    let event =
                        Event::Exited { id, run, exit, output_end: 1, spent: None, jitter: 0 };
                    let effects = stage.happen(event);
                    self.take(&effects);
                }
            }
        }
    }
}

/// Does `verb` in every state; `judge` sees what became of it when all has settled.
fn in_every_state(verb: fn(&mut Stage) -> Asked, judge: fn(&str, &Stage, &Asked)) {
    for (state, prepare) in STATES {
        for meanwhile in ALL {
            let mut stage = Stage::new();
            let id = prepare(&mut stage);
            let mut processes = Processes::of(&stage, id);
            if meanwhile != Meanwhile::Nothing {
                stage.next_life();
            }
            if meanwhile == Meanwhile::Reboot {
                processes.all.clear();
            }
            let joins = matches!(meanwhile, Meanwhile::Joined | Meanwhile::Reboot);
            let same_boot = meanwhile != Meanwhile::Reboot;
            if joins {
                let effects = stage.spawn_knows(same_boot, &processes.known());
                processes.take(&effects);
            }
            let asked = verb(&mut stage);
            processes.take(&asked.effects);
            if !joins {
                let effects = stage.spawn_knows(same_boot, &processes.known());
                processes.take(&effects);
            }
            processes.settle(&mut stage);
            let what = format!("{state}, {meanwhile:?}");
            judge(&what, &stage, &asked);
            for (id, ..) in &processes.all {
                let seen = stage.engine.by_id(*id).map(|view| view.state);
                assert_eq!(seen, Some(State::Running), "{what}: {id} runs");
            }
            let live = stage.state("dev/one").is_some_and(State::is_live);
            assert_eq!(stage.used("dev").0, u32::from(live), "{what}");
        }
    }
}

#[test]
fn stop_works_in_every_state() {
    in_every_state(
        |stage| stage.stop("dev/one", 1000),
        |what, stage, asked| match stage.state("dev/one") {
            Some(state) => assert!(!state.is_live(), "{what}: {state}"),
            // Somebody wanted that.
            None => assert!(what.starts_with("being destroyed"), "{what}: {:?}", asked.effects),
        },
    );
}

#[test]
fn destroy_works_in_every_state_and_leaves_nothing() {
    in_every_state(
        |stage| stage.destroy("dev/one"),
        |what, stage, _| {
            assert_eq!(stage.state("dev/one"), None, "{what}");
            assert_eq!(stage.kept.keys().filter(|slot| is_machine(slot)).count(), 0, "{what}");
            assert!(stage.engine.images().next().is_none(), "{what}");
        },
    );
}

fn is_machine(slot: &vmm_engine::Slot) -> bool {
    matches!(slot, vmm_engine::Slot::Machine(_))
}

#[test]
fn replace_works_in_every_state_but_that_of_being_replaced() {
    in_every_state(
        |stage| stage.deploy_as("dev/one", with_memory(11), &dev(), true),
        |what, stage, asked| {
            let view = stage.view("dev/one");
            assert_eq!(view.state, State::Running, "{what}");
            match answer(&asked.effects, asked.token) {
                Some(Err(refusal)) if what.starts_with("being replaced") => {
                    assert_eq!(refusal.code(), "busy", "{what}");
                }
                _ => assert_eq!(view.id, asked.id, "{what}"),
            }
        },
    );
}

#[test]
fn a_restart_is_refused_only_while_something_else_is_under_way() {
    in_every_state(
        |stage| stage.restart("dev/one"),
        |what, stage, asked| {
            let answer = answer(&asked.effects, asked.token);
            match answer {
                Some(Err(refusal)) => {
                    assert!(matches!(refusal.code(), "busy" | "not-found"), "{what}: {refusal}");
                }
                _ => assert_eq!(stage.state("dev/one"), Some(State::Running), "{what}"),
            }
        },
    );
}

#[test]
fn a_start_is_taken_only_of_what_does_not_run() {
    in_every_state(
        |stage| stage.start("dev/one", ""),
        |what, stage, asked| match answer(&asked.effects, asked.token) {
            Some(Err(refusal)) => {
                let code = refusal.code();
                assert!(matches!(code, "busy" | "running" | "not-found"), "{what}: {refusal}");
            }
            _ => assert_eq!(stage.state("dev/one"), Some(State::Running), "{what}"),
        },
    );
}
