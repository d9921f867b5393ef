//! Small disks, to run out of.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount,
};
use rustix::process::geteuid;
use vmm_testkit::skipped;

use crate::setup::Setup;

/// A small file system in memory. Unmounted when dropped.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one of so many bytes at a directory of an installation. `None`, said loudly, for
    /// somebody who may not.
    pub fn at(setup: &Setup, dir: &str, bytes: u64) -> Option<Self> {
        if !geteuid().is_root() {
            skipped("small disks: only root can mount them");
            return None;
        }
        let dir = setup.file(dir);
        fs::create_dir_all(&dir).expect("a directory to mount at");
        let size = CString::new(format!("size={bytes},mode=0700")).expect("digits");
        mount("vmm-test", &dir, "tmpfs", MountFlags::empty(), Some(size.as_c_str()))
            .expect("a small disk");
        mount_change(&dir, MountPropagationFlags::PRIVATE).expect("a disk of its own");
        Some(Self(dir))
    }

    /// Takes all the room there is left; dropped, it is given back.
    pub fn fill(&self) -> Filled {
        let path = self.0.join("filled");
        let mut file = File::create(&path).expect("a file to fill the disk with");
        for piece in [64 << 10, 4096, 1] {
            while file.write_all(&vec![b'x'; piece]).is_ok() {}
        }
        Filled(path)
    }

    /// Whether anything can be written from now on.
    pub fn read_only(&self, on: bool) {
        let flags = if on { MountFlags::RDONLY } else { MountFlags::empty() };
        mount_remount(&self.0, flags, "").expect("the disk mounted anew");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still has files open there keeps them.
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.0.display());
        }
    }
}

/// Room that is taken on a disk.
#[derive(Debug)]
pub struct Filled(PathBuf);

impl Drop for Filled {
    fn drop(&mut self) {
        fs::remove_file(&self.0).expect("what filled the disk");
    }
}
