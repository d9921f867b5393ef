//! Whether something fits in every delegation above it, and in the host (rule 7).

use vmm_proto::authority::Link;
use vmm_proto::name::{Label, Path};
use vmm_proto::resource::{Bridges, CpuSet, Devices};

use crate::engine::Engine;
use crate::event::{Need, Spec};
use crate::ledger::Amount;
use crate::machine::Machine;
use crate::refusal::{Quantity, Refusal};

/// What a machine asks of everything above it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) memory_mib: u32,
    pub(crate) cpus: &'a CpuSet,
    pub(crate) devices: &'a Devices,
}

impl<'a> From<&'a Need> for Claim<'a> {
    fn from(need: &'a Need) -> Self {
        Self { memory_mib: need.memory_mib, cpus: &need.cpus, devices: &need.devices }
    }
}

impl<'a> From<&'a Spec> for Claim<'a> {
    fn from(spec: &'a Spec) -> Self {
        Self { memory_mib: spec.memory_mib, cpus: &spec.cpus, devices: &spec.devices }
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
    /// The host's are not known here.
    pub(crate) bridges: Option<&'a Bridges>,
}

impl Engine {
    pub(crate) fn host_bounds(&self) -> Bounds<'_> {
        Bounds {
            labels: &[],
            machines: self.host.machines.into(),
            memory_mib: self.host.memory_mib,
            storage_mib: self.host.storage_mib,
            cpus: &self.host.cpus,
            bridges: None,
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
            bridges: Some(&grant.bridges),
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

    /// Whether there is room for a machine at `path` that holds `held` now, when `reserve` is
    /// held instead.
    /// `own` is how deep the requester's path is: what is used above it is not told.
    pub(crate) fn fits(
        &self,
        chain: &[Link],
        path: &Path,
        own: usize,
        claim: Claim<'_>,
        held: Amount,
        reserve: Amount,
    ) -> Result<(), Refusal> {
        for bounds in self.bounds_above(chain, path) {
            let here = || path.ancestor(bounds.labels.len());
            may_use(&bounds, claim, &here)?;
            let used = self.ledger.used(bounds.labels);
            let then = used.exchanged(held, reserve);
            for (quantity, limit, asked, used, then) in [
                (
                    Quantity::Machines,
                    bounds.machines,
                    1,
                    used.machines.into(),
                    then.machines.into(),
                ),
                (
                    Quantity::Memory,
                    bounds.memory_mib,
                    claim.memory_mib.into(),
                    used.memory_mib,
                    then.memory_mib,
                ),
            ] {
                if then > limit {
                    let used = (bounds.labels.len() >= own).then_some(used);
                    return Err(Refusal::Quota { path: here(), quantity, limit, asked, used });
                }
            }
        }
        Ok(())
    }

    /// Whether there is room to cache that many more bytes at `path`. For `own` see
    /// [`Self::fits`].
    pub(crate) fn image_fits(
        &self,
        chain: &[Link],
        path: &Path,
        own: usize,
        asked: u64,
    ) -> Result<(), Refusal> {
        for bounds in self.bounds_above(chain, path) {
            let limit = bounds.memory_mib.saturating_mul(1 << 20);
            let used = self.images.room(bounds.labels);
            if used.saturating_add(asked) > limit {
                let path = path.ancestor(bounds.labels.len());
                let used = (bounds.labels.len() >= own).then_some(used);
                return Err(Refusal::ImageRoom { path, limit, asked, used });
            }
        }
        Ok(())
    }

    /// Whether a machine runs beyond what something above it allows by now.
    pub(crate) fn is_over_quota(&self, machine: &Machine) -> bool {
        let path = &machine.name.path;
        machine.state().is_live()
            && self.bounds_above(&machine.chain, path).any(|bounds| {
                let used = self.ledger.used(bounds.labels);
                u64::from(used.machines) > bounds.machines
                    || used.memory_mib > bounds.memory_mib
                    || may_use(&bounds, Claim::from(&*machine.spec), &Path::host).is_err()
            })
    }
}

/// Whether the CPUs and bridges of a machine are among those of one delegation or the host.
fn may_use(bounds: &Bounds<'_>, claim: Claim<'_>, here: &impl Fn() -> Path) -> Result<(), Refusal> {
    if let Some(cpu) = claim.cpus.outside(bounds.cpus).next() {
        return Err(Refusal::Cpu { path: here(), cpu, allowed: bounds.cpus.clone() });
    }
    let Some(bridges) = bounds.bridges else {
        return Ok(());
    };
    match claim.devices.networks().iter().find(|network| bridges.get(&network.bridge).is_none()) {
        Some(network) => Err(Refusal::Bridge { path: here(), bridge: network.bridge.clone() }),
        None => Ok(()),
    }
}
