//! One machine: its console, its ends that nobody has seen yet, and its process while it has one.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, pidfd_send_signal};
use tracing::{error, warn};
use vmm_proto::id::MachineId;
use vmm_proto::message::Exit;
use vmm_proto::message::spawn::FromSpawn;

use crate::console::Console;
use crate::descriptors::kept;
use crate::jail::Cell;
use crate::process::{self, Ended};
use crate::status::Status;

/// How long a tender may take until its guest runs.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long whoever reaps the processes of a `vmm-spawn` that is gone may take.
const REAP_PATIENCE: Duration = Duration::from_secs(2);

/// Ends of one machine that are kept at most. It is not started again before the supervisor has
/// acknowledged some: none is ever dropped for a newer one.
pub const REPORTS_MAX: usize = 8;

/// A machine that is known here.
#[derive(Debug)]
pub struct Machine {
    /// Its name here and everywhere.
    pub id: MachineId,
    /// The number of its console in the poller: never used again.
    pub number: u64,
    /// What it writes.
    pub console: Console,
    /// Its ends that the supervisor has not acknowledged, the oldest first.
    pub reports: VecDeque<Report>,
    /// The number of its last start, 0 before the first.
    pub last_run: u64,
    /// The number of its first start, as long as it is its only one.
    pub only_run: Option<u64>,
    /// Its process, while it has one.
    pub run: Option<Run>,
    /// Whether it is dropped as soon as it has no process.
    pub forgotten: bool,
}

impl Machine {
    /// One that has never run.
    pub fn new(id: MachineId, number: u64, console: Console) -> Self {
        Self {
            id,
            number,
            console,
            reports: VecDeque::new(),
            last_run: 0,
            only_run: None,
            run: None,
            forgotten: false,
        }
    }

    /// Its state, as it is sent to a supervisor that has just joined.
    pub fn known_message(&self) -> FromSpawn {
        let ready = self.run.as_ref().is_some_and(|run| matches!(run.phase, Phase::Running));
        let pid = self.run.as_ref().map(Run::pid);
        FromSpawn::Known { id: self.id, run: self.last_run, pid, ready }
    }

    /// What became of a start, as far as that is not reported yet or kept to be reported.
    pub fn what_became_of(&self, run: u64) -> Option<Option<FromSpawn>> {
        let report = self.reports.iter().find(|report| report.run == run);
        match &self.run {
            _ if report.is_some() => Some(report.map(|report| report.message(self.id))),
            Some(own) if self.last_run == run => Some(own.started(self.id, run)),
            _ => None,
        }
    }
}

/// The end of a run, as it is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which start it is about.
    pub run: u64,
    /// How it went.
    pub end: End,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Its guest never ran, for this reason.
    NotStarted(String),
    /// It ended.
    Exited {
        /// How, and what it used.
        ended: Ended,
        /// How many bytes the machine had written in all.
        output_end: u64,
    },
}

impl Report {
    /// As it is said to the supervisor.
    pub fn message(&self, id: MachineId) -> FromSpawn {
        let run = self.run;
        match &self.end {
            End::NotStarted(reason) => FromSpawn::StartFailed { id, run, reason: reason.clone() },
            &End::Exited { ended, output_end } => {
                let Ended { exit, user_us, system_us, max_resident_kib } = ended;
                FromSpawn::Exited {
                    id,
                    run,
                    exit,
                    output_end,
                    user_us,
                    system_us,
                    max_resident_kib,
                }
            }
        }
    }
}

/// One life of a machine.
#[derive(Debug)]
pub struct Run {
    /// Its number in the poller: never used again.
    pub number: u64,
    /// Its process's number.
    pub pid: Pid,
    process: OwnedFd,
    /// What of the host it has to itself.
    pub cell: Cell,
    /// Whether this process is its parent, and reaps it.
    pub child: bool,
    /// Until when somebody else may reap it, once it has ended.
    pub reaped_by: Option<Instant>,
    /// How far it has come.
    pub phase: Phase,
}

/// How far a run has come.
#[derive(Debug)]
pub enum Phase {
    /// Its tender prepares it.
    Starting(Starting),
    /// Its guest runs.
    Running,
}

/// A run whose guest does not run yet.
#[derive(Debug)]
pub struct Starting {
    /// What its tender has to say.
    pub status: Status,
    /// When it has to be ready.
    pub deadline: Instant,
    /// Why it is being ended here, if it is.
    pub ended_for: Option<String>,
}

/// What is known of the end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has not ended.
    Alive,
    /// It has, and how is known as well as it ever will be.
    Ended(Ended),
    /// It has, and until then somebody may still reap it and so make known how.
    Waiting(Instant),
}

impl Run {
    /// The life of a process whose guest does not run yet.
    pub fn new(
        number: u64,
        (pid, process): (Pid, OwnedFd),
        cell: Cell,
        child: bool,
        status: Status,
        now: Instant,
    ) -> Self {
        let starting = Starting { status, deadline: now + START_TIMEOUT, ended_for: None };
        let (process, phase) = (kept(process), Phase::Starting(starting));
        Self { number, pid, process, cell, child, reaped_by: None, phase }
    }

    /// Its process, to be watched for its end.
    pub fn process(&self) -> impl AsFd + '_ {
        &self.process
    }

    /// Its process's number, as it is sent.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Until when a start has to succeed, unless it was given up.
    pub fn start_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Starting(starting) if starting.ended_for.is_none() => Some(starting.deadline),
            Phase::Starting(_) | Phase::Running => None,
        }
    }

    /// That its guest runs, if it does, as it is said to the supervisor.
    pub fn started(&self, id: MachineId, run: u64) -> Option<FromSpawn> {
        let running = matches!(self.phase, Phase::Running);
        running.then(|| FromSpawn::Started { id, run, pid: self.pid() })
    }

    /// Asks it to end, or ends it. If its guest does not run yet, `reason` is why it never did.
    pub fn end(&mut self, id: MachineId, force: bool, reason: &str) {
        let starting = match &mut self.phase {
            Phase::Starting(starting) => {
                starting.ended_for.get_or_insert_with(|| reason.to_owned());
                true
            }
            Phase::Running => false,
        };
        // A process that prepares a guest need not be asked, and may not hear yet that it is.
        let signal = if force || starting { Signal::KILL } else { Signal::TERM };
        match pidfd_send_signal(&self.process, signal) {
            // It has ended by itself, and will be reaped.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => error!(%id, "its process cannot be sent a signal: {error}"),
        }
    }

    /// What became of its process, which the poller said has changed, or waited for long enough.
    /// It is not reaped.
    pub fn fate(&mut self, id: MachineId, now: Instant) -> Fate {
        if self.child {
            return match process::look(self.pid) {
                Ok(Some(ended)) => Fate::Ended(ended),
                Ok(None) => Fate::Alive,
                Err(error) => {
                    warn!(%id, "nobody knows how it ended: {error}");
                    Fate::Ended(Ended::UNSEEN)
                }
            };
        }
        if let Some(exit) = process::ask(&self.process) {
            return Fate::Ended(Ended { exit, ..Ended::UNSEEN });
        }
        let until = *self.reaped_by.get_or_insert(now + REAP_PATIENCE);
        if until <= now { Fate::Ended(Ended::UNSEEN) } else { Fate::Waiting(until) }
    }

    /// Lets go of its process, whose end is written down.
    pub fn reap(&self, id: MachineId) {
        if self.child
            && let Err(error) = process::reap(self.pid)
        {
            warn!(%id, "its process cannot be reaped: {error}");
        }
    }
}

impl Starting {
    /// Why it failed, now that its process has ended.
    pub fn failure(&self, ended: Ended) -> String {
        if let Some(reason) = &self.ended_for {
            return reason.clone();
        }
        why_not_started(&self.status, ended)
    }
}

/// Why a tender that has ended did not start its guest.
pub fn why_not_started(status: &Status, ended: Ended) -> String {
    match status.text() {
        Ok(Some(text)) => return text,
        Ok(None) => {}
        Err(error) => return format!("its tender ended, and its status cannot be read: {error}"),
    }
    match ended.exit {
        Exit::Code(code) => format!("its tender ended with status {code} and gave no reason"),
        Exit::Signal(signal) => format!("its tender was ended by signal {signal}"),
        Exit::OutOfMemory => "its tender ran out of memory".to_owned(),
        Exit::Unknown => "its tender ended, nobody knows how".to_owned(),
    }
}
