//! Which machines see each other: those below the same top-level delegation.

use std::collections::BTreeMap;

use vmm_proto::name::Label;

/// A small number for each top-level delegation with interfaces in a group; machines that are below
/// none have one together.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<Option<Label>, Group>);

#[derive(Debug)]
struct Group {
    number: u32,
    interfaces: u32,
}

impl Groups {
    /// The number that a top-level delegation has, or would get: the lowest free one.
    pub(super) fn number(&self, top: Option<&Label>) -> u32 {
        if let Some(group) = self.0.get(&top.cloned()) {
            return group.number;
        }
        let mut taken: Vec<u32> = self.0.values().map(|group| group.number).collect();
        taken.sort_unstable();
        // As long as the n-th lowest is n, that one is taken.
        (0..)
            .zip(taken)
            .find(|(number, taken)| number != taken)
            .map_or_else(|| u32::try_from(self.0.len()).unwrap_or(u32::MAX), |(number, _)| number)
    }

    /// One interface more has this number.
    pub(super) fn take(&mut self, top: Option<&Label>, number: u32) {
        let new = Group { number, interfaces: 0 };
        self.0.entry(top.cloned()).or_insert(new).interfaces += 1;
    }

    /// One interface less has the number.
    pub(super) fn release(&mut self, top: Option<&Label>) {
        let top = top.cloned();
        let Some(group) = self.0.get_mut(&top) else { return };
        group.interfaces -= 1;
        if group.interfaces == 0 {
            self.0.remove(&top);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_low_and_stay_as_long_as_somebody_has_them() {
        let mut groups = Groups::default();
        let top = |text: &str| Some(text.parse::<Label>().unwrap());
        for (number, label) in [(0, None), (1, top("a")), (2, top("b"))] {
            assert_eq!(groups.number(label.as_ref()), number);
            groups.take(label.as_ref(), number);
        }
        groups.take(top("a").as_ref(), 1);
        groups.release(top("a").as_ref());
        assert_eq!(groups.number(top("a").as_ref()), 1);
        assert_eq!(groups.number(top("c").as_ref()), 3);
        groups.release(top("a").as_ref());
        assert_eq!(groups.number(top("c").as_ref()), 1);
        assert_eq!(groups.number(top("b").as_ref()), 2);
    }
}
