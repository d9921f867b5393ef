//! Starting a process that is a copy of this one, in namespaces and a cgroup of its own.
#![allow(unsafe_code, reason = "clone3 has no safe wrapper")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::io::{Errno, write};
use rustix::process::Pid;

use crate::descriptors::KEPT;
use crate::process::{abandon, any_ready};

/// Exit status of a copy whose code panicked.
const PANICKED: i32 = 101;

/// Exit status of a copy that could not have descriptors of its own.
const NO_TABLE: u8 = 125;

/// How long a copy may take to begin. One in a cgroup that is frozen never does.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel or the host permits none.
    #[error(transparent)]
    Kernel(#[from] Errno),
    /// It did not begin.
    #[error(
        "it did not begin within {} s and was killed: its cgroup may be frozen (systemctl thaw, or 0 in \
         its cgroup.freeze)",
        PATIENCE.as_secs()
    )]
    Stuck,
}

/// A process that was just started.
#[derive(Debug)]
pub struct Cloned {
    /// Its number here.
    pub pid: Pid,
    /// The process itself, close-on-exec.
    pub process: OwnedFd,
}

/// Starts a process that runs `child` and ends with the status that it returns. It has this one's
/// descriptors up to `highest`, at least all below [`KEPT`], and none of its signal handlers. `flags`
/// are those of `clone3` that make namespaces; it begins in `cgroup`, a directory of the unified
/// hierarchy.
///
/// A copy of all descriptors, of which there are several for each machine, would take longer than all
/// the rest, and again when they are closed: so the two processes share them until the new one has
/// copied the few that it may need. That is waited for, no longer than [`PATIENCE`].
///
/// This process must have one thread, as `vmm-spawn` has: what another one holds at this moment
/// would be held for ever in the copy.
///
/// # Errors
/// The kernel or the host permits no such process, or it does not begin.
pub fn clone(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    highest: RawFd,
    child: impl FnOnce() -> u8,
) -> Result<Cloned, Error> {
    let parted = eventfd(0, EventfdFlags::CLOEXEC)?;
    let highest = highest.max(parted.as_raw_fd()).max(KEPT - 1);
    let child = || {
        // SAFETY: what is closed is closed in a table of this process's own, and from here on it
        // uses none of it: it never returns to whoever owns those descriptors.
        let done = unsafe { part(highest) }.and_then(|()| write(&parted, &1_u64.to_ne_bytes()));
        if done.is_ok() { child() } else { NO_TABLE }
    };
    let mut pidfd: libc::c_int = -1;
    let mut flags = flags | libc::CLONE_FILES as u64 | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
    if cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    let arguments = libc::clone_args {
        flags,
        pidfd: (&raw mut pidfd).addr() as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: SIGCHLD,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    let (at, size) = (&raw const arguments, size_of::<libc::clone_args>());
    // SAFETY: as it shares no memory with this process and has no stack given to it, the copy goes
    // on here on a copy of this stack, as after a fork of a process with one thread. The kernel
    // reads the arguments and writes one number, which live longer than the call.
    let result = unsafe { libc::syscall(libc::SYS_clone3, at, size) };
    if result == 0 {
        // Nothing of the caller's may run twice.
        let status = catch_unwind(AssertUnwindSafe(child)).map_or(PANICKED, i32::from);
        // SAFETY: ends the process without running anything of it.
        unsafe { libc::_exit(status) }
    }
    let number = i32::try_from(result).ok().filter(|number| *number > 0);
    let Some(pid) = number.and_then(Pid::from_raw) else {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL).into());
    };
    // SAFETY: the kernel has just opened it for this call, and nobody else knows it.
    let process = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let mut either = [PollFd::new(&parted, PollFlags::IN), PollFd::new(&process, PollFlags::IN)];
    let error = match any_ready(&mut either, PATIENCE) {
        // One that has ended instead needs no descriptors either.
        Ok(true) => return Ok(Cloned { pid, process }),
        Ok(false) => Error::Stuck,
        Err(error) => error.into(),
    };
    abandon(pid, process);
    Err(error)
}

/// Gives this process a table of descriptors of its own, with those up to `highest`.
///
/// # Safety
/// Whatever owns one with a higher number must not use or close it afterwards.
unsafe fn part(highest: RawFd) -> Result<(), Errno> {
    let first = highest.cast_unsigned().saturating_add(1);
    // SAFETY: the call has no other effect than to copy and close descriptors, and the caller
    // answers for that.
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE)
    };
    if done == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

const SIGCHLD: u64 = libc::SIGCHLD as u64;
const CLONE_PIDFD: u64 = libc::CLONE_PIDFD as u64;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::path::Path;

    use rustix::process::geteuid;
    use vmm_testkit::skipped;

    use super::*;
    use crate::net::tests::take_turn;

    #[test]
    fn a_process_that_does_not_begin_is_given_up() {
        // It has all descriptors of this process as long as it is waited for.
        take_turn();
        if !geteuid().is_root() {
            return skipped("a frozen cgroup, which only root can make");
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let unified = mounts.lines().find(|line| line.contains(" - cgroup2 ")).unwrap();
        let unified = Path::new(unified.split(' ').nth(4).unwrap());
        let frozen = unified.join(format!("vmm-spawn-frozen-{}", std::process::id()));
        fs::create_dir(&frozen).unwrap();
        fs::write(frozen.join("cgroup.freeze"), "1").unwrap();
        let directory = File::open(&frozen).unwrap();
        let refused = clone(0, Some(directory.as_fd()), 0, || 0).map(|_| ());
        // It has no process any more, and would not be removed if it had.
        fs::remove_dir(&frozen).unwrap();
        assert_eq!(refused, Err(Error::Stuck));
    }
}
