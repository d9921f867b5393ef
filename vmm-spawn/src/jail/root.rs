//! The file system that machines see: a directory that is empty but for what their tender is linked
//! to, and that nobody can write to.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_move, mount_remount, unmount,
};
use rustix::process::{chdir, chroot, pivot_root};

/// What the file system is made of.
#[derive(Debug, Clone)]
pub struct Root {
    /// A directory to build it on: what is in it is not seen, and nothing is left there.
    pub site: PathBuf,
    /// What is in it.
    pub contents: Contents,
}

/// What is in the file system.
#[derive(Debug, Clone)]
pub enum Contents {
    /// These files of the host, at the same places.
    Files(Vec<PathBuf>),
    /// What is in a directory of the host, with all that is mounted there.
    Directory(PathBuf),
}

/// What failed, and why.
type Failure = (&'static str, Errno);

/// For `map_err`: names what failed.
fn failed(what: &'static str) -> impl FnOnce(Errno) -> Failure {
    move |error| (what, error)
}

fn failed_io(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| (what, Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

impl Root {
    /// Makes it the root of this process, which has a mount namespace of its own.
    ///
    /// # Errors
    /// What was tried, and why it failed.
    pub fn enter(&self) -> Result<(), Failure> {
        let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
        mount_change("/", private).map_err(failed("part its mounts from the host's"))?;
        match &self.contents {
            Contents::Files(files) => self.build(files)?,
            Contents::Directory(directory) => {
                mount_bind_recursive(directory, &self.site)
                    .map_err(failed("show --machine-root"))?;
                let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
                mount_remount(&self.site, flags, c"").map_err(failed("protect --machine-root"))?;
            }
        }
        chdir(&self.site).map_err(failed("enter its root directory"))?;
        match pivot_root(".", ".") {
            Ok(()) => {
                unmount(".", UnmountFlags::DETACH).map_err(failed("leave the host's files"))?;
            }
            // Where the host itself runs from its initial file system, that can only be covered.
            Err(Errno::INVAL) => {
                mount_move(".", "/").map_err(failed("cover the host's files"))?;
                chroot(".").map_err(failed("leave the host's files"))?;
            }
            Err(error) => return Err(("change its root directory", error)),
        }
        chdir("/").map_err(failed("enter its root directory"))
    }

    fn build(&self, files: &[PathBuf]) -> Result<(), Failure> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let options = c"mode=0755,size=64k,nr_inodes=512";
        mount("vmm", &self.site, "tmpfs", flags, options).map_err(failed("make an empty root"))?;
        for file in files {
            let place = self.place(file);
            if let Some(parent) = place.parent() {
                fs::create_dir_all(parent).map_err(failed_io("make directories in its root"))?;
            }
            File::create(&place).map_err(failed_io("make files in its root"))?;
            mount_bind(file, &place).map_err(failed("show what the tender is linked to"))?;
            let flags = flags | MountFlags::BIND | MountFlags::RDONLY;
            mount_remount(&place, flags, c"").map_err(failed("protect the host's libraries"))?;
        }
        let flags = flags | MountFlags::RDONLY | MountFlags::NOEXEC;
        mount_remount(&self.site, flags, c"").map_err(failed("protect its root"))
    }

    fn place(&self, file: &Path) -> PathBuf {
        self.site.join(file.strip_prefix("/").unwrap_or(file))
    }
}

/// What files of a process without a umask of its own are made with: those above are for all.
pub fn umask() {
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
}
