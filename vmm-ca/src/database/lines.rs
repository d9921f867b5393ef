//! The lines of the file, each of bounded length; a last one without its end is told apart.

use std::io::{BufRead, Read};
use std::path::Path;

use super::MAX_LINE;
use crate::Error;

/// One step through the file.
pub(super) enum Line {
    Whole(Vec<u8>),
    /// bytes behind the last line's end
    Torn(Vec<u8>),
    End,
}

pub(super) struct Lines<'f, R> {
    path: &'f Path,
    reader: R,
    number: usize,
    /// Bytes that are whole lines.
    pub(super) whole: u64,
}

impl<'f, R: BufRead> Lines<'f, R> {
    pub(super) const fn of(path: &'f Path, reader: R) -> Self {
        Self { path, reader, number: 0, whole: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Line, Error> {
        let mut line = Vec::new();
        self.number += 1;
        let read = (&mut self.reader)
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut line)
            .map_err(Error::io("read", self.path))?;
        if read as u64 > MAX_LINE {
            return Err(self.damage(&format!("longer than {MAX_LINE} bytes")));
        }
        match line.pop() {
            None => Ok(Line::End),
            Some(b'\n') => {
                self.whole += read as u64;
                Ok(Line::Whole(line))
            }
            Some(last) => {
                line.push(last);
                Ok(Line::Torn(line))
            }
        }
    }

    pub(super) fn damage(&self, problem: &str) -> Error {
        let problem = format!(
            "line {}: {problem}. The database is damaged, or not one: restore it from a copy",
            self.number
        );
        Error::Unreadable { file: self.path.to_owned(), problem }
    }
}
