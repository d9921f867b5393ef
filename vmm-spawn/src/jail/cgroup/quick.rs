//! Joining cgroups of version 1 without a long wait.
//!
//! When a process moves into a cgroup, the kernel waits until all CPUs have noticed that somebody
//! does that, which takes some milliseconds; a process of version 2 is born in its cgroup and needs
//! none of this. A kernel from 6.0 on keeps itself ready for moves as long as there is a hierarchy
//! with the option `favordynmods` (see its `cgroup-v2.rst`); forks and exits all over the host take
//! a little longer then. There is one with nothing in it, and nowhere to be seen, for as long as this
//! process lives.

use std::os::fd::OwnedFd;
use std::process;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use tracing::debug;

/// What the name of the hierarchy begins with, in `/proc/PID/cgroup`. The process's number follows: one
/// that is just being removed cannot be had under the same name.
const NAME: &str = "vmm-spawn-";

/// Keeps the kernel ready, as long as this lives.
#[derive(Debug)]
pub(super) struct Ready {
    _hierarchy: OwnedFd,
}

impl Ready {
    /// Has the kernel keep itself ready. Without it everything works, and starts take longer.
    pub(super) fn keep() -> Option<Self> {
        match hierarchy() {
            Ok(hierarchy) => Some(Self { _hierarchy: hierarchy }),
            Err(error) => {
                debug!("this kernel makes processes wait when they join cgroups: {error}");
                None
            }
        }
    }
}

fn hierarchy() -> Result<OwnedFd, Errno> {
    let context = fsopen("cgroup", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(&context, "none")?;
    fsconfig_set_string(&context, "name", format!("{NAME}{}", process::id()))?;
    fsconfig_set_flag(&context, "favordynmods")?;
    fsconfig_create(&context)?;
    let hidden = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, hidden)
}
