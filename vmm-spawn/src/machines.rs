//! All machines: what happens to them, and who is told.

mod adopt;
mod events;
mod orders;
mod starting;

pub use adopt::Error as AdoptError;
pub use starting::StartError;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

use rustix::io::Errno;
use tracing::error;
use vmm_proto::id::MachineId;

use crate::jail::Jail;
use crate::machine::Machine;
use crate::net::Networks;
use crate::peers::Message;
use crate::poller::{Poller, Token};
use crate::stage::Scratch;
use crate::state::State;
use crate::status::Watcher;
use crate::timers::Timers;

/// The table of machines.
#[derive(Debug)]
pub struct Machines {
    all: BTreeMap<MachineId, Machine>,
    /// Whose console or run has which number.
    numbers: HashMap<u64, MachineId>,
    next: u64,
    /// How many have a process.
    running: usize,
    tender: PathBuf,
    /// What confines them.
    pub jail: Jail,
    /// What connects them.
    pub networks: Networks,
    state: State,
    poller: Rc<Poller>,
    watcher: Watcher,
    timers: Timers,
    scratch: Scratch,
    ending: bool,
}

impl Machines {
    /// None yet; they will be run by `tender` in `jail`, on `networks`, kept in `state` and watched by `poller`.
    ///
    /// # Errors
    /// No descriptors.
    pub fn new(
        tender: PathBuf,
        jail: Jail,
        networks: Networks,
        state: State,
        poller: Rc<Poller>,
    ) -> Result<Self, Errno> {
        // First of all pipes: an ordinary user's later ones may be smaller.
        let scratch = Scratch::new()?;
        let watcher = Watcher::new()?;
        poller.watch(&watcher, Token::Statuses)?;
        Ok(Self {
            all: BTreeMap::new(),
            numbers: HashMap::new(),
            next: 0,
            running: 0,
            tender,
            jail,
            networks,
            state,
            poller,
            watcher,
            timers: Timers::default(),
            scratch,
            ending: false,
        })
    }

    /// How many processes there are.
    pub fn running(&self) -> usize {
        self.running
    }

    /// What a supervisor that has just joined has to know: every machine, of which there are as
    /// many as the number says, then every end that was not acknowledged.
    pub fn for_supervisor(&self) -> (usize, Vec<Message>) {
        let known = self.all.values().map(Machine::known_message);
        let ends = self
            .all
            .values()
            .flat_map(|machine| machine.reports.iter().map(|report| report.message(machine.id)));
        (self.all.len(), known.chain(ends).map(Message::from).collect())
    }

    /// What a console that has just joined has to know: every ring, and how many there are.
    pub fn for_console(&self) -> (usize, Vec<Message>) {
        let rings: Vec<_> =
            self.all.values().filter_map(|machine| self.ring_message(machine)).collect();
        (rings.len(), rings)
    }

    fn ring_message(&self, machine: &Machine) -> Option<Message> {
        let id = machine.id;
        let place = self.state.place(&id.to_string());
        let message = match place {
            Ok(place) => machine.console.message(id, &place).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        message.inspect_err(|error| error!(%id, "its ring cannot be passed on: {error}")).ok()
    }

    fn of_number(&mut self, number: u64) -> Option<&mut Machine> {
        self.numbers.get(&number).and_then(|id| self.all.get_mut(id))
    }

    /// A number for the poller that was never used before.
    fn number(&mut self, id: MachineId) -> u64 {
        let number = self.next;
        self.next += 1;
        self.numbers.insert(number, id);
        number
    }
}
