//! Where core files of guests go: opened before the process is confined, and afterwards the only
//! place where it can make a file.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, open, openat};
use rustix::io::{DupFlags, Errno, dup3};
use rustix::process::{Resource, Rlimit, fchdir, getrlimit, setrlimit};

use crate::Error;

/// An open directory for one core file of this process.
pub(crate) struct CoreDirectory {
    fd: OwnedFd,
    path: PathBuf,
    process: u32,
}

/// The one core file.
pub(crate) struct CoreFile {
    /// Has the number that the directory had.
    fd: OwnedFd,
    /// Its path, for people.
    path: PathBuf,
}

impl CoreDirectory {
    /// How a core file is opened; the filter of system calls permits no other way. A file that
    /// exists is never touched.
    pub(crate) const FLAGS: OFlags =
        OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC);
    /// What is set besides, as the case may be.
    pub(crate) const FLAGS_IGNORED: OFlags = OFlags::LARGEFILE;
    /// Guest memory is for its owner only.
    pub(crate) const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

    /// Opens the directory.
    ///
    /// # Errors
    /// There is no such directory.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty())
            .map_err(|error| Error::CoreDirectory { path: path.into(), error })?;
        Ok(Self { fd, path: path.into(), process: std::process::id() })
    }

    /// Has the kernel leave a core file of this process here, when it ends by a fault: under the
    /// name that `kernel.core_pattern` gives it.
    ///
    /// # Errors
    /// The kernel would leave none, or somewhere else, where a confined process cannot.
    pub(crate) fn prepare_kernel(&self) -> Result<(), Error> {
        let pattern = std::fs::read("/proc/sys/kernel/core_pattern").unwrap_or_default();
        if pattern.starts_with(b"/") {
            return Err(Error::KernelCore(
                "the kernel has another place for core files: let kernel.core_pattern be a plain \
                 name, such as core.%p",
            ));
        }
        let Rlimit { maximum, .. } = getrlimit(Resource::Core);
        if maximum == Some(0) {
            return Err(Error::KernelCore(
                "core files of this process are forbidden: leave out --new-session, and see \
                 ulimit -H -c",
            ));
        }
        setrlimit(Resource::Core, Rlimit { current: maximum, maximum })
            .map_err(Error::host("permit core files"))?;
        fchdir(&self.fd).map_err(|error| Error::CoreDirectory { path: self.path.clone(), error })
    }

    /// To be asked when the process is confined: what root may do by its capabilities only, it
    /// cannot any more.
    ///
    /// # Errors
    /// No file can be made in it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        accessat(&self.fd, ".", access, AtFlags::empty())
            .map_err(|error| Error::CoreDirectory { path: self.path.clone(), error })
    }

    /// Makes the core file, which takes over the descriptor's number: what may be done with it
    /// has to be known beforehand.
    ///
    /// # Errors
    /// It could not be made, or exists already.
    pub(crate) fn create(self) -> Result<CoreFile, CannotCreate> {
        let Self { mut fd, path, process } = self;
        let name = format!("core.solo5-hvt.{process}");
        let path = path.join(&name);
        let made = openat(&fd, name, Self::FLAGS, Self::MODE)
            .and_then(|file| dup3(file, &mut fd, DupFlags::CLOEXEC));
        match made {
            Ok(()) => Ok(CoreFile { fd, path }),
            Err(error) => Err(CannotCreate { path, error }),
        }
    }
}

impl AsFd for CoreDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl CoreFile {
    /// Its path, for people.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for CoreFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Why there is no core file.
pub(crate) struct CannotCreate {
    path: PathBuf,
    error: Errno,
}

impl fmt::Display for CannotCreate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot make {}: {}", self.path.display(), self.error)
    }
}
