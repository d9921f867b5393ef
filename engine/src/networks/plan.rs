//! What a machine gets of the networks that it asks for. Nothing is reserved yet.

use std::collections::BTreeMap;

use vmm_proto::authority::Link;
use vmm_proto::name::MachineName;
use vmm_proto::resource::{Arguments, BridgeName, Devices, Family, Network};

use super::numbers::{address, v4};
use super::pool::{Above, Pool};
use super::refusal::NetworkRefusal;
use super::words::{Options, Own};
use super::{FAMILIES, Interface, OnBridge, index_of};
use crate::engine::Engine;
use crate::event::Now;
use crate::machine::Machine;

/// A machine and the networks that it asks for.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a MachineName,
    pub(crate) devices: &'a Devices,
    pub(crate) arguments: &'a Arguments,
    /// The delegations above it, one for each label of its path.
    pub(crate) chain: &'a [Link],
    /// How deep the requester's path is: who has something that is asked for is told only below it.
    pub(crate) own: usize,
    /// What machines of that name have: it keeps as much of that as it can.
    pub(crate) had: Vec<Had<'a>>,
}

/// An interface of a machine of the same name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Had<'a> {
    pub(super) interface: &'a Interface,
    /// Whether nobody asked for its hardware address.
    pub(super) derived: bool,
}

/// What a machine gets; without networks, nothing.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// In the order of its networks.
    pub(crate) interfaces: Vec<Interface>,
    /// What its guest is told; nothing if that is just its own arguments.
    pub(crate) arguments: Option<Arguments>,
}

/// The interfaces of a machine and of the one that comes back if it fails.
pub(crate) fn had(machine: &Machine) -> Vec<Had<'_>> {
    let former = machine.probation.as_ref().map(|probation| &probation.former);
    let machines = std::iter::once(machine).chain(former);
    let had = machines.flat_map(|machine| {
        let networks = machine.spec.devices.networks();
        networks
            .iter()
            .zip(machine.interfaces.iter())
            .map(|(network, interface)| Had { interface, derived: network.mac.is_none() })
    });
    had.collect()
}

impl Engine {
    /// What a machine gets of the networks that it asks for, or everything for which it does not.
    pub(crate) fn plan(&self, now: Now, wanted: &Wanted<'_>) -> Result<Plan, Vec<NetworkRefusal>> {
        let networks = wanted.devices.networks();
        if networks.is_empty() {
            return Ok(Plan::default());
        }
        let mut draft = Draft {
            engine: self,
            wanted,
            options: Options::of(wanted.arguments),
            pools: BTreeMap::new(),
            networks: networks.iter().map(|_| Planned::default()).collect(),
            faults: Vec::new(),
        };
        draft.find_pools(now);
        draft.give_addresses();
        draft.give_macs();
        draft.finish()
    }
}

/// What one network gets so far.
#[derive(Debug, Default)]
pub(super) struct Planned {
    pub(super) mac: Option<[u8; 6]>,
    /// Of each family.
    addresses: [Option<u128>; 2],
}

/// A plan that is being made.
pub(super) struct Draft<'a> {
    pub(super) engine: &'a Engine,
    pub(super) wanted: &'a Wanted<'a>,
    options: Options<'a>,
    /// Of each family on each bridge; none where addresses are not managed.
    pools: BTreeMap<&'a BridgeName, [Option<Pool<'a>>; 2]>,
    pub(super) networks: Vec<Planned>,
    pub(super) faults: Vec<NetworkRefusal>,
}

impl<'a> Draft<'a> {
    pub(super) fn asked(&self) -> &'a [Network] {
        self.wanted.devices.networks()
    }

    pub(super) fn on(&self, bridge: &BridgeName) -> Option<&'a OnBridge> {
        self.engine.networks.taken.get(bridge)
    }

    fn find_pools(&mut self, now: Now) {
        let Wanted { chain, name, .. } = self.wanted;
        let above = Above::of(self.engine, now, chain, &name.path);
        for network in self.asked() {
            if self.pools.contains_key(&network.bridge) {
                continue;
            }
            let pools = FAMILIES.map(|family| {
                let pool = above.pool(&network.bridge, family);
                pool.unwrap_or_else(|fault| {
                    self.faults.push(fault);
                    None
                })
            });
            self.pools.insert(&network.bridge, pools);
        }
    }

    /// Does something for each network and family whose addresses are managed and that has none yet.
    fn for_each_without(&mut self, mut give: impl FnMut(&mut Self, usize, &'a Network, Family)) {
        for (index, network) in self.asked().iter().enumerate() {
            for family in FAMILIES {
                let has = self.networks[index].addresses[index_of(family)].is_some();
                if !has && self.pool(&network.bridge, family).is_some() {
                    give(self, index, network, family);
                }
            }
        }
    }

    fn pool(&self, bridge: &BridgeName, family: Family) -> Option<&Pool<'a>> {
        self.pools.get(bridge)?[index_of(family)].as_ref()
    }

    /// First what the machine itself asks for, then what the networks of the same device had, then
    /// what others on the same bridge had; what is left to wish gets the lowest that is free.
    fn give_addresses(&mut self) {
        let faults = self.faults.len();
        self.refuse_what_names_no_network();
        self.for_each_without(Self::give_own);
        self.for_each_without(|draft, index, network, family| {
            draft.give_former(index, network, family, true);
        });
        // What its own words set wrongly has been told; a free one instead is no help.
        if self.faults.len() > faults {
            return;
        }
        self.for_each_without(|draft, index, network, family| {
            draft.give_former(index, network, family, false);
        });
        self.for_each_without(Self::give_free);
    }

    /// Where one network's addresses are its own business, an option without a name may be meant for
    /// that one.
    fn refuse_what_names_no_network(&mut self) {
        for family in FAMILIES {
            let networks = self.asked();
            if networks.iter().all(|network| self.pool(&network.bridge, family).is_some()) {
                let several = networks.len() > 1;
                let names = |it: &Network| self.options.names(&it.device, several, family);
                let names: Vec<_> = networks.iter().map(names).collect();
                self.faults.extend(self.options.of_no_network(&names, family));
            }
        }
    }

    fn give_own(&mut self, index: usize, network: &'a Network, family: Family) {
        match self.own_address(network, family) {
            Ok(found) => self.networks[index].addresses[index_of(family)] = found,
            Err(fault) => self.faults.push(fault),
        }
    }

    /// The address that the machine's own arguments set for a network.
    fn own_address(
        &self,
        network: &Network,
        family: Family,
    ) -> Result<Option<u128>, NetworkRefusal> {
        let Some(pool) = self.pool(&network.bridge, family) else { return Ok(None) };
        let names = self.options.names(&network.device, self.asked().len() > 1, family);
        let judged = self
            .options
            .address(&names, pool.range)
            .and_then(|found| self.options.has_gateway(&names, pool.range).map(|_| found));
        let bridge = network.bridge.clone();
        let not_delegated = |option: String, value: String, why: String| {
            let (path, range) = (self.wanted.name.path.clone(), Box::new(*pool.range));
            let bridge = network.bridge.clone();
            NetworkRefusal::NotDelegated { option, value, path, bridge, range, why }
        };
        let found = match judged {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(Own::Wrong(refusal)) => return Err(refusal),
            Err(Own::NotDelegated { option, value, why }) => {
                return Err(not_delegated(option, value, why));
            }
        };
        let (option, at) = (names.option(), address(family, found));
        let why = if !pool.contains(found) {
            "it is outside of that"
        } else if !pool.gives(found) && !self.had(&network.bridge, family).any(|it| it == found) {
            "it is delegated further, or no machine can have it"
        } else if self.is_mine(&network.bridge, family, found) {
            let why = "sets an address that another network of this machine has".to_owned();
            return Err(NetworkRefusal::Argument { option, why });
        } else if let Some(by) = self.holder(&network.bridge, family, found) {
            let by = self.told(by);
            return Err(NetworkRefusal::AddressInUse { option, address: at, bridge, by });
        } else {
            return Ok(Some(found));
        };
        Err(not_delegated(option, at.to_string(), why.to_owned()))
    }

    /// Gives a network what one of the same name had on that bridge.
    fn give_former(
        &mut self,
        index: usize,
        network: &'a Network,
        family: Family,
        same_device: bool,
    ) {
        let Some(pool) = self.pool(&network.bridge, family) else { return };
        let had = self.wanted.had.iter().map(|had| had.interface);
        let former = had
            .filter(|it| it.bridge == network.bridge)
            .filter(|it| !same_device || it.device == network.device)
            .filter_map(|it| it.number(family))
            .find(|number| {
                pool.contains(*number)
                    && !self.is_mine(&network.bridge, family, *number)
                    && self.holder(&network.bridge, family, *number).is_none()
            });
        self.networks[index].addresses[index_of(family)] = former;
    }

    fn give_free(&mut self, index: usize, network: &'a Network, family: Family) {
        let Some(pool) = self.pool(&network.bridge, family) else { return };
        let mine = |number| self.is_mine(&network.bridge, family, number);
        let none = super::Addresses::default();
        let held = self.on(&network.bridge).map_or(&none, |on| on.addresses(family));
        let found = held.lowest_free(pool.span, &pool.closed, &mine);
        if found.is_none() {
            let (first, last) = (address(family, pool.span.first), address(family, pool.span.last));
            let (path, bridge) = (self.wanted.name.path.clone(), network.bridge.clone());
            let fault = NetworkRefusal::NoAddress { path, bridge, family, first, last };
            if !self.faults.contains(&fault) {
                self.faults.push(fault);
            }
        }
        self.networks[index].addresses[index_of(family)] = found;
    }

    /// What machines of the same name had on a bridge.
    fn had(&self, bridge: &BridgeName, family: Family) -> impl Iterator<Item = u128> {
        let had = self.wanted.had.iter().map(|had| had.interface);
        had.filter(|it| it.bridge == *bridge).filter_map(move |it| it.number(family))
    }

    /// Whether another network of this machine gets an address.
    fn is_mine(&self, bridge: &BridgeName, family: Family, number: u128) -> bool {
        self.asked().iter().zip(&self.networks).any(|(network, planned)| {
            network.bridge == *bridge && planned.addresses[index_of(family)] == Some(number)
        })
    }

    /// Who else has an address.
    fn holder(&self, bridge: &BridgeName, family: Family, number: u128) -> Option<&MachineName> {
        let holder = self.on(bridge)?.addresses(family).holder(number)?;
        (holder != self.wanted.name).then_some(holder)
    }

    /// A machine's name, for a requester who may know of it.
    pub(super) fn told(&self, name: &MachineName) -> Option<MachineName> {
        let own = self.wanted.name.path.labels().get(..self.wanted.own)?;
        name.path.labels().starts_with(own).then(|| name.clone())
    }

    fn finish(mut self) -> Result<Plan, Vec<NetworkRefusal>> {
        let mut words = Vec::new();
        let mut interfaces = Vec::new();
        let group = self.engine.networks.groups.number(self.wanted.name.path.labels().first());
        for (network, planned) in self.asked().iter().zip(&self.networks) {
            let placed = |family| {
                let at = planned.addresses[index_of(family)]?;
                Some((at, self.pool(&network.bridge, family)?.range))
            };
            for family in FAMILIES {
                let Some((at, range)) = placed(family) else { continue };
                let names = self.options.names(&network.device, self.asked().len() > 1, family);
                words.extend(self.options.words(&names, range, at));
            }
            let seen_by_all = self.engine.networks.peers.contains(&network.bridge);
            interfaces.push(Interface {
                device: network.device.clone(),
                bridge: network.bridge.clone(),
                mac: planned.mac.unwrap_or_default(),
                address: placed(Family::V4).map(|(at, range)| (v4(at), range.prefix())),
                address6: placed(Family::V6).map(|(at, range)| (at.into(), range.prefix())),
                group: (!seen_by_all).then_some(group),
            });
        }
        words.extend_from_slice(self.wanted.arguments.words());
        let arguments = Arguments::new(words);
        if arguments.is_err() {
            self.faults.push(NetworkRefusal::Arguments);
        }
        if self.faults.is_empty() {
            Ok(Plan { interfaces, arguments: arguments.ok() })
        } else {
            Err(self.faults)
        }
    }
}
