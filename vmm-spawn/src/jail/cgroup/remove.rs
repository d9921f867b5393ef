//! Removing cgroups, with what is still in them.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Removes a cgroup that nothing should be in; what still is gets killed.
///
/// # Errors
/// Something is still ending in it (`ResourceBusy`): to be tried again. Or it cannot be removed.
pub fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            // A process may have made cgroups below its own.
            for below in children(dir)? {
                remove(&below)?;
            }
            end_all(dir)?;
            fs::remove_dir(dir)
        }
        Err(error) => Err(error),
    }
}

/// The cgroups below one; none if it does not exist.
///
/// # Errors
/// It cannot be read.
pub fn children(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Kills all processes of a cgroup: with the file that is made for it, where there is one.
fn end_all(dir: &Path) -> io::Result<()> {
    // Version 1 has no such file, and an old version 2 neither.
    if dir.join("cgroup.kill").exists() {
        return fs::write(dir.join("cgroup.kill"), "1");
    }
    for pid in processes(dir)? {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // It could have ended before that, and another have its number.
        if processes(dir)?.contains(&pid) {
            // It has ended by itself in the meantime.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }
    Ok(())
}

fn processes(dir: &Path) -> io::Result<Vec<Pid>> {
    let list = fs::read_to_string(dir.join("cgroup.procs"))?;
    Ok(list.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect())
}
