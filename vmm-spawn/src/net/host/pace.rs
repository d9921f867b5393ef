//! When host networks are looked at again: soon where something is undone, less and less soon while
//! it stays so, and now and then while there are any, as others may change what they need: sooner when
//! they are known to have changed something.

use std::time::{Duration, Instant};

/// How long until something is tried again that could not be done, such as an uplink that is not
/// there yet.
pub const AGAIN: Duration = Duration::from_secs(5);

/// How long until all of it is looked at again when nothing is wrong, and the longest that something
/// waits that is.
pub const LOOK: Duration = Duration::from_mins(1);

/// What there is to come back for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing: there are no host networks.
    Nothing,
    /// They are as they should be.
    Right,
    /// Something is undone, and was not before.
    Wrong,
    /// The same is undone as before.
    StillWrong,
}

/// When it is time.
#[derive(Debug, Default)]
pub struct Pace {
    pause: Duration,
    last: Option<Instant>,
    next: Option<Instant>,
}

impl Pace {
    /// When it is.
    pub const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Somebody has changed something that may be needed. Whoever does that all the time gets an answer
    /// now and then.
    pub fn hurry(&mut self, now: Instant) {
        let soon = self.last.map_or(now, |last| now.max(last + AGAIN));
        self.next = self.next.map(|next| next.min(soon));
    }

    /// Work was done, and this came of it.
    pub fn after(&mut self, state: State, now: Instant) {
        self.last = Some(now);
        self.pause = match state {
            State::Nothing => {
                self.next = None;
                return;
            }
            State::Right => LOOK,
            State::Wrong => AGAIN,
            State::StillWrong => (2 * self.pause).clamp(AGAIN, LOOK),
        };
        self.next = Some(now + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_wrong_is_tried_less_and_less_often_and_what_is_new_soon() {
        let (now, mut pace) = (Instant::now(), Pace::default());
        for (state, seconds) in [
            (State::Wrong, Some(5)),
            (State::StillWrong, Some(10)),
            (State::StillWrong, Some(20)),
            (State::StillWrong, Some(40)),
            (State::StillWrong, Some(60)),
            (State::StillWrong, Some(60)),
            (State::Wrong, Some(5)),
            (State::Right, Some(60)),
            (State::Wrong, Some(5)),
            (State::Nothing, None),
        ] {
            pace.after(state, now);
            assert_eq!(pace.next(), seconds.map(|it| now + Duration::from_secs(it)), "{state:?}");
        }
    }

    #[test]
    fn what_somebody_has_changed_is_looked_at_at_once_but_not_all_the_time() {
        let (begin, mut pace) = (Instant::now(), Pace::default());
        let after = |seconds| begin + Duration::from_secs(seconds);
        pace.hurry(begin);
        assert_eq!(pace.next(), None, "there is nothing to look at");
        pace.after(State::Right, begin);
        pace.hurry(after(30));
        assert_eq!(pace.next(), Some(after(30)));
        pace.after(State::Right, after(30));
        pace.hurry(after(31));
        assert_eq!(pace.next(), Some(after(35)));
        pace.hurry(after(34));
        assert_eq!(pace.next(), Some(after(35)));
        pace.after(State::Nothing, after(35));
        pace.hurry(after(36));
        assert_eq!(pace.next(), None);
    }
}
