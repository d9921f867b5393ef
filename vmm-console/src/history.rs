//! When what was written.

use std::collections::VecDeque;

/// Marks kept of each machine: 16 KiB of them at most.
pub const MARKS: usize = 512;

/// Which bytes of a console were read when.
///
/// Each moment at which something was read is a mark, so the newest bytes have exact times. When
/// there are too many marks, every second one of the older half is merged into the one before: the
/// older, the coarser.
#[derive(Debug, Clone, Default)]
pub struct History {
    marks: VecDeque<Mark>,
}

/// The bytes from here to the next mark.
#[derive(Debug, Clone, Copy)]
struct Mark {
    position: u64,
    /// When the first of them was read, in Unix milliseconds.
    first: u64,
    /// When the last of them was.
    last: u64,
}

impl History {
    /// Notes that the bytes from `position` on were read at `time_ms`, and that those before
    /// `oldest` are not there any more.
    pub fn note(&mut self, position: u64, time_ms: u64, oldest: u64) {
        // A clock that was set back must not put marks out of order.
        let time_ms = self.marks.back().map_or(time_ms, |mark| mark.last.max(time_ms));
        while self.marks.get(1).is_some_and(|second| second.position <= oldest) {
            self.marks.pop_front();
        }
        if self.marks.back().is_some_and(|mark| mark.last == time_ms) {
            return;
        }
        if self.marks.len() == MARKS {
            self.thin();
        }
        self.marks.push_back(Mark { position, first: time_ms, last: time_ms });
    }

    /// Goes on with marks that were kept, of bytes that were written by now: as many of them, from the
    /// first on, as are in order. Not all were kept, so that each stands for everything that was read
    /// before the next, and the last for what was read before `now_ms`.
    pub fn resumed(marks: impl IntoIterator<Item = (u64, u64)>, written: u64, now_ms: u64) -> Self {
        let mut history = Self::default();
        for (position, time_ms) in marks {
            let before = history.marks.back().map_or(0, |mark| mark.position);
            if position < before || position > written {
                break;
            }
            if let Some(last) = history.marks.back_mut() {
                last.last = last.last.max(time_ms.saturating_sub(1));
            }
            history.note(position, time_ms, 0);
        }
        match history.marks.back_mut() {
            Some(last) => last.last = last.last.max(now_ms),
            None => history.note(0, now_ms, 0),
        }
        history
    }

    /// Each mark: a position, and when the byte there was read.
    pub fn marks(&self) -> impl Iterator<Item = (u64, u64)> {
        self.marks.iter().map(|mark| (mark.position, mark.first))
    }

    fn thin(&mut self) {
        let mut merged: VecDeque<Mark> = VecDeque::with_capacity(MARKS);
        for (index, mark) in self.marks.iter().enumerate() {
            match merged.back_mut() {
                Some(before) if index < MARKS / 2 && index % 2 == 1 => before.last = mark.last,
                _ => merged.push_back(*mark),
            }
        }
        self.marks = merged;
    }

    /// When the byte at `position` was read, in Unix milliseconds, and before which position that
    /// holds. A byte of a time that is not remembered counts as the oldest that is.
    pub fn time_at(&self, position: u64) -> (u64, u64) {
        let after = self.marks.partition_point(|mark| mark.position <= position);
        let until = self.marks.get(after.max(1)).map_or(u64::MAX, |mark| mark.position);
        let time = self.marks.get(after.saturating_sub(1)).map_or(0, |mark| mark.first);
        (time, until)
    }

    /// The first byte that was read at or after `time_ms`, or a little before where marks were
    /// merged; `None` when there is none yet.
    pub fn position_at(&self, time_ms: u64) -> Option<u64> {
        let index = self.marks.partition_point(|mark| mark.last < time_ms);
        self.marks.get(index).map(|mark| mark.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_the_time_at_which_it_was_read() {
        let mut history = History::default();
        history.note(0, 100, 0);
        history.note(10, 100, 0);
        history.note(20, 105, 0);
        assert_eq!(history.time_at(0), (100, 20));
        assert_eq!(history.time_at(19), (100, 20));
        assert_eq!(history.time_at(20), (105, u64::MAX));
        assert_eq!(history.position_at(0), Some(0));
        assert_eq!(history.position_at(101), Some(20));
        assert_eq!(history.position_at(105), Some(20));
        assert_eq!(history.position_at(106), None);
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_the_order_alone() {
        let mut history = History::default();
        history.note(0, 100, 0);
        history.note(5, 90, 0);
        history.note(9, 110, 0);
        assert_eq!(history.time_at(5), (100, 9));
        assert_eq!(history.position_at(95), Some(0));
    }

    #[test]
    fn what_is_overwritten_is_forgotten() {
        let mut history = History::default();
        for number in 0..100 {
            history.note(number * 10, number, (number * 10).saturating_sub(50));
        }
        assert!(history.marks.len() <= 7, "{}", history.marks.len());
        assert_eq!(history.time_at(950).0, 95);
        assert_eq!(history.time_at(3).0, history.marks[0].first);
    }

    #[test]
    fn too_many_marks_get_coarser_from_the_oldest_on_and_skip_nothing() {
        let mut history = History::default();
        for number in 0..10_000 {
            history.note(number * 10, 1000 + number, 0);
            assert!(history.marks.len() <= MARKS);
        }
        for number in 9_800..10_000 {
            assert_eq!(history.time_at(number * 10 + 3).0, 1000 + number);
            assert_eq!(history.position_at(1000 + number), Some(number * 10));
        }
        for number in 0..10_000 {
            assert!(history.time_at(number * 10).0 <= 1000 + number);
            assert!(history.position_at(1000 + number).unwrap() <= number * 10);
        }
    }
}
