//! Waiting for what happens at its own time.

use std::time::{Duration, Instant};

/// How long anything may take that should happen at once, on a machine that is busy with other tests:
/// a minute.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How long it takes until the next look.
const LOOK: Duration = Duration::from_millis(2);

/// Looks until there is something: for what changes without another way to wait for it. `what` names
/// it, for those who read that it did not come.
///
/// # Panics
/// With `what`, where this was called, when nothing was there within [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

#[track_caller]
fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_until_there_is_something() {
        let mut looks = 0;
        let found = until("the third look", || {
            looks += 1;
            (looks == 3).then_some("found")
        });
        assert_eq!((found, looks), ("found", 3));
    }

    #[test]
    #[should_panic(expected = "not within 10ms: the end of the world")]
    fn what_does_not_come_is_named() {
        within(Duration::from_millis(10), "the end of the world", || None::<()>);
    }
}
