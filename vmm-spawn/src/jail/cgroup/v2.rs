//! Cgroups of version 2: one tree, whose inner cgroups have no processes of their own.

use std::path::Path;
use std::{fs, io};

use super::find::{Controller, Hierarchy, Version};
use super::{Error, Home, Limits, list, make, write};
use crate::jail::limits::PROCESSES;

/// The file that counts processes that were ended because memory ran out.
pub(super) const OOM: &str = "memory.events";

const BELOW: &str = "cgroup.subtree_control";
const PROCESSES_OF: &str = "cgroup.procs";

/// Makes the cgroup of an installation below `base`, with what can be limited there.
pub(super) fn home(found: &Hierarchy, base: &Path, name: &str) -> Result<Home, Error> {
    let mut dir = found.mount.clone();
    if base != found.own {
        // It may be new.
        for part in base.strip_prefix(&found.mount).unwrap_or(base) {
            // One that offers nothing further is noticed at the end.
            let _ = offer(&dir, &found.controllers);
            dir.push(part);
            make(&dir)?;
        }
    }
    offer_from(base, found, name)?;
    let dir = base.join(name);
    make(&dir)?;
    let offered = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let there = |it: &&Controller| offered.split_whitespace().any(|name| name == it.name());
    let controllers: Vec<Controller> = found.controllers.iter().filter(there).copied().collect();
    offer(&dir, &controllers)?;
    Ok(Home { version: Version::V2, controllers, dir, nodes: String::new() })
}

/// Lets cgroups below `dir` be limited.
fn offer(dir: &Path, controllers: &[Controller]) -> Result<(), Error> {
    let all: Vec<String> = controllers.iter().map(|it| format!("+{it}")).collect();
    write(dir.join(BELOW), &all.join(" "))
}

/// The same with the cgroup that this process may be in: it moves into one below that, of its own.
fn offer_from(base: &Path, found: &Hierarchy, name: &str) -> Result<(), Error> {
    let offered = match offer(base, &found.controllers) {
        Err(error) if is(&error, io::ErrorKind::ResourceBusy) && base == found.own => {
            let own = own_leaf(base, name);
            make(&own)?;
            write(own.join(PROCESSES_OF), "0")?;
            let again = offer(base, &found.controllers);
            if again.is_err() {
                // Back to where it was, as nothing was won.
                write(base.join(PROCESSES_OF), "0")?;
                // It is empty again.
                let _ = fs::remove_dir(&own);
            }
            again
        }
        other => other,
    };
    offered.map_err(|error| {
        if is(&error, io::ErrorKind::ResourceBusy) {
            Error::Shared(base.to_owned())
        } else if is(&error, io::ErrorKind::PermissionDenied) {
            Error::Denied
        } else {
            error
        }
    })
}

fn is(error: &Error, kind: io::ErrorKind) -> bool {
    matches!(error, Error::Write { error, .. } if error.kind() == kind)
}

/// Where vmm-spawn itself is, beside its machines.
fn own_leaf(base: &Path, name: &str) -> std::path::PathBuf {
    base.join(name.replacen("vmm@", "vmm-spawn@", 1))
}

/// Undoes the move of this process, when there is no machine any more.
pub(super) fn go_back(home: &Path) {
    let (Some(base), Some(name)) = (home.parent(), home.file_name().and_then(|it| it.to_str()))
    else {
        return;
    };
    let own = own_leaf(base, name);
    if own.exists() {
        let all: Vec<String> = Controller::ALL.iter().map(|it| format!("-{it}")).collect();
        // What does not work is left to whoever made the cgroup above.
        let back = write(base.join(BELOW), &all.join(" "))
            .and_then(|()| write(base.join(PROCESSES_OF), "0"));
        if back.is_ok() {
            let _ = fs::remove_dir(own);
        }
    }
}

/// What is written to which files for a machine.
pub(super) fn settings(controller: Controller, limits: Limits<'_>) -> Vec<(&'static str, String)> {
    match controller {
        // If one process has to go, all do.
        Controller::Memory => {
            vec![("memory.max", limits.memory.to_string()), ("memory.oom.group", "1".to_owned())]
        }
        // One CPU's worth of time: a machine has one thread.
        Controller::Cpu if limits.cpus.len() > 1 => vec![("cpu.max", "100000 100000".to_owned())],
        Controller::Cpu => Vec::new(),
        Controller::Cpuset => vec![("cpuset.cpus", list(limits.cpus))],
        Controller::Pids => vec![("pids.max", PROCESSES.to_string())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_memory_cpus_and_processes_as_it_should() {
        let limits = Limits { memory: 1 << 26, cpus: &[1, 2] };
        let all = Controller::ALL.map(|it| settings(it, limits)).concat();
        let text: Vec<String> = all.iter().map(|(file, value)| format!("{file}={value}")).collect();
        assert_eq!(
            text.join(" "),
            "memory.max=67108864 memory.oom.group=1 cpu.max=100000 100000 cpuset.cpus=1,2 pids.max=16"
        );
        assert_eq!(settings(Controller::Cpu, Limits { memory: 1, cpus: &[0] }), []);
    }
}
