//! One machine: its ring, its exits that nobody has seen yet, and its process while it has one.

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
use crate::launch::Launched;
use crate::peers::Message;
use crate::process::{self, Ended};
use crate::ring::Ring;
use crate::status::StatusPipe;

/// How long a tender may take until its guest runs.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Exits of one machine that are kept at most. It is not started again before the supervisor has
/// acknowledged some: none is ever dropped for a newer one.
pub const REPORTS_MAX: usize = 8;

/// A machine that is known here.
#[derive(Debug)]
pub struct Machine {
    /// Its name here and everywhere.
    pub id: MachineId,
    /// What it wrote.
    pub ring: Ring,
    /// Its exits that the supervisor has not acknowledged, the oldest first.
    pub reports: VecDeque<Report>,
    /// The number of its last start.
    pub last_run: u64,
    /// Its process, while it has one.
    pub run: Option<Run>,
    /// Whether it is dropped as soon as it has no process.
    pub forgotten: bool,
}

impl Machine {
    /// One that has never run.
    ///
    /// # Errors
    /// There is no memory for its ring, or no descriptors.
    pub fn new(id: MachineId) -> Result<Self, Errno> {
        let (ring, reports) = (Ring::new()?, VecDeque::new());
        Ok(Self { id, ring, reports, last_run: 0, run: None, forgotten: false })
    }

    /// Its ring, as it is sent to the console.
    pub fn ring_message(&self) -> Message {
        Message { body: FromSpawn::Ring { id: self.id }, descriptors: self.ring.descriptors() }
    }

    /// Its state, as it is sent to a supervisor that has just joined.
    pub fn known_message(&self) -> FromSpawn {
        let ready = self.run.as_ref().is_some_and(|run| matches!(run.phase, Phase::Running));
        let pid = self.run.as_ref().map(Run::pid);
        FromSpawn::Known { id: self.id, run: self.last_run, pid, ready }
    }
}

/// An exit, as it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Which start it is about.
    pub run: u64,
    /// How it ended and what it used.
    pub ended: Ended,
    /// How many bytes it had written in all.
    pub output_end: u64,
}

impl Report {
    /// As it is said to the supervisor.
    pub fn message(self, id: MachineId) -> FromSpawn {
        let Self { run, ended, output_end } = self;
        let Ended { exit, user_us, system_us, max_resident_kib } = ended;
        FromSpawn::Exited { id, run, exit, output_end, user_us, system_us, max_resident_kib }
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
    /// What it writes; `None` once it has closed it.
    pub console: Option<Console>,
    /// Until when its console is not looked at.
    pub paused_until: Option<Instant>,
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
    /// What its tender has to say; `None` once it has closed it.
    pub status: Option<StatusPipe>,
    /// What it said before that.
    pub said: Option<String>,
    /// When it has to be ready.
    pub deadline: Instant,
    /// Why it is being ended here, if it is.
    pub ended_for: Option<String>,
    /// Whether the machine became known by this start, and is dropped if it fails.
    pub first: bool,
}

impl Run {
    /// The life that begins with a process that was just started.
    pub fn new(number: u64, launched: Launched, first: bool, now: Instant) -> Self {
        let Launched { pid, process, console, status, .. } = launched;
        let starting = Starting {
            status: Some(StatusPipe::new(status)),
            said: None,
            deadline: now + START_TIMEOUT,
            ended_for: None,
            first,
        };
        Self {
            number,
            pid,
            process,
            console: Some(Console::new(console, now)),
            paused_until: None,
            phase: Phase::Starting(starting),
        }
    }

    /// Its process, to be watched for its end.
    pub fn process(&self) -> impl AsFd + '_ {
        &self.process
    }

    /// Its process's number, as it is sent.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Asks it to end, or ends it. If its guest does not run yet, `reason` is why it never did.
    pub fn end(&mut self, id: MachineId, force: bool, reason: &str) {
        if let Phase::Starting(starting) = &mut self.phase {
            starting.ended_for.get_or_insert_with(|| reason.to_owned());
        }
        self.signal(id, force);
    }

    fn signal(&self, id: MachineId, force: bool) {
        let signal = if force { Signal::KILL } else { Signal::TERM };
        match pidfd_send_signal(&self.process, signal) {
            // It has ended by itself, and will be reaped.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => error!(%id, "its process cannot be sent a signal: {error}"),
        }
    }

    /// How it ended, if it has.
    pub fn reap(&self, id: MachineId) -> Option<Ended> {
        match process::reap(self.pid) {
            Ok(ended) => ended,
            Err(error) => {
                warn!(%id, "nobody knows how it ended: {error}");
                Some(Ended::UNSEEN)
            }
        }
    }
}

impl Starting {
    /// Why it failed, now that its process has ended.
    pub fn failure(self, ended: Ended) -> String {
        if let Some(reason) = self.ended_for {
            return reason;
        }
        if let Some(text) = self.said {
            return text;
        }
        match ended.exit {
            Exit::Code(code) => format!("its tender ended with status {code} and gave no reason"),
            Exit::Signal(signal) => format!("its tender was ended by signal {signal}"),
            Exit::OutOfMemory => "its tender ran out of memory".to_owned(),
            Exit::Unknown => "its tender ended, nobody knows how".to_owned(),
        }
    }
}
