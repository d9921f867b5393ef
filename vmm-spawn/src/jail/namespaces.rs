//! Which namespaces machines get: each kind is tried once, at the start of this process.
//!
//! As root, the file system and the network of machines are namespaces that are made once and shared
//! by all: there is nothing in them, and they cannot be changed (docs/adr/0015-the-jail.md). All
//! others are each machine's own. As another user everything is made for each machine, in a user
//! namespace of its own.

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sched::CloneFlags;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{read, write};
use rustix::process::{WaitOptions, getegid, geteuid, waitpid};
use rustix::thread::{CapabilitySet, capabilities};

use super::cgroup::Entrance;
use super::clone::{Cloned, clone};
use super::inside::{Entry, FAILED, Failure};
use super::root::Root;

/// The file system of a machine.
#[derive(Debug)]
pub enum Files {
    /// That of the host.
    Host,
    /// A mount namespace that is there.
    Shared(OwnedFd),
    /// One that the machine's process builds in a mount namespace of its own.
    Built(Root),
}

/// The namespaces of machines.
#[derive(Debug)]
pub struct Namespaces {
    /// Flags that their processes are started with.
    pub first: CloneFlags,
    /// Whether a user namespace is among these.
    pub own_user: bool,
    /// Their file system.
    pub files: Files,
    /// Their network, if it is one that is there.
    pub network: Option<OwnedFd>,
    /// What their processes leave at last.
    pub after: CloneFlags,
}

impl Namespaces {
    /// Those of the host.
    fn none() -> Self {
        let none = CloneFlags::empty();
        Self { first: none, own_user: false, files: Files::Host, network: None, after: none }
    }

    /// Whether a machine has a host name to itself.
    pub fn own_name(&self) -> bool {
        (self.first | self.after).contains(CloneFlags::CLONE_NEWUTS)
    }

    /// The flags of a new process.
    pub fn flags(&self) -> u64 {
        flags(self.first)
    }

    /// What this host permits, and in words what it does not. `root` is what machines are to see;
    /// `user` is a user id such as they will have.
    pub fn survey(root: Option<Root>, user: Option<u32>) -> (Self, Vec<String>) {
        let mut this = Self::none();
        let mut missing = Vec::new();
        let may_all =
            capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
        let found = if may_all {
            this.survey_as_root(root, user, &mut missing)
        } else {
            this.survey_as_user(root, &mut missing)
        };
        if let Err(error) = found {
            missing.push(format!("no namespaces: {error}"));
        }
        (this, missing)
    }

    fn survey_as_root(
        &mut self,
        root: Option<Root>,
        user: Option<u32>,
        missing: &mut Vec<String>,
    ) -> Result<(), String> {
        if let Some(root) = root {
            match made(CloneFlags::CLONE_NEWNS, "mnt", || {
                super::root::umask();
                root.enter()
            }) {
                Ok(namespace) => self.files = Files::Shared(namespace),
                Err(error) => missing.push(lack("mount", FILES, &error)),
            }
        }
        match made(CloneFlags::CLONE_NEWNET, "net", || Ok(())) {
            Ok(namespace) => self.network = Some(namespace),
            Err(error) => missing.push(lack("network", NETWORK, &error)),
        }
        self.add_first(CloneFlags::CLONE_NEWPID, user, "process", PROCESSES, missing);
        // The last one first: with it, the others need no privilege on the host.
        for (flag, name, sight) in [
            (CloneFlags::CLONE_NEWUSER, "user", USERS),
            (CloneFlags::CLONE_NEWIPC, "IPC", IPC),
            (CloneFlags::CLONE_NEWUTS, "UTS", NAME),
            (CloneFlags::CLONE_NEWCGROUP, "cgroup", CGROUPS),
        ] {
            self.after |= flag;
            if let Err(error) = self.works(user) {
                self.after.remove(flag);
                missing.push(lack(name, sight, &error));
            }
        }
        self.works(user)
    }

    fn survey_as_user(
        &mut self,
        root: Option<Root>,
        missing: &mut Vec<String>,
    ) -> Result<(), String> {
        self.first = CloneFlags::CLONE_NEWUSER;
        self.own_user = true;
        if let Err(error) = self.works(None) {
            *self = Self::none();
            return Err(format!(
                "mounts, network, processes and IPC of the host are in sight, as this host does \
                 not permit them to ordinary users: {error}"
            ));
        }
        if let Some(root) = root {
            self.first |= CloneFlags::CLONE_NEWNS;
            self.files = Files::Built(root);
            if let Err(error) = self.works(None) {
                self.first.remove(CloneFlags::CLONE_NEWNS);
                self.files = Files::Host;
                missing.push(lack("mount", FILES, &error));
            }
        }
        for (flag, name, sight) in [
            (CloneFlags::CLONE_NEWNET, "network", NETWORK),
            (CloneFlags::CLONE_NEWPID, "process", PROCESSES),
            (CloneFlags::CLONE_NEWIPC, "IPC", IPC),
            (CloneFlags::CLONE_NEWUTS, "UTS", NAME),
            (CloneFlags::CLONE_NEWCGROUP, "cgroup", CGROUPS),
        ] {
            self.add_first(flag, None, name, sight, missing);
        }
        self.works(None)
    }

    fn add_first(
        &mut self,
        flag: CloneFlags,
        user: Option<u32>,
        name: &str,
        sight: &str,
        missing: &mut Vec<String>,
    ) {
        self.first |= flag;
        if let Err(error) = self.works(user) {
            self.first.remove(flag);
            missing.push(lack(name, sight, &error));
        }
    }

    /// Whether a process can enter all of this, as that of a machine will.
    fn works(&self, user: Option<u32>) -> Result<(), String> {
        let cgroups = Entrance::default();
        let own = (geteuid(), getegid());
        let entry = Entry { cgroups: &cgroups, namespaces: self, user, own, memory_mib: 64 };
        rehearse(self.flags(), || entry.enter(), |_| Ok(()))
    }
}

const FILES: &str = "files of the host are in sight";
const NETWORK: &str = "the network of the host is in sight";
const PROCESSES: &str = "processes of the host are in sight";
const IPC: &str = "shared memory of the host is in sight";
const NAME: &str = "the name of the host is in sight";
const CGROUPS: &str = "the names of cgroups are in sight";
const USERS: &str = "its user id is one of the host's";

fn lack(name: &str, sight: &str, error: &str) -> String {
    format!("no {name} namespace of its own, {sight}: {error}")
}

/// A namespace that stays as long as this is open: one that a process makes with `flag` and
/// prepares.
fn made(
    flag: CloneFlags,
    name: &str,
    prepare: impl FnOnce() -> Result<(), Failure>,
) -> Result<OwnedFd, String> {
    rehearse(flags(flag), prepare, |process| {
        let path = format!("/proc/{}/ns/{name}", process.pid.as_raw_nonzero());
        let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        file.map_err(|error| format!("it cannot be opened: {error}"))
    })
}

fn flags(flags: CloneFlags) -> u64 {
    u64::from(flags.bits().cast_unsigned())
}

/// What a process says that could do what it should.
const DONE: &str = "done";

/// Starts a process that does `act` and then waits for its end, which comes after a `look` at it.
fn rehearse<T>(
    flags: u64,
    act: impl FnOnce() -> Result<(), Failure>,
    look: impl FnOnce(&Cloned) -> Result<T, String>,
) -> Result<T, String> {
    let (mut said, say) = std::io::pipe().map_err(|error| error.to_string())?;
    let (hold, go) = std::io::pipe().map_err(|error| error.to_string())?;
    let mut go = Some(go);
    let highest = say.as_raw_fd().max(hold.as_raw_fd());
    let process = clone(flags, None, highest, || {
        // The process's own copy; it is to notice if this one ends.
        drop(go.take());
        let text = match act() {
            Ok(()) => DONE.to_owned(),
            Err((what, error)) => format!("cannot {what}: {error}"),
        };
        let told = write(&say, text.as_bytes());
        drop(say);
        let waited = read(&hold, &mut [0; 1]);
        if told.is_ok() && waited.is_ok() { 0 } else { FAILED }
    })
    .map_err(|error| error.to_string())?;
    let mut text = String::new();
    let heard = said.read_to_string(&mut text).map_err(|error| error.to_string());
    let outcome = heard.and_then(|_| match text.as_str() {
        DONE => look(&process),
        "" => Err("a process that tried it ended".to_owned()),
        _ => Err(text),
    });
    drop(go);
    match waitpid(Some(process.pid), WaitOptions::empty()) {
        Ok(_) => outcome,
        Err(error) => Err(format!("a process that tried it cannot be waited for: {error}")),
    }
}
