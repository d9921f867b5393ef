//! A cgroup for each machine: what it may use is counted and limited there.
//!
//! All machines of this installation are below one cgroup, whose name tells the installation: what a
//! crash has left is found there, and nobody else's.
//!
//! ```text
//!   where vmm-spawn itself is, or --cgroup        found from /proc/self
//!   └ vmm@-run-vmm                                the installation with the directory /run/vmm
//!     └ 5f2b…-3                                   the third run of a machine
//! ```
//!
//! With version 1 this is so in each controller's hierarchy, but for that of CPU sets: the kernel
//! compares each new set with all beside it, so machines with the same CPUs are in one together
//! ([`sets`]). With version 2 there is one hierarchy.

mod entrance;
mod find;
mod quick;
mod remove;
pub mod sets;
mod v1;
mod v2;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

pub use entrance::Entrance;
pub use find::{Controller, Version};
use quick::Ready;
pub use remove::{children, remove};
use sets::Sets;

/// What a machine may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// Bytes of memory.
    pub memory: u64,
    /// The CPUs that it may run on.
    pub cpus: &'a [u16],
}

/// Why something could not be done with a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of a cgroup could not be used.
    #[error("cannot write {value:?} to {path:?}: {error}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What it was to hold.
        value: String,
        /// Why not.
        error: io::Error,
    },
    /// A cgroup could not be made.
    #[error("cannot make the cgroup {path:?}: {error}")]
    Make {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A cgroup could not be opened.
    #[error("cannot open the cgroup {path:?}: {error}")]
    Open {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: Errno,
    },
    /// Not for this user.
    #[error(
        "vmm-spawn's user may not make cgroups here: root may, and a service with Delegate=yes"
    )]
    Denied,
    /// Other processes are where machines were to be.
    #[error(
        "other processes are in the cgroup {0:?} beside vmm-spawn, so nothing can be limited below \
         it: start vmm-spawn as a service with Delegate=yes, or name a cgroup with --cgroup"
    )]
    Shared(PathBuf),
}

fn write(path: PathBuf, value: &str) -> Result<(), Error> {
    fs::write(&path, value).map_err(|error| Error::Write { path, value: value.to_owned(), error })
}

/// Makes a cgroup, unless it is there.
fn make(path: &Path) -> Result<(), Error> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Error::Denied),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::Make { path: path.to_owned(), error })
        }
        _ => Ok(()),
    }
}

/// The cgroup of this installation in one hierarchy.
#[derive(Debug)]
struct Home {
    version: Version,
    controllers: Vec<Controller>,
    dir: PathBuf,
    /// The memory nodes of version 1, which has to be told them.
    nodes: String,
}

/// The cgroups of this installation.
#[derive(Debug, Default)]
pub struct Cgroups {
    homes: Vec<Home>,
    sets: Sets,
    _quick: Option<Ready>,
}

/// The cgroups of one run of a machine.
#[derive(Debug)]
pub struct Made {
    /// Its own.
    pub own: Vec<PathBuf>,
    /// The set of CPUs that it shares, where that is a cgroup for itself.
    pub set: Option<PathBuf>,
}

/// What of the controllers does not work, and why.
pub type Lacking = Vec<(Controller, String)>;

impl Cgroups {
    /// Makes what can be made of the installation `name`, below `parent` or where this process is.
    pub fn prepare(name: &str, parent: Option<&Path>) -> (Self, Lacking) {
        let found = match find::hierarchies() {
            Ok(found) => found,
            Err(error) => {
                let lacking = Controller::ALL.map(|it| (it, error.to_string()));
                return (Self::default(), lacking.into());
            }
        };
        let (mut homes, mut lacking) = (Vec::new(), Lacking::new());
        for it in &found {
            let base = match parent {
                Some(parent) => it.mount.join(parent.strip_prefix("/").unwrap_or(parent)),
                None => it.own.clone(),
            };
            let home = match it.version {
                Version::V1 => v1::home(it, &base, name),
                Version::V2 => v2::home(it, &base, name),
            };
            match home {
                Ok(home) => {
                    let gone = it.controllers.iter().filter(|c| !home.controllers.contains(c));
                    let why = format!("it is not enabled in {}", home.dir.display());
                    lacking.extend(gone.map(|&controller| (controller, why.clone())));
                    homes.push(home);
                }
                Err(error) => {
                    let why = error.to_string();
                    lacking.extend(it.controllers.iter().map(|&it| (it, why.clone())));
                }
            }
        }
        for controller in Controller::ALL {
            if !found.iter().any(|it| it.controllers.contains(&controller)) {
                let why = "this host has no such cgroup controller in sight".to_owned();
                lacking.push((controller, why));
            }
        }
        let joined = homes.iter().any(|home| home.version == Version::V1);
        let quick = if joined { Ready::keep() } else { None };
        (Self { homes, sets: Sets::default(), _quick: quick }, lacking)
    }

    /// The directories that machines' cgroups are in.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.homes.iter().map(|home| home.dir.as_path())
    }

    /// Makes the cgroups of one run of a machine.
    ///
    /// # Errors
    /// One of them cannot be made: none is left then.
    pub fn make(&mut self, name: &str, limits: Limits<'_>) -> Result<Made, Error> {
        let own = self.make_own(name, limits)?;
        let Some(home) = self.homes.iter().find(|home| home.has_sets()) else {
            return Ok(Made { own, set: None });
        };
        match self.sets.take(&home.dir, limits.cpus, &home.nodes) {
            Ok(set) => Ok(Made { own, set: Some(set) }),
            Err(error) => {
                remove_unused(own);
                Err(error)
            }
        }
    }

    fn make_own(&self, name: &str, limits: Limits<'_>) -> Result<Vec<PathBuf>, Error> {
        let mut made = Vec::new();
        for home in &self.homes {
            if home.has_sets() {
                continue;
            }
            let dir = home.dir.join(name);
            let done = make(&dir).and_then(|()| {
                made.push(dir.clone());
                home.limit(&dir, limits)
            });
            if let Err(error) = done {
                remove_unused(made);
                return Err(error);
            }
        }
        Ok(made)
    }

    /// Opens the cgroups of a machine for its process to begin in: those that were made for it, and
    /// that of its CPUs.
    ///
    /// # Errors
    /// One of them cannot be opened.
    pub fn open(&self, made: &[PathBuf], set: Option<&Path>) -> Result<Entrance, Error> {
        let mut entrance = Entrance::default();
        if let Some(set) = set {
            entrance.join_later(set)?;
        }
        for (home, dir) in self.homes.iter().filter(|home| !home.has_sets()).zip(made) {
            match home.version {
                Version::V1 => entrance.join_later(dir)?,
                Version::V2 => entrance.begin_in(dir)?,
            }
        }
        Ok(entrance)
    }

    /// A machine that this process did not start is in this set of CPUs.
    pub fn adopt_set(&mut self, set: &Path) {
        self.sets.adopt(set);
    }

    /// A machine has ended that was in this set of CPUs.
    pub fn give_back_set(&mut self, set: &Path) {
        self.sets.give_back(set);
    }

    /// Removes the sets of CPUs that no machine is in.
    pub fn drop_sets(&self) {
        let with_sets = self.homes.iter().filter(|home| home.has_sets());
        with_sets.for_each(|home| self.sets.drop_unused(&home.dir));
    }

    /// Removes what there is of this installation, if no machine is left.
    pub fn leave(&self) {
        self.drop_sets();
        for home in &self.homes {
            // What cannot be removed is used again by the next vmm-spawn.
            let removed = fs::remove_dir(&home.dir).is_ok();
            if removed && home.version == Version::V2 {
                v2::go_back(&home.dir);
            }
        }
    }
}

impl Home {
    /// Whether machines share cgroups there, one for each set of CPUs.
    fn has_sets(&self) -> bool {
        self.version == Version::V1 && self.controllers == [Controller::Cpuset]
    }

    fn limit(&self, dir: &Path, limits: Limits<'_>) -> Result<(), Error> {
        for &controller in &self.controllers {
            let settings = match self.version {
                Version::V1 => v1::settings(controller, limits, &self.nodes),
                Version::V2 => v2::settings(controller, limits),
            };
            for (file, value) in settings {
                write(dir.join(file), &value)?;
            }
        }
        Ok(())
    }
}

/// Removes cgroups that were never in use; should one be left, the next start removes it.
fn remove_unused(made: Vec<PathBuf>) {
    for dir in made {
        let _ = fs::remove_dir(dir);
    }
}

/// Whether a process in one of these cgroups was ended because memory ran out.
pub fn ran_out_of_memory(cgroups: &[PathBuf]) -> bool {
    let counts = |file: &str, dir: &Path| {
        fs::read_to_string(dir.join(file)).is_ok_and(|text| {
            let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            kills.is_some_and(|count| count.trim() != "0")
        })
    };
    // Each version has the file of one of these names, and only where memory is limited.
    cgroups.iter().any(|dir| counts(v1::OOM, dir) || counts(v2::OOM, dir))
}

/// A list of CPUs as the kernel reads it.
fn list(cpus: &[u16]) -> String {
    cpus.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

/// The name of an installation's cgroup: its directory, so that no two have the same, with `/` and
/// what else is no good in names escaped.
pub fn name_of(directory: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut name = "vmm@".to_owned();
    for &byte in directory.as_os_str().as_bytes() {
        match byte {
            b'/' => name.push('-'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => name.push(byte.into()),
            // Writing to a string does not fail.
            _ => drop(write!(name, "%{byte:02x}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_directories_have_one_name() {
        assert_eq!(name_of(Path::new("/run/vmm")), "vmm@-run-vmm");
        assert_eq!(name_of(Path::new("/run-vmm")), "vmm@-run%2dvmm");
        assert_eq!(name_of(Path::new("/a%2db/é")), "vmm@-a%252db-%c3%a9");
    }
}
