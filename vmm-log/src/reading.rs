//! Reading: records that pass a filter, from the oldest on, a bounded number at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use vmm_proto::message::log::Place;

use crate::files::Files;
use crate::lines::{Line, Lines};
use crate::record::Head;
use crate::store::Durable;

/// Bytes of records that are returned at a time, at most, and one record more.
const RETURNED: usize = 64 << 10;

/// Bytes that are looked at at a time: some milliseconds of work.
const LOOKED_AT: u64 = 1 << 20;

/// Which records are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// At or below this path; empty for all.
    pub path: String,
    /// Only about this machine.
    pub machine: Option<String>,
    /// Only those of this time or later, in Unix milliseconds.
    pub since_ms: Option<u64>,
}

impl Filter {
    /// Whether a line is wanted. What is not a record never is.
    pub fn wants(&self, line: &[u8]) -> bool {
        let Some(head) = Head::parse(line) else { return false };
        is_at_or_below(&head.path, &self.path)
            && self.machine.as_ref().is_none_or(|machine| head.machine.as_ref() == Some(machine))
            && self.since_ms.is_none_or(|since| head.time_ms().is_some_and(|time| time >= since))
    }
}

/// Whether `path` is `above` or below it, label by label: `dev/alice` is below `dev`, `devil` is not.
fn is_at_or_below(path: &str, above: &str) -> bool {
    let rest = path.strip_prefix(above);
    above.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A place in the log.
#[derive(Debug)]
pub struct Cursor {
    files: Arc<Files>,
    filter: Filter,
    number: u64,
    file: Option<File>,
    offset: u64,
}

/// Some records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Each without its line break, and the place after it.
    pub lines: Vec<(String, Place)>,
    /// Whether these are the last so far.
    pub last: bool,
}

/// Why reading ends.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// records were removed as too old before they were read
    #[error("records were removed as too old before they were read")]
    Overtaken,
    /// this is not the log that was read before
    #[error("this is not the log that was read before: it has no record that ends at byte {} of file \
             {}; begin to read it anew", .0.offset, .0.file)]
    Another(Place),
    /// {0}
    #[error("the log cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl Cursor {
    /// Begins with the oldest record that is wanted.
    ///
    /// # Errors
    /// When the files cannot be listed.
    pub fn new(files: Arc<Files>, filter: Filter) -> io::Result<Self> {
        let number = first_file(&files, filter.since_ms)?;
        Ok(Self { files, filter, number, file: None, offset: 0 })
    }

    /// Goes on after a place that reading had come to.
    ///
    /// # Errors
    /// When there is no such place, or not any more.
    pub fn after(
        files: Arc<Files>,
        filter: Filter,
        place: Place,
        durable: Durable,
    ) -> Result<Self, ReadError> {
        let Place { file: number, offset } = place;
        let file = files.open(number).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if number < durable.file => ReadError::Overtaken,
            io::ErrorKind::NotFound => ReadError::Another(place),
            _ => error.into(),
        })?;
        let end = if number < durable.file { file.metadata()?.len() } else { durable.end };
        let ends_a_line = match offset.checked_sub(1) {
            None => true,
            Some(before) if offset <= end => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, before)?;
                byte == *b"\n"
            }
            Some(_) => false,
        };
        if !ends_a_line {
            return Err(ReadError::Another(place));
        }
        Ok(Self { files, filter, number, file: Some(file), offset })
    }

    /// How far it has come.
    pub fn place(&self) -> Place {
        Place { file: self.number, offset: self.offset }
    }

    /// The next records that are wanted and on disk: there may be more when there are none in this
    /// chunk, until it says that it is the last.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn read(&mut self, durable: Durable) -> Result<Chunk, ReadError> {
        let mut chunk = Chunk::default();
        let file = match self.file.take() {
            Some(file) => file,
            None => self.files.open(self.number).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => ReadError::Overtaken,
                _ => error.into(),
            })?,
        };
        let is_full = self.number < durable.file;
        let end = if is_full { file.metadata()?.len() } else { durable.end };
        let mut lines = Lines::new(&file, self.offset, end.min(self.offset + LOOKED_AT))?;
        let mut bytes = 0;
        while bytes < RETURNED
            && let Some(line) = lines.read()?
        {
            if let Line::Whole(line) = line
                && self.filter.wants(line)
            {
                bytes += line.len();
                let line = String::from_utf8_lossy(line).into_owned();
                chunk.lines.push((line, Place { file: self.number, offset: lines.offset() }));
            }
        }
        let begin = std::mem::replace(&mut self.offset, lines.offset());
        if self.offset == begin {
            // Not one line break in all of that: nothing that was written here.
            self.offset = end.min(begin + LOOKED_AT);
        }
        let at_end = self.offset >= end;
        if at_end && is_full {
            (self.number, self.offset) = (self.number + 1, 0);
        } else {
            chunk.last = at_end;
            self.file = Some(file);
        }
        Ok(chunk)
    }
}

/// The first file that may hold something of that time.
fn first_file(files: &Files, since_ms: Option<u64>) -> io::Result<u64> {
    // Records are written soon after their time, unless the clock is set: leave it an hour.
    let since = since_ms.map_or(0, |since| since.saturating_sub(3_600_000));
    // Before the list, so that none falls between the two.
    let current = files.current();
    for number in files.full()? {
        let file = match files.open(number) {
            // Removed as too old since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        let changed = file.metadata()?.modified()?;
        let changed = changed.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        if changed >= u128::from(since) {
            return Ok(number);
        }
    }
    Ok(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_labels_not_letters() {
        for (path, above, below) in [
            ("dev", "dev", true),
            ("dev/alice", "dev", true),
            ("devil", "dev", false),
            ("", "dev", false),
            ("dev", "dev/alice", false),
            ("dev", "", true),
            ("", "", true),
        ] {
            assert_eq!(is_at_or_below(path, above), below, "{path:?} at or below {above:?}");
        }
    }
}
