//! What the kernel says of one process.

use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use vmm_proto::message::{Sample, Traffic};

/// Bytes of `/proc/PID/stat` that are read: the name in it has at most 64, and 52 numbers of at most
/// 20 digits follow.
const LONGEST: u64 = 2048;

/// A look at a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// When it began, in clock ticks after boot: with the pid, this names one process for ever.
    pub started: u64,
    /// What it has used so far.
    pub sample: Sample,
    /// What its network interfaces have carried so far, in their order; none for one that is not
    /// there.
    pub traffic: Vec<Option<Traffic>>,
}

/// What a line of `/proc/PID/stat` says, in the kernel's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatLine {
    /// The state letter; `Z` and `X` are ended.
    pub state: u8,
    /// Page faults served without I/O.
    pub minor_faults: u64,
    /// Page faults that needed I/O.
    pub major_faults: u64,
    /// Time in user mode, in clock ticks.
    pub user: u64,
    /// Time in the kernel, in clock ticks.
    pub system: u64,
    /// Start, in clock ticks after boot.
    pub started: u64,
    /// Resident pages.
    pub resident: u64,
}

/// Why there is no reading.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// the process has ended
    #[error("the process has ended")]
    Ended,
    /// {0}
    #[error("{0}")]
    Io(std::io::Error),
    /// /proc/{0}/stat is not what this version understands
    #[error("/proc/{0}/stat is not what this version understands")]
    Unreadable(u32),
}

impl StatLine {
    /// Parses a line; `None` when it isn't one.
    ///
    /// The second field is the name of the program in parentheses, which may itself hold spaces,
    /// parentheses and line breaks: so counting begins after the last closing parenthesis.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let name_end = line.iter().rposition(|&byte| byte == b')')?;
        let mut fields = [&[][..]; 22];
        let mut rest =
            line[name_end + 1..].split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        for field in &mut fields {
            *field = rest.next()?;
        }
        // Field 3 of proc(5) stands first here.
        let number = |field: usize| -> Option<u64> {
            std::str::from_utf8(fields[field - 3]).ok()?.parse().ok()
        };
        let [state] = *fields[0] else { return None };
        Some(Self {
            state,
            minor_faults: number(10)?,
            major_faults: number(12)?,
            user: number(14)?,
            system: number(15)?,
            started: number(22)?,
            resident: number(24)?,
        })
    }
}

/// Looks at a process, not at its network interfaces.
///
/// # Errors
/// [`ReadingError::Ended`] also for a process that has ended and was not waited for yet: its memory
/// is gone, and its parent reports what it used in all.
pub fn read(pid: u32) -> Result<Reading, ReadingError> {
    let line = read_line(pid).map_err(|error| match error.raw_os_error() {
        // ESRCH: it ended between open and read.
        Some(code) if code == rustix::io::Errno::SRCH.raw_os_error() => ReadingError::Ended,
        _ if error.kind() == std::io::ErrorKind::NotFound => ReadingError::Ended,
        _ => ReadingError::Io(error),
    })?;
    let stat = StatLine::parse(&line).ok_or(ReadingError::Unreadable(pid))?;
    if matches!(stat.state, b'Z' | b'X' | b'x') {
        return Err(ReadingError::Ended);
    }
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let sample = Sample {
        time_ms: now_ms(),
        user_us: microseconds(stat.user, rustix::param::clock_ticks_per_second()),
        system_us: microseconds(stat.system, rustix::param::clock_ticks_per_second()),
        resident: stat.resident.saturating_mul(page),
        minor_faults: stat.minor_faults,
        major_faults: stat.major_faults,
    };
    Ok(Reading { started: stat.started, sample, traffic: Vec::new() })
}

fn read_line(pid: u32) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(512);
    std::fs::File::open(format!("/proc/{pid}/stat"))?.take(LONGEST).read_to_end(&mut line)?;
    Ok(line)
}

/// Clock ticks as microseconds.
fn microseconds(ticks: u64, per_second: u64) -> u64 {
    let exact = u128::from(ticks) * 1_000_000 / u128::from(per_second.max(1));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// Now, in Unix milliseconds.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(name: &str) -> Vec<u8> {
        format!(
            "4242 ({name}) S 1 4242 4242 0 -1 4194560 11 12 13 14 15 16 17 18 20 0 1 0 19 20000 \
             21 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        )
        .into_bytes()
    }

    #[test]
    fn a_name_may_look_like_the_fields_around_it() {
        let plain = StatLine::parse(&line("tender")).unwrap();
        let expected = StatLine {
            state: b'S',
            minor_faults: 11,
            major_faults: 13,
            user: 15,
            system: 16,
            started: 19,
            resident: 21,
        };
        assert_eq!(plain, expected);
        for name in ["a b", "a) S 1 2 (b", ")))", "((", "", "\n) R 0 0"] {
            assert_eq!(StatLine::parse(&line(name)), Some(plain), "{name:?}");
        }
    }

    #[test]
    fn a_line_that_ends_early_is_not_a_line() {
        let whole = line("tender");
        let after_resident = whole.windows(4).position(|four| four == b" 21 ").unwrap() + 3;
        for cut in 0..after_resident - 2 {
            assert_eq!(StatLine::parse(&whole[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn ticks_become_microseconds_whatever_their_number() {
        assert_eq!(microseconds(150, 100), 1_500_000);
        assert_eq!(microseconds(1, 1024), 976);
        assert_eq!(microseconds(u64::MAX, 100), u64::MAX);
        assert_eq!(microseconds(7, 0), 7_000_000);
    }

    #[test]
    fn the_own_process_has_memory_and_page_faults() {
        let own = read(std::process::id()).unwrap();
        assert!(own.sample.resident > 100 << 10, "{own:?}");
        assert!(own.sample.minor_faults > 0, "{own:?}");
        assert!(own.sample.time_ms > 1_600_000_000_000, "{own:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = StatLine::parse(&bytes);
        }

        #[test]
        fn no_change_of_a_line_makes_the_parser_panic(
            at in 0..100usize,
            bytes in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            let mut changed = line("tender (x)");
            let end = (at + bytes.len()).min(changed.len());
            changed.splice(at..end.max(at), bytes);
            let _ = StatLine::parse(&changed);
        }
    }
}
