//! vmm-spawn and the processes, which go on whatever becomes of the supervisor.

use std::collections::BTreeMap;
use std::sync::Arc;

use vmm_engine::{Event, Exit, Interface, KnownRun, OnExpiry, State};
use vmm_proto::id::MachineId;
use vmm_proto::name::{MachineName, Path};

use crate::naive::chain_is_valid;
use crate::wires;
use crate::world::{World, choose};

/// A process, or one that is being made.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: MachineName,
    pub(crate) run: u64,
    pub(crate) memory_mib: u32,
    pub(crate) interfaces: Arc<[Interface]>,
    /// Nothing before its guest runs.
    pub(crate) pid: Option<u32>,
    pub(crate) told_to_stop: bool,
    pub(crate) killed: bool,
    /// Whether it has seen more than one connection of the supervisor: orders may have been lost.
    pub(crate) survived: bool,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) enum Report {
    Failed,
    Exited { exit: Exit, output_end: u64 },
}

/// What vmm-spawn remembers.
#[derive(Debug, Default)]
pub(crate) struct Spawn {
    /// Whether the supervisor has a connection and was told what there is.
    pub(crate) connected: bool,
    /// Whether the host was booted since the last connection.
    booted: bool,
    /// The last run of each machine.
    pub(crate) last_runs: BTreeMap<MachineId, u64>,
    /// The ends that nobody has acknowledged yet.
    pub(crate) reports: BTreeMap<(MachineId, u64), Report>,
}

impl World {
    pub(crate) fn process_starts(&mut self, which: usize) {
        let starting = self.processes.iter().filter(|(_, process)| process.pid.is_none());
        if let Some(id) = choose(starting.map(|(id, _)| *id), which) {
            let pid = u32::try_from(self.count()).unwrap();
            let process = self.processes.get_mut(&id).unwrap();
            process.pid = Some(pid);
            let run = process.run;
            if self.spawn.connected {
                self.happen(Event::Started { id, run, pid });
            }
        }
    }

    pub(crate) fn process_fails(&mut self, which: usize) {
        let starting = self.processes.iter().filter(|(_, process)| process.pid.is_none());
        if let Some(id) = choose(starting.map(|(id, _)| *id), which) {
            self.end_process(id, Report::Failed);
        }
    }

    pub(crate) fn process_exits(&mut self, which: usize, exit: u8) {
        let started = || self.processes.iter().filter(|(_, process)| process.pid.is_some());
        // Those that were told to stop do so before others end by themselves.
        let obedient = started().filter(|(_, process)| process.told_to_stop).map(|(id, _)| *id);
        let id = choose(obedient, which).or_else(|| choose(started().map(|(id, _)| *id), which));
        let Some(id) = id else { return };
        let exit = match exit {
            0..60 => Exit::Code(0),
            60..120 => Exit::Code(1),
            120..180 => Exit::Signal(9),
            180..220 => Exit::OutOfMemory,
            220.. => Exit::Unknown,
        };
        let output_end = self.count();
        self.end_process(id, Report::Exited { exit, output_end });
    }

    /// A machine whose former would be started again ends by itself, and not well.
    pub(crate) fn probation_fails(&mut self, which: usize) {
        let on_probation = self.list().into_iter().filter(|view| view.former.is_some());
        let ids: Vec<MachineId> = on_probation.map(|view| view.id).collect();
        let runs = ids.into_iter().filter(|id| {
            self.processes.get(id).is_some_and(|it| it.pid.is_some() && !it.told_to_stop)
        });
        if let Some(id) = choose(runs, which) {
            let output_end = self.count();
            self.end_process(id, Report::Exited { exit: Exit::Signal(11), output_end });
        }
    }

    fn end_process(&mut self, id: MachineId, report: Report) {
        let run = self.processes.remove(&id).unwrap().run;
        self.spawn.reports.insert((id, run), report);
        if self.spawn.connected {
            self.report(id, run);
        }
    }

    /// Reports an end, once more if it is not acknowledged.
    fn report(&mut self, id: MachineId, run: u64) {
        let event = match self.spawn.reports[&(id, run)].clone() {
            Report::Failed => {
                Event::StartFailed { id, run, reason: "no luck".to_owned(), jitter: 5 }
            }
            Report::Exited { exit, output_end } => {
                Event::Exited { id, run, exit, output_end, spent: None, jitter: 3 }
            }
        };
        self.happen_as_report(event, (id, run));
    }

    /// The connection breaks; vmm-spawn may have been started again.
    pub(crate) fn lose_spawn(&mut self) {
        if self.spawn.connected {
            self.spawn.connected = false;
            self.happen(Event::SpawnLost);
        }
    }

    /// vmm-spawn goes down with all machines and what it knew.
    pub(crate) fn kill_spawn(&mut self) {
        self.lose_spawn();
        self.processes.clear();
        self.spawn.last_runs.clear();
        self.spawn.reports.clear();
    }

    pub(crate) fn reboot(&mut self) {
        self.seen.insert("reboot");
        self.crash(0);
        self.kill_spawn();
        self.spawn.booted = true;
    }

    /// vmm-spawn says what it knows, and reports what was not acknowledged.
    pub(crate) fn join(&mut self) {
        if self.spawn.connected {
            return;
        }
        let known = self.spawn.last_runs.iter().map(|(&id, &run)| {
            let process = self.processes.get(&id);
            // One that is being made has a process, too.
            let pid = process.map(|process| process.pid.unwrap_or(1));
            KnownRun { id, run, pid, ready: process.is_some_and(|process| process.pid.is_some()) }
        });
        let known: Vec<KnownRun> = known.collect();
        self.spawn.connected = true;
        for process in self.processes.values_mut() {
            process.survived = true;
        }
        let same_boot = !std::mem::take(&mut self.spawn.booted);
        let comes = |state| matches!(state, State::Starting | State::Restarting | State::Running);
        let mut should_run: Vec<_> = self.list().iter().map(|view| (view.id, view.state)).collect();
        // Without authority, a host may not want them to run.
        let may = |path: &Path| self.on_expiry == OnExpiry::Keep || chain_is_valid(self, path);
        let may = |id| {
            let view = self.engine.by_id(id);
            view.is_some_and(|view| may(&view.name.path) && wires::stays(self, &view))
        };
        should_run.retain(|(id, state)| !same_boot && comes(*state) && may(*id));
        let lives = self.shell.lives;
        self.happen(Event::SpawnKnows { same_boot, known, jitter: 7 });
        if lives != self.shell.lives {
            self.spawn.booted |= !same_boot;
            return;
        }
        for (id, was) in should_run {
            let state = self.engine.by_id(id).expect("it is listed").state;
            assert!(comes(state), "{id} was {was} before the reboot, and now it is {state}");
        }
        let reports: Vec<_> = self.spawn.reports.keys().copied().collect();
        for (id, run) in reports {
            // The supervisor may die in between.
            if self.spawn.connected && self.spawn.reports.contains_key(&(id, run)) {
                self.report(id, run);
            }
        }
    }

    /// Everything that was told to end ends.
    pub(crate) fn obey(&mut self) {
        while self.processes.values().any(|process| process.told_to_stop && process.pid.is_some()) {
            self.process_exits(0, 0);
        }
    }
}
