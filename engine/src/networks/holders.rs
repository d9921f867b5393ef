//! Who has what on one bridge.

use std::collections::BTreeMap;

use vmm_proto::name::MachineName;

use super::numbers::Span;

/// A name, and how many machines of that name have the same: a machine, the one that waits to take
/// its place, and the one that may come back. No two of them run at the same time.
#[derive(Debug)]
struct Holder {
    name: MachineName,
    machines: u32,
}

/// What is held, each by one name.
#[derive(Debug)]
pub(super) struct Holders<K>(BTreeMap<K, Holder>);

impl<K> Default for Holders<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Holders<K> {
    /// Whose it is.
    pub(super) fn holder(&self, key: &K) -> Option<&MachineName> {
        self.0.get(key).map(|holder| &holder.name)
    }

    /// A machine of that name has it. Returns whether nobody had it before. What another name has
    /// stays with it.
    pub(super) fn take(&mut self, key: K, name: &MachineName) -> bool {
        if let Some(holder) = self.0.get_mut(&key) {
            if holder.name == *name {
                holder.machines += 1;
            }
            return false;
        }
        self.0.insert(key, Holder { name: name.clone(), machines: 1 });
        true
    }

    /// One machine of that name less has it. Returns whether nobody has it any more.
    pub(super) fn release(&mut self, key: &K, name: &MachineName) -> bool {
        let Some(holder) = self.0.get_mut(key).filter(|holder| holder.name == *name) else {
            return false;
        };
        holder.machines -= 1;
        let free = holder.machines == 0;
        if free {
            self.0.remove(key);
        }
        free
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The addresses of one family that are held on a bridge.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    holders: Holders<u128>,
    /// The same without their holders, neighbours in one: from the first of them to the last.
    runs: BTreeMap<u128, u128>,
}

impl Addresses {
    /// Whose it is.
    pub(super) fn holder(&self, number: u128) -> Option<&MachineName> {
        self.holders.holder(&number)
    }

    /// See [`Holders::take`].
    pub(super) fn take(&mut self, number: u128, name: &MachineName) {
        if !self.holders.take(number, name) {
            return;
        }
        let before = number.checked_sub(1).and_then(|before| self.run_of(before));
        let after = number.checked_add(1).and_then(|after| self.runs.remove(&after));
        let first = before.map_or(number, |run| run.first);
        self.runs.insert(first, after.unwrap_or(number));
    }

    /// See [`Holders::release`].
    pub(super) fn release(&mut self, number: u128, name: &MachineName) {
        if !self.holders.release(&number, name) {
            return;
        }
        let Some(Span { first, last }) = self.run_of(number) else { return };
        self.runs.remove(&first);
        if let Some(before) = number.checked_sub(1).filter(|before| first <= *before) {
            self.runs.insert(first, before);
        }
        if let Some(after) = number.checked_add(1).filter(|after| *after <= last) {
            self.runs.insert(after, last);
        }
    }

    /// The held neighbours among which this one is.
    fn run_of(&self, number: u128) -> Option<Span> {
        let (&first, &last) = self.runs.range(..=number).next_back()?;
        Some(Span { first, last }).filter(|run| run.contains(number))
    }

    /// The lowest address of a span that nobody holds, that is in none of the `closed` spans and
    /// that is not `mine`. The closed ones are in order and do not touch.
    ///
    /// Each step but those over `mine` goes behind a closed span, or behind all neighbours that are
    /// held: so there are at most twice as many as there are closed spans, however many addresses
    /// the span has and however many are held.
    pub(super) fn lowest_free(
        &self,
        span: Span,
        closed: &[Span],
        mine: &dyn Fn(u128) -> bool,
    ) -> Option<u128> {
        let mut at = span.first;
        while at <= span.last {
            let held = self.run_of(at).map(|run| run.last);
            let closed = || closed_at(closed, at).map(|closed| closed.last);
            let mine = || mine(at).then_some(at);
            match held.or_else(closed).or_else(mine) {
                Some(last) => at = last.checked_add(1)?,
                None => return Some(at),
            }
        }
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }
}

/// The one of these spans, which are in order, that contains a number.
pub(super) fn closed_at(closed: &[Span], number: u128) -> Option<Span> {
    let behind = closed.partition_point(|span| span.first <= number);
    closed.get(behind.checked_sub(1)?).copied().filter(|span| span.contains(number))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use super::*;

    fn name(text: &str) -> MachineName {
        MachineName::parse(text).unwrap()
    }

    fn span(first: u128, last: u128) -> Span {
        Span { first, last }
    }

    #[test]
    fn runs_are_the_neighbours_that_are_held_whatever_the_order() {
        let mut addresses = Addresses::default();
        let mut plain: BTreeMap<u128, u32> = BTreeMap::new();
        let mut random = 1_u32;
        for _ in 0..5_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = u128::from(random >> 16) % 40;
            let count = plain.entry(number).or_default();
            if random & 0x8000 == 0 {
                addresses.take(number, &name("a"));
                *count += 1;
            } else {
                addresses.release(number, &name("a"));
                *count = count.saturating_sub(1);
            }
            let mut runs: BTreeMap<u128, u128> = BTreeMap::new();
            for (&held, _) in plain.iter().filter(|(_, count)| **count > 0) {
                match runs.last_entry().filter(|run| *run.get() + 1 == held) {
                    Some(mut run) => *run.get_mut() = held,
                    None => drop(runs.insert(held, held)),
                }
            }
            assert_eq!(addresses.runs, runs);
            let free =
                (5..30).find(|at| plain.get(at).is_none_or(|count| *count == 0) && at % 7 > 1);
            let closed: Vec<_> = (0..6).map(|week| span(7 * week, 7 * week + 1)).collect();
            assert_eq!(addresses.lowest_free(span(5, 29), &closed, &|_| false), free);
        }
    }

    #[test]
    fn a_free_address_is_found_in_a_few_steps_in_the_largest_range() {
        let mut addresses = Addresses::default();
        for number in 0..100_000 {
            addresses.take(number, &name("a"));
        }
        let steps = Cell::new(0);
        let mine = |at| {
            steps.set(steps.get() + 1);
            at == 100_001
        };
        let closed = [span(100_000, 100_000), span(100_002, 1 << 100)];
        let found = addresses.lowest_free(span(1, u128::MAX), &closed, &mine);
        assert_eq!(found, Some((1 << 100) + 1));
        assert!(steps.get() < 10);
        assert_eq!(addresses.lowest_free(span(1, 99_999), &closed, &mine), None);
        addresses.take(u128::MAX, &name("a"));
        assert_eq!(addresses.lowest_free(span(u128::MAX, u128::MAX), &[], &mine), None);
    }

    #[test]
    fn what_another_name_has_is_neither_taken_nor_released() {
        let mut holders = Holders::default();
        assert!(holders.take(1, &name("a")));
        assert!(!holders.take(1, &name("b")) && !holders.release(&1, &name("b")));
        assert_eq!(holders.holder(&1), Some(&name("a")));
        assert!(!holders.take(1, &name("a")) && !holders.release(&1, &name("a")));
        assert!(holders.release(&1, &name("a")));
        assert!(holders.is_empty());
    }
}
