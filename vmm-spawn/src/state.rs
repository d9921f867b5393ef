//! What is kept on disk about machines, so that another `vmm-spawn` can go on from it: `DIR/spawn`,
//! with a directory for each machine, named by its id.
//!
//! `DIR` is on a file system in memory in production (`/run`), and nothing is synchronised: a loss
//! of power ends the machines as well, and what another boot left is removed. Only the user of this
//! process gets in, and every name in it was made up by this process or the server. All the same,
//! everything is opened below a descriptor, without following links, and must be of the right kind
//! and owner: what is not was put there by somebody, and is set aside.

pub mod place;
pub mod record;

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::io::{Errno, pread};
use rustix::process::geteuid;
use tracing::{error, info, warn};
use vmm_proto::id::MachineId;

use crate::failpoint;
use place::Place;

/// The name of the directory below `--dir`.
pub const DIRECTORY: &str = "spawn";

/// Where what cannot be understood is moved to. Nothing looks there but people.
const ASIDE: &str = "aside";

/// Which boot and which namespace of process numbers the rest belongs to.
const HOST: &str = "host";

/// What is being written to take its place.
const HOST_NEW: &str = "host.new";

/// Bytes of it that are read: more than it has.
const HOST_MAX: usize = 256;

/// So many things may be set aside; then they are left where they are.
const ASIDE_MAX: u32 = 10_000;

/// Why there is no state directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// cannot use {path:?}: {error}
    #[error("cannot use {path:?}: {error}")]
    Kernel {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// somebody else may have written there
    #[error(
        "{path:?} has to be a directory of user {} with mode 0700: remove it, or name another \
         place with --dir DIR",
        geteuid().as_raw()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
}

/// The state directory.
#[derive(Debug)]
pub struct State {
    dir: OwnedFd,
    /// Whether process numbers in it mean something.
    pub familiar: bool,
}

impl State {
    /// Opens it below `run_dir`, and makes it if it is missing.
    ///
    /// # Errors
    /// It is not ours alone, or there is no `/proc`.
    pub fn open(run_dir: &Path) -> Result<Self, Error> {
        let path = run_dir.join(DIRECTORY);
        let failed = |error: Errno| Error::Kernel { path: path.clone(), error: error.into() };
        match mkdirat(CWD, &path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match openat(CWD, &path, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(Error::Foreign { path }),
            Err(error) => return Err(failed(error)),
        };
        let stat = fstat(&dir).map_err(failed)?;
        if stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
            return Err(Error::Foreign { path });
        }
        let host = host().map_err(|error| Error::Kernel { path: path.clone(), error })?;
        let mut state = Self { dir, familiar: true };
        let before = state.host_before().map_err(failed)?;
        if before.as_deref() != Some(host.as_bytes()) {
            match before {
                Some(_) => state.sweep().map_err(failed)?,
                None => state.familiar = state.names().map_err(failed)?.is_empty(),
            }
            if state.familiar {
                state.write_host(&host).map_err(failed)?;
            }
        }
        Ok(state)
    }

    /// What is in it is set aside; from now on, what is in it was made on this host.
    ///
    /// # Errors
    /// There is no room to say so.
    pub fn begin_anew(&mut self, why: &str) -> io::Result<()> {
        for name in self.names()? {
            self.set_aside(&name.to_string_lossy(), why);
        }
        self.write_host(&host()?)?;
        self.familiar = true;
        Ok(())
    }

    fn host_before(&self) -> Result<Option<Vec<u8>>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.dir, HOST, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; HOST_MAX];
        let length = pread(&file, &mut bytes, 0)?;
        bytes.truncate(length);
        Ok(Some(bytes))
    }

    fn write_host(&self, host: &str) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.dir, HOST_NEW, flags | OFlags::TRUNC, Mode::RUSR | Mode::WUSR)?;
        place::write_at(&file, host.as_bytes(), 0)?;
        renameat(&self.dir, HOST_NEW, &self.dir, HOST)
    }

    /// Removes what another boot has left: nothing of that runs.
    fn sweep(&self) -> Result<(), Errno> {
        let names = self.names()?;
        info!("{} machines of another boot are forgotten", names.len());
        for name in names {
            let name = name.to_string_lossy();
            match machine_of(&name) {
                Some(id) => self.remove(id),
                None => self.set_aside(&name, "it is not of this program"),
            }
        }
        Ok(())
    }

    /// What is in it, in no order.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn names(&self) -> Result<Vec<CString>, Errno> {
        let mut names = names_in(&self.dir)?;
        let own = [ASIDE, HOST, HOST_NEW].map(str::as_bytes);
        names.retain(|name| !own.contains(&name.to_bytes()));
        Ok(names)
    }

    /// Makes the directory of a machine, with all that belongs to it.
    ///
    /// # Errors
    /// No room, or no descriptors. Nothing is left of it then.
    pub fn make(&self, id: MachineId) -> Result<Place, Errno> {
        mkdirat(&self.dir, id.to_string(), Mode::RWXU)?;
        let made = self.place(&id.to_string()).and_then(|place| {
            place.fill()?;
            Ok(place)
        });
        if made.is_err() {
            self.remove(id);
        }
        made
    }

    /// The directory of a machine.
    ///
    /// # Errors
    /// It is not there, or not a directory of ours.
    pub fn place(&self, name: &str) -> Result<Place, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = openat(&self.dir, name, flags, Mode::empty())?;
        if fstat(&dir)?.st_uid != geteuid().as_raw() {
            return Err(Errno::PERM);
        }
        Ok(Place::new(dir))
    }

    /// Removes the directory of a machine and what belongs there; what does not is set aside with
    /// it.
    pub fn remove(&self, id: MachineId) {
        let name = id.to_string();
        let removed = self.place(&name).and_then(|place| {
            place.clear()?;
            failpoint::reach("forget-half");
            unlinkat(&self.dir, &name, AtFlags::REMOVEDIR)
        });
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => self.set_aside(&name, &format!("it cannot be removed: {error}")),
        }
    }

    /// Moves something out of the way, for somebody to look at.
    pub fn set_aside(&self, name: &str, why: &str) {
        let moved = self.move_aside(name);
        match moved {
            Ok(to) => warn!("{name:?} in the state directory is now {ASIDE}/{to}: {why}"),
            Err(error) => {
                error!("{name:?} in the state directory cannot be set aside: {error}; {why}");
            }
        }
    }

    fn move_aside(&self, name: &str) -> Result<String, Errno> {
        match mkdirat(&self.dir, ASIDE, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let aside = openat(&self.dir, ASIDE, flags, Mode::empty())?;
        for number in 0..ASIDE_MAX {
            // Made first, so that nothing that is there already is replaced.
            let slot = number.to_string();
            match mkdirat(&aside, &slot, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error),
            }
            let into = openat(&aside, &slot, flags, Mode::empty())?;
            renameat(&self.dir, name, &into, name)?;
            return Ok(format!("{slot}/{name}"));
        }
        Err(Errno::EXIST)
    }
}

/// The names in a directory, but for `.` and `..`.
fn names_in(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    Dir::read_from(dir)?
        .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
        .filter(|name| !matches!(name.as_deref().map(std::ffi::CStr::to_bytes), Ok(b"." | b"..")))
        .collect()
}

/// This boot and this namespace of process numbers, in words without spaces.
fn host() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{}/{}", boot.trim(), namespace.display()))
}

/// The machine whose directory has this name.
pub fn machine_of(name: &str) -> Option<MachineId> {
    let digits: Vec<u8> = name.bytes().filter(|byte| *byte != b'-').collect();
    let mut id = [0; 16];
    if digits.len() != 2 * id.len() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    // One name for each machine: written otherwise, it is not of this program.
    Some(MachineId(id)).filter(|id| id.to_string() == name)
}

#[cfg(test)]
#[path = "state/tests.rs"]
mod tests;
