//! Budgets that fill up again over time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much there is at once, and in which time it comes back when all of it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) most: u32,
    pub(crate) per: Duration,
}

impl Rate {
    /// How long it takes until `amount` has come back.
    fn time_of(self, amount: u32) -> Duration {
        self.per.mul_f64(f64::from(amount) / f64::from(self.most))
    }
}

/// What has been taken, under some keys. What has come back takes no room.
#[derive(Debug)]
pub(crate) struct Budget<K> {
    /// When all of it will have come back.
    whole_at: Mutex<HashMap<K, Instant>>,
}

impl<K> Default for Budget<K> {
    fn default() -> Self {
        Self { whole_at: Mutex::default() }
    }
}

/// A budget that is used up for now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spent<K> {
    /// Whose it is.
    pub(crate) of: K,
    pub(crate) rate: Rate,
    /// When there will be enough, if nobody takes more meanwhile.
    pub(crate) wait: Duration,
}

impl<K: Eq + Hash + Clone> Budget<K> {
    /// Takes `amount` under every key, or nothing.
    ///
    /// # Errors
    /// The key that has to wait longest.
    pub(crate) fn take(
        &self,
        now: Instant,
        amount: u32,
        keys: impl IntoIterator<Item = (K, Rate)>,
    ) -> Result<(), Spent<K>> {
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        whole_at.retain(|_, whole_at| *whole_at > now);
        let mut after = Vec::new();
        let mut spent: Option<Spent<K>> = None;
        for (of, rate) in keys {
            let missing = whole_at.get(&of).map_or(Duration::ZERO, |whole_at| *whole_at - now);
            let missing = missing + rate.time_of(amount);
            let wait = missing.saturating_sub(rate.per);
            if wait > spent.as_ref().map_or(Duration::ZERO, |spent| spent.wait) {
                spent = Some(Spent { of: of.clone(), rate, wait });
            }
            after.push((of, now + missing));
        }
        if let Some(spent) = spent {
            return Err(spent);
        }
        whole_at.extend(after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: Rate = Rate { most: 100, per: Duration::from_secs(100) };

    #[test]
    fn a_budget_comes_back_with_time_and_never_has_more_than_all_of_it() {
        let (budget, start) = (Budget::default(), Instant::now());
        let take = |second: u32, amount| {
            let done = budget.take(start + SECOND * second, amount, [("dev", RATE)]);
            done.map_err(|spent| spent.wait)
        };
        assert_eq!(take(0, 100), Ok(()));
        assert_eq!(take(0, 30), Err(30 * SECOND));
        assert_eq!(take(29, 30), Err(SECOND));
        assert_eq!(take(30, 30), Ok(()));
        assert_eq!(take(1000, 100), Ok(()));
        assert_eq!(take(1000, 1), Err(SECOND));
    }

    #[test]
    fn one_key_without_enough_takes_nothing_of_the_others_and_what_is_whole_is_forgotten() {
        let (budget, now) = (Budget::default(), Instant::now());
        let host = Rate { most: 1000, ..RATE };
        budget.take(now, 90, [("dev", RATE), ("host", host)]).unwrap();
        let spent = budget.take(now, 20, [("host", host), ("dev", RATE)]).unwrap_err();
        assert_eq!(spent, Spent { of: "dev", rate: RATE, wait: 10 * SECOND });
        budget.take(now, 910, [("host", host)]).unwrap();
        assert_eq!(budget.take(now + 99 * SECOND, 0, []), Ok(()));
        assert_eq!(budget.whole_at.lock().unwrap().len(), 1);
        assert_eq!(budget.take(now + 100 * SECOND, 0, []), Ok(()));
        assert!(budget.whole_at.lock().unwrap().is_empty());
    }
}
