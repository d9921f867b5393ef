//! That machines stay filtered while they run, and that nothing stays of those that do not.
//!
//! Whoever changes the rules of a host may take those of taps with them: `nft flush ruleset` does, and
//! so does Debian's `nftables.service` when it is started again. The kernel tells of changes
//! ([`news`](super::news)) and counts them: when there were some that were not made here, filters that
//! are gone are made again, and those that are there are read back. Who a guest is, and so what its
//! filter was, is written on its tap.

mod left;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tracing::error;
use vmm_proto::resource::TapName;

use super::Networks;
use super::filter::read_back::ReadError;
use super::owner::Identity;

/// How long until it is asked again whether somebody has changed rules, when the kernel has not said so.
const PAUSE: Duration = Duration::from_secs(1);

/// How long until what has failed is tried again, and until it is looked also without a reason.
const LOOK: Duration = Duration::from_secs(10);

/// Filters that are made again at once. The others follow when others had their turn.
const AT_ONCE: usize = 50;

/// Filters that are read back at once, and how long until the next ones are, and until it is looked
/// again because of the kernel's word: somebody may change rules all the time.
const READ_AT_ONCE: usize = 10;
const REST: Duration = Duration::from_millis(100);

/// What is to be as it is, and what is to be gone.
#[derive(Debug, Default)]
pub struct Watch {
    /// Taps that must have a filter.
    filtered: BTreeMap<TapName, Filtered>,
    /// Names of taps of which something could not be removed.
    left: VecDeque<String>,
    /// Taps whose filters have not been read back since somebody has changed rules.
    unread: VecDeque<TapName>,
    /// What was counted of changes that others have made.
    changes: Option<u32>,
    again: Option<Instant>,
    /// When it was looked last.
    last: Option<Instant>,
    /// When it is looked also without a reason.
    look: Option<Instant>,
}

/// What is wrong with a filter that is not there.
const GONE: &str = "it was gone";

#[derive(Debug, Clone, Copy)]
struct Filtered {
    identity: Identity,
    /// Whether its filter was gone and could not be made again.
    is_cut: bool,
}

impl Watch {
    /// This tap has a filter from now on.
    pub fn add(&mut self, name: TapName, identity: Identity) {
        self.filtered.insert(name, Filtered { identity, is_cut: false });
        self.again.get_or_insert_with(|| Instant::now() + PAUSE);
    }

    /// Nothing more is to be removed of a tap of this name: it is made anew.
    pub fn is_made(&mut self, name: TapName) {
        self.left.retain(|it| it != name.as_str());
    }

    /// Somebody may have changed rules.
    pub fn hurry(&mut self, now: Instant) {
        let soon = self.last.map_or(now, |last| now.max(last + REST));
        self.again = self.again.map(|again| again.min(soon));
    }

    fn leave(&mut self, name: String) {
        self.left.push_back(name);
        self.again.get_or_insert_with(|| Instant::now() + PAUSE);
    }
}

impl Networks {
    /// When [`Networks::on_time`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.watch.again
    }

    /// Makes filters again that somebody has removed or changed, and removes what could not be removed
    /// before. Whether somebody else has changed rules, whatever they are.
    pub fn on_time(&mut self, now: Instant) -> bool {
        if self.watch.again.is_none_or(|again| again > now) {
            return false;
        }
        self.watch.last = Some(now);
        let changed = self.have_others_changed_rules();
        let is_due = changed || self.watch.look.is_none_or(|look| look <= now);
        let at_once = is_due && self.look();
        if is_due {
            self.watch.look = Some(if at_once { now } else { now + LOOK });
        }
        let read_on = self.read_some();
        let pause = if at_once {
            Duration::ZERO
        } else if read_on {
            REST
        } else {
            PAUSE
        };
        let needed = !self.watch.filtered.is_empty() || !self.watch.left.is_empty();
        self.watch.again = needed.then(|| now + pause);
        changed
    }

    /// Whether there is more to do at once.
    fn look(&mut self) -> bool {
        self.remove_left();
        !self.watch.filtered.is_empty() && self.filter_again()
    }

    /// Whether they have since this was asked before. If so, all filters are to be read.
    fn have_others_changed_rules(&mut self) -> bool {
        let changes = self.rules.changes_of_others();
        let before = self.watch.changes.take();
        match changes {
            Ok(changes) => self.watch.changes = Some(changes),
            // Until it is known again, and then that counts as a change.
            Err(error) => {
                if before.is_some() {
                    error!("it is not known whether somebody has changed rules: {error}");
                }
                return false;
            }
        }
        if self.watch.changes == before {
            return false;
        }
        // Those that still wait come first: who changes rules all the time keeps none from being read.
        let waiting: BTreeSet<_> = self.watch.unread.iter().copied().collect();
        let others = self.watch.filtered.keys().filter(|name| !waiting.contains(name));
        self.watch.unread.extend(others);
        true
    }

    /// Reads some filters back, and replaces those that are not as meant. Whether there are more that
    /// can be read soon.
    fn read_some(&mut self) -> bool {
        for _ in 0..READ_AT_ONCE {
            let Some(name) = self.watch.unread.pop_front() else { return false };
            // What is cut is tried again when it is looked.
            let Some(it) = self.watch.filtered.get(&name).filter(|it| !it.is_cut) else { continue };
            let it = *it;
            match self.rules.check(name, it.identity) {
                Ok(()) => {}
                Err(ReadError::Differs(how)) => self.filter_one(name, it, &how),
                Err(ReadError::Kernel(error)) if error.errno() == Some(Errno::NOENT) => {
                    self.filter_one(name, it, GONE);
                }
                Err(error) => {
                    error!(%name, "it is not known whether its filter is as meant: {error}");
                    self.watch.unread.push_back(name);
                    return false;
                }
            }
        }
        !self.watch.unread.is_empty()
    }

    /// Whether there is more to do at once.
    fn filter_again(&mut self) -> bool {
        match self.rules.prepare() {
            Ok(true) => {}
            Ok(false) => error!("rules that keep machines apart were not as meant: now they are"),
            Err(error) => error!("machines may see others of their bridge: {error}"),
        }
        let present = match self.rules.present() {
            Ok(present) => present,
            Err(error) => {
                error!("it is not known whether machines are still filtered: {error}");
                return false;
            }
        };
        let missing = self.watch.filtered.iter();
        let missing = missing.filter(|(name, it)| it.is_cut || !present.has(**name));
        let mut missing: Vec<_> = missing.map(|(name, it)| (*name, *it)).collect();
        // What has failed before keeps nothing else from being tried.
        missing.sort_by_key(|(_, it)| it.is_cut);
        for (name, it) in missing.iter().take(AT_ONCE) {
            self.filter_one(*name, *it, GONE);
        }
        missing.get(AT_ONCE).is_some_and(|(_, it)| !it.is_cut)
    }

    /// Makes the filter of a tap again, with which something was wrong. Without it, nothing comes from
    /// its machine any more.
    fn filter_one(&mut self, name: TapName, it: Filtered, wrong: &str) {
        let is_cut = !self.is_filtered(name, it, wrong);
        self.watch.filtered.insert(name, Filtered { is_cut, ..it });
    }

    /// The same, and whether it is there then.
    fn is_filtered(&mut self, name: TapName, it: Filtered, wrong: &str) -> bool {
        let link = match self.netlink().and_then(|netlink| netlink.link(name.as_str())) {
            Ok(Some(link)) if self.owner.of(&link).is_some() => link,
            // Its machine is just ending.
            Ok(_) => return false,
            Err(error) => {
                self.netlink = None;
                error!(%name, "the tap cannot be found, whose filter must be made again ({wrong}): {error}");
                return false;
            }
        };
        let made = self.rules.filter(name, it.identity);
        match &made {
            Ok(()) => {
                error!(%name, "its filter is made again while its machine runs: {wrong}");
            }
            Err(error) => {
                error!(%name, "its filter cannot be made again, so it is cut: {error} ({wrong})");
            }
        }
        if made.is_err() || it.is_cut {
            let switched =
                self.netlink().and_then(|netlink| netlink.set_up(link.index, made.is_ok()));
            if let Err(error) = switched {
                error!(%name, "the tap cannot be switched: {error}");
            }
        }
        made.is_ok()
    }
}

#[cfg(test)]
mod tests;
