//! Between `vmmd` and `vmm-console`. One connection for each reader: a slow one holds up nobody.

use bincode::{Decode, Encode};

use super::{ConsoleStart, Output};
use crate::id::MachineId;

/// To `vmm-console`, after the hello.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToConsole {
    /// Read a machine's console.
    Attach {
        /// Which machine.
        machine: MachineId,
        /// Where to begin.
        start: ConsoleStart,
        /// Whether to go on with what is written later, until [`ToConsole::EndAt`].
        follow: bool,
    },
    /// End the attachment after everything before this position was sent.
    EndAt {
        /// How many bytes the machine has written in all.
        position: u64,
    },
}

/// From `vmm-console`, after the hello.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FromConsole {
    /// A piece of the console.
    Output(Output),
    /// Everything that was asked for was sent.
    End,
    /// There is no console of this machine.
    Unknown,
}
