//! That machines stay filtered while they run, and that nothing stays of those that do not.
//!
//! Whoever changes the rules of a host may take those of taps with them: `nft flush ruleset` does, and
//! so does Debian's `nftables.service` when it is started again. The kernel counts changes of rules: when
//! there were some that were not made here, filters that are gone are made again, and those that are
//! there are read back. Who a guest is, and so what its filter was, is written on its tap.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tracing::{error, info, warn};
use vmm_proto::id::MachineId;
use vmm_proto::resource::TapName;

use super::filter::Present;
use super::filter::read_back::ReadError;
use super::link::Link;
use super::netlink;
use super::owner::Identity;
use super::{Error, Networks, has_power};

/// How long until it is asked again whether somebody has changed rules.
const PAUSE: Duration = Duration::from_secs(1);

/// How long until what has failed is tried again, and until it is looked also without a reason.
const LOOK: Duration = Duration::from_secs(10);

/// Filters that are made again, or read back, at once. The others follow when others had their turn.
const AT_ONCE: usize = 50;

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
    /// before.
    pub fn on_time(&mut self, now: Instant) {
        if self.watch.again.is_none_or(|again| again > now) {
            return;
        }
        let mut pause = PAUSE;
        if self.have_others_changed_rules() || self.watch.look.is_none_or(|look| look <= now) {
            self.watch.look = Some(now + LOOK);
            if self.look() {
                self.watch.look = Some(now);
                pause = Duration::ZERO;
            }
        }
        self.read_some();
        let needed = !self.watch.filtered.is_empty() || !self.watch.left.is_empty();
        self.watch.again = needed.then(|| now + pause);
    }

    /// Whether there is more to do at once.
    fn look(&mut self) -> bool {
        self.remove_left();
        !self.watch.filtered.is_empty() && self.filter_again()
    }

    /// Whether they have since this was asked before. If so, all filters are to be read.
    fn have_others_changed_rules(&mut self) -> bool {
        let changes = match self.rules.changes_of_others() {
            Ok(changes) => Some(changes),
            Err(error) => {
                error!("it is not known whether somebody has changed rules: {error}");
                None
            }
        };
        let before = std::mem::replace(&mut self.watch.changes, changes);
        if changes.is_some() && changes == before {
            return false;
        }
        // Those that still wait come first: who changes rules all the time keeps none from being read.
        let waiting: BTreeSet<_> = self.watch.unread.iter().copied().collect();
        let others = self.watch.filtered.keys().filter(|name| !waiting.contains(name));
        self.watch.unread.extend(others);
        true
    }

    /// Reads some filters back, and replaces those that are not as meant.
    fn read_some(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(name) = self.watch.unread.pop_front() else { return };
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
                    return;
                }
            }
        }
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

    /// Removes what is left of the first `count` taps of a machine that has no process: their
    /// filters, and taps that something has made persistent. What cannot be removed is tried again.
    pub fn remove(&mut self, machine: MachineId, count: u16) {
        for name in (0..count).map(|index| TapName::of(machine, index)) {
            self.watch.filtered.remove(&name);
            if let Err(error) = self.remove_one(name.as_str()) {
                error!(id = %machine, %name, "something of its tap is left: {error}");
                self.watch.leave(name.to_string());
            }
        }
    }

    fn remove_left(&mut self) {
        for _ in 0..self.watch.left.len().min(AT_ONCE) {
            let Some(name) = self.watch.left.pop_front() else { return };
            match self.remove_one(&name) {
                Ok(()) => info!(name, "what was left of a tap is gone"),
                Err(error) => {
                    warn!(name, "what is left of a tap stays: {error}");
                    self.watch.leave(name);
                    // The next one is tried first then.
                    return;
                }
            }
        }
    }

    fn remove_one(&mut self, name: &str) -> Result<(), Error> {
        let removed = self.remove_tap(name);
        if removed.is_err() {
            self.netlink = None;
        }
        // Each is tried, whatever becomes of the other.
        let forgotten = self.rules.forget(name).map_err(Error::FilterStays);
        removed?;
        forgotten
    }

    fn remove_tap(&mut self, name: &str) -> Result<(), netlink::Error> {
        let Some(link) = self.netlink()?.link(name)? else { return Ok(()) };
        if self.owner.of(&link).is_none() {
            return Ok(());
        }
        warn!(name, "its tap did not end with it, and is removed");
        match self.netlink()?.delete_link(link.index) {
            Err(error) if error.errno() == Some(Errno::NODEV) => Ok(()),
            done => done,
        }
    }

    /// Removes what earlier ones of this installation have left, but for what belongs to machines
    /// that run: so many taps of each, whose filters are made again if they are gone.
    ///
    /// # Errors
    /// The kernel does not say what there is.
    pub fn sweep(&mut self, running: &BTreeMap<MachineId, u16>) -> Result<(), netlink::Error> {
        // Whoever has never been able to make a tap has none.
        if !has_power() {
            return Ok(());
        }
        let taps = running.iter().flat_map(|(id, count)| (0..*count).map(|i| TapName::of(*id, i)));
        let kept: BTreeMap<String, TapName> = taps.map(|tap| (tap.to_string(), tap)).collect();
        // Before the taps: of a tap that is made meanwhile, no filter is seen.
        let present = self.rules.present();
        let links = self.netlink()?.links()?;
        for link in &links {
            if self.owner.of(link).is_none() {
                continue;
            }
            match kept.get(&link.name) {
                Some(tap) => self.adopt(*tap, link),
                None => self.remove_old(&link.name),
            }
        }
        match present {
            Ok(present) => self.sweep_filters(&present, &kept, &links),
            Err(error) => warn!("filters of earlier taps cannot be looked for: {error}"),
        }
        let now = Instant::now();
        self.watch.again = Some(now);
        self.on_time(now);
        Ok(())
    }

    fn adopt(&mut self, name: TapName, link: &Link) {
        let Some(identity) = self.owner.identity(link) else {
            error!(
                %name,
                "nothing tells who its guest is: its filter, should it be gone, is not made again \
                 until its machine is restarted"
            );
            return;
        };
        self.watch.add(name, identity);
    }

    fn sweep_filters(
        &mut self,
        present: &Present,
        kept: &BTreeMap<String, TapName>,
        links: &[Link],
    ) {
        let links: BTreeSet<&str> = links.iter().map(|link| link.name.as_str()).collect();
        for name in present.own() {
            if !kept.contains_key(name) && !links.contains(name) {
                self.remove_old(name);
            }
        }
    }

    fn remove_old(&mut self, name: &str) {
        info!(name, "removing what is left of a tap");
        if let Err(error) = self.remove_one(name) {
            error!(name, "what is left of a tap stays: {error}");
            self.watch.leave(name.to_owned());
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
