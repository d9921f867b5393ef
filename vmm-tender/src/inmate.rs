//! For tests: what an escaped guest would try, from a process that is confined as a tender is.
//!
//! The process is this test program again, running a single test that is ignored otherwise and
//! that confines itself first.
#![allow(
    unsafe_code,
    reason = "the system calls are made as an intruder would, past all libraries"
)]

use std::ffi::CStr;
use std::os::unix::process::{ExitStatusExt, parent_id};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::geteuid;

const VARIABLE: &str = "VMM_TENDER_ATTEMPT";

/// What became of an attempt.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The system call did what it was to do.
    Success,
    /// It failed.
    Failure(Errno),
    /// The process was ended by this signal.
    Signal(i32),
    /// Something else is wrong: this is what the process said.
    Other(String),
}

/// Runs `inmate`, the full name of an ignored test that ends in [`Attempt::make`], in a process of its
/// own that attempts `what`.
pub(crate) fn outcome(inmate: &str, what: &str) -> Outcome {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", inmate])
        .env(VARIABLE, what)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if let Some(signal) = output.status.signal() {
        return Outcome::Signal(signal);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let result = said.lines().find_map(|line| line.strip_prefix("result ")?.parse().ok());
    match result {
        Some(0) => Outcome::Success,
        Some(error) => Outcome::Failure(Errno::from_raw_os_error(error)),
        None => Outcome::Other(said),
    }
}

/// A system call that is still to be made.
pub(crate) struct Attempt(libc::c_long, [usize; 5]);

impl Attempt {
    /// What [`outcome`] asks of this process: prepared before it is confined.
    pub(crate) fn asked_for() -> Self {
        let what = std::env::var(VARIABLE).expect("only other tests run this one");
        system_call(&what)
    }

    /// The same with another descriptor as first argument.
    pub(crate) fn on(self, descriptor: std::os::fd::RawFd) -> Self {
        let Self(number, mut arguments) = self;
        arguments[0] = descriptor.cast_unsigned() as usize;
        Self(number, arguments)
    }

    /// Makes the call and ends the process.
    pub(crate) fn make(self) -> ! {
        let Self(number, all) = self;
        // SAFETY: no call takes a pointer to anything but constants of this program; what it does
        // to the process is what the test is about.
        let result = unsafe { libc::syscall(number, all[0], all[1], all[2], all[3], all[4]) };
        let error = std::io::Error::last_os_error().raw_os_error().unwrap_or_default();
        eprintln!("result {}", if result == -1 { error } else { 0 });
        std::process::exit(0)
    }
}

fn text(text: &'static CStr) -> usize {
    text.as_ptr().addr()
}

/// What each attempt is: the number of a system call and its arguments.
fn system_call(what: &str) -> Attempt {
    const AT_FDCWD: usize = usize::MAX - 99;
    const PTRACE_SEIZE: usize = 0x4206;
    const CREATE: usize = 0o101;
    const READ_WRITE: usize = 2;
    const NET: usize = 7;
    static NOTHING: [usize; 1] = [0];
    let nothing = NOTHING.as_ptr().addr();
    let parent = parent_id() as usize;
    let other_user = geteuid().as_raw() as usize + 1;
    let (number, arguments): (_, &[usize]) = match what {
        "nothing" => (libc::SYS_write, &[1, nothing, 0]),
        "open" => (libc::SYS_openat, &[AT_FDCWD, text(c"/etc/passwd"), 0]),
        "open-2" => (libc::SYS_open, &[text(c"/etc/passwd"), 0]),
        "create" => (libc::SYS_openat, &[AT_FDCWD, text(c"/tmp/escaped"), CREATE, 0o600]),
        "own-memory" => (libc::SYS_openat, &[AT_FDCWD, text(c"/proc/self/mem"), READ_WRITE]),
        "list" => (libc::SYS_openat, &[AT_FDCWD, text(c"/"), 0o200_000]),
        "unlink" => (libc::SYS_unlinkat, &[AT_FDCWD, text(c"/tmp/escaped"), 0]),
        "execute" => (libc::SYS_execve, &[text(c"/bin/true"), nothing, nothing]),
        "socket" => (libc::SYS_socket, &[2, 1, 0]),
        "trace" => (libc::SYS_ptrace, &[PTRACE_SEIZE, parent, 0, 0]),
        "signal" => (libc::SYS_kill, &[parent, 0]),
        "signal-thread" => (libc::SYS_tgkill, &[parent, parent, 0]),
        "become-another" => (libc::SYS_setuid, &[other_user]),
        "become-root" => (libc::SYS_setresuid, &[0, 0, 0]),
        "mount" => (libc::SYS_mount, &[text(c"none"), text(c"/mnt"), text(c"tmpfs"), 0, 0]),
        "change-root" => (libc::SYS_chroot, &[text(c"/")]),
        "namespace" => (libc::SYS_unshare, &[0x1000_0000]),
        "network" => (libc::SYS_unshare, &[0x4000_0000]),
        "program" => (libc::SYS_bpf, &[0, 0, 0]),
        "ring" => (libc::SYS_io_uring_setup, &[1, 0]),
        "fork" => (libc::SYS_fork, &[]),
        "clone" => (libc::SYS_clone, &[0, 0, 0, 0, 0]),
        "steal" => (libc::SYS_pidfd_open, &[parent, 0]),
        "read-parent" => (libc::SYS_process_vm_readv, &[parent, 0, 0, 0, 0]),
        "dumpable" => (libc::SYS_prctl, &[4, 1, 0, 0, 0]),
        "executable-map" => (libc::SYS_mmap, &[0, 4096, 4 | 1, 0x22, usize::MAX]),
        "map-file" => (libc::SYS_mmap, &[0, 4096, 1, 1, 0]),
        "protect" => (libc::SYS_mprotect, &[0x1000, 4096, 4]),
        "terminal" => (libc::SYS_ioctl, &[0, 0x5401, nothing]),
        "other-ioctl" => (libc::SYS_ioctl, &[VCPU as usize, 0xAE01, 0]),
        // On a tap, by its descriptor: to have it outlive the process, become another kind of
        // network, take another hardware address, be given larger frames, be filtered otherwise.
        "tap-persist" => (libc::SYS_ioctl, &[NET, 0x4004_54CB, 1]),
        "tap-kind" => (libc::SYS_ioctl, &[NET, 0x4004_54CD, 1]),
        "tap-address" => (libc::SYS_ioctl, &[NET, 0x8924, nothing]),
        "tap-offload" => (libc::SYS_ioctl, &[NET, 0x4004_54D0, 1]),
        "tap-filter" => (libc::SYS_ioctl, &[NET, 0x4010_54D5, nothing]),
        "tap-program" => (libc::SYS_ioctl, &[NET, 0x8004_54E0, nothing]),
        "duplicate" => (libc::SYS_dup2, &[1, 9]),
        "write-elsewhere" => (libc::SYS_write, &[9, nothing, 1]),
        "write-high" => (libc::SYS_write, &[1 | 1 << 32, nothing, 1]),
        "read-input" => (libc::SYS_read, &[0, 0, 0]),
        // On a directory for core files.
        "core" => (libc::SYS_openat, &[0, text(c"core"), 0o2_000_301, 0o600]),
        "core-elsewhere" => (libc::SYS_openat, &[0, text(c"/tmp/escaped"), 0o2_000_301, 0o600]),
        "core-over" => (libc::SYS_openat, &[0, text(c"core"), 0o2_000_101, 0o600]),
        "core-for-all" => (libc::SYS_openat, &[0, text(c"core"), 0o2_000_301, 0o666]),
        "core-list" => (libc::SYS_openat, &[0, text(c"."), 0o2_200_000]),
        "core-as-console" => (libc::SYS_dup3, &[0, 1, 0o2_000_000]),
        "other-architecture" => (0x4000_0000 | libc::SYS_write, &[1, nothing, 0]),
        other => panic!("no such attempt: {other}"),
    };
    let mut all = [0; 5];
    all[..arguments.len()].copy_from_slice(arguments);
    Attempt(number, all)
}

/// The number of a descriptor that stands for that of the virtual CPU.
pub(crate) const VCPU: std::os::fd::RawFd = 8;
