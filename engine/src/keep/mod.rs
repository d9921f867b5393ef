//! What must outlive this process: the engine says what, the shell keeps it, and hands it back to
//! the next engine.
//!
//! What is kept of machines changes for two reasons. Somebody asked for it: then it must be durable
//! before anybody sees a consequence. Or vmm-spawn reported something, which it reports again until
//! it is told that its report was understood: then nobody has to wait, except that acknowledgement.
//! [`Effect::is_promise`] tells the two apart.

mod machine;
mod restore;
mod save;

use std::sync::Arc;

use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::Label;
use vmm_proto::resource::{BridgeName, HostNetwork};
use vmm_proto::revocation::RevocationList;

use crate::delegations::Remembered;
use crate::effect::Effect;
use crate::engine::{Engine, Turn};

pub use machine::{KeptMachine, KeptPhase, KeptProbation, KeptStop, KeptThen, Outcome, StartedBy};
pub(crate) use restore::Restored;

/// A change of what is kept. The shell makes the changes of one event, and its records, durable
/// together: all of them or none. Changes of several events may become durable together, but never
/// a later one without an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// What is remembered of a delegation (rule 9), instead of what was.
    Delegation(Box<Remembered>),
    /// Nothing is remembered of a delegation any more.
    ForgetDelegation {
        /// SHA-256 of the key that signed it
        issuer: Digest,
        /// its label
        label: Label,
    },
    /// The list that is in force for its issuer's key (rule 8), instead of the former one.
    Revocations(Arc<RevocationList>),
    /// A machine, instead of what was kept under its id.
    Machine(Box<KeptMachine>),
    /// A machine is not listed any more. It may never have been kept.
    ForgetMachine {
        /// which
        id: MachineId,
    },
    /// What is kept of the host, instead of what was.
    Host(KeptHost),
    /// A private network of the host.
    HostNetwork(HostNetwork),
    /// A private network of the host is not wanted any more.
    ForgetHostNetwork {
        /// its name
        name: BridgeName,
    },
}

/// What is kept of the host as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct KeptHost {
    /// Whether it takes no new machines.
    pub draining: bool,
}

/// A place for one thing that is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// What is remembered of a delegation, by the key that signed it and its label.
    Delegation(Digest, Label),
    /// The list of the issuer with this key.
    Revocations(Digest),
    /// A machine.
    Machine(MachineId),
    /// The host.
    Host,
    /// A private network of the host.
    HostNetwork(BridgeName),
}

impl Keep {
    /// Where it belongs: of two changes of one place only the later one counts.
    pub fn slot(&self) -> Slot {
        match self {
            Self::Delegation(remembered) => {
                let link = &remembered.link;
                Slot::Delegation(link.issuer, link.label.clone())
            }
            Self::ForgetDelegation { issuer, label } => Slot::Delegation(*issuer, label.clone()),
            Self::Revocations(list) => Slot::Revocations(list.issuer),
            Self::Machine(machine) => Slot::Machine(machine.id),
            Self::ForgetMachine { id } => Slot::Machine(*id),
            Self::Host(_) => Slot::Host,
            Self::HostNetwork(network) => Slot::HostNetwork(network.name().clone()),
            Self::ForgetHostNetwork { name } => Slot::HostNetwork(name.clone()),
        }
    }
}

impl Engine {
    /// Takes back what a former engine kept, in any order. To be called before the first event.
    pub fn restore(&mut self, kept: Keep) {
        match kept {
            Keep::Delegation(remembered) => self.delegations.restore(*remembered),
            Keep::Revocations(list) => self.revocations.restore(list),
            Keep::Machine(machine) => self.restore_machine(*machine),
            Keep::Host(KeptHost { draining }) => self.doors.draining = draining,
            Keep::HostNetwork(network) => self.host_networks.restore(network),
            Keep::ForgetDelegation { .. }
            | Keep::ForgetMachine { .. }
            | Keep::ForgetHostNetwork { .. } => {}
        }
    }

    /// Puts what has changed of what is kept in front of all other effects.
    pub(crate) fn keep_changes(&mut self, turn: &mut Turn) {
        let delegations = self.delegations.take_changes().map(|((issuer, label), now)| match now {
            Some(remembered) => Keep::Delegation(Box::new(remembered)),
            None => Keep::ForgetDelegation { issuer, label },
        });
        let mut changes: Vec<_> = delegations.map(Effect::Keep).collect();
        for id in self.machines.take_changed() {
            changes.push(Effect::Keep(match self.machines.get(id) {
                Some(machine) => Keep::Machine(Box::new(self.kept(machine))),
                None => Keep::ForgetMachine { id },
            }));
        }
        turn.effects.splice(..0, changes);
    }
}
