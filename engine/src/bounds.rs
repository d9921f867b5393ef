//! Whether something fits in every delegation above it, and in the host (rule 7).

use std::collections::BTreeSet;

use vmm_proto::authority::Link;
use vmm_proto::name::{Label, Path};
use vmm_proto::resource::{Arguments, BridgeName, Bridges, CpuSet, Devices};

use crate::engine::Engine;
use crate::event::{Need, Spec};
use crate::ledger::Amount;
use crate::machine::Machine;
use crate::networks::Interface;
use crate::refusal::{Context, Quantity, Refusal};

/// How many images may be cached below a delegation of so many machines: one for each machine that
/// runs and for each that has ended and is listed, and two that are on their way.
const fn image_limit(machines: u64) -> u64 {
    machines.saturating_mul(2).saturating_add(2)
}

/// What a machine asks of everything above it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) memory_mib: u32,
    pub(crate) cpus: &'a CpuSet,
    pub(crate) devices: &'a Devices,
    pub(crate) arguments: &'a Arguments,
}

impl<'a> From<&'a Need> for Claim<'a> {
    fn from(need: &'a Need) -> Self {
        let Need { memory_mib, cpus, devices, arguments } = need;
        Self { memory_mib: *memory_mib, cpus, devices, arguments }
    }
}

impl<'a> From<&'a Spec> for Claim<'a> {
    fn from(spec: &'a Spec) -> Self {
        let Spec { memory_mib, cpus, devices, arguments, .. } = spec;
        Self { memory_mib: *memory_mib, cpus, devices, arguments }
    }
}

/// The bounds at one path: of a delegation, or of the host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    /// The labels of the path.
    pub(crate) labels: &'a [Label],
    pub(crate) machines: u64,
    pub(crate) memory_mib: u64,
    pub(crate) storage_mib: u64,
    pub(crate) cpus: &'a CpuSet,
    pub(crate) bridges: Usable<'a>,
}

/// The bridges that machines may be put on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Usable<'a> {
    /// By a delegation.
    Delegated(&'a Bridges),
    /// By the host, as far as that is known.
    Offered(Option<&'a BTreeSet<BridgeName>>),
}

impl Usable<'_> {
    /// Whether a machine may be put on a bridge, as far as that is known.
    fn has(self, bridge: &BridgeName) -> bool {
        match self {
            Self::Delegated(bridges) => bridges.get(bridge).is_some(),
            Self::Offered(bridges) => bridges.is_none_or(|bridges| bridges.contains(bridge)),
        }
    }

    /// Their names, if they are known.
    pub(crate) fn names(self) -> Option<Vec<BridgeName>> {
        match self {
            Self::Delegated(bridges) => Some(bridges.iter().map(|it| it.name().clone()).collect()),
            Self::Offered(bridges) => bridges.map(|bridges| bridges.iter().cloned().collect()),
        }
    }

    /// Whether an interface has what a delegation does not give (any more).
    fn lacks(self, interface: &Interface) -> bool {
        match self {
            Self::Delegated(bridges) => {
                bridges.get(&interface.bridge).is_some_and(|bridge| interface.is_beyond(bridge))
            }
            Self::Offered(_) => false,
        }
    }
}

/// A machine that is to have room at a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The delegations above it, one for each label of `path`.
    pub(crate) chain: &'a [Link],
    pub(crate) path: &'a Path,
    /// How deep the requester's path is: what is used above it is not told.
    pub(crate) own: usize,
    pub(crate) claim: Claim<'a>,
    /// What the machine that it replaces (or it itself) holds now.
    pub(crate) held: Amount,
    /// What is to be held instead.
    pub(crate) reserve: Amount,
}

/// One quantity at one path, and what a wish does to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    pub(crate) quantity: Quantity,
    pub(crate) limit: u64,
    pub(crate) used: u64,
    /// How much of what is used makes place for the wish.
    pub(crate) held: u64,
    pub(crate) asked: u64,
    /// What would be used then.
    pub(crate) then: u64,
}

impl Measure {
    pub(crate) const fn fits(&self) -> bool {
        self.then <= self.limit
    }
}

impl Engine {
    pub(crate) fn host_bounds(&self) -> Bounds<'_> {
        Bounds {
            labels: &[],
            machines: self.host.machines.into(),
            memory_mib: self.host.memory_mib,
            storage_mib: self.host.storage_mib,
            cpus: &self.host.cpus,
            bridges: Usable::Offered(self.networks.offered.as_ref()),
        }
    }

    /// The bounds of a delegation, by its newest certificate, whichever one `link` is.
    pub(crate) fn bounds_of<'a>(&'a self, link: &'a Link, labels: &'a [Label]) -> Bounds<'a> {
        let grant = &self.delegations.newest(link).grant;
        Bounds {
            labels,
            machines: grant.machines.into(),
            memory_mib: grant.memory_mib.into(),
            storage_mib: grant.storage_mib.into(),
            cpus: &grant.cpus,
            bridges: Usable::Delegated(&grant.bridges),
        }
    }

    /// The bounds that hold at `path`, whose delegations are `chain`: the innermost first, since
    /// whoever is refused can do most about that one; the host last.
    pub(crate) fn bounds_above<'a>(
        &'a self,
        chain: &'a [Link],
        path: &'a Path,
    ) -> impl Iterator<Item = Bounds<'a>> {
        let delegations = chain.iter().enumerate().rev().map(|(index, link)| {
            self.bounds_of(link, path.labels().get(..=index).unwrap_or_default())
        });
        delegations.chain(std::iter::once(self.host_bounds()))
    }

    /// Everything for which there is no room, the innermost delegation first: nothing when the
    /// wish fits. Whoever wants only a verdict takes the first.
    pub(crate) fn unfit<'a>(&'a self, wish: Wish<'a>) -> impl Iterator<Item = Refusal> + 'a {
        self.bounds_above(wish.chain, wish.path).flat_map(move |bounds| {
            let exceeded =
                self.measures(&bounds, wish).into_iter().filter(|measure| !measure.fits());
            forbidden(bounds, wish.claim, wish.path)
                .chain(exceeded.map(move |measure| self.exceeded(&bounds, wish, measure)))
        })
    }

    /// The bridges of a listed machine that something above it does not have (any more).
    pub(crate) fn bridges_lost<'a>(
        &'a self,
        machine: &'a Machine,
    ) -> impl Iterator<Item = Refusal> + 'a {
        let Machine { name, chain, spec, .. } = machine;
        let bounds = self.bounds_above(chain, &name.path);
        bounds.flat_map(|bounds| no_bridges(bounds, Claim::from(&**spec), &name.path))
    }

    /// What the wish does to the numbers at one path.
    pub(crate) fn measures(&self, bounds: &Bounds<'_>, wish: Wish<'_>) -> [Measure; 2] {
        let used = self.ledger.used(bounds.labels);
        let then = used.exchanged(wish.held, wish.reserve);
        [
            Measure {
                quantity: Quantity::Machines,
                limit: bounds.machines,
                used: used.machines.into(),
                held: wish.held.machines.into(),
                asked: 1,
                then: then.machines.into(),
            },
            Measure {
                quantity: Quantity::Memory,
                limit: bounds.memory_mib,
                used: used.memory_mib,
                held: wish.held.memory_mib,
                asked: wish.claim.memory_mib.into(),
                then: then.memory_mib,
            },
        ]
    }

    fn exceeded(&self, bounds: &Bounds<'_>, wish: Wish<'_>, measure: Measure) -> Refusal {
        let path = wish.path.ancestor(bounds.labels.len());
        let Measure { quantity, limit, used, held, asked, .. } = measure;
        let told = bounds.labels.len() >= wish.own;
        let context = Box::new(Context {
            shares: self.shares(wish.chain, wish.path),
            users: if told { self.users(&path) } else { Vec::new() },
        });
        let used = told.then_some(used);
        Refusal::Quota { path, quantity, limit, asked, held, used, context }
    }

    /// Every path at which there is no room to cache that many more bytes, the innermost first.
    /// For `own` see [`Wish::own`].
    pub(crate) fn image_unfit<'a>(
        &'a self,
        chain: &'a [Link],
        path: &'a Path,
        own: usize,
        asked: u64,
    ) -> impl Iterator<Item = Refusal> + 'a {
        self.bounds_above(chain, path).filter_map(move |bounds| {
            let (limit, used) = self.image_room_at(&bounds);
            let here = path.ancestor(bounds.labels.len());
            if used.saturating_add(asked) > limit {
                let used = (bounds.labels.len() >= own).then_some(used);
                return Some(Refusal::ImageRoom { path: here, limit, asked, used });
            }
            let limit = image_limit(bounds.machines);
            let full = self.images.room(bounds.labels).images >= limit;
            full.then_some(Refusal::ImageCount { path: here, limit })
        })
    }

    /// Bytes that cached images may have at one path, and bytes that they have.
    pub(crate) fn image_room_at(&self, bounds: &Bounds<'_>) -> (u64, u64) {
        (bounds.memory_mib.saturating_mul(1 << 20), self.images.room(bounds.labels).bytes)
    }

    /// Whether a machine runs beyond what something above it allows by now.
    pub(crate) fn is_over_quota(&self, machine: &Machine) -> bool {
        let path = &machine.name.path;
        machine.state().is_live()
            && self.bounds_above(&machine.chain, path).any(|bounds| {
                let used = self.ledger.used(bounds.labels);
                u64::from(used.machines) > bounds.machines
                    || used.memory_mib > bounds.memory_mib
                    || forbidden(bounds, Claim::from(&*machine.spec), path).next().is_some()
                    || machine.interfaces.iter().any(|it| bounds.bridges.lacks(it))
            })
    }
}

/// Which CPUs and bridges of a machine are not among those of one delegation or the host.
fn forbidden<'a>(
    bounds: Bounds<'a>,
    claim: Claim<'a>,
    path: &'a Path,
) -> impl Iterator<Item = Refusal> + 'a {
    let here = move || path.ancestor(bounds.labels.len());
    let cpus = move || {
        let cpus: CpuSet = claim.cpus.outside(bounds.cpus).collect();
        let allowed = || bounds.cpus.clone();
        (!cpus.is_empty()).then(|| Refusal::Cpu { path: here(), cpus, allowed: allowed() })
    };
    std::iter::once_with(cpus).flatten().chain(no_bridges(bounds, claim, path))
}

fn no_bridges<'a>(
    bounds: Bounds<'a>,
    claim: Claim<'a>,
    path: &'a Path,
) -> impl Iterator<Item = Refusal> + 'a {
    let here = move || path.ancestor(bounds.labels.len());
    missing_bridges(&bounds, claim)
        .map(move |bridge| Refusal::Bridge { path: here(), bridge: bridge.clone() })
}

/// The bridges of a machine that are not among those of one delegation or the host.
pub(crate) fn missing_bridges<'a>(
    bounds: &Bounds<'a>,
    claim: Claim<'a>,
) -> impl Iterator<Item = &'a BridgeName> + use<'a> {
    let bridges = bounds.bridges;
    let named = claim.devices.networks().iter().map(|network| &network.bridge);
    named.filter(move |bridge| !bridges.has(bridge))
}
