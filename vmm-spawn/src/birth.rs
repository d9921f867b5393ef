//! The birth of a process: it writes down itself who it is, before it becomes the tender.
//!
//! Whoever starts a process learns its number only afterwards, and may be killed in between. Then a
//! process would be there that nobody knows. So the new process writes its own line of
//! `/proc/self/stat` into a file that was opened for it: while that file is empty, there is no
//! tender. The lock of [`crate::socket`] sees to it that nobody looks while a process is between
//! the two: the process has it open until it becomes the tender.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::failpoint;

/// Bytes of a stat line at most: numbers, and a name of 64 bytes at most.
pub const LINE_MAX: usize = 1024;

/// Which process it is: its number, and when it began. The kernel gives a number again, but not at
/// the same time since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Born {
    /// Its number.
    pub pid: Pid,
    /// When it began, in ticks since boot.
    pub began: u64,
}

/// Writes down who this process is. To be called in the new process itself, where `/proc` is still
/// that of the host.
///
/// # Errors
/// There is no `/proc`, or no room in the file.
pub fn certify(file: BorrowedFd<'_>) -> io::Result<()> {
    failpoint::reach_in_child("birth-before");
    let mut line = [0; LINE_MAX];
    let stat = open(c"/proc/self/stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let length = read(&stat, &mut line)?;
    if write(file, &line[..length])? != length {
        return Err(Errno::NOSPC.into());
    }
    failpoint::reach_in_child("birth-after");
    Ok(())
}

impl Born {
    /// From a line of `/proc/PID/stat`: see `proc_pid_stat(5)`.
    pub fn parse(line: &str) -> Option<Self> {
        // The name of the program stands in parentheses and may have any in it.
        let (before, after) = line.rsplit_once(')')?;
        let (pid, _) = before.split_once(" (")?;
        // The first field after it is the third of the line; the start is the 22nd.
        let began = after.split_whitespace().nth(22 - 3)?;
        Some(Self { pid: Pid::from_raw(pid.parse().ok()?)?, began: began.parse().ok()? })
    }

    /// The process, if it is still there.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn find(self) -> Result<Option<OwnedFd>, Errno> {
        let process = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(process) => process,
            // Nobody's, or a thread's now.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Only now that the process is held can its number not become another's unnoticed: if the
        // line is still that of the birth, what is held is what was born.
        Ok((Self::of(self.pid)? == Some(self)).then_some(process))
    }

    /// Who has this number now.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn of(pid: Pid) -> Result<Option<Self>, Errno> {
        let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
        let mut line = [0; LINE_MAX];
        let length = match open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|stat| read(&stat, &mut line))
        {
            Ok(length) => length,
            Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Self::parse(&String::from_utf8_lossy(&line[..length])))
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::*;

    #[test]
    fn a_name_with_parentheses_and_line_ends_is_read_over() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        let line = format!("42 (a) b\n(c) ) {rest}");
        let born = Born::parse(&line).unwrap();
        assert_eq!((born.pid.as_raw_nonzero().get(), born.began), (42, 777));
        for bad in ["", "42", "42 (x", "42 (x) S 1", "0 (x) S", "-1 (x) S"] {
            assert_eq!(Born::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_process_is_found_and_one_that_began_at_another_time_is_not() {
        let born = Born::of(getpid()).unwrap().unwrap();
        assert_eq!(born.pid, getpid());
        assert!(born.find().unwrap().is_some());
        assert!(Born { began: born.began + 1, ..born }.find().unwrap().is_none());
    }
}
