//! What happens to machines by itself: output, readiness, ends, and time.

use std::time::Instant;

use tracing::{error, info, warn};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::Role;

use super::Machines;
use crate::console::Next;
use crate::failpoint;
use crate::jail::Jail;
use crate::machine::{End, Fate, Machine, Phase, Report, Run, START_TIMEOUT};
use crate::peers::Peers;
use crate::poller::Token;
use crate::process::Ended;
use crate::status::Progress;

impl Machines {
    /// The console of a machine has something to read.
    pub fn on_console(&mut self, number: u64, now: Instant) {
        let Some(machine) = self.numbers.get(&number).and_then(|id| self.all.get_mut(id)) else {
            return;
        };
        let id = machine.id;
        match machine.console.pump(now, id, &self.scratch) {
            Next::Wait => {}
            Next::Pause(until) if machine.console.paused_until.is_some() => {
                machine.console.paused_until = Some(until);
                self.timers.set(until, number);
            }
            Next::Pause(until) => match self.poller.forget(&machine.console) {
                Ok(()) => {
                    machine.console.paused_until = Some(until);
                    self.timers.set(until, number);
                }
                Err(error) => error!(%id, "its console cannot be paused: {error}"),
            },
        }
    }

    /// Tenders have said something.
    pub fn on_statuses(&mut self, peers: &mut Peers) {
        match self.watcher.changed() {
            Ok(numbers) => numbers.into_iter().for_each(|number| self.hear(number, peers)),
            Err(error) => error!("it cannot be told which machines have started: {error}"),
        }
    }

    /// Looks at what the tender of a run has said.
    pub(super) fn hear(&mut self, number: u64, peers: &mut Peers) {
        let Some(machine) = self.of_number(number) else { return };
        let id = machine.id;
        let Some(run) = machine.run.as_mut().filter(|run| run.number == number) else { return };
        let Phase::Starting(starting) = &run.phase else { return };
        let progress = starting.status.progress().unwrap_or_else(|error| {
            error!(%id, "cannot read its status: {error}");
            Progress::Pending
        });
        match progress {
            Progress::Pending => {}
            Progress::TooMuch => run.end(id, true, "its tender said more than it should"),
            // What was given up stays so: its end is already under way.
            Progress::Ready if starting.ended_for.is_some() => {}
            Progress::Ready => {
                let phase = std::mem::replace(&mut run.phase, Phase::Running);
                let started = run.started(id, machine.last_run);
                info!(%id, pid = run.pid(), "runs");
                if let Phase::Starting(starting) = phase {
                    self.watcher.forget(&starting.status);
                }
                if let Some(started) = started {
                    peers.tell(Role::Supervisor, started);
                }
            }
        }
    }

    /// The process of a run has ended, or may have.
    pub fn on_process(&mut self, number: u64, now: Instant, peers: &mut Peers) {
        let Some(machine) = self.of_number(number) else { return };
        let id = machine.id;
        let Some(run) = machine.run.as_mut().filter(|run| run.number == number) else { return };
        let waiting = run.reaped_by.is_some();
        let ended = match run.fate(id, now) {
            Fate::Alive => return,
            Fate::Ended(ended) => ended,
            Fate::Waiting(until) => {
                if !waiting {
                    self.wait_for_reaper(number, until);
                }
                return;
            }
        };
        failpoint::reach("end-seen");
        // It may have said something and ended since anyone looked.
        self.hear(number, peers);
        self.end_run(id, ended, peers);
    }

    /// An adopted process has ended, and how is known once somebody has reaped it.
    fn wait_for_reaper(&mut self, number: u64, until: Instant) {
        self.timers.set(until, number);
        let Some(id) = self.numbers.get(&number) else { return };
        let Some(run) = self.all.get(id).and_then(|machine| machine.run.as_ref()) else { return };
        if let Err(error) = self.poller.only_end(run.process(), Token::Process(number)) {
            error!(%id, "its end is looked at again and again: {error}");
        }
    }

    fn end_run(&mut self, id: MachineId, mut ended: Ended, peers: &mut Peers) {
        let Some(machine) = self.all.get_mut(&id) else { return };
        let Some(run) = machine.run.take() else { return };
        self.numbers.remove(&run.number);
        self.running -= 1;
        let output_end = machine.console.drain(id, &self.scratch);
        failpoint::reach("end-drained");
        ended.exit = Jail::judge(&run.cell, ended.exit);
        let end = match &run.phase {
            Phase::Running => End::Exited { ended, output_end },
            Phase::Starting(starting) => {
                self.watcher.forget(&starting.status);
                End::NotStarted(starting.failure(ended))
            }
        };
        // Whoever is told of the end finds none of them.
        self.networks.remove(id, run.cell.taps);
        self.report(id, &run, end, peers);
        self.jail.release(run.cell);
        self.look_again(id);
        if self.all.get(&id).is_some_and(|machine| machine.forgotten) {
            self.state.remove(id);
            self.drop_machine(id, peers);
        }
    }

    /// Keeps the end of a run and tells of it. The process is let go only when it is kept.
    fn report(&mut self, id: MachineId, run: &Run, end: End, peers: &mut Peers) {
        let Some(machine) = self.all.get_mut(&id) else { return };
        let report = Report { run: machine.last_run, end };
        match &report.end {
            End::NotStarted(reason) => warn!(%id, "not started: {reason}"),
            End::Exited { ended, output_end } => {
                info!(%id, exit = ?ended.exit, output_end, "has ended");
            }
        }
        let kept = self.state.place(&id.to_string()).and_then(|place| place.report(&report));
        if let Err(error) = kept {
            error!(%id, "its end is not on disk and will be unknown to another vmm-spawn: {error}");
        }
        failpoint::reach("end-written");
        run.reap(id);
        failpoint::reach("end-reaped");
        peers.tell(Role::Supervisor, report.message(id));
        machine.reports.push_back(report);
    }

    /// What could not be drained is tried again when there may be room.
    fn look_again(&mut self, id: MachineId) {
        let Some(machine) = self.all.get(&id) else { return };
        if machine.console.paused_until.is_none() && machine.console.has_more() {
            let number = machine.number;
            self.on_console(number, Instant::now());
        }
    }

    /// When [`Machines::on_time`] has something to do next.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Looks again at consoles whose pause is over, ends starts that take too long, and waits no
    /// longer for processes to be reaped.
    pub fn on_time(&mut self, now: Instant, peers: &mut Peers) {
        for number in self.timers.due(now) {
            let Some(Machine { id, console, run, .. }) = self.of_number(number) else { continue };
            let id = *id;
            let Some(run) = run.as_mut().filter(|run| run.number == number) else {
                if console.paused_until.is_some_and(|until| until <= now) {
                    self.resume(id, number, now);
                }
                continue;
            };
            if run.start_deadline().is_some_and(|deadline| deadline <= now) {
                let seconds = START_TIMEOUT.as_secs();
                run.end(id, true, &format!("its guest did not run within {seconds} s"));
            }
            if run.reaped_by.is_some_and(|until| until <= now) {
                self.on_process(number, now, peers);
            }
        }
    }

    fn resume(&mut self, id: MachineId, number: u64, now: Instant) {
        let Some(machine) = self.all.get_mut(&id) else { return };
        machine.console.paused_until = None;
        if let Err(error) = self.poller.watch(&machine.console, Token::Console(number)) {
            error!(%id, "its console cannot be watched any longer: {error}");
        }
        // What waits in the stage makes nothing readable.
        self.on_console(number, now);
    }
}
