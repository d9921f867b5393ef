//! What happens to machines by itself: output, readiness, ends, and time.

use std::time::Instant;

use tracing::{error, info, warn};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::{FromSpawn, Role};

use super::Machines;
use crate::console::Next;
use crate::machine::{Machine, Phase, Report, Run, START_TIMEOUT, Starting};
use crate::peers::Peers;
use crate::poller::Token;
use crate::process::Ended;
use crate::status::Progress;

impl Machines {
    /// The console pipe of a run has something to read.
    pub fn on_console(&mut self, number: u64, now: Instant) {
        let Some(machine) = self.runs.get(&number).and_then(|id| self.all.get_mut(id)) else {
            return;
        };
        let Machine { id, ring, run: Some(run), .. } = machine else { return };
        let Some(console) = &mut run.console else { return };
        match console.pump(now, *id, ring, &mut self.buffer) {
            Next::Wait => {}
            Next::Pause(until) => match self.poller.forget(&*console) {
                Ok(()) => run.paused_until = Some(until),
                Err(error) => error!(%id, "its console cannot be paused: {error}"),
            },
            Next::End => run.console = None,
        }
    }

    /// The status pipe of a run has something to read.
    pub fn on_status(&mut self, number: u64, peers: &mut Peers) {
        let Some(machine) = self.runs.get(&number).and_then(|id| self.all.get_mut(id)) else {
            return;
        };
        if let Machine { id, last_run, run: Some(run), .. } = machine {
            hear_status((*id, *last_run), run, peers);
        }
    }

    /// The process of a run has ended.
    pub fn on_process(&mut self, number: u64, peers: &mut Peers) {
        let Some(machine) = self.runs.get(&number).and_then(|id| self.all.get_mut(id)) else {
            return;
        };
        let id = machine.id;
        let Some(run) = &mut machine.run else { return };
        let Some(ended) = run.reap(id) else { return };
        // It may have said something and ended since anyone looked.
        hear_status((id, machine.last_run), run, peers);
        let Some(run) = machine.run.take() else { return };
        self.runs.remove(&number);
        if let Some(console) = run.console {
            console.drain(id, &mut machine.ring, &mut self.buffer);
        }
        let drop = match run.phase {
            Phase::Running => {
                has_ended(machine, ended, peers);
                machine.forgotten
            }
            Phase::Starting(starting) => {
                let drop = starting.first || machine.forgotten;
                has_not_started((id, machine.last_run), starting, ended, peers);
                drop
            }
        };
        if drop {
            self.drop_machine(id, peers);
        }
    }

    /// When [`Machines::on_time`] has something to do next.
    pub fn deadline(&self) -> Option<Instant> {
        let runs = self.all.values().filter_map(|machine| machine.run.as_ref());
        runs.flat_map(|run| [run.paused_until, start_deadline(run)]).flatten().min()
    }

    /// Looks again at consoles whose pause is over, and ends starts that take too long.
    pub fn on_time(&mut self, now: Instant) {
        for machine in self.all.values_mut() {
            let Some(run) = &mut machine.run else { continue };
            let id = machine.id;
            if start_deadline(run).is_some_and(|deadline| deadline <= now) {
                let seconds = START_TIMEOUT.as_secs();
                run.end(id, true, &format!("its guest did not run within {seconds} s"));
            }
            if run.paused_until.is_some_and(|until| until <= now) {
                run.paused_until = None;
                let Some(console) = &run.console else { continue };
                if let Err(error) = self.poller.watch(console, Token::Console(run.number)) {
                    error!(%id, "its console cannot be watched any longer: {error}");
                }
            }
        }
    }
}

/// Until when a start has to succeed, unless it was given up.
fn start_deadline(run: &Run) -> Option<Instant> {
    match &run.phase {
        Phase::Starting(starting) if starting.ended_for.is_none() => Some(starting.deadline),
        Phase::Starting(_) | Phase::Running => None,
    }
}

fn hear_status((id, number): (MachineId, u64), run: &mut Run, peers: &mut Peers) {
    let Phase::Starting(starting) = &mut run.phase else { return };
    let Some(status) = &mut starting.status else { return };
    let progress = status.read().unwrap_or_else(|error| {
        error!(%id, "cannot read its status: {error}");
        Progress::Closed
    });
    starting.said = status.text();
    match progress {
        Progress::Pending => {}
        Progress::Closed => starting.status = None,
        // What was given up stays so: its end is already under way.
        Progress::Ready if starting.ended_for.is_some() => starting.status = None,
        Progress::Ready => {
            run.phase = Phase::Running;
            let pid = run.pid();
            info!(%id, pid, "runs");
            peers.tell(Role::Supervisor, FromSpawn::Started { id, run: number, pid });
        }
    }
}

fn has_ended(machine: &mut Machine, ended: Ended, peers: &mut Peers) {
    let id = machine.id;
    let report = Report { run: machine.last_run, ended, output_end: machine.ring.written() };
    info!(%id, exit = ?ended.exit, output_end = report.output_end, "has ended");
    machine.reports.push_back(report);
    peers.tell(Role::Supervisor, report.message(id));
}

fn has_not_started(
    (id, run): (MachineId, u64),
    starting: Starting,
    ended: Ended,
    peers: &mut Peers,
) {
    let reason = starting.failure(ended);
    warn!(%id, "not started: {reason}");
    peers.tell(Role::Supervisor, FromSpawn::StartFailed { id, run, reason });
}
