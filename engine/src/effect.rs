//! What the engine wants done, in this order.

use std::sync::Arc;

use vmm_proto::id::MachineId;
use vmm_proto::name::MachineName;
use vmm_proto::resource::{Arguments, HostNetwork};

use crate::event::{ImageId, Spec, Token};
use crate::keep::Keep;
use crate::networks::Interface;
use crate::record::Record;
use crate::refusal::Refusal;

/// A deed for the shell. The effects of one event are performed in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make this durable: see [`Effect::is_promise`]. Comes before all other effects of its event.
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
        /// its network interfaces, in the order of the networks of `spec`
        interfaces: Arc<[Interface]>,
        /// what its guest is told: where its addresses are managed, words that say so, and those of
        /// `spec`
        arguments: Arguments,
    },
    /// What vmm-spawn knows was taken into account ([`crate::Event::SpawnKnows`]). Orders to it that
    /// were given before, and did not reach it yet, are void: those that still count follow again.
    Joined,
    /// These are to be all private networks of the host. Comes back as
    /// [`crate::Event::NetworksAre`], unless vmm-spawn is lost. Before any machine is started on one.
    HostNetworks {
        /// how often this was told
        number: u64,
        /// all of them
        networks: Vec<HostNetwork>,
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

impl Effect {
    /// Whether this effect, and all that follow it, have to wait until everything is durable that
    /// was kept by its event and by all events before. An effect that is none, and that follows no
    /// promise of its own event, may be performed at once.
    ///
    /// The test of each: the process dies right after it was performed, and before anything of its
    /// event was durable. Has anybody seen what the next process does not know to be so?
    ///
    /// * `StartMachine`: what runs would be nobody's, and be ended. `ForgetMachine`, `DropImage`:
    ///   gone would be what a machine that is still listed needs. `JudgeSessions`: a session would
    ///   be judged by a list that is not in force.
    /// * `HostNetworks`: one would be there that nobody asked for, or gone while machines count on it.
    /// * `StopMachine` that asks: the machine would end, and what was to come then be forgotten, such
    ///   as that another one takes its place. By force it only follows what was asked before, or
    ///   ends what has no right to run, whoever decides.
    /// * `Reply(Ok(_))`: the word would be broken. `Running` is not: the start was durable when it
    ///   was given, and the next process learns from vmm-spawn that it succeeded. `Accepted`, `Have`
    ///   and `Upload` change nothing but what is in memory.
    /// * `Reply(Err(_))` is none: what a refusal says is so because of what is durable already, or
    ///   because of a report that comes again. But for `NoSpawn`, by which a start is given up that
    ///   the next process would go on with.
    /// * `Record`: it becomes durable with what its event keeps, or not at all.
    /// * `Settled`, `Joined`: whom they concern are readers and a connection of this process.
    /// * `Keep` of a delegation, a list, the host or its networks is itself one: nobody would tell the next process
    ///   what was learned there, so that nothing may follow from it before it is durable. What is
    ///   kept of a machine may wait: either a promise follows, or vmm-spawn tells it again.
    pub const fn is_promise(&self) -> bool {
        match self {
            Self::StartMachine { .. }
            | Self::ForgetMachine { .. }
            | Self::DropImage { .. }
            | Self::HostNetworks { .. }
            | Self::JudgeSessions => true,
            Self::StopMachine { force, .. } => !*force,
            Self::Reply { answer: Ok(answer), .. } => match answer {
                Answer::Stopped { .. }
                | Answer::Revoked { .. }
                | Answer::Destroyed { .. }
                | Answer::Doors { .. }
                | Answer::Drained
                | Answer::NetworkDone
                | Answer::AllStopped => true,
                Answer::Accepted | Answer::Have(_) | Answer::Upload(_) | Answer::Running { .. } => {
                    false
                }
            },
            Self::Keep(keep) => match keep {
                Keep::Delegation(_)
                | Keep::ForgetDelegation { .. }
                | Keep::Revocations(_)
                | Keep::HostNetwork(_)
                | Keep::ForgetHostNetwork { .. }
                | Keep::Host(_) => true,
                Keep::Machine(_) | Keep::ForgetMachine { .. } => false,
            },
            Self::Reply { answer: Err(refusal), .. } => matches!(refusal, Refusal::NoSpawn { .. }),
            Self::Record(_) | Self::Settled { .. } | Self::Joined => false,
        }
    }
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
    /// The host takes new machines, or none.
    Doors {
        /// whether it takes none
        draining: bool,
        /// how many machines are live
        live: u32,
    },
    /// Nothing is live, and nothing new is taken.
    Drained,
    /// The host network is there, or gone.
    NetworkDone,
    /// No machine has a process any more.
    AllStopped,
    /// The machine is gone.
    Destroyed {
        /// its former id
        id: MachineId,
    },
}
