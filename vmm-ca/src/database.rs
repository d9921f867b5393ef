//! `ca.db`: everything that one issuer has issued, in an append-only text file.
//!
//! The first line says which issuer key the file belongs to, and how many records there are; each
//! further line is one JSON record. A record is on disk, and then counted, before the certificate it is
//! about is written anywhere, so a crash leaves a record too many at worst, never one too few: one that
//! is not counted yet is counted with the next. A last line without its end that is not counted is what
//! a crash in the middle of a record leaves: it was not acted upon yet, and is dropped with a warning.
//! Any other damage is an error, also the loss of the end of the file, wherever behind the first line.
//! The count is written over in place: what reaches a disk of it is the old or the new, since the first
//! line is shorter than a sector.
//!
//! What was taken back, and each revocation list that was made of it, are records too, on disk before
//! the list is written anywhere: so no number of a list is ever used twice.
//!
//! The file is locked (flock) while it is open for issuing.

mod decode;
mod lines;
mod lock;
mod record;
mod revocation;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use vmm_proto::authority::Serial;
use vmm_proto::id::Digest;

pub use decode::Decoded;
pub use record::{Issued, Kind};
pub use revocation::{ListMade, Revoked};

use crate::file::{self, NewFiles};
use crate::{Error, Refusal};
use lock::{Lockable, lock};
use record::{Header, Record};

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
    header: Header,
    /// Open and locked for issuing; `None`: only read, or not there yet.
    file: Option<Lockable>,
    /// Bytes that are whole lines; what follows them is dropped before the next record.
    whole: u64,
    /// How many records those lines are, the first line left out.
    records: u64,
    issued: Vec<Issued>,
    revoked: BTreeMap<Serial, Revoked>,
    last_list: Option<ListMade>,
    torn: bool,
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
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Lockable(file),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self::absent(path, issuer));
            }
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        lock(&file, path, patience, waiting)?;
        let mut database = Self::read(path, &file, Some(issuer))?;
        if database.issuer() != issuer {
            return Err(Refusal::WrongDatabase {
                file: path.to_owned(),
                expected: database.issuer().to_string(),
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
        let file = Lockable(File::open(path).map_err(Error::io("open", path))?);
        // Someone who issues right now may be in the middle of a line: that is no damage.
        let quiet = file.try_lock_shared().is_ok();
        let mut database = match Self::read(path, &file, None) {
            // That line may be the first, and it is written once for each command.
            Err(Error::Unreadable { .. }) if !quiet => Self::read(path, &file, None)?,
            read => read?,
        };
        database.torn &= quiet;
        Ok(database)
    }

    fn absent(path: &Path, issuer: Digest) -> Self {
        Self::empty(path, Header::new(issuer))
    }

    fn empty(path: &Path, header: Header) -> Self {
        Self {
            path: path.to_owned(),
            header,
            file: None,
            whole: 0,
            records: 0,
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
        self.header.issuer
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
    /// [`Error::Io`]: nothing was added, or it could not be counted, and is added by the next.
    /// [`Error::Malformed`] for a certificate that is not one of the profile's.
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
    /// [`Error::Io`], as [`Database::record`].
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

    /// Adds whole lines, all or none, and then counts them.
    fn append(&mut self, lines: &str) -> Result<(), Error> {
        self.create_if_absent()?;
        let Some(file) = &self.file else {
            return Err(Error::Usage("this database was opened for reading".to_owned()));
        };
        let whole = self.whole;
        // What a crash left behind goes first: it would run into the new line.
        let written = file
            .set_len(whole)
            .and_then(|()| file.write_all_at(lines.as_bytes(), whole))
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            // On a full disk a part may be there; if it cannot be cut off now, the next one to open
            // the file drops half a line.
            let _ = file.set_len(whole);
            return Err(Error::io("write", &self.path)(error));
        }
        self.whole += lines.len() as u64;
        self.records += lines.bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.count()
    }

    /// Writes into the first line how many records there are. What is on disk already is not taken
    /// back when that fails: it may be counted there.
    fn count(&mut self) -> Result<(), Error> {
        let Some(file) = self.file.as_ref().filter(|_| self.header.records.is_some()) else {
            return Ok(());
        };
        let header = Header { records: Some(self.records), ..self.header };
        file.write_all_at(header.to_line()?.as_bytes(), 0)
            .and_then(|()| file.sync_data())
            .map_err(Error::io("count a record in", &self.path))?;
        self.header = header;
        Ok(())
    }

    /// Creates the file when it is not there yet, with its first line, or not at all.
    fn create_if_absent(&mut self) -> Result<(), Error> {
        if self.file.is_some() {
            return Ok(());
        }
        let failed = || Error::io("create", &self.path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&self.path)
            .map_err(failed())?;
        let mut new = NewFiles::default();
        new.adopt(&self.path);
        let file = Lockable(file);
        file.try_lock().map_err(|error| failed()(error.into()))?;
        let header = self.header.to_line()?;
        file.write_all_at(header.as_bytes(), 0).and_then(|()| file.sync_all()).map_err(failed())?;
        file::sync_directory(&self.path)?;
        new.keep();
        self.whole = header.len() as u64;
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
