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
    /// Say where the attachment stands: whoever answers is there, and not stopped.
    Where,
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
    /// Everything before this position was sent, as far as it is there: the first answer to an
    /// attachment, and the answer to [`ToConsole::Where`]. An attachment that is broken off can be
    /// gone on with there.
    At {
        /// How many bytes the machine had written before.
        position: u64,
    },
}
