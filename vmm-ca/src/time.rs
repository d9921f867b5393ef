//! Moments and spans, for people and for certificates.

use std::fmt;

use vmm_proto::authority::Validity;

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// `notBefore` is backdated by so many seconds, for clocks that are behind (certificate profile,
/// "Fields other than the extension").
pub const BACKDATED: i64 = 300;

/// The longest validity that can be asked for, in days: a hundred years.
pub const MAX_DAYS: u32 = 36_500;

/// A moment in Unix seconds, shown as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => write!(f, "{} (Unix seconds)", self.0),
        }
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parses a moment: RFC 3339, a date (its beginning in UTC), or Unix seconds.
///
/// # Errors
/// What was expected.
pub fn parse(text: &str) -> Result<Moment, String> {
    let seconds = || text.parse::<i64>().ok();
    let timestamp = || text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    // A time of day without an offset would be passed over.
    let date = || {
        if text.contains(['T', 't', ' ']) {
            return None;
        }
        let date: jiff::civil::Date = text.parse().ok()?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
    };
    seconds().or_else(timestamp).or_else(date).map(Moment).ok_or_else(|| {
        "expected a moment like 2030-01-31T12:00:00Z, a date like 2030-01-31, or Unix seconds"
            .to_owned()
    })
}

/// The clock's Unix seconds.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// `seconds` from `now` on (backdated), but no longer than `issuer` is valid.
///
/// A certificate that outlives its issuer would only look as if it were good for longer: the
/// chain is valid while all of it is.
pub fn within(issuer: Validity, now: i64, seconds: i64) -> Validity {
    let not_after = now.saturating_add(seconds).min(issuer.not_after);
    Validity { not_before: (now - BACKDATED).min(not_after), not_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_several_ways() {
        for text in
            ["2030-01-01T00:00:00Z", "2030-01-01", "1893456000", "2030-01-01T01:00:00+01:00"]
        {
            assert_eq!(parse(text), Ok(Moment(1_893_456_000)), "{text}");
        }
        for bad in ["", "tomorrow", "2030-13-01", "2030-01-01T00:00:00"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
