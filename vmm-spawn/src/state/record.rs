//! What is written down about a run: text, one fact a line, so that a person can read it and a
//! later version can add to it.
//!
//! Each record is complete or not there: it is written beside its place and renamed into it.

use std::fmt::Write;

use vmm_proto::message::Exit;

use crate::jail::Cell;
use crate::machine::{End, Report};
use crate::process::Ended;

/// The first line of every record.
const HEAD: &str = "vmm-spawn 1";

/// The last line of every record.
const TAIL: &str = "end";

/// Bytes of a record at most.
pub const RECORD_MAX: usize = 4096;

/// Why a record says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// it is not one of this version, or not whole
    #[error("it is not a whole record of this version")]
    Frame,
    /// its {0} is missing or makes no sense
    #[error("its {0} is missing or makes no sense")]
    Field(&'static str),
}

/// The last start of a machine, written before its process exists.
///
/// The number of the process is not in it: the process itself writes that ([`crate::birth`]), so
/// that no process can ever be there unnoticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Its number.
    pub run: u64,
    /// The number of the start before, 0 if there was none: what counts if this one never came to
    /// a process.
    pub before: u64,
    /// What of the host it was given.
    pub cell: Cell,
}

impl RunRecord {
    /// As it is kept.
    pub fn encode(&self) -> String {
        let Self { run, before, cell } = self;
        format!("{HEAD}\nrun {run}\nbefore {before}\n{cell}{TAIL}\n")
    }

    /// From what was kept.
    ///
    /// # Errors
    /// It says nothing.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let fields = Fields::of(text)?;
        let (run, before) = (fields.number("run")?, fields.number("before")?);
        if run <= before {
            return Err(RecordError::Field("run"));
        }
        Ok(Self { run, before, cell: Cell::from_record(text) })
    }
}

impl Report {
    /// As it is kept, of exactly [`RECORD_MAX`] bytes: it is written into room that was set aside,
    /// so that a full disk is in nobody's way.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{HEAD}\nrun {}\n", self.run);
        match &self.end {
            End::NotStarted(reason) => {
                let line: String =
                    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                let room = RECORD_MAX - 200;
                let line = &line[..line.floor_char_boundary(room)];
                writeln!(text, "failed {line}").unwrap_or_default();
            }
            End::Exited { ended, output_end } => {
                let Ended { exit, user_us, system_us, max_resident_kib } = ended;
                let exit = match exit {
                    Exit::Code(code) => format!("code {code}"),
                    Exit::Signal(signal) => format!("signal {signal}"),
                    Exit::OutOfMemory => "out-of-memory".to_owned(),
                    Exit::Unknown => "unknown".to_owned(),
                };
                writeln!(
                    text,
                    "exit {exit}\noutput-end {output_end}\nuser-us {user_us}\n\
                     system-us {system_us}\nmax-resident-kib {max_resident_kib}"
                )
                .unwrap_or_default();
            }
        }
        text.push_str(TAIL);
        let mut bytes = text.into_bytes();
        bytes.resize(RECORD_MAX, b'\n');
        bytes
    }

    /// From what was kept.
    ///
    /// # Errors
    /// It says nothing.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let fields = Fields::of(text)?;
        let run = fields.number("run")?;
        if let Ok(reason) = fields.text("failed") {
            return Ok(Self { run, end: End::NotStarted(reason.to_owned()) });
        }
        let ended = Ended {
            exit: exit(fields.text("exit")?).ok_or(RecordError::Field("exit"))?,
            user_us: fields.number("user-us")?,
            system_us: fields.number("system-us")?,
            max_resident_kib: fields.number("max-resident-kib")?,
        };
        Ok(Self { run, end: End::Exited { ended, output_end: fields.number("output-end")? } })
    }
}

fn exit(text: &str) -> Option<Exit> {
    match text.split_once(' ') {
        Some(("code", code)) => code.parse().ok().map(Exit::Code),
        Some(("signal", signal)) => signal.parse().ok().map(Exit::Signal),
        None if text == "out-of-memory" => Some(Exit::OutOfMemory),
        None if text == "unknown" => Some(Exit::Unknown),
        Some(_) | None => None,
    }
}

/// The lines of a record between its first and its last.
struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Result<Self, RecordError> {
        let body = text
            .strip_prefix(HEAD)
            .and_then(|rest| rest.strip_prefix('\n'))
            .and_then(|rest| rest.trim_end_matches('\n').strip_suffix(TAIL))
            .filter(|body| body.is_empty() || body.ends_with('\n'))
            .ok_or(RecordError::Frame)?;
        let split = |line: &'a str| line.split_once(' ').ok_or(RecordError::Frame);
        Ok(Self(body.lines().map(split).collect::<Result<_, _>>()?))
    }

    /// What is said under a name. Names that nobody asks for are those of a later version.
    fn text(&self, name: &'static str) -> Result<&'a str, RecordError> {
        let mut found = self.0.iter().filter(|(field, _)| *field == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(value),
            _ => Err(RecordError::Field(name)),
        }
    }

    fn number(&self, name: &'static str) -> Result<u64, RecordError> {
        self.text(name)?.parse().map_err(|_| RecordError::Field(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunRecord {
        let cgroups = vec!["/sys/fs/cgroup/memory/a b".into(), "/sys/fs/cgroup/pids/a".into()];
        RunRecord {
            run: 7,
            before: 5,
            cell: Cell { user: Some(2_000_000_003), cgroups, set: None, taps: 63 },
        }
    }

    fn reports() -> Vec<Report> {
        let exits = [Exit::Code(3), Exit::Signal(9), Exit::OutOfMemory, Exit::Unknown];
        let ended = |exit| Ended { exit, user_us: 1, system_us: 2, max_resident_kib: u64::MAX };
        let exited = exits.map(|exit| End::Exited { ended: ended(exit), output_end: 12 });
        let failed = End::NotStarted("no image: \"x\"".into());
        exited.into_iter().chain([failed]).map(|end| Report { run: 4, end }).collect()
    }

    #[test]
    fn what_was_written_down_is_read_again() {
        assert_eq!(RunRecord::parse(&run().encode()), Ok(run()));
        for report in reports() {
            let bytes = report.encode();
            assert_eq!(bytes.len(), RECORD_MAX);
            assert_eq!(Report::parse(std::str::from_utf8(&bytes).unwrap()), Ok(report));
        }
    }

    #[test]
    fn a_reason_cannot_pass_for_other_lines_and_is_cut_where_it_is_too_long() {
        let end = End::NotStarted(format!("a\nexit code 0\nend\n{}", "é".repeat(4000)));
        let bytes = Report { run: 1, end }.encode();
        assert_eq!(bytes.len(), RECORD_MAX);
        let read = Report::parse(std::str::from_utf8(&bytes).unwrap()).unwrap();
        let End::NotStarted(reason) = read.end else { panic!("{read:?}") };
        assert!(reason.starts_with("a exit code 0 end é"), "{reason}");
    }

    #[test]
    fn a_record_that_was_cut_or_changed_says_nothing() {
        let whole = run().encode();
        for cut in 0..whole.len() - 1 {
            assert!(RunRecord::parse(&whole[..cut]).is_err(), "{cut}");
        }
        for (from, to) in [
            ("vmm-spawn 1", "vmm-spawn 2"),
            ("run 7", "run 5"),
            ("run 7", "run -7"),
            ("run 7\n", ""),
            ("run 7\n", "run 7\nrun 8\n"),
            ("run 7", "run"),
        ] {
            assert!(RunRecord::parse(&whole.replace(from, to)).is_err(), "{from} {to}");
        }
        let later = whole.replace("run 7", "run 7\ncolour blue");
        assert_eq!(RunRecord::parse(&later), Ok(run()));
    }
}
