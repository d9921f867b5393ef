//! Starting a machine.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;
use tracing::{info, warn};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::{FromSpawn, Role, Start};

use super::Machines;
use crate::console::Console;
use crate::failpoint;
use crate::jail::Cell;
use crate::jail::clone::Cloned;
use crate::launch::{self, Given, Streams};
use crate::machine::{Machine, Phase, REPORTS_MAX, Run};
use crate::net;
use crate::packet::Descriptors;
use crate::peers::Peers;
use crate::poller::Token;
use crate::process;
use crate::state::place::{Damage, Fifo};
use crate::state::record::RunRecord;
use crate::status::Status;

/// Why a start is answered with a refusal. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// the start came with no image
    #[error("the start came without an image: one descriptor belongs beside it")]
    NoImage,
    /// the start came with more than an image
    #[error("the start came with more than one descriptor, or more than could be taken")]
    TooManyDescriptors,
    /// it runs already
    #[error("it runs already, as process {0}")]
    Runs(u32),
    /// this start was given before
    #[error("start {run} of it was given before: the last one was {last}")]
    Again {
        /// Which start.
        run: u64,
        /// The last one.
        last: u64,
    },
    /// its earlier ends were not acknowledged
    #[error("{REPORTS_MAX} of its ends were not acknowledged")]
    Unacknowledged,
    /// its networks cannot be had
    #[error(transparent)]
    Networks(#[from] net::Error),
    /// vmm-spawn is ending
    #[error("vmm-spawn is ending")]
    Ending,
    /// there is no room for what is kept of it
    #[error("cannot keep what it needs in the state directory: {0}")]
    State(Errno),
    /// what is kept of it cannot be used
    #[error("what is kept of it in the state directory cannot be used: {0}")]
    Damage(#[from] Damage),
    /// its process cannot be watched
    #[error("cannot watch its process: {0}")]
    Watch(Errno),
    /// its process was not started
    #[error(transparent)]
    Launch(#[from] launch::Error),
}

impl Machines {
    /// Starts a machine, and answers at once only if that is not possible, or was done before.
    pub fn start(&mut self, now: Instant, start: &Start, image: Descriptors, peers: &mut Peers) {
        let id = start.id;
        if let Some(answer) =
            self.all.get(&id).and_then(|machine| machine.what_became_of(start.run))
        {
            warn!(%id, run = start.run, "start given again: it goes on as it is");
            if let Some(answer) = answer {
                peers.tell(Role::Supervisor, answer);
            }
            return;
        }
        if let Err(error) = self.try_start(now, start, image, peers) {
            warn!(%id, "not started: {error}");
            let (run, reason) = (start.run, error.to_string());
            peers.tell(Role::Supervisor, FromSpawn::StartFailed { id, run, reason });
        }
    }

    fn try_start(
        &mut self,
        now: Instant,
        start: &Start,
        image: Descriptors,
        peers: &mut Peers,
    ) -> Result<(), StartError> {
        let image = image_of(image)?;
        let id = start.id;
        let known = self.may_start(start)?;
        if known.is_none() {
            self.make(id, now)?;
            // Before there is a process: what that writes is held by whoever has this, should this
            // process die right after starting it.
            if let Some(ring) = self.all.get(&id).and_then(|machine| self.ring_message(machine)) {
                peers.tell(Role::Console, ring);
            }
        }
        let run = self.attempt(start, image, known.unwrap_or(0)).inspect_err(|_| {
            self.undo(start, known.is_none(), peers);
        })?;
        let number = run.number;
        if let Some(machine) = self.all.get_mut(&id) {
            machine.last_run = start.run;
            machine.only_run = known.is_none().then_some(start.run);
            machine.run = Some(run);
        }
        // It may have said so before it was watched.
        self.hear(number, peers);
        Ok(())
    }

    /// Leaves nothing of a start that failed at once.
    fn undo(&mut self, start: &Start, first: bool, peers: &mut Peers) {
        let id = start.id;
        if first {
            self.state.remove(id);
            self.drop_machine(id, peers);
            return;
        }
        let place = self.state.place(&id.to_string());
        if let Err(error) = place.and_then(|place| place.forget_attempt(start.run)) {
            warn!(%id, "something is left of a start that failed: {error}");
        }
    }

    /// The number of the last start of a machine that is known and may be started now.
    fn may_start(&self, start: &Start) -> Result<Option<u64>, StartError> {
        if self.ending {
            return Err(StartError::Ending);
        }
        let Some(machine) = self.all.get(&start.id) else {
            let first = start.run > 0;
            return if first { Ok(None) } else { Err(StartError::Again { run: 0, last: 0 }) };
        };
        if let Some(run) = &machine.run {
            return Err(StartError::Runs(run.pid()));
        }
        if machine.last_run >= start.run {
            return Err(StartError::Again { run: start.run, last: machine.last_run });
        }
        if machine.reports.len() >= REPORTS_MAX {
            return Err(StartError::Unacknowledged);
        }
        Ok(Some(machine.last_run))
    }

    /// Makes a machine that was never started.
    fn make(&mut self, id: MachineId, now: Instant) -> Result<(), StartError> {
        let place = self.state.make(id).map_err(StartError::State)?;
        failpoint::reach("start-made");
        let number = self.number(id);
        let made = Console::go_on(&place, now).map_err(StartError::from).and_then(|console| {
            self.poller.watch(&console, Token::Console(number)).map_err(StartError::Watch)?;
            Ok(console)
        });
        match made {
            Ok(console) => {
                self.all.insert(id, Machine::new(id, number, console));
                Ok(())
            }
            Err(error) => {
                self.numbers.remove(&number);
                self.state.remove(id);
                Err(error)
            }
        }
    }

    /// Writes down that a machine is being started, and starts it.
    fn attempt(&mut self, start: &Start, image: OwnedFd, before: u64) -> Result<Run, StartError> {
        launch::check(start, &image)?;
        self.networks.check(&start.networks)?;
        let cell = self.jail.cell(start).map_err(launch::Error::from)?;
        self.attempt_in(cell.clone(), start, image, before).inspect_err(|_| {
            self.networks.remove(start.id, cell.taps);
            self.jail.release(cell);
        })
    }

    fn attempt_in(
        &mut self,
        cell: Cell,
        start: &Start,
        image: OwnedFd,
        before: u64,
    ) -> Result<Run, StartError> {
        let place = self.state.place(&start.id.to_string()).map_err(StartError::State)?;
        let record = RunRecord { run: start.run, before, cell };
        place.begin(&record).map_err(StartError::State)?;
        failpoint::reach("start-recorded");
        place.forget_seen(before).map_err(StartError::State)?;
        let streams = Streams {
            console: place.fifo_for_machine(Fifo::Console)?,
            stage: place.fifo_for_machine(Fifo::Stage)?,
            status: place.make_status(start.run).map_err(StartError::State)?,
            birth: place.make_birth(start.run).map_err(StartError::State)?,
        };
        let status = Status::new(place.status(start.run)?);
        failpoint::reach("start-prepared");
        let taps = self.networks.make(start.id, &start.networks)?;
        failpoint::reach("start-tapped");
        let jailed = (&self.jail, &record.cell);
        let given = Given { image, taps };
        let launched = launch::launch(&self.tender, jailed, start, given, streams)?;
        failpoint::reach("start-launched");
        let run = self.watch(start.id, launched, record.cell, status)?;
        info!(id = %start.id, pid = run.pid(), memory_mib = start.memory_mib, "starting");
        Ok(run)
    }

    /// Makes a run of a process that was just started.
    fn watch(
        &mut self,
        id: MachineId,
        new: Cloned,
        cell: Cell,
        status: Status,
    ) -> Result<Run, StartError> {
        let Cloned { pid, process: handle } = new;
        let number = self.number(id);
        // Its time begins with its process: many taps take theirs.
        let now = Instant::now();
        let mut run = Run::new(number, (pid, handle), cell, true, status, now);
        if let Err(error) = self.watch_run(&mut run) {
            self.numbers.remove(&number);
            process::abandon(pid, run.process());
            return Err(StartError::Watch(error));
        }
        Ok(run)
    }

    /// Waits for what a run has to say, and for its end.
    pub(super) fn watch_run(&mut self, run: &mut Run) -> Result<(), Errno> {
        let number = run.number;
        if let Phase::Starting(starting) = &mut run.phase {
            self.watcher.watch(&mut starting.status, number)?;
            self.timers.set(starting.deadline, number);
        }
        self.poller.watch(run.process(), Token::Process(number)).inspect_err(|_| {
            if let Phase::Starting(starting) = &run.phase {
                self.watcher.forget(&starting.status);
            }
        })?;
        self.running += 1;
        Ok(())
    }
}

fn image_of(descriptors: Descriptors) -> Result<OwnedFd, StartError> {
    let Descriptors::All(list) = descriptors else { return Err(StartError::TooManyDescriptors) };
    let mut list = list.into_iter();
    match (list.next(), list.next()) {
        (Some(image), None) => Ok(image),
        (None, _) => Err(StartError::NoImage),
        (Some(_), Some(_)) => Err(StartError::TooManyDescriptors),
    }
}
