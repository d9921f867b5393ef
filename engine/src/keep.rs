//! What must outlive this process: the engine says what, the shell keeps it, and hands it back to
//! the next engine.

use std::sync::Arc;

use vmm_proto::id::Digest;
use vmm_proto::name::Label;
use vmm_proto::revocation::RevocationList;

use crate::delegations::Remembered;
use crate::effect::Effect;
use crate::engine::{Engine, Turn};

/// A change of what is kept. The shell makes the changes of one event durable together, before it
/// performs any other effect of it.
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
}

/// A place for one thing that is kept.
pub type Slot = (Digest, Option<Label>);

impl Keep {
    /// Where it belongs: of two changes of one place only the later one counts.
    pub fn slot(&self) -> Slot {
        match self {
            Self::Delegation(remembered) => {
                (remembered.link.issuer, Some(remembered.link.label.clone()))
            }
            Self::ForgetDelegation { issuer, label } => (*issuer, Some(label.clone())),
            Self::Revocations(list) => (list.issuer, None),
        }
    }
}

impl Engine {
    /// Takes back what a former engine kept. To be called before the first event.
    pub fn restore(&mut self, kept: Keep) {
        match kept {
            Keep::Delegation(remembered) => self.delegations.restore(*remembered),
            Keep::Revocations(list) => self.revocations.restore(list),
            Keep::ForgetDelegation { .. } => {}
        }
    }

    /// Puts what has changed of what is kept in front of all other effects.
    pub(crate) fn keep_changes(&mut self, turn: &mut Turn) {
        let delegations = self.delegations.take_changes().map(|((issuer, label), now)| match now {
            Some(remembered) => Keep::Delegation(Box::new(remembered)),
            None => Keep::ForgetDelegation { issuer, label },
        });
        let changes: Vec<_> = delegations.map(Effect::Keep).collect();
        turn.effects.splice(..0, changes);
    }
}
