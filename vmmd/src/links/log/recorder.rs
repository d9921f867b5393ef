//! Taking entries from everyone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vmm_proto::message::client::{Error, ErrorCode};

use super::entry::Entry;
use super::outbox::Outbox;
use crate::core::Core;

/// Refusals that are recorded one by one each second, of strangers and of each top-level
/// delegation; more are summed.
const REFUSALS: u32 = 20;

/// How long a second is.
const SECOND: Duration = Duration::from_secs(1);

/// Takes entries from everyone, and passes them on to the core, which numbers and keeps them.
#[derive(Clone)]
pub(crate) struct Recorder {
    core: Core,
    outbox: Outbox,
    refusals: Arc<Mutex<Refusals>>,
}

impl Recorder {
    /// One for a core and the outbox that it fills.
    pub(crate) fn new(core: Core, outbox: Outbox) -> Self {
        Self { core, outbox, refusals: Arc::default() }
    }

    /// Records something. A refusal may be summed with others.
    pub(crate) fn record(&self, entry: Entry) {
        if self.admits(&entry) {
            self.core.record(entry);
        }
    }

    /// Whether an entry is recorded by itself: a refusal may be one too many.
    pub(crate) fn admits(&self, entry: &Entry) -> bool {
        entry.kind != "refused" || self.refusals().fits(&entry.path, self.outbox.is_full())
    }

    /// Whether there is room for what a request would do.
    ///
    /// # Errors
    /// When too much waits for `vmm-log`.
    pub(crate) fn check_room(&self) -> Result<(), Error> {
        if !self.outbox.is_full() {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::Unavailable,
            "nothing is changed while 64 MiB of events wait for vmm-log; the host's admin has to \
             see to it",
        ))
    }

    /// Waits until everything recorded so far is on `vmm-log`'s disk.
    pub(crate) async fn flushed(&self) {
        if let Some(last) = self.core.flush().await {
            self.outbox.wait_for(last).await;
        }
    }

    /// Records each second the sums of what the last one had no room for, for ever.
    pub(crate) async fn sum_up(self) {
        loop {
            tokio::time::sleep(SECOND).await;
            let sums = self.refusals().next_second();
            for (path, count) in sums {
                self.core.record(Entry::of("refused-more", path).with("count", count));
            }
        }
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this second has had of refusals, by top-level delegation; strangers' have the empty name.
/// There are never more of these than refusals in a second.
#[derive(Debug, Default)]
struct Refusals(BTreeMap<String, Count>);

#[derive(Debug, Default)]
struct Count {
    recorded: u32,
    summed: u64,
}

impl Refusals {
    /// Whether there is room for one more below `path`; it is counted either way.
    fn fits(&mut self, path: &str, full: bool) -> bool {
        let top = path.split('/').next().unwrap_or_default();
        if !self.0.contains_key(top) {
            self.0.insert(top.to_owned(), Count::default());
        }
        let Some(count) = self.0.get_mut(top) else { return false };
        let fits = count.recorded < REFUSALS && !full;
        if fits {
            count.recorded += 1;
        } else {
            count.summed += 1;
        }
        fits
    }

    /// Begins the next second; returns what this one had no room for.
    fn next_second(&mut self) -> Vec<(String, u64)> {
        let sums = std::mem::take(&mut self.0).into_iter().map(|(top, count)| (top, count.summed));
        sums.filter(|(_, summed)| *summed > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noisy_tenant_is_summed_and_nobody_else_is() {
        let mut refusals = Refusals::default();
        let fitting = |refusals: &mut Refusals, path: &str, of: u32| {
            (0..of).filter(|_| refusals.fits(path, false)).count()
        };
        assert_eq!(fitting(&mut refusals, "noisy", 15), 15);
        assert_eq!(fitting(&mut refusals, "noisy/below", 15), 5);
        assert_eq!(fitting(&mut refusals, "quiet", 3), 3);
        assert_eq!(fitting(&mut refusals, "", 20), 20);
        assert!(!refusals.fits("late", true), "no room for any");
        let sums = [("late".to_owned(), 1), ("noisy".to_owned(), 10)];
        assert_eq!(refusals.next_second(), sums);
        assert_eq!(refusals.next_second(), []);
        assert!(refusals.fits("noisy", false), "another second");
    }
}
