//! `ca.db`: everything that one issuer has issued, in an append-only text file.
//!
//! The first line says which issuer key the file belongs to; each further line is one JSON record.
//! A record is on disk before the certificate it is about is written anywhere, so a crash leaves a
//! record too many at worst, never one too few. A last line without its end is what a crash in the
//! middle of a record leaves: it was not acted upon yet, and is dropped with a warning. Any other
//! damage is an error.
//!
//! What was taken back, and each revocation list that was made of it, are records too, on disk before
//! the list is written anywhere: so no number of a list is ever used twice.
//!
//! The file is locked (flock) while it is open for issuing.

mod lines;
mod lock;
mod record;
mod revocation;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use vmm_proto::authority::Serial;
use vmm_proto::id::Digest;

pub use record::{Issued, Kind};
pub use revocation::{ListMade, Revoked};

use crate::{Error, Refusal, file};
use lines::{Line, Lines};
use lock::lock;
use record::{Entry, Header, Record};

/// The longest line in bytes. The largest certificate (64 KiB) has some 90 KiB in PEM.
pub const MAX_LINE: u64 = 256 << 10;

/// The largest database in bytes: 1 GiB.
pub const MAX_SIZE: u64 = 1 << 30;

/// How long to wait for someone else who has the lock. A person may be thinking about a question.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// What an issuer has issued.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    issuer: Digest,
    /// Open and locked for issuing; `None`: only read, or not there yet.
    file: Option<File>,
    /// Bytes that are whole lines; what follows them is dropped before the next record.
    whole: u64,
    issued: Vec<Issued>,
    revoked: BTreeMap<Serial, Revoked>,
    last_list: Option<ListMade>,
    torn: bool,
}

/// What the text of a database holds.
#[derive(Debug)]
pub enum Decoded {
    /// All its whole lines.
    Database(Database),
    /// Only a part of the first line: the trace of a crash when it was created, or something else.
    CutAtBirth(Vec<u8>),
}

impl Database {
    /// Opens the database of the issuer with this key for issuing, and locks it; a file that does not
    /// exist is made by the first [`Database::record`]. While someone else has the lock, `waiting` is
    /// called once, and `patience` lasts.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::InUse`], [`Error::Unreadable`] for damage, [`Refusal::WrongDatabase`]
    pub fn open(
        path: &Path,
        issuer: Digest,
        patience: Duration,
        waiting: impl FnOnce(),
    ) -> Result<Self, Error> {
        let file = match OpenOptions::new().read(true).append(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self::absent(path, issuer));
            }
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        lock(&file, path, patience, waiting)?;
        let mut database = Self::read(path, &file, Some(issuer))?;
        if database.issuer != issuer {
            return Err(Refusal::WrongDatabase {
                file: path.to_owned(),
                expected: database.issuer.to_string(),
                found: issuer.to_string(),
            }
            .into());
        }
        database.file = Some(file);
        Ok(database)
    }

    /// Creates an empty database.
    ///
    /// # Errors
    /// [`Error::Io`], also when the file exists.
    pub fn create(path: &Path, issuer: Digest) -> Result<Self, Error> {
        let mut database = Self::absent(path, issuer);
        database.create_if_absent()?;
        Ok(database)
    }

    /// Reads a database, of whichever issuer it is.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unreadable`] for damage
    pub fn list(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        // Someone who issues right now may be in the middle of a line: that is no damage.
        let quiet = file.try_lock_shared().is_ok();
        let mut database = Self::read(path, &file, None)?;
        database.torn &= quiet;
        Ok(database)
    }

    fn absent(path: &Path, issuer: Digest) -> Self {
        Self {
            path: path.to_owned(),
            issuer,
            file: None,
            whole: 0,
            issued: Vec::new(),
            revoked: BTreeMap::new(),
            last_list: None,
            torn: false,
        }
    }

    /// Everything issued, oldest first.
    pub fn issued(&self) -> &[Issued] {
        &self.issued
    }

    /// SHA-256 of the issuer's key.
    pub const fn issuer(&self) -> Digest {
        self.issuer
    }

    /// Whether a torn last line was dropped: the trace of a crash.
    pub const fn was_torn(&self) -> bool {
        self.torn
    }

    /// Everything taken back, by serial number.
    pub const fn revoked(&self) -> &BTreeMap<Serial, Revoked> {
        &self.revoked
    }

    /// The newest revocation list that was made.
    pub const fn last_list(&self) -> Option<ListMade> {
        self.last_list
    }

    /// What can still be used at `now` (Unix seconds): neither expired nor taken back.
    pub fn live(&self, now: i64) -> impl Iterator<Item = &Issued> {
        self.issued.iter().filter(move |issued| {
            now <= issued.validity.not_after && !self.revoked.contains_key(&issued.serial)
        })
    }

    /// Adds a certificate, and returns when that is on disk.
    ///
    /// # Errors
    /// [`Error::Io`]: nothing was added. [`Error::Malformed`] for a certificate that is not one of
    /// the profile's.
    pub fn record(&mut self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        self.record_all(&[certificate])
    }

    /// Adds certificates, and returns when all of them are on disk.
    ///
    /// # Errors
    /// As [`Database::record`].
    pub fn record_all(&mut self, certificates: &[&CertificateDer<'_>]) -> Result<(), Error> {
        let mut text = String::new();
        let mut all = Vec::new();
        for certificate in certificates {
            let issued = Issued::of(certificate)?;
            text.push_str(&Record::issued(&issued, certificate).to_line()?);
            all.push(issued);
        }
        self.append(&text)?;
        self.issued.extend(all);
        Ok(())
    }

    /// Adds what is taken back and the list that says so, and returns when that is on disk.
    ///
    /// # Errors
    /// [`Error::Io`]: nothing was added.
    pub fn record_list(&mut self, revoked: &[Revoked], list: ListMade) -> Result<(), Error> {
        let mut text = String::new();
        for one in revoked {
            text.push_str(&Record::revoked(one)?.to_line()?);
        }
        text.push_str(&Record::list(list)?.to_line()?);
        self.append(&text)?;
        self.revoked.extend(revoked.iter().map(|one| (one.serial.clone(), one.clone())));
        self.last_list = Some(list);
        Ok(())
    }

    /// Adds whole lines, all or none.
    fn append(&mut self, lines: &str) -> Result<(), Error> {
        self.create_if_absent()?;
        let Some(file) = &mut self.file else {
            return Err(Error::Usage("this database was opened for reading".to_owned()));
        };
        let whole = self.whole;
        let failed = Error::io("write", &self.path);
        // What a crash left behind goes first: it would run into the new line.
        let written = file
            .set_len(whole)
            .and_then(|()| file.write_all(lines.as_bytes()))
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            // On a full disk a part may be there; if it cannot be cut off now, the next one to open
            // the file drops half a line.
            let _ = file.set_len(whole);
            return Err(failed(error));
        }
        self.whole += lines.len() as u64;
        Ok(())
    }

    /// Creates the file when it is not there yet, with its first line.
    fn create_if_absent(&mut self) -> Result<(), Error> {
        if self.file.is_some() {
            return Ok(());
        }
        let failed = || Error::io("create", &self.path);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .open(&self.path)
            .map_err(failed())?;
        file.try_lock().map_err(|error| failed()(error.into()))?;
        let header = Header::of(self.issuer).to_line()?;
        file.write_all(header.as_bytes()).and_then(|()| file.sync_all()).map_err(failed())?;
        file::sync_directory(&self.path)?;
        self.whole = header.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    /// Reads all of it. `opener` is the issuer that a file without a whole first line is for: one
    /// whose creation was cut off by a crash.
    fn read(path: &Path, file: &File, opener: Option<Digest>) -> Result<Self, Error> {
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
        let mut database = Self::absent(path, header);
        database.torn = loop {
            match lines.next()? {
                Line::Whole(line) => Record::parse(&line)
                    .and_then(|entry| database.note(entry))
                    .map_err(|problem| lines.damage(&problem))?,
                Line::Torn(_) => break true,
                Line::End => break false,
            }
        };
        database.whole = lines.whole;
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
        let header = Header::of(issuer).to_line()?;
        if !header.as_bytes().starts_with(line) {
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

#[cfg(test)]
mod tests;
