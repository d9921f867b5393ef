//! All machines: what happens to them, and who is told.

mod events;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use rustix::io::Errno;
use tracing::{debug, info, warn};
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::{FromSpawn, Role, Start};

use crate::console::READ_MAX;
use crate::launch::{self, Launched};
use crate::machine::{Machine, REPORTS_MAX, Run};
use crate::packet::Descriptors;
use crate::peers::{Message, Peers};
use crate::poller::{Poller, Token};

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
    /// its earlier exits were not acknowledged
    #[error("{REPORTS_MAX} of its exits were not acknowledged")]
    Unacknowledged,
    /// vmm-spawn is ending
    #[error("vmm-spawn is ending")]
    Ending,
    /// there is no memory for its console
    #[error("cannot make its console ring: {0}")]
    Ring(Errno),
    /// its process cannot be watched
    #[error("cannot watch its process: {0}")]
    Watch(Errno),
    /// its process was not started
    #[error(transparent)]
    Launch(#[from] launch::Error),
}

/// The table of machines.
#[derive(Debug)]
pub struct Machines {
    all: BTreeMap<MachineId, Machine>,
    /// Whose run has which number.
    runs: HashMap<u64, MachineId>,
    next: u64,
    tender: PathBuf,
    poller: Rc<Poller>,
    /// Console bytes on their way from a pipe to a ring.
    buffer: Vec<u8>,
    ending: bool,
}

impl Machines {
    /// None yet; they will be run by `tender` and watched by `poller`.
    pub fn new(tender: PathBuf, poller: Rc<Poller>) -> Self {
        Self {
            all: BTreeMap::new(),
            runs: HashMap::new(),
            next: 0,
            tender,
            poller,
            buffer: vec![0; READ_MAX],
            ending: false,
        }
    }

    /// How many processes there are.
    pub fn running(&self) -> usize {
        self.runs.len()
    }

    /// How many machines are known, in any state.
    pub fn known(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    /// What a supervisor that has just joined has to know: every machine, then every exit that was
    /// not acknowledged.
    pub fn for_supervisor(&self) -> Vec<Message> {
        let known = self.all.values().map(Machine::known_message);
        let exits = self
            .all
            .values()
            .flat_map(|machine| machine.reports.iter().map(|report| report.message(machine.id)));
        known.chain(exits).map(Message::from).collect()
    }

    /// What a console that has just joined has to know: every ring.
    pub fn for_console(&self) -> Vec<Message> {
        self.all.values().map(Machine::ring_message).collect()
    }

    /// Starts a machine, and answers at once only if that is not possible.
    pub fn start(&mut self, now: Instant, start: &Start, image: Descriptors, peers: &mut Peers) {
        let id = start.id;
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
        if self.ending {
            return Err(StartError::Ending);
        }
        let known = self.all.get(&start.id);
        if let Some(run) = known.and_then(|machine| machine.run.as_ref()) {
            return Err(StartError::Runs(run.pid()));
        }
        if let Some(last) = known.map(|machine| machine.last_run).filter(|last| *last >= start.run)
        {
            return Err(StartError::Again { run: start.run, last });
        }
        if known.is_some_and(|machine| machine.reports.len() >= REPORTS_MAX) {
            return Err(StartError::Unacknowledged);
        }
        // Whatever fails up to here leaves nothing; a machine that is new is known from the end on.
        let new = match known {
            Some(_) => None,
            None => Some(Machine::new(start.id).map_err(StartError::Ring)?),
        };
        let launched = launch::launch(&self.tender, start, image)?;
        let run = self.watch(launched, new.is_some(), now)?;
        info!(id = %start.id, pid = run.pid(), memory_mib = start.memory_mib, "starting");
        let machine = match new {
            Some(machine) => {
                peers.tell(Role::Console, machine.ring_message());
                self.all.entry(start.id).or_insert(machine)
            }
            None => self.all.get_mut(&start.id).ok_or(StartError::Ending)?,
        };
        self.runs.insert(run.number, start.id);
        machine.last_run = start.run;
        machine.run = Some(run);
        Ok(())
    }

    /// Makes a run of a process that was just started.
    fn watch(&mut self, new: Launched, first: bool, now: Instant) -> Result<Run, StartError> {
        let number = self.next;
        let poller = &self.poller;
        let watched = poller
            .watch(&new.process, Token::Process(number))
            .and_then(|()| poller.watch(&new.console, Token::Console(number)))
            .and_then(|()| poller.watch(&new.status, Token::Status(number)));
        if let Err(error) = watched {
            new.abandon();
            return Err(StartError::Watch(error));
        }
        self.next += 1;
        Ok(Run::new(number, new, first, now))
    }

    /// Ends a run of a machine: at once, or by asking. Its exit tells that it has ended.
    pub fn stop(&mut self, id: MachineId, run: u64, force: bool) {
        let this = self.all.get_mut(&id).filter(|machine| machine.last_run == run);
        match this.map(|machine| machine.run.as_mut()) {
            Some(Some(run)) => {
                info!(%id, run = run.number, force, "stopping");
                run.end(id, force, "it was stopped before its guest ran");
            }
            // It has ended by itself in the meantime.
            Some(None) => debug!(%id, "to be stopped, but does not run"),
            None => warn!(%id, run, "to be stopped, but not known"),
        }
    }

    /// The end of a run need not be kept any longer.
    pub fn end_seen(&mut self, id: MachineId, run: u64) {
        let Some(machine) = self.all.get_mut(&id) else { return };
        let kept = machine.reports.len();
        machine.reports.retain(|report| report.run != run);
        if machine.reports.len() == kept {
            debug!(%id, run, "an exit is acknowledged that is not kept");
        }
    }

    /// Drops a machine, once it has ended.
    pub fn forget(&mut self, id: MachineId, peers: &mut Peers) {
        let Some(machine) = self.all.get_mut(&id) else {
            debug!(%id, "to be forgotten, but not known");
            return;
        };
        machine.forgotten = true;
        match &mut machine.run {
            Some(run) => run.end(id, true, "it was forgotten before its guest ran"),
            None => self.drop_machine(id, peers),
        }
    }

    /// Ends all machines, and starts no more.
    pub fn end_all(&mut self) {
        self.ending = true;
        for machine in self.all.values_mut() {
            if let Some(run) = &mut machine.run {
                run.end(machine.id, true, "vmm-spawn was ended before its guest ran");
            }
        }
    }

    fn drop_machine(&mut self, id: MachineId, peers: &mut Peers) {
        if self.all.remove(&id).is_some() {
            debug!(%id, "forgotten");
            peers.tell(Role::Console, FromSpawn::RingGone { id });
        }
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
