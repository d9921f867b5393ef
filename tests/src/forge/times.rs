//! Times, also those that nobody may write.

use super::der;

/// A time as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    tag: u8,
    text: String,
}

impl Time {
    /// `UTCTime`: `YYMMDDhhmmssZ`.
    pub fn utc(text: &str) -> Self {
        Self { tag: der::UTC_TIME, text: text.to_owned() }
    }

    /// `GeneralizedTime`: `YYYYMMDDhhmmssZ`.
    pub fn generalized(text: &str) -> Self {
        Self { tag: der::GENERALIZED_TIME, text: text.to_owned() }
    }

    /// Unix seconds, written as RFC 5280 wants it: `UTCTime` until 2049. From 1950 on.
    pub fn unix(seconds: i64) -> Self {
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Days since 1 March 0000, by years that begin in March: leap days come last.
        let days = days + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
        if year < 2050 {
            Self::utc(&format!("{:02}{rest}", year % 100))
        } else {
            Self::generalized(&format!("{year:04}{rest}"))
        }
    }

    /// As it is written, without its tag.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn element(&self) -> Vec<u8> {
        der::tlv(self.tag, self.text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_5280_wants_them() {
        assert_eq!(Time::unix(0), Time::utc("700101000000Z"));
        assert_eq!(Time::unix(951_782_399), Time::utc("000228235959Z"));
        assert_eq!(Time::unix(951_782_400), Time::utc("000229000000Z"));
        assert_eq!(Time::unix(2_524_607_999), Time::utc("491231235959Z"));
        assert_eq!(Time::unix(2_524_608_000), Time::generalized("20500101000000Z"));
        assert_eq!(Time::unix(253_402_300_799), Time::generalized("99991231235959Z"));
    }
}
