//! A host that loses its power and boots again, as its daemons see it. Only root can do that.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use xtask::house::{DAEMONS, Programs, Signal, signal, wait_until};

use crate::census::children;
use crate::setup::{self, Setup};

/// Programs of which those that ask the kernel which boot this is are told what is in the file
/// `boot_id`: it is put over the kernel's, in a mount namespace of their own. For
/// [`Setup::with_programs`].
pub fn programs(dir: &Path) -> Programs {
    let real = setup::programs();
    let copies = real.copied_to(&dir.join("bin")).unwrap();
    let script = dir.join("script");
    for name in ["vmmd", "vmm-spawn"] {
        let text = format!(
            "#!/bin/sh\nexec unshare --mount sh -c 'mount --bind boot_id \
             /proc/sys/kernel/random/boot_id && exec \"$@\"' sh '{}' \"$@\"\n",
            real.path(name).display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        // By another process: what this one writes could be open in a child of another thread, and
        // what is open for writing cannot be run.
        let status = Command::new("cp").arg(&script).arg(copies.path(name)).status().unwrap();
        assert!(status.success());
    }
    copies
}

/// From now on, whoever is started there is told that this is the boot of that number.
pub fn is_boot(setup: &Setup, number: u32) {
    std::fs::write(setup.file("boot_id"), format!("boot {number}\n")).unwrap();
}

/// Ends all daemons and machines at once: none of them sees another one end.
pub fn lose_power(setup: &mut Setup) {
    let daemons = DAEMONS.map(|name| setup.house.take(name).unwrap());
    let spawn = daemons.iter().find(|daemon| daemon.name == "vmm-spawn").unwrap().pid();
    for daemon in &daemons {
        signal(daemon.pid(), Signal::STOP).unwrap();
    }
    let machines = children(spawn);
    for machine in &machines {
        signal(*machine, Signal::KILL).unwrap();
    }
    for daemon in daemons {
        daemon.kill().unwrap();
    }
    let gone = |pid: &u32| signal(*pid, Signal::CONT).is_err();
    wait_until("the end of all machines", || machines.iter().all(gone)).unwrap();
}
