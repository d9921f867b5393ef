//! The engine.

use vmm_proto::authority::Link;
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{MachineName, Path, Target};

use crate::effect::Effect;
use crate::event::{Event, HostLimits, Now};
use crate::view::{QuotaRow, View};

/// All machines of a host, and all that decides about them.
#[derive(Debug)]
pub struct Engine {
    host: HostLimits,
    root: Digest,
}

impl Engine {
    /// An engine for a host with these limits. `root` is the SHA-256 of the root certificate's
    /// SubjectPublicKeyInfo: the issuer of the outermost delegations, from which the engine finds
    /// its way down to those that are remembered.
    pub fn new(host: HostLimits, root: Digest) -> Self {
        Self { host, root }
    }

    /// Takes an event and returns what is to be done about it, in order.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let _ = (now, event, &self.host, &self.root);
        Vec::new()
    }

    /// When [`Event::Tick`] is due, in milliseconds of the monotonic clock.
    pub fn next_wake(&self) -> Option<u64> {
        None
    }

    /// The listed machine of that name.
    pub fn machine(&self, name: &MachineName) -> Option<View<'_>> {
        let _ = name;
        None
    }

    /// The listed machine of that id.
    pub fn by_id(&self, id: MachineId) -> Option<View<'_>> {
        let _ = id;
        None
    }

    /// The listed machines that `target` means, in the order of their names.
    pub fn machines(&self, target: &Target) -> impl Iterator<Item = View<'_>> {
        let _ = target;
        std::iter::empty()
    }

    /// The limits at `path` and at every remembered delegation below it, outermost first. `links`
    /// are the delegations of the requester's chain. Empty when nothing is known of `path`.
    pub fn quota(&self, links: &[Link], path: &Path) -> Vec<QuotaRow> {
        let _ = (links, path);
        Vec::new()
    }
}
