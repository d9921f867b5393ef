//! The directory of one machine.
//!
//! ```text
//!   console    FIFO: what the machine writes
//!   stage      FIFO: what was taken out of it and is not yet accounted for (`crate::stage`)
//!   ring       where it goes
//!   run        the last start (`RunRecord`)
//!   birth-N    the process of start N, written by itself: empty before there is one
//!   status-N   what its tender says before the guest runs
//!   spare      room for the next report
//!   end-N      a report that was not acknowledged
//!   seen-N     one that was: start N is over
//!   new        what is being written
//! ```

mod notes;

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, fstat, ftruncate, mknodat, openat, unlinkat,
};
use rustix::io::{Errno, pwrite};
use rustix::process::geteuid;
use vmm_proto::ring::{CLAIMED, FILE_SIZE, REST, WRITTEN, encode_counter};

use super::record::RecordError;
use crate::failpoint;

const CONSOLE: &str = "console";
const STAGE: &str = "stage";
const RING: &str = "ring";
const RUN: &str = "run";
const SPARE: &str = "spare";
const NEW: &str = "new";
const BIRTH: &str = "birth-";
const STATUS: &str = "status-";
const END: &str = "end-";
const SEEN: &str = "seen-";

/// Why a file in it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// {0} cannot be opened: {1}
    #[error("{0} cannot be opened: {1}")]
    Open(String, Errno),
    /// {0} is not what belongs there
    #[error("{0} is not what belongs there")]
    Kind(String),
    /// {0} cannot be understood: {1}
    #[error("{0} cannot be understood: {1}")]
    Record(String, RecordError),
}

/// The directory of one machine, open.
#[derive(Debug)]
pub struct Place {
    dir: OwnedFd,
}

/// What of its files tells about starts and ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The numbers of starts whose reports were not acknowledged, ascending.
    pub ends: Vec<u64>,
    /// The numbers of starts whose reports were.
    pub seen: Vec<u64>,
    /// The numbers of starts that left anything else.
    pub attempts: Vec<u64>,
    /// Names that do not belong there.
    pub foreign: Vec<String>,
}

impl Place {
    /// The directory behind a descriptor.
    pub(super) fn new(dir: OwnedFd) -> Self {
        Self { dir }
    }

    /// Makes what every machine has.
    pub(super) fn fill(&self) -> Result<(), Errno> {
        for name in [CONSOLE, STAGE] {
            mknodat(&self.dir, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        let ring = self.create(RING)?;
        ftruncate(&ring, FILE_SIZE)?;
        for counter in [CLAIMED, WRITTEN, REST] {
            write_at(&ring, &encode_counter(0), counter)?;
        }
        Ok(())
    }

    /// The console or stage FIFO, for this process: never blocks, and never ends.
    ///
    /// # Errors
    /// It is not there, or something else is.
    pub fn fifo(&self, fifo: Fifo) -> Result<OwnedFd, Damage> {
        self.open(fifo.name(), OFlags::RDWR | OFlags::NONBLOCK, FileType::Fifo)
    }

    /// The same for the machine: it has it open for reading too, so that there always is a reader.
    /// A machine must not end by SIGPIPE because this process did.
    ///
    /// # Errors
    /// It is not there, or something else is.
    pub fn fifo_for_machine(&self, fifo: Fifo) -> Result<OwnedFd, Damage> {
        self.open(fifo.name(), OFlags::RDWR, FileType::Fifo)
    }

    /// The same for somebody who only holds it open, and can put nothing in.
    ///
    /// # Errors
    /// It is not there, or something else is.
    pub fn fifo_to_hold(&self, fifo: Fifo) -> Result<OwnedFd, Damage> {
        self.open(fifo.name(), OFlags::RDONLY | OFlags::NONBLOCK, FileType::Fifo)
    }

    /// The ring's file, for its writer.
    ///
    /// # Errors
    /// It is not there, or something else is.
    pub fn ring(&self) -> Result<OwnedFd, Damage> {
        self.ring_with(OFlags::RDWR)
    }

    /// The ring's file, for a reader.
    ///
    /// # Errors
    /// It is not there, or something else is.
    pub fn ring_to_read(&self) -> Result<OwnedFd, Damage> {
        self.ring_with(OFlags::RDONLY)
    }

    fn ring_with(&self, access: OFlags) -> Result<OwnedFd, Damage> {
        let ring = self.open(RING, access, FileType::RegularFile)?;
        let size = stat(&ring, RING)?.st_size;
        if u64::try_from(size) != Ok(FILE_SIZE) {
            return Err(Damage::Kind(RING.into()));
        }
        Ok(ring)
    }

    /// Removes everything of ours; the record first: without it, nothing else says anything.
    pub(super) fn clear(&self) -> Result<(), Errno> {
        self.unlink(RUN)?;
        failpoint::reach("forget-begun");
        for name in super::names_in(&self.dir)? {
            let text = name.to_string_lossy();
            let ours = [CONSOLE, STAGE, RING, SPARE, NEW].contains(&&*text)
                || [BIRTH, STATUS, END, SEEN].iter().any(|prefix| text.starts_with(prefix));
            if ours {
                self.unlink_name(&name)?;
            }
        }
        Ok(())
    }

    /// A new file, in the place of one that was left behind.
    fn create(&self, name: &str) -> Result<OwnedFd, Errno> {
        self.unlink(name)?;
        self.openat(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    fn openat(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)
    }

    fn unlink(&self, name: &str) -> Result<(), Errno> {
        match unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn unlink_name(&self, name: &CStr) -> Result<(), Errno> {
        unlinkat(&self.dir, name, AtFlags::empty())
    }

    /// Opens what must be there, be of this kind, and be ours.
    fn open(&self, name: &str, access: OFlags, kind: FileType) -> Result<OwnedFd, Damage> {
        let file = self
            .openat(name, access | OFlags::NONBLOCK)
            .map_err(|error| Damage::Open(name.into(), error))?;
        let found = stat(&file, name)?;
        if FileType::from_raw_mode(found.st_mode) != kind || found.st_uid != geteuid().as_raw() {
            return Err(Damage::Kind(name.into()));
        }
        if !access.contains(OFlags::NONBLOCK) {
            rustix::fs::fcntl_setfl(&file, access & OFlags::APPEND)
                .map_err(|error| Damage::Open(name.into(), error))?;
        }
        Ok(file)
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fifo {
    /// What the machine writes to.
    Console,
    /// Where bytes are on their way to the ring.
    Stage,
}

impl Fifo {
    fn name(self) -> &'static str {
        match self {
            Self::Console => CONSOLE,
            Self::Stage => STAGE,
        }
    }
}

fn stat(file: impl AsFd, name: &str) -> Result<Stat, Damage> {
    fstat(file).map_err(|error| Damage::Open(name.into(), error))
}

/// Writes all of it at this offset.
///
/// # Errors
/// No room.
pub fn write_at(file: impl AsFd, mut data: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !data.is_empty() {
        match pwrite(&file, data, offset) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => {
                data = &data[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
