//! Between `vmmd` and `vmm-stats`.

use bincode::{Decode, Encode};

use super::{Sample, Traffic};
use crate::id::MachineId;

/// To `vmm-stats`, after the hello.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToStats {
    /// These machines run, and no others: sent first on a new connection. At most
    /// [`MAX_MACHINES`] a message; [`ToStats::Watch`] adds more, up to [`ToStats::Told`].
    Reset(Vec<Running>),
    /// This machine runs.
    Watch(Running),
    /// This machine has ended; its last samples are kept until it is forgotten.
    Ended {
        /// Which one.
        machine: MachineId,
    },
    /// Forget this machine.
    Forget {
        /// Which one.
        machine: MachineId,
    },
    /// Report on these machines; answered by one [`FromStats::Report`], after the first
    /// [`ToStats::Told`].
    Query {
        /// At most [`MAX_MACHINES`].
        machines: Vec<MachineId>,
        /// How many samples of each, the newest.
        samples: u16,
    },
    /// Everything that runs has been told, after a [`ToStats::Reset`].
    Told,
}

/// A machine that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Running {
    /// Which one.
    pub machine: MachineId,
    /// Its process.
    pub pid: u32,
    /// How many network interfaces it has, at most [`super::spawn::MAX_INTERFACES`]: their names are
    /// those of [`crate::resource::TapName`].
    pub interfaces: u8,
}

/// The most machines in one message.
pub const MAX_MACHINES: usize = 16;

/// From `vmm-stats`, after the hello.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FromStats {
    /// What was asked for: one entry for each machine, in order, empty for an unknown one.
    Report(Vec<Measured>),
}

/// What was measured of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Measured {
    /// Which one.
    pub machine: MachineId,
    /// The newest last.
    pub samples: Vec<Sample>,
    /// What its network interfaces counted last, in their order; none for one that was never seen.
    pub traffic: Vec<Option<Traffic>>,
}
