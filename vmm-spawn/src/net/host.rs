//! Host networks: private networks that this process makes for machines, with translated addresses.
//!
//! ```text
//!   HostNetworks ── what the supervisor wants, and what became of it
//!     └ make ── what there is becomes what is wanted
//!         ├ judge ── what is in the way: interfaces, addresses, routes of others
//!         ├ bridge ── a bridge with an address; addresses ── asking the kernel for them
//!         ├ rules ── who may reach whom, under which address, in one table of the packet filter
//!         ├ forwarding ── settings of single interfaces
//!         ├ mark ── what is on everything that is ours; nothing else is ever touched
//!         └ pace ── when it is all looked at again
//! ```
//!
//! Nothing of it is kept on disk. The supervisor tells all host networks whenever it has joined, and
//! again when they change; what there is is read from the kernel each time. So it makes no difference
//! when this process was killed, nor whether the host was booted since.

pub mod addresses;
pub mod bridge;
pub mod forwarding;
pub mod judge;
pub mod make;
pub mod mark;
pub mod pace;
pub mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use tracing::{info, warn};
use vmm_proto::message::spawn::{self, FromSpawn, HostNetworkState, MAX_REASON};
use vmm_proto::resource::{HostNetwork, MAX_HOST_NETWORKS};

use crate::net::has_power;
use crate::net::nft::Nft;
use judge::Collision;
use mark::Mark;
use pace::{Pace, State};
use rules::Rules;

/// Why a host network is not there, or still is.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// {0}
    #[error("{0}")]
    NotOne(#[from] spawn::NoHostNetwork),
    /// There are enough.
    #[error("this host has {MAX_HOST_NETWORKS} host networks already, as many as it may have")]
    TooMany,
    /// Two of a name.
    #[error("two host networks have this name")]
    Twice,
    /// Two with the same addresses.
    #[error("it has addresses in common with host network \"{0}\"; choose another subnet")]
    Overlap(String),
    /// This process may not make any.
    #[error("vmm-spawn needs root, or the capability CAP_NET_ADMIN, to make host networks")]
    Powerless,
    /// {0}
    #[error(transparent)]
    Collision(#[from] Collision),
    /// {0}
    #[error("{0}")]
    Kernel(#[from] make::Error),
    /// It is there, and leads nowhere.
    #[error(
        "this host has no default route, so machines on it reach nothing outside; it is used when it \
         comes, or name the interface that leads out with --uplink"
    )]
    NoWayOut,
    /// It is to be removed, and is not.
    #[error("it stays: {count} interfaces are on it, such as {first:?}; take them off it first")]
    InUse {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },
}

impl Problem {
    /// Whether the network is there all the same, as it was asked for: the log alone has it then. One
    /// may be made before the host has its routes, or for machines that need nobody outside.
    const fn is_bearable(&self) -> bool {
        matches!(self, Self::NoWayOut)
    }
}

/// The host networks of this installation.
#[derive(Debug)]
pub struct HostNetworks {
    mark: Mark,
    rules: Rules,
    /// Bridges of the admin, which are never host networks.
    listed: BTreeSet<String>,
    /// How often the supervisor has told.
    number: u64,
    wanted: Vec<HostNetwork>,
    /// What was told and is none.
    refused: BTreeMap<String, String>,
    /// Which carry packets, and as what: of those that are wanted, and of former ones that are in use.
    up: BTreeMap<String, HostNetwork>,
    /// Bridges that may be there though nobody wants them.
    former: BTreeSet<String>,
    /// What keeps others from being there, or away.
    problems: BTreeMap<String, String>,
    /// Which of the problems nobody needs to know of but the log.
    bearable: BTreeSet<String>,
    /// Whether there may be something of ours beside bridges.
    touched: bool,
    /// Whether something is undone, whatever it is.
    failed: bool,
    /// Interfaces whose forwarding was switched on. It is written down in the table of rules, too, for
    /// the next one of this program; here, for when somebody has removed that.
    opened: BTreeSet<String>,
    pace: Pace,
}

impl HostNetworks {
    /// Those of the installation in `dir`, which is absolute and without links. Bridges that are
    /// `listed` belong to the admin.
    pub fn new<'a>(dir: &Path, listed: impl Iterator<Item = &'a str>) -> Self {
        let mark = Mark::of_directory(dir);
        Self {
            rules: Rules::new(mark.table(), Nft::of_host()),
            mark,
            listed: listed.map(ToOwned::to_owned).collect(),
            number: 0,
            wanted: Vec::new(),
            refused: BTreeMap::new(),
            up: BTreeMap::new(),
            former: BTreeSet::new(),
            problems: BTreeMap::new(),
            bearable: BTreeSet::new(),
            touched: false,
            failed: false,
            opened: BTreeSet::new(),
            pace: Pace::default(),
        }
    }

    /// Makes what there is what the supervisor wants.
    pub fn tell(&mut self, number: u64, told: &[spawn::HostNetwork], now: Instant) {
        self.number = number;
        let before = std::mem::take(&mut self.wanted);
        self.former.extend(before.into_iter().map(|network| network.name().to_string()));
        self.refused.clear();
        for network in told.iter().take(2 * MAX_HOST_NETWORKS) {
            match self.taken(network) {
                Ok(network) => self.wanted.push(network),
                Err(problem) => {
                    warn!(name = network.name, "a host network is not made: {problem}");
                    self.refused.insert(shortened(&network.name), shortened(&problem.to_string()));
                }
            }
        }
        let names: BTreeSet<&str> = self.wanted.iter().map(|it| it.name().as_str()).collect();
        self.former.retain(|name| !names.contains(name.as_str()));
        self.pace = Pace::default();
        self.work(now);
    }

    /// A network that the supervisor may want beside those that it wants already.
    fn taken(&self, network: &spawn::HostNetwork) -> Result<HostNetwork, Problem> {
        let network = network.checked()?;
        if self.wanted.len() >= MAX_HOST_NETWORKS {
            return Err(Problem::TooMany);
        }
        if self.listed.contains(network.name().as_str()) {
            return Err(Collision::Listed(network.name().to_string()).into());
        }
        for other in &self.wanted {
            if other.name() == network.name() {
                return Err(Problem::Twice);
            }
            if other.overlaps(network.address(), network.prefix()) {
                return Err(Problem::Overlap(other.name().to_string()));
            }
        }
        Ok(network)
    }

    /// When all is to be looked at again.
    pub const fn deadline(&self) -> Option<Instant> {
        self.pace.next()
    }

    /// Somebody has changed rules of the host: they are soon looked at.
    pub fn hurry(&mut self, now: Instant) {
        self.pace.hurry(now);
    }

    /// Does what is still to be done, or again. Whether something is otherwise now.
    pub fn on_time(&mut self, now: Instant) -> bool {
        if self.deadline().is_none_or(|next| now < next) {
            return false;
        }
        let before = (self.up.clone(), self.problems.clone());
        self.work(now);
        before != (self.up.clone(), self.problems.clone())
    }

    /// The bridges of those that are there as they are wanted.
    pub fn bridges(&self) -> impl Iterator<Item = &str> {
        let wanted = self.wanted.iter().filter(|it| self.up.get(it.name().as_str()) == Some(*it));
        wanted.map(|network| network.name().as_str())
    }

    /// Whether the supervisor wants one of this name.
    fn wants(&self, name: &str) -> bool {
        self.wanted.iter().any(|network| network.name().as_str() == name)
    }

    /// What the supervisor is told, with all `bridges` that machines may be put on.
    pub fn message(&self, bridges: Vec<String>) -> FromSpawn {
        let mut states: BTreeMap<&str, Option<&String>> = BTreeMap::new();
        states.extend(self.wanted.iter().map(|network| (network.name().as_str(), None)));
        let problems = self.problems.iter().filter(|(name, _)| !self.bearable.contains(*name));
        for (name, problem) in problems.chain(&self.refused) {
            states.insert(name, Some(problem));
        }
        // What was asked for comes before what is left, where there is room for one of them alone.
        let (told, left): (Vec<_>, Vec<_>) = states
            .into_iter()
            .partition(|(name, _)| self.wants(name) || self.refused.contains_key(*name));
        let states = told.into_iter().chain(left).take(2 * MAX_HOST_NETWORKS);
        let state = |(name, problem): (&str, Option<&String>)| HostNetworkState {
            name: name.to_owned(),
            problem: problem.cloned(),
        };
        let states = states.map(state).collect();
        FromSpawn::HostNetworks { number: self.number, states, bridges }
    }

    fn work(&mut self, now: Instant) {
        let before: BTreeSet<String> = self.up.keys().cloned().collect();
        let problems = if has_power() {
            self.make()
        } else {
            let all = self.wanted.iter().map(|it| (it.name().to_string(), Problem::Powerless));
            all.collect()
        };
        let after: BTreeSet<String> = self.up.keys().cloned().collect();
        for name in after.difference(&before) {
            info!("host network {name:?} is there");
        }
        for name in before.difference(&after) {
            info!("host network {name:?} is not there any more");
        }
        let before = std::mem::take(&mut self.problems);
        let bearable = problems.iter().filter(|(_, problem)| problem.is_bearable());
        self.bearable = bearable.map(|(name, _)| name.clone()).collect();
        self.problems = problems
            .into_iter()
            .map(|(name, problem)| (name, shortened(&problem.to_string())))
            .collect();
        for (name, problem) in &self.problems {
            if before.get(name) != Some(problem) {
                warn!("host network {name:?}: {problem}");
            }
        }
        let state = match self.failed || !self.problems.is_empty() {
            true if before == self.problems => State::StillWrong,
            true => State::Wrong,
            false if self.wanted.is_empty() => State::Nothing,
            false => State::Right,
        };
        self.pace.after(state, now);
    }
}

/// At most as many bytes as fit.
fn shortened(text: &str) -> String {
    let end = (0..=MAX_REASON.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text[..end.unwrap_or(0)].to_owned()
}
