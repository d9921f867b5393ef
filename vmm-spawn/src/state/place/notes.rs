//! What is noted in the directory of a machine about its starts and ends.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, OFlags, renameat};
use rustix::io::{Errno, pread};

use super::{
    BIRTH, CONSOLE, Contents, Damage, END, NEW, Place, RING, RUN, SEEN, SPARE, STAGE, STATUS,
    write_at,
};
use crate::birth::{Born, LINE_MAX};
use crate::failpoint;
use crate::machine::Report;
use crate::state::record::{RECORD_MAX, RecordError, RunRecord};

impl Place {
    /// Notes a start, and makes room for its report.
    ///
    /// # Errors
    /// No room: then the start before is still the last.
    pub fn begin(&self, record: &RunRecord) -> Result<(), Errno> {
        let spare = self.create(SPARE)?;
        write_at(&spare, &[b'\n'; RECORD_MAX], 0)?;
        let new = self.create(NEW)?;
        write_at(&new, record.encode().as_bytes(), 0)?;
        renameat(&self.dir, NEW, &self.dir, RUN)
    }

    /// The last start that was noted; `None` when none was.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn last(&self) -> Result<Option<RunRecord>, Damage> {
        let Some(text) = self.text(RUN)? else { return Ok(None) };
        RunRecord::parse(&text).map(Some).map_err(|error| Damage::Record(RUN.into(), error))
    }

    /// Where the process of a start writes its birth. It is empty.
    ///
    /// # Errors
    /// No room.
    pub fn make_birth(&self, run: u64) -> Result<OwnedFd, Errno> {
        self.create(&numbered(BIRTH, run))
    }

    /// The process of a start; `None` when it never came to one.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn born(&self, run: u64) -> Result<Option<Born>, Damage> {
        let name = numbered(BIRTH, run);
        match self.text(&name)? {
            None => Ok(None),
            Some(line) if line.is_empty() => Ok(None),
            Some(line) => match Born::parse(&line) {
                Some(born) => Ok(Some(born)),
                None => Err(Damage::Kind(name)),
            },
        }
    }

    /// Where the tender of a start says how far it is, for the tender. What it says is added.
    ///
    /// # Errors
    /// No room.
    pub fn make_status(&self, run: u64) -> Result<OwnedFd, Errno> {
        let name = numbered(STATUS, run);
        self.unlink(&name)?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
        self.openat(&name, flags)
    }

    /// What the tender of a start says, to be read.
    ///
    /// # Errors
    /// It is not there, or something else is.
    pub fn status(&self, run: u64) -> Result<OwnedFd, Damage> {
        self.open(&numbered(STATUS, run), OFlags::RDONLY, FileType::RegularFile)
    }

    /// Keeps a report.
    ///
    /// # Errors
    /// None but of a damaged file system: there is room for it.
    pub fn report(&self, report: &Report) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW;
        let spare = self.openat(SPARE, flags)?;
        write_at(&spare, &report.encode(), 0)?;
        failpoint::reach("end-stored");
        renameat(&self.dir, SPARE, &self.dir, numbered(END, report.run))?;
        self.forget_attempt(report.run)
    }

    /// A report that is kept.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn reported(&self, run: u64) -> Result<Report, Damage> {
        let name = numbered(END, run);
        let text = self.text(&name)?.ok_or_else(|| Damage::Kind(name.clone()))?;
        match Report::parse(&text) {
            Ok(report) if report.run == run => Ok(report),
            Ok(_) => Err(Damage::Record(name, RecordError::Field("run"))),
            Err(error) => Err(Damage::Record(name, error)),
        }
    }

    /// A report need not be kept any longer. If it is that of the `last` start, it stays known that
    /// that is over.
    ///
    /// # Errors
    /// It still is.
    pub fn acknowledge(&self, run: u64, last: bool) -> Result<(), Errno> {
        if !last {
            return self.unlink(&numbered(END, run));
        }
        match renameat(&self.dir, numbered(END, run), &self.dir, numbered(SEEN, run)) {
            // It could not be written down when it came.
            Err(Errno::NOENT) => {
                self.create(&numbered(SEEN, run))?;
                self.forget_attempt(run)
            }
            done => done,
        }
    }

    /// Removes what a start left behind that is over or never was.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget_attempt(&self, run: u64) -> Result<(), Errno> {
        [BIRTH, STATUS].into_iter().try_for_each(|prefix| self.unlink(&numbered(prefix, run)))
    }

    /// Removes the sign that a start is over, now that it is not the last any more.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget_seen(&self, run: u64) -> Result<(), Errno> {
        self.unlink(&numbered(SEEN, run))
    }

    /// What is in it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn contents(&self) -> Result<Contents, Errno> {
        let mut contents = Contents::default();
        for name in crate::state::names_in(&self.dir)? {
            let name = name.to_string_lossy().into_owned();
            let number = |prefix| name.strip_prefix(prefix).and_then(|run| run.parse::<u64>().ok());
            if [CONSOLE, STAGE, RING, RUN, SPARE, NEW].contains(&&*name) {
            } else if let Some(run) = number(END) {
                contents.ends.push(run);
            } else if let Some(run) = number(SEEN) {
                contents.seen.push(run);
            } else if let Some(run) = number(BIRTH).or_else(|| number(STATUS)) {
                contents.attempts.push(run);
            } else {
                contents.foreign.push(name);
            }
        }
        contents.ends.sort_unstable();
        Ok(contents)
    }

    /// A small file; `None` when it is not there.
    fn text(&self, name: &str) -> Result<Option<String>, Damage> {
        let file = match self.open(name, OFlags::RDONLY, FileType::RegularFile) {
            Ok(file) => file,
            Err(Damage::Open(_, Errno::NOENT)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; RECORD_MAX.max(LINE_MAX) + 1];
        let length =
            pread(&file, &mut bytes, 0).map_err(|error| Damage::Open(name.into(), error))?;
        bytes.truncate(length);
        match String::from_utf8(bytes) {
            Ok(text) if length <= RECORD_MAX => Ok(Some(text)),
            Ok(_) | Err(_) => Err(Damage::Kind(name.into())),
        }
    }
}

fn numbered(prefix: &str, run: u64) -> String {
    format!("{prefix}{run}")
}
