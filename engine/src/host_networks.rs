//! The private networks of the host: which there are to be. vmm-spawn makes them, and says what became
//! of each.
//!
//! What is wanted is kept before vmm-spawn is told, and told whole each time: after a restart of
//! either side, and after a reboot, both come to the same by it.

mod refusal;

use std::collections::BTreeMap;

use vmm_proto::resource::{BridgeName, HostNetwork, MAX_HOST_NETWORKS};

use crate::effect::{Answer, Effect};
use crate::engine::{Engine, Turn};
use crate::event::Token;
use crate::keep::Keep;
use crate::machine::Machine;
use crate::record::Record;
pub use refusal::HostNetworkRefusal;

/// What is known of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkState {
    /// Nothing yet.
    Unknown,
    /// It is there.
    Up,
    /// It is not, and why.
    Down(String),
}

/// One that is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkView {
    /// What it is.
    pub network: HostNetwork,
    /// Whether it is there.
    pub state: NetworkState,
    /// Live machines that have an interface on it.
    pub machines: u32,
}

#[derive(Debug)]
struct Wanted {
    network: HostNetwork,
    state: NetworkState,
}

/// A change that vmm-spawn was told, and whose outcome somebody waits for.
#[derive(Debug)]
struct Pending {
    token: Token,
    network: HostNetwork,
    removed: bool,
    /// What was wanted under that name before.
    was: Option<HostNetwork>,
}

impl Pending {
    /// Whether something else is wanted since.
    fn changed(&self) -> bool {
        let is = (!self.removed).then_some(&self.network);
        self.was.as_ref() != is
    }

    /// Why it is not done, by what there is now.
    fn problem(&self, states: &BTreeMap<BridgeName, Option<String>>) -> Option<String> {
        match states.get(self.network.name()) {
            Some(problem) => problem.clone(),
            None if self.removed => None,
            None => Some("vmm-spawn says nothing of it".to_owned()),
        }
    }
}

/// All that are wanted.
#[derive(Debug, Default)]
pub(crate) struct HostNetworks {
    wanted: BTreeMap<BridgeName, Wanted>,
    /// How often vmm-spawn was told.
    told: u64,
    pending: Vec<Pending>,
}

impl HostNetworks {
    /// One that was kept.
    pub(crate) fn restore(&mut self, network: HostNetwork) {
        let state = NetworkState::Unknown;
        self.wanted.insert(network.name().clone(), Wanted { network, state });
    }

    /// Bridges that machines may be put on, or will be able to.
    pub(crate) fn bridges(&self) -> impl Iterator<Item = BridgeName> {
        let there = |wanted: &&Wanted| !matches!(wanted.state, NetworkState::Down(_));
        self.wanted.values().filter(there).map(|wanted| wanted.network.name().clone())
    }

    /// Tells vmm-spawn which are wanted.
    pub(crate) fn tell(&mut self, turn: &mut Turn) {
        self.told += 1;
        let networks = self.wanted.values().map(|wanted| wanted.network.clone()).collect();
        turn.push(Effect::HostNetworks { number: self.told, networks });
    }

    /// Whether there is room for another one.
    fn has_room(&self, network: &HostNetwork) -> Result<(), HostNetworkRefusal> {
        if self.wanted.len() >= MAX_HOST_NETWORKS {
            return Err(HostNetworkRefusal::TooMany);
        }
        for Wanted { network: other, .. } in self.wanted.values() {
            if other.overlaps(network.address(), network.prefix()) {
                return Err(HostNetworkRefusal::Overlap {
                    address: network.to_string(),
                    other: other.name().clone(),
                    others: other.to_string(),
                });
            }
        }
        Ok(())
    }

    fn want(&mut self, turn: &mut Turn, network: HostNetwork) {
        turn.push(Effect::Keep(Keep::HostNetwork(network.clone())));
        self.restore(network);
    }

    fn forget(&mut self, turn: &mut Turn, name: &BridgeName) {
        turn.push(Effect::Keep(Keep::ForgetHostNetwork { name: name.clone() }));
        self.wanted.remove(name);
    }

    /// What is wanted under a name is again what it was. Returns whether it was something else.
    fn put_back(&mut self, turn: &mut Turn, name: &BridgeName, was: Option<&HostNetwork>) -> bool {
        let is = self.wanted.get(name).map(|wanted| &wanted.network);
        if is == was {
            return false;
        }
        match was {
            Some(network) => self.want(turn, network.clone()),
            None => self.forget(turn, name),
        }
        true
    }

    /// Whoever waits is told that nobody knows.
    pub(crate) fn lost(&mut self, turn: &mut Turn) {
        for Pending { token, network, .. } in std::mem::take(&mut self.pending) {
            let refusal = HostNetworkRefusal::SpawnLost(network.name().clone());
            turn.reply(token, Err(refusal.into()));
        }
        for wanted in self.wanted.values_mut() {
            wanted.state = NetworkState::Unknown;
        }
    }
}

impl Engine {
    /// The host networks, in the order of their names.
    pub fn host_networks(&self) -> impl Iterator<Item = NetworkView> {
        self.host_networks.wanted.values().map(|Wanted { network, state }| NetworkView {
            network: network.clone(),
            state: state.clone(),
            machines: self.live_on(network.name()),
        })
    }

    pub(crate) fn add_network(&mut self, turn: &mut Turn, token: Token, network: HostNetwork) {
        let name = network.name();
        let was = self.host_networks.wanted.get(name).map(|wanted| wanted.network.clone());
        let judged = match &was {
            _ if !self.joined => Err(HostNetworkRefusal::NoSpawn),
            // The same again: whether it is there is for vmm-spawn to say.
            Some(other) if *other == network => Ok(false),
            Some(other) => {
                let (name, address) = (name.clone(), other.to_string());
                Err(HostNetworkRefusal::Exists { name, address })
            }
            None => self.host_networks.has_room(&network).map(|()| true),
        };
        match judged {
            Ok(true) => self.host_networks.want(turn, network.clone()),
            Ok(false) => {}
            Err(refusal) => return turn.reply(token, Err(refusal.into())),
        }
        self.change(turn, Pending { token, network, removed: false, was });
    }

    pub(crate) fn remove_network(&mut self, turn: &mut Turn, token: Token, name: &BridgeName) {
        let machines = self.live_on(name);
        let judged = match self.host_networks.wanted.get(name) {
            None => Err(HostNetworkRefusal::NotFound(name.clone())),
            Some(_) if machines > 0 => {
                Err(HostNetworkRefusal::InUse { name: name.clone(), machines })
            }
            Some(_) if !self.joined => Err(HostNetworkRefusal::NoSpawn),
            Some(wanted) => Ok(wanted.network.clone()),
        };
        match judged {
            Ok(network) => {
                self.host_networks.forget(turn, name);
                let was = Some(network.clone());
                self.change(turn, Pending { token, network, removed: true, was });
            }
            Err(refusal) => turn.reply(token, Err(refusal.into())),
        }
    }

    fn change(&mut self, turn: &mut Turn, pending: Pending) {
        self.host_networks.tell(turn);
        self.host_networks.pending.push(pending);
    }

    /// What became of those that vmm-spawn was told, at the latest when it was told for the
    /// `number`th time.
    pub(crate) fn networks_are(
        &mut self,
        turn: &mut Turn,
        number: u64,
        states: &BTreeMap<BridgeName, Option<String>>,
    ) {
        if number != self.host_networks.told {
            // Another one is on its way, which says more.
            return;
        }
        for (name, wanted) in &mut self.host_networks.wanted {
            wanted.state = match states.get(name) {
                Some(None) => NetworkState::Up,
                Some(Some(problem)) => NetworkState::Down(problem.clone()),
                None => NetworkState::Unknown,
            };
        }
        // All of them were told by now: the last telling was whole.
        let pending = std::mem::take(&mut self.host_networks.pending);
        let mut undone = false;
        // The last one first, so that what was before all of them is what remains.
        for pending in pending.iter().rev().filter(|pending| pending.problem(states).is_some()) {
            let name = pending.network.name();
            undone |= self.host_networks.put_back(turn, name, pending.was.as_ref());
        }
        for pending in pending {
            let (changed, problem) = (pending.changed(), pending.problem(states));
            let Pending { token, network, removed, .. } = pending;
            if let Some(reason) = problem {
                let name = network.name().clone();
                let refusal = HostNetworkRefusal::NotDone { name, reason };
                turn.reply(token, Err(refusal.into()));
                continue;
            }
            if changed {
                let cause = Some(token);
                turn.push(Effect::Record(Record::HostNetwork { network, removed, cause }));
            }
            turn.reply(token, Ok(Answer::NetworkDone));
        }
        if undone {
            self.host_networks.tell(turn);
        }
    }

    /// How many live machines have an interface on a bridge, or are about to.
    fn live_on(&self, bridge: &BridgeName) -> u32 {
        let count = self.machines.iter().filter(|machine| is_on(machine, bridge)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// Whether a machine has an interface on a bridge, or one that may take its place.
fn is_on(machine: &Machine, bridge: &BridgeName) -> bool {
    let is_there = |machine: &Machine| {
        machine.spec.devices.networks().iter().any(|network| network.bridge == *bridge)
    };
    machine.state().is_live() && is_there(machine)
        || machine.replacement().is_some_and(|by| is_there(&by.machine))
        || machine.probation.as_ref().is_some_and(|probation| is_there(&probation.former))
}
