//! Which ended machines are listed below each delegation, and which of them has to go first.

use std::collections::BTreeSet;

use vmm_proto::id::MachineId;
use vmm_proto::name::{Label, Path};

use crate::per_path::PerPath;

/// The place of an ended machine in the order in which they are pushed out: older ones first, so
/// that what just ended, by itself or stopped, can still be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) id: MachineId,
}

/// The ended machines at and below each path.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    lists: PerPath<BTreeSet<Place>>,
    sequence: u64,
}

impl Ended {
    /// Lists a machine at `path` that just ended.
    pub(crate) fn add(&mut self, path: &Path, id: MachineId) -> Place {
        self.sequence += 1;
        let place = Place { sequence: self.sequence, id };
        self.lists.change_lineage(path, |list| {
            list.insert(place);
        });
        place
    }

    /// Lists a machine at `path` that ended in the life of a former process, in its place.
    pub(crate) fn restore(&mut self, path: &Path, place: Place) {
        self.sequence = self.sequence.max(place.sequence);
        self.lists.change_lineage(path, |list| {
            list.insert(place);
        });
    }

    /// Takes a machine at `path` off the lists.
    pub(crate) fn remove(&mut self, path: &Path, place: Place) {
        self.lists.change_lineage(path, |list| {
            list.remove(&place);
        });
    }

    /// The machine that has to go so that at most `limit` stay at and below this path.
    pub(crate) fn surplus(&self, labels: &[Label], limit: usize) -> Option<MachineId> {
        let list = self.lists.get(labels)?;
        if list.len() > limit { list.first().map(|place| place.id) } else { None }
    }
}
