//! From the text of a database to what it says.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::Path;

use vmm_proto::id::Digest;

use super::lines::{Line, Lines};
use super::record::{Entry, Header, Record};
use super::{Database, MAX_SIZE};
use crate::Error;

/// What the text of a database holds.
#[derive(Debug)]
pub enum Decoded {
    /// All its whole lines.
    Database(Database),
    /// Only a part of the first line: the trace of a crash when it was created, or something else.
    CutAtBirth(Vec<u8>),
}

impl Database {
    /// Reads all of it. `opener` is the issuer that a file without a whole first line is for: one
    /// whose creation was cut off by a crash.
    pub(super) fn read(path: &Path, file: &File, opener: Option<Digest>) -> Result<Self, Error> {
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        if length > MAX_SIZE {
            let problem = format!("{length} bytes, more than {MAX_SIZE}");
            return Err(Error::Unreadable { file: path.to_owned(), problem });
        }
        let mut file = file;
        file.rewind().map_err(Error::io("read", path))?;
        match Self::decode(path, BufReader::new(file))? {
            Decoded::Database(database) => Ok(database),
            Decoded::CutAtBirth(line) => Self::cut_at_birth(path, &line, opener),
        }
    }

    /// The database in a text; `path` is for errors.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for damage.
    pub fn decode(path: &Path, text: impl BufRead) -> Result<Decoded, Error> {
        let mut lines = Lines::of(path, text);
        let header = match lines.next()? {
            Line::Whole(line) => Header::parse(&line).map_err(|problem| lines.damage(&problem))?,
            Line::Torn(line) => return Ok(Decoded::CutAtBirth(line)),
            Line::End => return Ok(Decoded::CutAtBirth(Vec::new())),
        };
        let mut database = Self::empty(path, header);
        database.torn = loop {
            match lines.next()? {
                Line::Whole(line) => {
                    Record::parse(&line)
                        .and_then(|entry| database.note(entry))
                        .map_err(|problem| lines.damage(&problem))?;
                    database.records += 1;
                }
                Line::Torn(_) => break true,
                Line::End => break false,
            }
        };
        database.whole = lines.whole;
        let counted = database.header.records.unwrap_or(0);
        if database.records < counted {
            let problem = format!(
                "its first line counts {counted} records, and {} are there: the end was cut off, and \
                 what it is about may be in use. Restore it from a copy",
                database.records
            );
            return Err(Error::Unreadable { file: path.to_owned(), problem });
        }
        Ok(Decoded::Database(database))
    }

    /// What a line says becomes a part of what is known.
    fn note(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Issued(issued) => self.issued.push(issued),
            Entry::Revoked(revoked) => {
                self.revoked.insert(revoked.serial.clone(), revoked);
            }
            Entry::List(list) => {
                if self.last_list.is_some_and(|last| list.number <= last.number) {
                    return Err("the number of a revocation list does not grow".to_owned());
                }
                self.last_list = Some(list);
            }
        }
        Ok(())
    }

    /// A file that holds only a part of the line that its creator would have written.
    fn cut_at_birth(path: &Path, line: &[u8], opener: Option<Digest>) -> Result<Self, Error> {
        let Some(issuer) = opener else { return Err(not_a_database(path)) };
        let header = Header::new(issuer).to_line()?;
        let uncounted = Header { issuer, records: None }.to_line()?;
        if ![&header, &uncounted].iter().any(|whole| whole.as_bytes().starts_with(line)) {
            return Err(not_a_database(path));
        }
        // Writing the whole line over again is all that is missing.
        let mut file =
            OpenOptions::new().append(true).open(path).map_err(Error::io("open", path))?;
        file.set_len(0)
            .and_then(|()| file.write_all(header.as_bytes()))
            .and_then(|()| file.sync_all())
            .map_err(Error::io("write", path))?;
        let whole = header.len() as u64;
        Ok(Self { whole, torn: true, ..Self::absent(path, issuer) })
    }
}

fn not_a_database(path: &Path) -> Error {
    let problem = "not a vmm-ca database: its first line is missing".to_owned();
    Error::Unreadable { file: path.to_owned(), problem }
}
