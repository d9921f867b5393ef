//! What has to be looked at when.

use std::collections::BTreeSet;
use std::time::Instant;

/// Moments, each with the number of what is to be looked at then. To look once more than needed
/// does no harm, so that nothing is ever taken out before its time.
#[derive(Debug, Default)]
pub struct Timers {
    all: BTreeSet<(Instant, u64)>,
}

impl Timers {
    /// Looks at `number` again at `at`.
    pub fn set(&mut self, at: Instant, number: u64) {
        self.all.insert((at, number));
    }

    /// The next moment.
    pub fn next(&self) -> Option<Instant> {
        self.all.first().map(|&(at, _)| at)
    }

    /// What is due now.
    pub fn due(&mut self, now: Instant) -> Vec<u64> {
        let later = self.all.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut self.all, later);
        due.into_iter().map(|(_, number)| number).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_is_due_once_at_its_time_and_in_order() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut timers = Timers::default();
        for (second, number) in [(3, 1), (1, 2), (2, 3), (1, 4), (2, 3)] {
            timers.set(at(second), number);
        }
        assert!(timers.due(begin).is_empty());
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.due(at(2)), [2, 4, 3]);
        assert!(timers.due(at(2)).is_empty());
        assert_eq!(timers.due(at(9)), [1]);
        assert_eq!(timers.next(), None);
    }
}
