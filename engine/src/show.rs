//! Looking at machines and quotas.

use vmm_proto::authority::{Link, Validity};
use vmm_proto::id::{Digest, MachineId};
use vmm_proto::name::{MachineName, Path, Target};
use vmm_proto::revocation::{NotTaken, RevocationList};

use crate::bounds::Bounds;
use crate::engine::Engine;
use crate::event::ImageId;
use crate::ledger::Amount;
use crate::machine::Machine;
use crate::view::{QuotaRow, Used, View};

impl Engine {
    /// The listed machine of that name. While one machine replaces another, the old one is listed
    /// until it has ended.
    pub fn machine(&self, name: &MachineName) -> Option<View<'_>> {
        self.listed(name).map(|machine| self.view(machine))
    }

    /// The listed machine of that id.
    pub fn by_id(&self, id: MachineId) -> Option<View<'_>> {
        self.machines.get(id).map(|machine| self.view(machine))
    }

    /// The listed machines that `target` means, in the order of their names.
    pub fn machines<'a>(&'a self, target: &Target) -> impl Iterator<Item = View<'a>> + use<'a> {
        let (exactly, below) = match target {
            Target::Machine(name) => (self.machine(name), None),
            Target::Below(path) => (None, Some(path.clone())),
        };
        let all_below = below.into_iter().flat_map(|below| self.below(&below));
        exactly.into_iter().chain(all_below.map(|machine| self.view(machine)))
    }

    /// The listed machines at and below a path, in the order of their names.
    pub(crate) fn below<'a>(&'a self, path: &Path) -> impl Iterator<Item = &'a Machine> + use<'a> {
        let machine = |id| self.machines.get(id);
        self.names.below(path).into_iter().filter_map(machine)
    }

    /// The limits at `path` and at every delegation below it that is remembered, and valid or in
    /// use, outermost first. `links` are the delegations of the requester's chain. Empty when
    /// there is no such delegation.
    pub fn quota(&self, links: &[Link], path: &Path) -> Vec<QuotaRow> {
        let mut rows = Vec::new();
        let Ok(chain) = self.delegations.chain_to(links, path) else {
            return rows;
        };
        let own = chain.last();
        let bounds = match own {
            Some(link) => self.bounds_of(link, path.labels()),
            None => self.host_bounds(),
        };
        rows.push(self.row(path, &bounds));
        self.rows_below(own, path, &mut rows);
        rows
    }

    /// The revocation list of the issuer with this key that is in force.
    pub fn list_in_force(&self, issuer: &Digest) -> Option<&RevocationList> {
        self.revocations.of_issuer(issuer).map(AsRef::as_ref)
    }

    /// The numbers of all image files that there are to be, parts of images included: after a
    /// restart those that restored machines need.
    pub fn images(&self) -> impl Iterator<Item = ImageId> {
        self.images.ids()
    }

    /// Whether a list that has been verified would be taken.
    ///
    /// # Errors
    /// Why not.
    pub fn judge_list(&self, list: &RevocationList) -> Result<(), NotTaken> {
        self.revocations.judge(list)
    }

    /// What is reserved at and below `path`.
    pub fn usage(&self, path: &Path) -> Amount {
        self.ledger.used(path.labels())
    }

    /// Bytes of cached images at and below `path`, uploads under way included.
    pub fn image_room(&self, path: &Path) -> u64 {
        self.images.room(path.labels()).bytes
    }

    fn rows_below(&self, own: Option<&Link>, path: &Path, rows: &mut Vec<QuotaRow>) {
        let now_s = self.latest.unix_s();
        for (here, link) in self.delegations.children(own, path) {
            let Validity { not_after, .. } = link.validity;
            if now_s <= not_after || self.usage(&here) != Amount::default() {
                rows.push(self.row(&here, &self.bounds_of(link, here.labels())));
            }
            self.rows_below(Some(link), &here, rows);
        }
    }

    fn row(&self, path: &Path, bounds: &Bounds<'_>) -> QuotaRow {
        let used = self.usage(path);
        QuotaRow {
            path: path.clone(),
            machines: Used { limit: bounds.machines, used: used.machines.into() },
            memory_mib: Used { limit: bounds.memory_mib, used: used.memory_mib },
            // Nothing takes storage until there are volumes and kept images.
            storage_mib: Used { limit: bounds.storage_mib, used: 0 },
            cpus: bounds.cpus.clone(),
            bridges: bounds.bridges.names().unwrap_or_default(),
        }
    }

    fn view<'a>(&'a self, machine: &'a Machine) -> View<'a> {
        View {
            name: &machine.name,
            id: machine.id,
            run: machine.run,
            state: machine.state(),
            spec: &machine.spec,
            interfaces: &machine.interfaces,
            pid: machine.pid,
            started_unix_ms: machine.started_unix_ms,
            restarts: machine.restarts,
            exit: machine.exit,
            reason: machine.reason.as_deref(),
            output_end: machine.output_end,
            over_quota: self.is_over_quota(machine),
            successor: machine.successor(),
            former: machine.former(),
        }
    }
}
