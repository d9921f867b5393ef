//! Which machines run, and what they used: all state of this daemon, without input or output.

use std::collections::{HashMap, VecDeque};

use vmm_proto::frame::MAX_BODY;
use vmm_proto::id::MachineId;
use vmm_proto::message::stats::{Measured, Running};
use vmm_proto::message::{Sample, Traffic};

use crate::process::Reading;

/// Samples kept of each machine: two minutes of them.
pub const HISTORY: usize = 120;

/// The most machines that are kept.
pub const CAPACITY: usize = 100_000;

/// Bytes that one sample takes in a message at most: six numbers of nine.
const SAMPLE_BYTES: usize = 54;

/// Bytes that one interface takes at most: a flag and six numbers of nine.
const TRAFFIC_BYTES: usize = 55;

/// Bytes that a machine takes in a report beside its samples and interfaces, and that the report
/// takes itself.
const ENTRY_BYTES: usize = 24;

/// One process, for ever: its pid may be given to another, but not with the same start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// When it began, in clock ticks after boot.
    pub started: u64,
    /// How many network interfaces its machine has.
    pub interfaces: u8,
}

/// There is no room for another machine that runs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{CAPACITY} machines run already; this one is not sampled")]
pub struct Full;

/// All machines.
#[derive(Debug)]
pub struct Table {
    machines: HashMap<MachineId, Machine>,
    capacity: usize,
    /// Counts ends, to tell which was first.
    ends: u64,
}

#[derive(Debug)]
struct Machine {
    life: Life,
    samples: VecDeque<Sample>,
    /// What each interface counted last.
    traffic: Vec<Option<Traffic>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running(Process),
    /// The number of this end among all.
    Ended(u64),
}

impl Default for Table {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Table {
    /// An empty table for at most so many machines.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { machines: HashMap::new(), capacity, ends: 0 }
    }

    /// A machine runs as this process, of which `first` was just read; `None` when it has ended
    /// already. What is known of the machine from earlier is kept; only what the interfaces of
    /// another process counted is not, since those of the new one begin anew.
    ///
    /// When the table is full, the machine that ended first makes room.
    ///
    /// # Errors
    /// [`Full`] when all of them run.
    pub fn watch(&mut self, running: Running, first: Option<Reading>) -> Result<(), Full> {
        let Running { machine: id, pid, interfaces } = running;
        if !self.machines.contains_key(&id) {
            self.make_room()?;
        }
        self.ends += 1;
        let life = match &first {
            Some(Reading { started, .. }) => {
                Life::Running(Process { pid, started: *started, interfaces })
            }
            None => Life::Ended(self.ends),
        };
        let machine = self.machines.entry(id).or_insert_with(|| Machine {
            life,
            samples: VecDeque::new(),
            traffic: Vec::new(),
        });
        let known = machine.life == life && !machine.samples.is_empty();
        machine.life = life;
        if let Some(reading) = first.filter(|_| !known) {
            machine.traffic.clear();
            machine.push(reading);
        }
        Ok(())
    }

    /// No machine runs any more, but those that are watched after this.
    pub fn end_all(&mut self) {
        self.ends += 1;
        for machine in self.machines.values_mut() {
            if matches!(machine.life, Life::Running(_)) {
                machine.life = Life::Ended(self.ends);
            }
        }
    }

    /// A machine has ended; its samples stay.
    pub fn ended(&mut self, id: MachineId) {
        self.ends += 1;
        if let Some(machine) = self.machines.get_mut(&id)
            && matches!(machine.life, Life::Running(_))
        {
            machine.life = Life::Ended(self.ends);
        }
    }

    /// Drops everything about a machine.
    pub fn forget(&mut self, id: MachineId) {
        self.machines.remove(&id);
    }

    /// The machines that run.
    pub fn running(&self) -> Vec<(MachineId, Process)> {
        let process = |machine: &Machine| match machine.life {
            Life::Running(process) => Some(process),
            Life::Ended(_) => None,
        };
        self.machines.iter().filter_map(|(id, machine)| Some((*id, process(machine)?))).collect()
    }

    /// The process of a machine, while it runs.
    pub fn process(&self, id: MachineId) -> Option<Process> {
        match self.machines.get(&id)?.life {
            Life::Running(process) => Some(process),
            Life::Ended(_) => None,
        }
    }

    /// Adds what was read of a process to the history of its machine; `None` when it has ended. If
    /// the machine has another process by now, or the pid belongs to another, this changes nothing
    /// or ends the machine.
    pub fn record(&mut self, id: MachineId, process: Process, reading: Option<Reading>) {
        if self.process(id) != Some(process) {
            return;
        }
        match reading.filter(|reading| reading.started == process.started) {
            Some(reading) => {
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.push(reading);
                }
            }
            None => self.ended(id),
        }
    }

    /// The newest samples of a machine, oldest first, and what its interfaces counted last; `fresh`,
    /// if it was just read, is the very newest, and is not kept.
    pub fn newest(&self, id: MachineId, count: usize, fresh: Option<Reading>) -> Measured {
        let mut measured = Measured { machine: id, samples: Vec::new(), traffic: Vec::new() };
        let Some(machine) = self.machines.get(&id) else { return measured };
        measured.traffic.clone_from(&machine.traffic);
        let fresh = fresh.map(|reading| {
            update(&mut measured.traffic, reading.traffic);
            reading.sample
        });
        let all = machine.samples.len() + usize::from(fresh.is_some());
        let samples = machine.samples.iter().copied().chain(fresh);
        measured.samples = samples.skip(all.saturating_sub(count)).collect();
        measured
    }

    /// How many interfaces of a machine a report tells of.
    pub fn interfaces(&self, id: MachineId) -> usize {
        let Some(machine) = self.machines.get(&id) else { return 0 };
        let running = match machine.life {
            Life::Running(process) => usize::from(process.interfaces),
            Life::Ended(_) => 0,
        };
        running.max(machine.traffic.len())
    }

    fn make_room(&mut self) -> Result<(), Full> {
        if self.machines.len() < self.capacity {
            return Ok(());
        }
        let ended = |(id, machine): (&MachineId, &Machine)| match machine.life {
            Life::Ended(number) => Some((number, *id)),
            Life::Running(_) => None,
        };
        let (_, first) = self.machines.iter().filter_map(ended).min().ok_or(Full)?;
        self.machines.remove(&first);
        Ok(())
    }
}

impl Machine {
    fn push(&mut self, reading: Reading) {
        if self.samples.len() == HISTORY {
            self.samples.pop_front();
        }
        self.samples.push_back(reading.sample);
        update(&mut self.traffic, reading.traffic);
    }
}

/// Takes over what was counted; an interface that is not there any more keeps what it had last.
fn update(traffic: &mut Vec<Option<Traffic>>, newer: Vec<Option<Traffic>>) {
    if traffic.len() < newer.len() {
        traffic.resize(newer.len(), None);
    }
    for (old, new) in traffic.iter_mut().zip(newer) {
        *old = new.or(*old);
    }
}

/// How many samples of each of `machines`, which have so many interfaces together, fit into one
/// report when `asked` are wanted.
pub fn samples_each(machines: usize, interfaces: usize, asked: u16) -> usize {
    let machines = machines.max(1);
    let taken = ENTRY_BYTES * (machines + 1) + TRAFFIC_BYTES * interfaces;
    let room = MAX_BODY.saturating_sub(taken) / SAMPLE_BYTES;
    usize::from(asked).min(HISTORY + 1).min(room / machines)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
