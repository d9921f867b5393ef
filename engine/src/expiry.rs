//! The end of the authority under which machines run (rule 11).
//!
//! A machine's authority ends with the first of the delegations above it, each by its newest
//! certificate: a renewed one that anybody shows extends it. Wall clocks can be set, so the time is
//! looked at every hour at least, as long as anything runs whose authority ends.

use vmm_proto::authority::Link;
use vmm_proto::id::MachineId;
use vmm_proto::name::Path;

use crate::ending::DEFAULT_STOP_MS;
use crate::engine::{Engine, Turn};
use crate::keep::Outcome;
use crate::machine::{Phase, Then};
use crate::record::What;

/// What becomes of machines that run when their authority ends. New ones are refused either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnExpiry {
    /// They run on, and are restarted by their policy.
    #[default]
    Keep,
    /// They are stopped.
    Stop,
}

/// The end of authority is announced so many seconds before: a day, and an hour.
pub const ANNOUNCED_S: [i64; 2] = [86_400, 3_600];

/// The wall clock is looked at no later than after so many milliseconds.
const LOOK_MS: u64 = 3_600_000;

impl Engine {
    /// The same engine with another answer to the end of certificates' lives.
    #[must_use]
    pub fn with_on_expiry(mut self, on_expiry: OnExpiry) -> Self {
        self.on_expiry = on_expiry;
        self
    }

    /// The last second of a machine's authority, and the delegation that ends it; `None`: it has
    /// no end.
    pub(crate) fn authority_ends(&self, chain: &[Link], path: &Path) -> Option<(i64, Path)> {
        let ends = (1..)
            .zip(chain)
            .map(|(depth, link)| (self.delegations.newest(link).validity.not_after, depth));
        let first = ends.min_by_key(|(not_after, _)| *not_after);
        first.map(|(not_after, depth)| (not_after, path.ancestor(depth)))
    }

    /// Sees to it that the next thing about the end of a machine's authority is not missed: what
    /// comes due after `now_s`.
    pub(crate) fn watch_expiry(&mut self, now_s: i64, id: MachineId) {
        let Some(machine) = self.machines.get(id) else { return };
        let ends = self.authority_ends(&machine.chain, &machine.name.path);
        let next = ends.filter(|_| machine.state().is_live()).and_then(|(not_after, _)| {
            let [day, hour] = ANNOUNCED_S.map(|before| not_after.saturating_sub(before));
            let end = not_after.saturating_add(1);
            [day, hour, end].into_iter().find(|at| *at > now_s)
        });
        self.set_expiry(id, next);
    }

    /// Looks at a machine's expiry no more.
    pub(crate) fn unwatch_expiry(&mut self, id: MachineId) {
        self.set_expiry(id, None);
    }

    fn set_expiry(&mut self, id: MachineId, at_s: Option<i64>) {
        let Some(machine) = self.machines.note(id) else { return };
        if let Some(old) = std::mem::replace(&mut machine.expiry_s, at_s) {
            self.expiries.remove(&(old, id));
        }
        self.expiries.extend(at_s.map(|at_s| (at_s, id)));
    }

    /// After a delegation got another certificate: the authority of what is below it may end at
    /// another time.
    pub(crate) fn watch_expiry_below(&mut self, now_s: i64, path: &Path) {
        let ids = self.names.below(path);
        for id in ids {
            self.watch_expiry(now_s, id);
        }
    }

    /// When the wall clock has to be looked at, in milliseconds of the monotonic clock.
    pub(crate) fn next_expiry_wake(&self) -> Option<u64> {
        let (at_s, _) = self.expiries.first()?;
        let due_ms = u64::try_from(*at_s).unwrap_or(0).saturating_mul(1000);
        let left_ms = due_ms.saturating_sub(self.latest.unix_ms).min(LOOK_MS);
        Some(self.latest.monotonic_ms.saturating_add(left_ms))
    }

    /// Announces what is about to end, and does what is to be done about what has ended.
    pub(crate) fn expiry_tick(&mut self, turn: &mut Turn) {
        let now_s = turn.now.unix_s();
        while let Some((at_s, id)) = self.expiries.first().copied().filter(|(at, _)| *at <= now_s) {
            self.expiries.remove(&(at_s, id));
            let Some(machine) = self.machines.change(id) else { continue };
            machine.expiry_s = None;
            machine.looked_s = now_s;
            let Some(machine) = self.machines.get(id) else { continue };
            if let Some((not_after, path)) = self.authority_ends(&machine.chain, &machine.name.path)
            {
                if now_s <= not_after {
                    turn.record(machine, None, What::Expires { path, not_after });
                } else {
                    let stopped = self.on_expiry == OnExpiry::Stop;
                    turn.record(
                        machine,
                        None,
                        What::Expired { path: path.clone(), not_after, stopped },
                    );
                    if stopped {
                        self.stop_expired(turn, id, &path);
                    }
                }
            }
            self.watch_expiry(now_s, id);
        }
    }

    fn stop_expired(&mut self, turn: &mut Turn, id: MachineId, path: &Path) {
        let Some(machine) = self.machines.change(id) else { return };
        machine.reason = Some(format!("delegation \"{path}\" has expired"));
        if matches!(machine.phase, Phase::Waiting | Phase::Queued) {
            self.end(turn, id, Outcome::Stopped);
            self.list_ended(turn, id);
        } else {
            self.ask_to_stop(turn, id, DEFAULT_STOP_MS, Then::Stay, None);
        }
    }
}
