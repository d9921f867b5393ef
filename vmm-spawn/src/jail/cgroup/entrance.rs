//! How a new process gets into its cgroups.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::Error;

/// The way into a machine's cgroups.
#[derive(Debug, Default)]
pub struct Entrance {
    /// One that its process begins in.
    born_in: Option<OwnedFd>,
    /// Those that it joins.
    joined: Vec<OwnedFd>,
}

impl Entrance {
    /// Has the process join a cgroup of version 1.
    pub(super) fn join_later(&mut self, dir: &Path) -> Result<(), Error> {
        self.joined.push(opened(dir.join("cgroup.procs"), OFlags::WRONLY)?);
        Ok(())
    }

    /// Has the process begin in a cgroup of version 2.
    pub(super) fn begin_in(&mut self, dir: &Path) -> Result<(), Error> {
        self.born_in = Some(opened(dir.to_owned(), OFlags::RDONLY | OFlags::DIRECTORY)?);
        Ok(())
    }

    /// One that the process is to begin in.
    pub fn born_in(&self) -> Option<BorrowedFd<'_>> {
        self.born_in.as_ref().map(AsFd::as_fd)
    }

    /// Both.
    pub fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.joined.iter().chain(&self.born_in)
    }

    /// Joins the others with this process.
    ///
    /// # Errors
    /// The kernel does not permit it.
    pub fn join(&self) -> Result<(), Errno> {
        self.joined.iter().try_for_each(|procs| rustix::io::write(procs, b"0").map(drop))
    }
}

fn opened(path: PathBuf, flags: OFlags) -> Result<OwnedFd, Error> {
    open(&path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(|error| Error::Open { path, error })
}
