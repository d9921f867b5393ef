//! Between `vmmd` and `vmm-stats`.

use bincode::{Decode, Encode};

use super::Sample;
use crate::id::MachineId;

/// To `vmm-stats`, after the hello.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToStats {
    /// These machines run, and no others: sent first on a new connection. At most
    /// [`MAX_MACHINES`] a message; [`ToStats::Watch`] adds more, up to [`ToStats::Told`].
    Reset(Vec<(MachineId, u32)>),
    /// This machine runs, as this process.
    Watch {
        /// Which one.
        machine: MachineId,
        /// Its process.
        pid: u32,
    },
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

/// The most machines in one message.
pub const MAX_MACHINES: usize = 64;

/// From `vmm-stats`, after the hello.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FromStats {
    /// What was asked for: one entry for each machine, in order, without samples for an unknown
    /// one.
    Report(Vec<(MachineId, Vec<Sample>)>),
}
