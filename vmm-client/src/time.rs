//! Moments, as people give them and as they are shown.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A moment that someone gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// This one, in Unix milliseconds.
    At(u64),
    /// So many milliseconds ago.
    Ago(u64),
}

impl Since {
    /// Parses RFC 3339, or a number of seconds, minutes, hours or days: `30s`, `10m`, `2h`, `7d`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(ago) = ago(text) {
            return Ok(Self::Ago(ago));
        }
        let wrong = || {
            format!(
                "{text:?} is not a time: give one like 2026-03-01T12:00:00Z, or how long ago \
                 like 30s, 10m, 2h, 7d"
            )
        };
        let timestamp: Timestamp = text.parse().map_err(|_| wrong())?;
        let ms = u64::try_from(timestamp.as_millisecond());
        ms.map(Self::At).map_err(|_| "there was nothing before 1970".to_owned())
    }

    /// In Unix milliseconds.
    pub(crate) const fn unix_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::At(ms) => ms,
            Self::Ago(ms) => now_ms.saturating_sub(ms),
        }
    }
}

fn ago(text: &str) -> Option<u64> {
    let unit_at = text.len().checked_sub(1)?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let unit_ms = match unit {
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    // A sign would parse.
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit_ms)
}

/// The clock, in Unix milliseconds. Before 1970 it is 0, and no certificate is valid then.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The clock, in Unix seconds.
pub(crate) fn now() -> i64 {
    i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX)
}

/// Unix milliseconds as RFC 3339 in UTC.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let timestamp = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // A server may send any number; one past the year 9999 has no such form.
    timestamp.map_or_else(|| format!("{unix_ms} ms"), |timestamp| format!("{timestamp:.3}"))
}

/// Unix seconds as RFC 3339 in UTC. A certificate may say any number.
pub(crate) fn rfc3339_seconds(unix_s: i64) -> String {
    let timestamp = Timestamp::from_second(unix_s).ok();
    timestamp.map_or_else(|| format!("{unix_s} s"), |timestamp| timestamp.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rfc_3339_or_so_long_ago() {
        assert_eq!(Since::parse("1970-01-01T00:00:01.5Z"), Ok(Since::At(1500)));
        assert_eq!(Since::parse("1970-01-01T02:00:00+02:00"), Ok(Since::At(0)));
        assert_eq!(Since::parse("10m"), Ok(Since::Ago(600_000)));
        assert_eq!(Since::parse("2h").map(|since| since.unix_ms(7_200_001)), Ok(1));
        assert_eq!(Since::parse("7d").map(|since| since.unix_ms(5)), Ok(0));
        for bad in [
            "",
            "m",
            "10",
            "-5m",
            "+5m",
            "10w",
            "1.5h",
            "noon",
            "2026-03-01",
            "99999999999999999d",
            "5é",
        ] {
            assert!(Since::parse(bad).is_err(), "{bad}");
        }
        assert!(Since::parse("1969-12-31T23:59:59Z").is_err());
    }

    #[test]
    fn a_moment_is_shown_in_utc_to_the_millisecond() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_767_225_600_042), "2026-01-01T00:00:00.042Z");
        assert_eq!(rfc3339(u64::MAX), "18446744073709551615 ms");
    }
}
