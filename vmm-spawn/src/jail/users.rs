//! User ids for machines: a range of numbers that no account has, one for each machine that runs.

mod range;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

pub use range::Range;

/// Who uses which ids: a lock on byte N of it for id N, held by each vmm-spawn as long as it lives.
const LOCKS: &str = "/run/vmm-spawn.uids";

/// Why machines have no ids of their own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its ids are another installation's.
    #[error(
        "the user ids {0} are in use by another vmm-spawn on this host: each needs a range of its \
         own (--uids FIRST-LAST)"
    )]
    Taken(Range),
    /// No range is left.
    #[error(
        "all ranges of user ids that are used without being asked for are in use: --uids FIRST-LAST"
    )]
    NoDefault,
    /// The ids do not exist here.
    #[error("the user ids {0} do not exist in this container: --uids FIRST-LAST names others")]
    Unmapped(Range),
    /// The locks cannot be used.
    #[error("cannot reserve user ids in {LOCKS}: {0}")]
    Locks(io::Error),
    /// Nobody knows which are in use.
    #[error("cannot see which user ids are in use: {0}")]
    Processes(io::Error),
    /// Each id is a machine's.
    #[error("all user ids of the range {0} are in use (--uids FIRST-LAST gives more)")]
    Full(Range),
}

/// The ids of a range, and who has which.
#[derive(Debug)]
pub struct Users {
    range: Range,
    /// The one to try next: one that was just given back is not used again at once.
    next: u32,
    /// Those of machines that run here.
    ours: BTreeSet<u32>,
    /// Those of processes that were there before.
    others: BTreeSet<u32>,
    _locks: File,
}

impl Users {
    /// The ids of `wanted`, or of a range that nobody uses, reserved until this is dropped.
    ///
    /// # Errors
    /// They are somebody else's, or cannot be reserved.
    pub fn reserve(wanted: Option<Range>) -> Result<Self, Error> {
        let locks = open(Path::new(LOCKS)).map_err(Error::Locks)?;
        let range = match wanted {
            Some(range) if lock(&locks, range).map_err(Error::Locks)? => range,
            Some(range) => return Err(Error::Taken(range)),
            None => free(&locks)?,
        };
        let map = fs::read_to_string("/proc/self/uid_map").map_err(Error::Processes)?;
        if !is_mapped(&map, range) {
            return Err(Error::Unmapped(range));
        }
        let others = in_use(range).map_err(Error::Processes)?;
        Ok(Self { range, next: range.first, ours: BTreeSet::new(), others, _locks: locks })
    }

    /// The range.
    pub fn range(&self) -> Range {
        self.range
    }

    /// An id that no process on this host has.
    ///
    /// # Errors
    /// There is none.
    pub fn allot(&mut self) -> Result<u32, Error> {
        if let Some(id) = self.unused() {
            return Ok(self.take(id));
        }
        // Processes that were there before may have ended.
        self.others = in_use(self.range).map_err(Error::Processes)?;
        self.unused().map(|id| self.take(id)).ok_or(Error::Full(self.range))
    }

    /// This id is that of a machine that was started before and still runs.
    pub fn adopt(&mut self, id: u32) {
        self.ours.insert(id);
    }

    /// This id's machine has ended, and left no process.
    pub fn give_back(&mut self, id: u32) {
        self.ours.remove(&id);
        self.others.remove(&id);
    }

    fn unused(&self) -> Option<u32> {
        let Range { first, last } = self.range;
        let mut from_next = (self.next..=last).chain(first..self.next);
        from_next.find(|id| !self.ours.contains(id) && !self.others.contains(id))
    }

    fn take(&mut self, id: u32) -> u32 {
        self.ours.insert(id);
        self.next = if id == self.range.last { self.range.first } else { id + 1 };
        id
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

// As the structure has them.
#[expect(clippy::cast_possible_truncation, reason = "small constants")]
const WRITE_LOCK: libc::c_short = libc::F_WRLCK as libc::c_short;
#[expect(clippy::cast_possible_truncation, reason = "small constants")]
const FROM_THE_START: libc::c_short = libc::SEEK_SET as libc::c_short;

/// Locks a range for as long as the file is open; `false` if any of it is locked.
fn lock(locks: &File, range: Range) -> io::Result<bool> {
    let wanted = libc::flock {
        l_type: WRITE_LOCK,
        l_whence: FROM_THE_START,
        l_start: range.first.into(),
        l_len: i64::from(range.last - range.first) + 1,
        l_pid: 0,
    };
    match fcntl(locks, FcntlArg::F_OFD_SETLK(&wanted)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn free(locks: &File) -> Result<Range, Error> {
    for range in Range::defaults() {
        if lock(locks, range).map_err(Error::Locks)? {
            return Ok(range);
        }
    }
    Err(Error::NoDefault)
}

/// Whether a user namespace whose map of ids this is has all of the range. Only one stretch of the
/// map is considered.
fn is_mapped(map: &str, range: Range) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map_while(|word| word.parse::<u64>().ok());
        let (Some(inside), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        inside <= range.first.into() && u64::from(range.last) < inside + count
    })
}

/// The ids of the range that processes have. Whether such a process lets itself be looked at does
/// not matter for its ids.
fn in_use(range: Range) -> io::Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str());
        if number.is_none_or(|name| !name.bytes().all(|byte| byte.is_ascii_digit())) {
            continue;
        }
        // One that has ended in the meantime has none.
        let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
        let ids = ids.split_whitespace().filter_map(|word| word.parse().ok());
        found.extend(ids.filter(|&id| range.contains(id)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tests::take_turn;

    fn users(first: u32, last: u32, others: &[u32]) -> Users {
        let locks = File::open("/dev/null").unwrap();
        let range = Range { first, last };
        let others = others.iter().copied().collect();
        Users { range, next: first, ours: BTreeSet::new(), others, _locks: locks }
    }

    #[test]
    fn no_two_have_one_id_and_one_given_back_is_used_last() {
        let mut users = users(2_147_483_600, 2_147_483_603, &[2_147_483_601]);
        let mut allot = || users.allot().map_err(|error| error.to_string());
        assert_eq!(allot(), Ok(2_147_483_600));
        assert_eq!(allot(), Ok(2_147_483_602));
        users.give_back(2_147_483_600);
        let mut allot = || users.allot().map_err(|error| error.to_string());
        assert_eq!(allot(), Ok(2_147_483_603));
        assert_eq!(allot(), Ok(2_147_483_600));
        // That process has ended: there never was one.
        assert_eq!(allot(), Ok(2_147_483_601));
        assert!(allot().unwrap_err().contains("all user ids of the range"));
    }

    #[test]
    fn the_id_of_a_machine_that_runs_already_is_not_allotted() {
        let mut users = users(2_147_483_600, 2_147_483_601, &[]);
        users.adopt(2_147_483_600);
        assert_eq!(users.allot().unwrap(), 2_147_483_601);
        assert!(users.allot().is_err());
    }

    #[test]
    fn a_range_is_one_installations() {
        take_turn();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("uids");
        let (first, second) = (open(&path).unwrap(), open(&path).unwrap());
        let range: Range = "200000-200999".parse().unwrap();
        assert!(lock(&first, range).unwrap());
        assert!(!lock(&second, "200999-201999".parse().unwrap()).unwrap());
        assert!(lock(&second, "201000-201999".parse().unwrap()).unwrap());
        let defaults = [free(&first).unwrap(), free(&second).unwrap()];
        assert_ne!(defaults[0], defaults[1]);
        drop(first);
        assert!(lock(&second, range).unwrap());
    }

    #[test]
    fn ids_that_a_container_does_not_have_are_noticed() {
        let range: Range = "200000-200999".parse().unwrap();
        assert!(is_mapped("         0          0 4294967295\n", range));
        assert!(is_mapped("0 1000 1\n1 100000 300000\n", range));
        assert!(!is_mapped("0 100000 65536\n", range));
        assert!(!is_mapped("0 100000 200999\n", range));
        assert!(!is_mapped("nonsense\n", range));
    }
}
