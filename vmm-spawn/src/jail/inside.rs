//! What the process of a machine does before it becomes the tender: it enters the jail.
//!
//! It is a copy of `vmm-spawn` and has all that one may do, until here, step by step, it has not.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::AtFlags;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{execve, execveat};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::{Errno, FdFlags, fcntl_setfd, write};
use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::system::sethostname;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_keep_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::cgroup::Entrance;
use super::limits;
use super::namespaces::{Files, Namespaces};
use crate::birth;

/// Exit status of a process that did not become the tender; it has said why.
pub const FAILED: u8 = 126;

/// What was tried, and why it failed.
pub type Failure = (&'static str, Errno);

/// For `map_err`: names what failed.
fn failed<E: Into<Refused>>(what: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| (what, error.into().0)
}

/// An error number of either library.
struct Refused(Errno);

impl From<Errno> for Refused {
    fn from(error: Errno) -> Self {
        Self(error)
    }
}

impl From<nix::Error> for Refused {
    fn from(error: nix::Error) -> Self {
        Self(Errno::from_raw_os_error(error as i32))
    }
}

/// What the tender is started with.
#[derive(Debug)]
pub struct Program {
    /// The file, or its path in the root directory of machines.
    pub file: ProgramFile,
    /// Its arguments, its name first.
    pub arguments: Vec<CString>,
    /// Standard input.
    pub input: OwnedFd,
    /// Standard output and standard error.
    pub output: OwnedFd,
    /// Where to say why there is no tender.
    pub status: OwnedFd,
    /// Where the process says first who it is.
    pub birth: OwnedFd,
    /// What it gets beside these, under the numbers that they have now.
    pub others: Vec<OwnedFd>,
}

impl Program {
    /// The descriptors that are needed to become it.
    pub fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        let file = match &self.file {
            ProgramFile::Open(file) => Some(file),
            ProgramFile::Path(_) => None,
        };
        let streams = [&self.input, &self.output, &self.status, &self.birth];
        self.others.iter().chain(streams).chain(file)
    }
}

/// How a program is named.
#[derive(Debug)]
pub enum ProgramFile {
    /// By a descriptor: it need not be in sight of machines.
    Open(OwnedFd),
    /// By its path.
    Path(CString),
}

/// The way into the jail.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The cgroups.
    pub cgroups: &'a Entrance,
    /// The namespaces.
    pub namespaces: &'a Namespaces,
    /// The user and group id, if it gets one.
    pub user: Option<u32>,
    /// The ids that it has otherwise: those of this process, asked for outside.
    pub own: (Uid, Gid),
    /// MiB of guest memory.
    pub memory_mib: u32,
}

/// Becomes the tender, or says why not and returns the status to end with.
pub fn run(entry: &Entry<'_>, program: &Program) -> u8 {
    let Err((what, error)) = become_tender(entry, program);
    let text = format!("the jail cannot be entered: cannot {what}: {error}\n");
    // Nobody is left to be told that nobody can be told.
    let _ = write(&program.status, text.as_bytes());
    FAILED
}

fn become_tender(entry: &Entry<'_>, program: &Program) -> Result<Infallible, Failure> {
    birth::certify(program.birth.as_fd())
        .map_err(|error| ("say who it is", Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    let pass = "pass descriptors";
    dup2_stdin(&program.input).map_err(failed(pass))?;
    dup2_stdout(&program.output).map_err(failed(pass))?;
    dup2_stderr(&program.output).map_err(failed(pass))?;
    for descriptor in program.others.iter().chain([&program.status]) {
        fcntl_setfd(descriptor, FdFlags::empty()).map_err(failed(pass))?;
    }
    entry.enter()?;
    let environment: [&CString; 0] = [];
    let run = "run the tender";
    match &program.file {
        ProgramFile::Open(file) => {
            let flags = AtFlags::AT_EMPTY_PATH;
            execveat(file, c"", &program.arguments, &environment, flags).map_err(failed(run))
        }
        ProgramFile::Path(path) => {
            execve(path, &program.arguments, &environment).map_err(failed(run))
        }
    }
}

impl Entry<'_> {
    /// The descriptors that are needed to enter.
    pub fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        let files = match &self.namespaces.files {
            Files::Shared(namespace) => Some(namespace),
            Files::Host | Files::Built(_) => None,
        };
        self.cgroups.descriptors().chain(&self.namespaces.network).chain(files)
    }

    /// Enters the jail with this process.
    ///
    /// # Errors
    /// What was tried, and why it failed. The process is of no use then.
    pub fn enter(&self) -> Result<(), Failure> {
        let Namespaces { own_user, files, network, after, .. } = self.namespaces;
        self.cgroups.join().map_err(failed("join its cgroups"))?;
        // Named now, as the file system goes; it stays this process's.
        let process = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let process = open("/proc/self", process, Mode::empty())
            .map_err(failed("look at itself in /proc"))?;
        if *own_user {
            map_user(process.as_fd(), self.own)?;
        }
        if let Some(network) = network {
            setns(network, CloneFlags::CLONE_NEWNET).map_err(failed("leave the host's network"))?;
        }
        match files {
            Files::Host => {}
            Files::Shared(namespace) => {
                setns(namespace, CloneFlags::CLONE_NEWNS)
                    .map_err(failed("leave the host's files"))?;
            }
            Files::Built(root) => {
                super::root::umask();
                root.enter()?;
            }
        }
        limits::apply(self.memory_mib, self.user.is_some() || self.has_user_namespace())?;
        if let Some(user) = self.user {
            become_user(user)?;
        }
        unshare(*after).map_err(failed("leave the host's namespaces"))?;
        if after.contains(CloneFlags::CLONE_NEWUSER) {
            let own = self.user.map(|id| (Uid::from_raw(id), Gid::from_raw(id)));
            map_user(process.as_fd(), own.unwrap_or(self.own))?;
        }
        if self.namespaces.own_name() {
            sethostname(b"machine").map_err(failed("give it a host name"))?;
        }
        set_no_new_privs(true).map_err(failed("renounce new privileges"))?;
        drop_capabilities().map_err(failed("drop capabilities"))?;
        // Last: all that `vmm-spawn` has open is still open here, and has the low numbers.
        limits::apply_to_descriptors()
    }

    fn has_user_namespace(&self) -> bool {
        self.namespaces.own_user || self.namespaces.after.contains(CloneFlags::CLONE_NEWUSER)
    }
}

/// Takes on a user id, keeping what is needed to leave the namespaces of the host.
fn become_user(user: u32) -> Result<(), Failure> {
    let what = "take on a user id of its own";
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    set_thread_groups(&[]).map_err(failed(what))?;
    set_thread_res_gid(gid, gid, gid).map_err(failed(what))?;
    set_keep_capabilities(true).map_err(failed(what))?;
    set_thread_res_uid(uid, uid, uid).map_err(failed(what))?;
    let mut sets = capabilities(None).map_err(failed(what))?;
    sets.effective = sets.permitted;
    set_capabilities(None, sets).map_err(failed(what))?;
    // Otherwise its files in /proc would be root's. Nobody else has its user id.
    set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(failed(what))
}

/// In a user namespace that was just made, the only ids are those of this process: these, which it
/// cannot be asked for any more.
fn map_user(process: BorrowedFd<'_>, (uid, gid): (Uid, Gid)) -> Result<(), Failure> {
    let put = |name: &str, text: String| {
        let file = openat(process, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        write(file, text.as_bytes()).map(drop)
    };
    let alone = |id: u32| format!("{id} {id} 1\n");
    let what = "have its own ids in a user namespace";
    put("setgroups", "deny".to_owned()).map_err(failed(what))?;
    put("uid_map", alone(uid.as_raw())).map_err(failed(what))?;
    put("gid_map", alone(gid.as_raw())).map_err(failed(what))
}

/// Drops all capabilities, and the ways to get them back that can be closed.
fn drop_capabilities() -> Result<(), Errno> {
    if capabilities(None)?.effective.contains(CapabilitySet::SETPCAP) {
        let locked = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
        match set_capabilities_secure_bits(locked) {
            // Whoever started this has locked them otherwise: an empty bounding set is enough.
            Ok(()) | Err(Errno::PERM) => {}
            Err(error) => return Err(error),
        }
        for bit in 0..u64::BITS {
            match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
                Ok(()) => {}
                // Past the last one that this kernel has.
                Err(Errno::INVAL) => break,
                Err(error) => return Err(error),
            }
        }
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}
