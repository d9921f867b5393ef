//! A range of user ids, as it is named on the command line.

use std::fmt;
use std::str::FromStr;

/// Ids in a range at least: fewer would soon be in use.
const LEAST: u32 = 16;

/// Below this are the users of the system and of people.
const FIRST_POSSIBLE: u32 = 1000;

/// Ids that mean nobody: the kernel shows the first for users that it cannot name, the others are
/// "no id" in 16 and 32 bits.
const NOBODY: [u32; 3] = [65534, 65535, u32::MAX];

/// Where ranges begin without `--uids`: above what systemd, containers and `useradd` give out.
const DEFAULT_FIRST: u32 = 2_000_000_000;

/// Ids in a range without `--uids`.
const DEFAULT_SIZE: u32 = 10_000;

/// How many installations there can be on a host without `--uids`.
const DEFAULT_RANGES: u32 = 1000;

/// User ids, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub(super) first: u32,
    pub(super) last: u32,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| digits)
        };
        let ends = text.split_once('-').and_then(|(a, b)| Some((number(a)?, number(b)?)));
        let Some((first, last)) = ends else {
            return Err("FIRST-LAST is wanted, for instance 200000-209999".to_owned());
        };
        let range = Self { first, last };
        if first < FIRST_POSSIBLE {
            return Err(format!("ids below {FIRST_POSSIBLE} are those of the system's users"));
        }
        if let Some(id) = NOBODY.into_iter().find(|&id| range.contains(id)) {
            return Err(format!("{id} is in the range, and means nobody"));
        }
        if last.checked_sub(first).is_none_or(|more| more < LEAST - 1) {
            return Err(format!("at least {LEAST} ids are needed: each machine that runs has one"));
        }
        Ok(range)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl Range {
    /// The first of its ids.
    pub fn first(self) -> u32 {
        self.first
    }

    /// Whether it has this id.
    pub fn contains(self, id: u32) -> bool {
        (self.first..=self.last).contains(&id)
    }

    /// What is taken without `--uids`: the first of these that no other installation uses.
    pub(super) fn defaults() -> impl Iterator<Item = Self> {
        (0..DEFAULT_RANGES).map(|number| {
            let first = DEFAULT_FIRST + number * DEFAULT_SIZE;
            Self { first, last: first + DEFAULT_SIZE - 1 }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_makes_no_sense_is_refused_with_the_rule() {
        for (text, rule) in [
            ("", "FIRST-LAST is wanted"),
            ("200000", "FIRST-LAST is wanted"),
            ("+200000-300000", "FIRST-LAST is wanted"),
            ("0-99", "ids below 1000"),
            ("65000-66000", "65534 is in the range"),
            ("200000-200014", "at least 16 ids"),
            ("200000-100000", "at least 16 ids"),
            ("200000-4294967295", "4294967295 is in the range"),
            ("200000-4294967296", "FIRST-LAST is wanted"),
        ] {
            let error = text.parse::<Range>().unwrap_err();
            assert!(error.contains(rule), "{text}: {error}");
        }
        let range: Range = "200000-200015".parse().unwrap();
        assert_eq!(range.to_string(), "200000-200015");
        for range in Range::defaults() {
            assert_eq!(range.to_string().parse(), Ok(range));
        }
    }
}
