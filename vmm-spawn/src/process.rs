//! Reaping: how a process ended, and what it used.
#![allow(unsafe_code, reason = "of the wait calls only wait4 tells what a child used")]

use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::Pid;
use vmm_proto::message::Exit;

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub exit: Exit,
    /// Processor time in user mode, in microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, in microseconds.
    pub system_us: u64,
    /// The most memory that was resident, in KiB. The kernel counts the moment before the exec,
    /// so it is never less than what vmm-spawn itself has resident.
    pub max_resident_kib: u64,
}

impl Ended {
    /// Of a process that ended without anyone seeing how.
    pub const UNSEEN: Self =
        Self { exit: Exit::Unknown, user_us: 0, system_us: 0, max_resident_kib: 0 };
}

/// Reaps a child if it has ended; `None` while it runs.
///
/// # Errors
/// It is no child of this process, or was reaped before.
pub fn reap(pid: Pid) -> Result<Option<Ended>, Errno> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are valid for writes of their types for the whole call.
    let reaped = unsafe {
        libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, libc::WNOHANG, usage.as_mut_ptr())
    };
    match reaped {
        0 => Ok(None),
        -1 => match Errno::from_io_error(&std::io::Error::last_os_error()) {
            Some(Errno::INTR) => Ok(None),
            Some(error) => Err(error),
            None => Err(Errno::CHILD),
        },
        _ => {
            // SAFETY: all of it was zeroed, and zeros are a valid rusage.
            let usage = unsafe { usage.assume_init() };
            Ok(Some(ended(ExitStatus::from_raw(status), &usage)))
        }
    }
}

fn ended(status: ExitStatus, usage: &libc::rusage) -> Ended {
    let exit = match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).map_or(Exit::Unknown, Exit::Code),
        (None, Some(signal)) => u8::try_from(signal).map_or(Exit::Unknown, Exit::Signal),
        (None, None) => Exit::Unknown,
    };
    Ended {
        exit,
        user_us: microseconds(usage.ru_utime),
        system_us: microseconds(usage.ru_stime),
        max_resident_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    }
}

fn microseconds(time: libc::timeval) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
}
