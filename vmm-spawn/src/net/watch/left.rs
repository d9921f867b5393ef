//! That nothing stays of taps whose machines have no process: tables outlive them, and what something has
//! made persistent stays with its table.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rustix::io::Errno;
use tracing::{error, info, warn};
use vmm_proto::id::MachineId;
use vmm_proto::resource::TapName;

use super::AT_ONCE;
use crate::net::filter::Present;
use crate::net::link::Link;
use crate::net::{Error, Networks, has_power, netlink};

impl Networks {
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

    pub(super) fn remove_left(&mut self) {
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
