//! Which machines run, and what they used: all state of this daemon, without input or output.

use std::collections::{HashMap, VecDeque};

use vmm_proto::frame::MAX_BODY;
use vmm_proto::id::MachineId;
use vmm_proto::message::Sample;

use crate::process::Reading;

/// Samples kept of each machine: two minutes of them.
pub const HISTORY: usize = 120;

/// The most machines that are kept.
pub const CAPACITY: usize = 100_000;

/// Bytes that one sample takes in a message at most: six numbers of nine.
const SAMPLE_BYTES: usize = 54;

/// Bytes that a machine takes in a report beside its samples, and that the report takes itself.
const ENTRY_BYTES: usize = 24;

/// One process, for ever: its pid may be given to another, but not with the same start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// When it began, in clock ticks after boot.
    pub started: u64,
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
    /// already. What is known of the machine from earlier is kept.
    ///
    /// When the table is full, the machine that ended first makes room.
    ///
    /// # Errors
    /// [`Full`] when all of them run.
    pub fn watch(&mut self, id: MachineId, pid: u32, first: Option<Reading>) -> Result<(), Full> {
        if !self.machines.contains_key(&id) {
            self.make_room()?;
        }
        self.ends += 1;
        let life = match first {
            Some(reading) => Life::Running(Process { pid, started: reading.started }),
            None => Life::Ended(self.ends),
        };
        let machine =
            self.machines.entry(id).or_insert_with(|| Machine { life, samples: VecDeque::new() });
        let known = machine.life == life && !machine.samples.is_empty();
        machine.life = life;
        if let Some(reading) = first.filter(|_| !known) {
            machine.push(reading.sample);
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
                    machine.push(reading.sample);
                }
            }
            None => self.ended(id),
        }
    }

    /// The newest samples of a machine, oldest first, `fresh` among them as the very newest.
    pub fn newest(&self, id: MachineId, count: usize, fresh: Option<Sample>) -> Vec<Sample> {
        let Some(machine) = self.machines.get(&id) else { return Vec::new() };
        let all = machine.samples.len() + usize::from(fresh.is_some());
        let samples = machine.samples.iter().copied().chain(fresh);
        samples.skip(all.saturating_sub(count)).collect()
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
    fn push(&mut self, sample: Sample) {
        if self.samples.len() == HISTORY {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

/// How many samples of each of `machines` fit into one report when `asked` are wanted.
pub fn samples_each(machines: usize, asked: u16) -> usize {
    let machines = machines.max(1);
    let room = (MAX_BODY - ENTRY_BYTES * (machines + 1).min(MAX_BODY / ENTRY_BYTES)) / SAMPLE_BYTES;
    usize::from(asked).min(HISTORY + 1).min(room / machines)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
