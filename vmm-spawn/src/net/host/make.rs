//! What there is becomes what is wanted, from whatever state it is in.
//!
//! What is recorded of what was switched on is recorded before, and forgotten after it was switched
//! off; a bridge is there before everything else, and goes last: by it, the next one knows that there
//! is something.

use std::collections::{BTreeMap, BTreeSet};

use rustix::io::Errno;
use tracing::warn;
use vmm_proto::resource::HostNetwork;

use super::judge::Host;
use super::rules::Found;
use super::{HostNetworks, Problem, bridge, forwarding};
use crate::failpoint;
use crate::net::link::Link;
use crate::net::netlink::{self, Netlink};
use crate::net::nft;

/// Why the kernel did not do what was needed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// {0}
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// {0}
    #[error(transparent)]
    Rules(#[from] nft::Error),
    /// {0}
    #[error(transparent)]
    Setting(#[from] forwarding::Error),
    /// Somebody else has removed it meanwhile.
    #[error("\"{0}\" has vanished while it was made")]
    Vanished(String),
    /// What concerns all of them has failed.
    #[error("{0}")]
    All(String),
}

type Problems = BTreeMap<String, Problem>;
type Made = Vec<(HostNetwork, Link)>;

impl HostNetworks {
    /// Does everything that is to be done; returns what is wrong, with whom.
    pub(super) fn make(&mut self) -> Problems {
        let mut problems = BTreeMap::new();
        let made = self.try_make(&mut problems);
        self.failed = made.is_err();
        match made {
            Ok(up) => {
                self.up = up;
                self.former.retain(|name| problems.contains_key(name));
            }
            // What was there is there as it was, and nobody knows what is left.
            Err(error) => {
                let text = error.to_string();
                warn!("host networks are not as they should be: {text}");
                let wanted = self.wanted.iter().map(|network| network.name().as_str());
                for name in wanted.chain(self.former.iter().map(String::as_str)) {
                    let problem = || Error::All(text.clone()).into();
                    problems.entry(name.to_owned()).or_insert_with(problem);
                }
            }
        }
        problems
    }

    fn try_make(
        &mut self,
        problems: &mut Problems,
    ) -> Result<BTreeMap<String, HostNetwork>, Error> {
        let mut netlink = Netlink::open()?;
        let mut host = Host { links: netlink.links()?, ..Host::default() };
        let former = self.former_in(&host);
        self.former.extend(former.iter().map(|link| link.name.clone()));
        if self.wanted.is_empty() && former.is_empty() && !self.touched {
            return Ok(BTreeMap::new());
        }
        // Where that cannot be known, nothing is begun.
        let found = self.rules.found()?;
        self.touched = true;
        host.addresses = netlink.addresses()?;
        if !self.wanted.is_empty() {
            host.routes = netlink.routes(|route| route.matters_to(&self.wanted))?;
        }
        let mut made = self.in_use(&host, &former, problems);
        made.extend(self.make_bridges(&mut netlink, &host, problems));
        let is_made = |link: &&Link| made.iter().any(|(_, made)| made.index == link.index);
        for link in host.links.iter().filter(|link| self.mark.is_on(link) && !is_made(link)) {
            // No packet goes where no rule applies.
            unless_removed(netlink.set_up(link.index, false))?;
        }
        failpoint::reach("network-shut");
        self.regulate(&host, &made, found.as_ref())?;
        for link in &former {
            if problems.contains_key(&link.name) {
                continue;
            }
            if let Err(error) = unless_removed(netlink.delete_link(link.index)) {
                problems.insert(link.name.clone(), Error::from(error).into());
            }
            failpoint::reach("network-removed");
        }
        self.touched = !made.is_empty();
        let mut up = BTreeMap::new();
        for (network, link) in made {
            let name = network.name().to_string();
            match open(&mut netlink, &network, &link) {
                Ok(()) => drop(up.insert(name, network)),
                Err(error) => drop(problems.insert(name, error.into())),
            }
        }
        Ok(up)
    }

    /// Bridges of ours that nobody wants any more.
    fn former_in(&self, host: &Host) -> Vec<Link> {
        let own = host.links.iter().filter(|link| self.mark.is_on(link));
        own.filter(|link| !self.wants(&link.name)).cloned().collect()
    }

    /// The former bridges on which there is something. They go on as they are; but for those of which
    /// it is not known any more what they were.
    fn in_use(&self, host: &Host, former: &[Link], problems: &mut Problems) -> Made {
        let mut kept = Vec::new();
        for link in former {
            let mut ports = host.links.iter().filter(|it| it.controller == Some(link.index));
            let Some(first) = ports.next().map(|port| port.name.clone()) else { continue };
            let count = 1 + ports.count();
            problems.insert(link.name.clone(), Problem::InUse { count, first });
            let its = self.up.get(&link.name).filter(|it| host.carries(it, &self.mark));
            kept.extend(its.map(|network| (network.clone(), link.clone())));
        }
        kept
    }

    /// Makes the bridges of all that have room.
    fn make_bridges(&self, netlink: &mut Netlink, host: &Host, problems: &mut Problems) -> Made {
        let mut made = Vec::new();
        for network in &self.wanted {
            let name = network.name().to_string();
            match host.has_room(network, &self.mark) {
                Ok(()) => {}
                // What carries packets of machines goes on, whatever has come in its way since; but
                // it is said.
                Err(collision) if collision.comes_later() && host.carries(network, &self.mark) => {
                    problems.insert(name.clone(), collision.into());
                }
                Err(collision) => {
                    problems.insert(name, collision.into());
                    continue;
                }
            }
            match bridge::make(netlink, host, network, &self.mark) {
                Ok(link) => made.push((network.clone(), link)),
                Err(error) => {
                    problems.insert(name, error.into());
                    continue;
                }
            }
            if network.uplink().is_none() && !host.has_way_out() {
                problems.entry(name).or_insert(Problem::NoWayOut);
            }
        }
        failpoint::reach("network-addressed");
        made
    }

    /// Puts the rules in force, and switches forwarding on and off where that is needed.
    fn regulate(
        &mut self,
        host: &Host,
        made: &[(HostNetwork, Link)],
        found: Option<&Found>,
    ) -> Result<(), Error> {
        let mut before = self.opened.clone();
        before.extend(found.iter().flat_map(|found| found.opened.iter().cloned()));
        let networks: Vec<HostNetwork> = made.iter().map(|(network, _)| network.clone()).collect();
        let needed = needed(host, &networks, &before);
        for name in before.difference(&needed) {
            unless_gone(forwarding::switch(name, false))?;
        }
        failpoint::reach("network-closed");
        if networks.is_empty() {
            if found.is_some() {
                self.rules.remove()?;
            }
            failpoint::reach("network-ruled");
            self.opened.clear();
            return Ok(());
        }
        self.opened = before.intersection(&needed).cloned().collect();
        for name in needed.difference(&before) {
            if !forwarding::is_on(name)? {
                self.opened.insert(name.clone());
            }
        }
        let opened: Vec<&Link> = self.opened.iter().filter_map(|name| host.link(name)).collect();
        self.rules.set(found, made, &opened)?;
        failpoint::reach("network-ruled");
        for name in &self.opened {
            unless_gone(forwarding::switch(name, true))?;
        }
        failpoint::reach("network-opened");
        Ok(())
    }
}

/// The interfaces, not ours, through which machines reach others. Those in `before` are used already:
/// while no other way out is known, they are not given up.
fn needed(host: &Host, networks: &[HostNetwork], before: &BTreeSet<String>) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    for network in networks {
        match network.uplink() {
            Some(uplink) => needed.extend(host.link(uplink.as_str()).map(|it| it.name.clone())),
            None if host.has_way_out() => needed.extend(host.ways_out().map(|it| it.name.clone())),
            None => needed.extend(before.iter().filter(|it| host.link(it).is_some()).cloned()),
        }
    }
    needed
}

/// Has a bridge carry packets.
fn open(netlink: &mut Netlink, network: &HostNetwork, link: &Link) -> Result<(), Error> {
    forwarding::switch(network.name().as_str(), true)?;
    if !link.is_up {
        netlink.set_up(link.index, true)?;
    }
    failpoint::reach("network-up");
    Ok(())
}

/// Where there is no such interface any more, there is nothing to switch.
fn unless_gone(done: Result<(), forwarding::Error>) -> Result<(), forwarding::Error> {
    match done {
        Err(error) if error.is_gone() => Ok(()),
        done => done,
    }
}

/// What is gone needs neither be switched off nor removed.
fn unless_removed(done: Result<(), netlink::Error>) -> Result<(), netlink::Error> {
    match done {
        Err(error) if error.errno() == Some(Errno::NODEV) => Ok(()),
        done => done,
    }
}
