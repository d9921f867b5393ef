//! Whether a listed machine may be started.

use crate::bounds::{Claim, Wish};
use crate::engine::Engine;
use crate::event::Now;
use crate::machine::{Machine, Phase, Then};
use crate::refusal::Refusal;

impl Engine {
    /// Everything that stands in the way of starting a listed machine: one that has ended has to
    /// fit like a new one, one that waits to be started again has its place, but maybe not its
    /// bridges and addresses any more.
    pub(crate) fn start_obstacles<'a>(
        &'a self,
        now: Now,
        machine: &'a Machine,
        own: usize,
    ) -> impl Iterator<Item = Refusal> + 'a {
        let name = &machine.name;
        let state = match &machine.phase {
            Phase::Waiting | Phase::Queued | Phase::Ended { .. } => None,
            Phase::Running { .. } => Some(Refusal::AlreadyRunning { name: name.clone() }),
            Phase::Starting { .. } | Phase::Stopping(_) => Some(machine.busy()),
        };
        let has_ended = matches!(machine.phase, Phase::Ended { .. });
        let closed = self.closed().filter(|_| has_ended || self.doors.ending);
        let room = has_ended.then(|| {
            let revoked = self.not_revoked([], machine.leaf.as_ref()).err();
            let newest = machine.chain.iter().map(|link| self.delegations.newest(link));
            let invalid = self.invalid(now, newest, &name.path);
            revoked.into_iter().chain(invalid).chain(self.unfit(machine.wish(own)))
        });
        let plan = if has_ended { Self::plan_of_start } else { Self::plan_of_restart };
        let networks = move || plan(self, now, machine, own).err();
        let networks = state.is_none().then(|| std::iter::once_with(networks).flatten().flatten());
        let room = room.into_iter().flatten();
        closed.into_iter().chain(state).chain(room).chain(networks.into_iter().flatten())
    }
}

impl Machine {
    /// The room that it needs to be started.
    pub(crate) fn wish(&self, own: usize) -> Wish<'_> {
        Wish {
            chain: &self.chain,
            path: &self.name.path,
            own,
            claim: Claim::from(&*self.spec),
            held: self.held,
            reserve: self.amount(),
        }
    }

    /// A start of a machine that is in the middle of something.
    fn busy(&self) -> Refusal {
        let doing = match self.stop().map(|stop| &stop.then) {
            None => "is being started",
            Some(Then::Stay) => "is being stopped",
            Some(Then::Fail) => "was given up, as vmm-spawn does not answer",
            Some(Then::Hold) => "is being stopped together with the supervisor",
            Some(Then::Revoke) => "is being stopped, since it was revoked",
            Some(Then::Destroy) => "is being destroyed",
            Some(Then::Start(_)) => "is being restarted",
            Some(Then::Replace(..)) => "is being replaced",
        };
        Refusal::Busy { name: self.name.clone(), doing }
    }
}
