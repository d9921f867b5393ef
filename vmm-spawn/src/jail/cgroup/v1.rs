//! Cgroups of version 1: each controller has a tree of its own.

use std::fs;
use std::path::Path;

use super::find::{Controller, Hierarchy, Version};
use super::{Error, Home, Limits, list, make, write};
use crate::jail::limits::PROCESSES;

/// The file that counts processes that were ended because memory ran out.
pub(super) const OOM: &str = "memory.oom_control";

pub(super) const CPUS: &str = "cpuset.cpus";
pub(super) const NODES: &str = "cpuset.mems";

/// Makes the cgroup of an installation in one hierarchy, below `base`.
pub(super) fn home(found: &Hierarchy, base: &Path, name: &str) -> Result<Home, Error> {
    let dir = base.join(name);
    let cpuset = found.controllers.contains(&Controller::Cpuset);
    let mut above = found.mount.clone();
    // The base may be new as well.
    for part in dir.strip_prefix(&found.mount).unwrap_or(&dir) {
        let this = above.join(part);
        make(&this)?;
        if cpuset {
            inherit(&above, &this)?;
        }
        above = this;
    }
    let nodes = if cpuset {
        fs::read_to_string(dir.join(NODES)).unwrap_or_default()
    } else {
        String::new()
    };
    let controllers = found.controllers.clone();
    Ok(Home { version: Version::V1, controllers, dir, nodes: nodes.trim().to_owned() })
}

/// A new cgroup has no CPU and no memory node of its own, and no process could be in it.
fn inherit(above: &Path, dir: &Path) -> Result<(), Error> {
    for file in [CPUS, NODES] {
        let own = fs::read_to_string(dir.join(file)).unwrap_or_default();
        if own.trim().is_empty() {
            let inherited = fs::read_to_string(above.join(file)).unwrap_or_default();
            write(dir.join(file), inherited.trim())?;
        }
    }
    Ok(())
}

/// What is written to which files for a machine.
pub(super) fn settings(
    controller: Controller,
    limits: Limits<'_>,
    nodes: &str,
) -> Vec<(&'static str, String)> {
    match controller {
        Controller::Memory => vec![("memory.limit_in_bytes", limits.memory.to_string())],
        // One CPU's worth of time: a machine has one thread.
        Controller::Cpu if limits.cpus.len() > 1 => {
            vec![("cpu.cfs_period_us", "100000".into()), ("cpu.cfs_quota_us", "100000".into())]
        }
        Controller::Cpu => Vec::new(),
        Controller::Cpuset => vec![(CPUS, list(limits.cpus)), (NODES, nodes.to_owned())],
        Controller::Pids => vec![("pids.max", PROCESSES.to_string())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_memory_cpus_and_processes_as_it_should() {
        let limits = Limits { memory: 1 << 26, cpus: &[0, 3] };
        let all = Controller::ALL.map(|it| settings(it, limits, "0-1")).concat();
        let text: Vec<String> = all.iter().map(|(file, value)| format!("{file}={value}")).collect();
        assert_eq!(
            text.join(" "),
            "memory.limit_in_bytes=67108864 cpu.cfs_period_us=100000 cpu.cfs_quota_us=100000 \
             cpuset.cpus=0,3 cpuset.mems=0-1 pids.max=16"
        );
        assert_eq!(settings(Controller::Cpu, Limits { memory: 1, cpus: &[0] }, ""), []);
    }
}
