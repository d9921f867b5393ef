//! Lines of a file, whatever is in it, in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take};

use crate::record::MAX_LINE;

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Without its line break.
    Whole(&'a [u8]),
    /// Longer than any that is written here.
    TooLong,
    /// The end of the file came before the end of the line.
    Torn,
}

/// The lines between two offsets of a file.
#[derive(Debug)]
pub struct Lines<'a> {
    input: Take<BufReader<&'a File>>,
    buffer: Vec<u8>,
    offset: u64,
}

impl<'a> Lines<'a> {
    /// The lines from `begin`, the offset of one, to `end`.
    ///
    /// # Errors
    /// When the file cannot be read there.
    pub fn new(mut file: &'a File, begin: u64, end: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(begin))?;
        let input = BufReader::with_capacity(64 << 10, file).take(end.saturating_sub(begin));
        Ok(Self { input, buffer: Vec::new(), offset: begin })
    }

    /// Where the line after the last whole one begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self) -> io::Result<Option<Line<'_>>> {
        let longest = u64::try_from(MAX_LINE).unwrap_or(u64::MAX) + 1;
        let mut bytes = 0;
        loop {
            self.buffer.clear();
            let part = (&mut self.input).take(longest).read_until(b'\n', &mut self.buffer)?;
            bytes += u64::try_from(part).unwrap_or(u64::MAX);
            if self.buffer.last() == Some(&b'\n') {
                self.offset += bytes;
                let whole = bytes <= longest;
                return Ok(Some(match self.buffer.split_last() {
                    Some((_, line)) if whole => Line::Whole(line),
                    _ => Line::TooLong,
                }));
            }
            if part == 0 {
                return Ok((bytes > 0).then_some(Line::Torn));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn lines(content: &[u8]) -> (Vec<String>, u64) {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        let mut lines = Lines::new(&file, 0, u64::MAX).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.read().unwrap() {
            all.push(match line {
                Line::Whole(line) => String::from_utf8(line.to_vec()).unwrap(),
                other => format!("{other:?}"),
            });
        }
        (all, lines.offset())
    }

    #[test]
    fn each_line_is_whole_torn_or_too_long() {
        assert_eq!(lines(b""), (vec![], 0));
        assert_eq!(lines(b"a\n\nb"), (vec!["a".into(), String::new(), "Torn".into()], 3));
        let longest = "x".repeat(MAX_LINE);
        let (all, offset) = lines(format!("{longest}\n{longest}x\nc\n{longest}xx").as_bytes());
        assert_eq!(all, [longest, "TooLong".into(), "c".into(), "Torn".into()]);
        assert_eq!(offset, 2 * u64::try_from(MAX_LINE).unwrap() + 5);
    }
}
