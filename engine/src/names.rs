//! The names of listed machines: found at once, and walked in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use vmm_proto::id::MachineId;
use vmm_proto::name::{Label, MachineName, Path};

/// Which machine has which name.
///
/// A path is found by its labels, so that it takes as long among many as among few; what is below
/// it is found from there, in the order of its labels.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<Path, Place>);

/// What has a name at one path.
#[derive(Debug, Default)]
struct Place {
    machines: BTreeMap<Label, MachineId>,
    /// The labels of the paths right below it at or below which there is a machine.
    below: BTreeSet<Label>,
}

impl Names {
    /// The machine of that name.
    pub(crate) fn get(&self, name: &MachineName) -> Option<MachineId> {
        self.0.get(name.path.labels())?.machines.get(&name.label).copied()
    }

    /// Gives a machine its name.
    pub(crate) fn insert(&mut self, name: MachineName, id: MachineId) {
        let MachineName { path, label } = name;
        if let Some(place) = self.0.get_mut(path.labels()) {
            place.machines.insert(label, id);
            return;
        }
        let place = Place { machines: BTreeMap::from([(label, id)]), below: BTreeSet::new() };
        self.0.insert(path.clone(), place);
        for (depth, below) in path.labels().iter().enumerate().rev() {
            let above = path.ancestor(depth);
            let known = self.0.contains_key(&above);
            self.0.entry(above).or_default().below.insert(below.clone());
            if known {
                return;
            }
        }
    }

    /// Takes a machine's name away.
    pub(crate) fn remove(&mut self, name: &MachineName) {
        let mut labels = name.path.labels();
        let Some(place) = self.0.get_mut(labels) else { return };
        place.machines.remove(&name.label);
        while self.0.get(labels).is_some_and(Place::is_empty) {
            self.0.remove(labels);
            let Some((last, above)) = labels.split_last() else { return };
            if let Some(place) = self.0.get_mut(above) {
                place.below.remove(last);
            }
            labels = above;
        }
    }

    /// The machines at and below a path: those at a path first, then those below it, each in the
    /// order of their labels.
    pub(crate) fn below(&self, path: &Path) -> Vec<MachineId> {
        let mut found = Vec::new();
        self.walk(&mut path.labels().to_vec(), &mut found);
        found
    }

    fn walk(&self, labels: &mut Vec<Label>, found: &mut Vec<MachineId>) {
        let Some(place) = self.0.get(labels.as_slice()) else { return };
        found.extend(place.machines.values());
        for label in &place.below {
            labels.push(label.clone());
            self.walk(labels, found);
            labels.pop();
        }
    }
}

impl Place {
    fn is_empty(&self) -> bool {
        self.machines.is_empty() && self.below.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MachineName {
        MachineName::parse(text).expect("a name")
    }

    #[test]
    fn machines_are_walked_in_the_order_of_their_names_and_leave_nothing() {
        let all = ["m", "a", "a/m", "a/x/z/m", "a/x/m", "b/y/m", "a-b/m"];
        let mut names = Names::default();
        for (number, text) in (0_u8..).zip(all) {
            names.insert(name(text), MachineId([number; 16]));
        }
        let mut sorted: Vec<MachineName> = all.map(name).to_vec();
        sorted.sort_unstable();
        let expected: Vec<_> = sorted.iter().filter_map(|name| names.get(name)).collect();
        assert_eq!(names.below(&Path::host()), expected);
        assert_eq!(names.below(&name("a/m").path).len(), 3);
        assert_eq!(names.below(&name("b/m").path).len(), 1);
        assert_eq!(names.get(&name("b/m")), None);
        for text in all {
            names.remove(&name(text));
            assert_eq!(names.get(&name(text)), None);
        }
        assert!(names.0.is_empty());
    }
}
