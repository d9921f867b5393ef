//! When host networks are looked at again: soon where something is undone, less and less soon while
//! it stays so, and now and then while there are any, as others may change what they need.

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
    next: Option<Instant>,
}

impl Pace {
    /// When it is.
    pub const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Work was done, and this came of it.
    pub fn after(&mut self, state: State, now: Instant) {
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
}
