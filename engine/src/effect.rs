//! What the engine wants done, in this order.

use std::sync::Arc;

use vmm_proto::id::MachineId;
use vmm_proto::name::MachineName;

use crate::event::{ImageId, Spec, Token};
use crate::keep::Keep;
use crate::record::Record;
use crate::refusal::Refusal;

/// A deed for the shell. The effects of one event are performed in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make this durable before any other effect of the same event is performed.
    Keep(Keep),
    /// Start this machine. Comes back as [`crate::Event::Started`] or
    /// [`crate::Event::StartFailed`], always. Its room is reserved.
    StartMachine {
        /// which: the same id over all restarts
        id: MachineId,
        /// which start of it: 1 or more, and more than every one before
        run: u64,
        /// its name
        name: MachineName,
        /// what it is
        spec: Arc<Spec>,
    },
    /// End this machine's process. Comes back as [`crate::Event::Exited`]. May name a machine that
    /// the engine does not list: one that it found running and never asked for.
    StopMachine {
        /// which
        id: MachineId,
        /// which start of it
        run: u64,
        /// SIGKILL instead of SIGTERM. Repeated until the exit is reported.
        force: bool,
    },
    /// This machine is not listed any more: drop its console ring, its statistics and what
    /// vmm-spawn keeps of it.
    ForgetMachine {
        /// which
        id: MachineId,
    },
    /// Nobody needs this stored image any more: remove the file.
    DropImage {
        /// which
        image: ImageId,
    },
    /// The answer to a request, the only one it gets.
    Reply {
        /// which request
        token: Token,
        /// what became of it
        answer: Result<Answer, Refusal>,
    },
    /// An entry for the event log.
    Record(Record),
    /// Judge the chain of every open session again, with [`crate::Event::Presented`]: something was
    /// revoked.
    JudgeSessions,
    /// This machine will produce no more output unless somebody starts it again: its readers end
    /// here.
    Settled {
        /// which
        id: MachineId,
        /// bytes of console output it has produced in its life
        output_end: u64,
    },
}

/// What became of a request that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Answer {
    /// The chain is not stale.
    Accepted,
    /// This stored image is the one: deploy with it.
    Have(ImageId),
    /// Upload the image into this file: there is room for it.
    Upload(ImageId),
    /// The machine runs.
    Running {
        /// its id
        id: MachineId,
        /// its process
        pid: u32,
    },
    /// The machine does not run.
    Stopped {
        /// its id
        id: MachineId,
    },
    /// The list is in force, and durable.
    Revoked {
        /// how many serial numbers it holds
        serials: usize,
        /// the machines that lost their authority by it, in the order of their names; those that
        /// run are being killed
        machines: Vec<MachineId>,
    },
    /// The machine is gone.
    Destroyed {
        /// its former id
        id: MachineId,
    },
}
