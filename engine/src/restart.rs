//! Whether and when a machine that ended by itself is started again.

use vmm_proto::resource::Restart;

use crate::event::Exit;

/// The first restart in a row comes after so long; each further one after twice the time.
pub const BACKOFF_BASE_MS: u64 = 100;

/// No restart waits longer, jitter apart.
pub const BACKOFF_CAP_MS: u64 = 60_000;

/// No restart waits longer, jitter included.
pub(crate) const LONGEST_WAIT_MS: u64 = BACKOFF_CAP_MS / 4 * 5;

/// A machine that ran so long was healthy: the next restart is the first in a row again.
pub const HEALTHY_MS: u64 = 10_000;

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// The guest ran.
    Exit(Exit),
    /// It did not get that far.
    NotStarted,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    /// Start it again.
    Again {
        /// after so long
        delay_ms: u64,
        /// how many restarts in a row that makes
        attempt: u32,
    },
    /// Leave it.
    Stay {
        /// why, if the policy would have started it again but for its limit
        reason: Option<String>,
    },
}

/// Judges the end of a run that came after `in_a_row` restarts.
pub(crate) fn judge(policy: &Restart, end: End, in_a_row: u32, jitter: u32) -> Verdict {
    let again = Verdict::Again {
        delay_ms: delay_ms(in_a_row, jitter),
        attempt: in_a_row.saturating_add(1),
    };
    match policy {
        Restart::Never => Verdict::Stay { reason: None },
        Restart::Always => again,
        Restart::OnFailure { codes, limit } => {
            if !is_failure(codes, end) {
                Verdict::Stay { reason: None }
            } else if *limit != 0 && in_a_row >= u32::from(*limit) {
                let reason = format!("not restarted: {limit} restarts in a row are the limit");
                Verdict::Stay { reason: Some(reason) }
            } else {
                again
            }
        }
    }
}

/// Whether a run failed; `codes` are the exit codes that say so, none of them for all but 0.
pub(crate) fn is_failure(codes: &[u8], end: End) -> bool {
    match end {
        End::Exit(Exit::Code(code)) if codes.is_empty() => code != 0,
        End::Exit(Exit::Code(code)) => codes.contains(&code),
        End::Exit(Exit::Signal(_) | Exit::OutOfMemory | Exit::Unknown) | End::NotStarted => true,
    }
}

/// Doubling from the base to the cap, and up to a quarter more, so that machines that fell
/// together do not get up together.
fn delay_ms(in_a_row: u32, jitter: u32) -> u64 {
    let doublings = in_a_row.min(BACKOFF_CAP_MS.ilog2());
    let delay = (BACKOFF_BASE_MS << doublings).min(BACKOFF_CAP_MS);
    delay + ((delay / 4 * u64::from(jitter)) >> u32::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_jitter_adds_less_than_a_quarter() {
        let waits: Vec<u64> = (0..12).map(|row| delay_ms(row, 0)).collect();
        let expected =
            [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000].to_vec();
        assert_eq!(waits, expected);
        assert_eq!(delay_ms(u32::MAX, 0), 60_000);
        assert_eq!(delay_ms(u32::MAX, u32::MAX), 74_999);
        assert_eq!(delay_ms(0, u32::MAX), 124);
    }

    #[test]
    fn only_failures_are_restarted_on_failure() {
        let some = Restart::on_failure(vec![3, 0], 0).unwrap();
        let any = Restart::on_failure(vec![], 0).unwrap();
        let again = |policy: &Restart, end| {
            matches!(judge(policy, end, 0, 0), Verdict::Again { attempt: 1, .. })
        };
        for (end, by_some, by_any) in [
            (End::Exit(Exit::Code(0)), true, false),
            (End::Exit(Exit::Code(3)), true, true),
            (End::Exit(Exit::Code(4)), false, true),
            (End::Exit(Exit::Signal(9)), true, true),
            (End::Exit(Exit::OutOfMemory), true, true),
            (End::Exit(Exit::Unknown), true, true),
            (End::NotStarted, true, true),
        ] {
            assert_eq!(again(&some, end), by_some, "{end:?}");
            assert_eq!(again(&any, end), by_any, "{end:?}");
            assert!(again(&Restart::Always, end), "{end:?}");
            assert!(!again(&Restart::Never, end), "{end:?}");
        }
    }

    #[test]
    fn the_limit_counts_restarts_in_a_row() {
        let twice = Restart::on_failure(vec![], 2).unwrap();
        let at = |row| judge(&twice, End::NotStarted, row, 0);
        assert!(matches!(at(1), Verdict::Again { attempt: 2, .. }));
        assert!(matches!(at(2), Verdict::Stay { reason: Some(_) }));
    }
}
