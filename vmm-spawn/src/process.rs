//! The end of a process: how it came, what was used, and bringing it about.
#![allow(
    unsafe_code,
    reason = "rustix has no rusage of a wait, and does not ask a pidfd how it ended"
)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tracing::error;
use vmm_proto::message::Exit;

/// How long one that was killed may take to end: only one that is stuck in the kernel takes long.
const END_PATIENCE: Duration = Duration::from_secs(5);

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

/// How a child has ended, without reaping it: it can be looked at again, by whoever is its parent
/// then. `None` while it runs.
///
/// # Errors
/// It is no child of this process, or was reaped before.
pub fn look(pid: Pid) -> Result<Option<Ended>, Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // The system call has a fifth argument that the C library does not offer.
    // SAFETY: both pointers are valid for writes of their types for the whole call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PID,
            pid.as_raw_nonzero().get(),
            info.as_mut_ptr(),
            libc::WEXITED | libc::WNOWAIT | libc::WNOHANG,
            usage.as_mut_ptr(),
        )
    };
    if done != 0 {
        return match Errno::from_io_error(&std::io::Error::last_os_error()) {
            Some(Errno::INTR) => Ok(None),
            error => Err(error.unwrap_or(Errno::CHILD)),
        };
    }
    // SAFETY: all of it was zeroed, and zeros are a valid siginfo_t.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid fills in this part, or leaves it zero when there is nothing to tell.
    if unsafe { info.si_pid() } == 0 {
        return Ok(None);
    }
    // SAFETY: the same.
    let status = unsafe { info.si_status() };
    // SAFETY: all of it was zeroed, and zeros are a valid rusage.
    let usage = unsafe { usage.assume_init() };
    Ok(Some(Ended {
        exit: match info.si_code {
            libc::CLD_EXITED => u8::try_from(status).map_or(Exit::Unknown, Exit::Code),
            _ => u8::try_from(status).map_or(Exit::Unknown, Exit::Signal),
        },
        user_us: microseconds(usage.ru_utime),
        system_us: microseconds(usage.ru_stime),
        max_resident_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    }))
}

/// Reaps a child that has ended.
///
/// # Errors
/// It is no child of this process, or was reaped before.
pub fn reap(pid: Pid) -> Result<(), Errno> {
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// How a process that somebody else has reaped ended, which Linux tells from 6.15 on; `None` while
/// nobody has reaped it, and where the kernel is older.
pub fn ask(process: impl AsFd) -> Option<Exit> {
    // SAFETY: zeros are a valid pidfd_info: it is nothing but numbers.
    let mut info = unsafe { MaybeUninit::<libc::pidfd_info>::zeroed().assume_init() };
    let mask = u64::from(libc::PIDFD_INFO_EXIT);
    info.mask = mask;
    // SAFETY: the kernel reads the mask and writes at most the size of the structure, which is
    // part of the number of the operation.
    let done =
        unsafe { libc::ioctl(process.as_fd().as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    if done != 0 || info.mask & mask == 0 {
        return None;
    }
    let status = ExitStatus::from_raw(info.exit_code);
    let known = match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).map(Exit::Code),
        (None, Some(signal)) => u8::try_from(signal).map(Exit::Signal),
        (None, None) => return None,
    };
    known.ok()
}

fn microseconds(time: libc::timeval) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
}

/// Gets rid of a process that has just started and cannot be watched. It is killed, so that waiting
/// for it is short; one that does not end all the same is reaped when another is got rid of.
pub fn abandon(pid: Pid, process: impl AsFd) {
    /// Those that did not end in time.
    static LEFT: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    left.retain(|pid| match look(*pid) {
        Ok(None) => true,
        Ok(Some(_)) => reap(*pid).is_err(),
        // It is no child of this process.
        Err(_) => false,
    });
    let gone = pidfd_send_signal(&process, Signal::KILL)
        .and_then(|()| any_ready(&mut [PollFd::new(&process, PollFlags::IN)], END_PATIENCE));
    let gone = match gone {
        Ok(true) => reap(pid),
        Ok(false) => {
            left.push(pid);
            Err(Errno::TIMEDOUT)
        }
        Err(error) => Err(error),
    };
    if let Err(error) = gone {
        error!("process {pid} cannot be got rid of: {error}");
    }
}

/// Waits until something of this is so, and no longer than that.
///
/// # Errors
/// The kernel cannot be asked.
pub fn any_ready(these: &mut [PollFd<'_>], patience: Duration) -> Result<bool, Errno> {
    let until = Instant::now() + patience;
    loop {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now()));
        match poll(these, Some(&left.map_err(|_| Errno::INVAL)?)) {
            Err(Errno::INTR) => {}
            polled => return polled.map(|ready| ready > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{PidfdFlags, pidfd_open};

    use super::*;
    use crate::net::tests::take_turn;

    #[expect(clippy::zombie_processes, reason = "that is what this looks at; the caller reaps it")]
    fn ended(script: &str) -> (Pid, Ended) {
        let child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
        let pid = Pid::from_child(&child);
        loop {
            if let Some(ended) = look(pid).unwrap() {
                return (pid, ended);
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_end_of_a_child_can_be_looked_at_until_it_is_reaped() {
        take_turn();
        let (pid, first) = ended("exit 3");
        assert_eq!(first.exit, Exit::Code(3));
        assert!(first.max_resident_kib > 0);
        let again = look(pid).unwrap().unwrap();
        assert_eq!(again.exit, first.exit);
        // The first look may have come before its last moments were counted.
        let spent = |it: Ended| it.user_us + it.system_us;
        assert!(spent(again) >= spent(first) && again.max_resident_kib >= first.max_resident_kib);
        reap(pid).unwrap();
        assert_eq!(look(pid), Err(Errno::CHILD));
        let (pid, killed) = ended("kill -TERM $$");
        assert_eq!(killed.exit, Exit::Signal(15));
        reap(pid).unwrap();
    }

    /// Where the kernel can tell, it tells the truth, and not before it can.
    #[test]
    fn the_end_of_a_reaped_process_is_told_by_the_kernel_or_unknown() {
        take_turn();
        for (script, exit) in [("exit 7", Exit::Code(7)), ("kill -KILL $$", Exit::Signal(9))] {
            let mut child = Command::new("/bin/sh")
                .args(["-c", &format!("read x; {script}")])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
            assert_eq!(ask(&process), None);
            drop(child.stdin.take());
            child.wait().unwrap();
            let told = ask(&process);
            assert!(told.is_none_or(|told| told == exit), "{told:?}");
        }
    }
}
