//! What this host has for machines.

use std::path::Path;

use anyhow::Context;
use vmm_engine::HostLimits;
use vmm_proto::resource::{CpuSet, MAX_CPU};

use crate::options::Options;

/// The limit of machines when none is given: what one supervisor is built for.
const MACHINES: u32 = 1000;

/// What the options say, and for the rest what the host has less a reserve of an eighth.
pub(crate) fn limits(options: &Options, state: &Path) -> anyhow::Result<HostLimits> {
    let limits = HostLimits {
        machines: options.host_machines.unwrap_or(MACHINES),
        memory_mib: match options.host_memory {
            Some(mib) => mib,
            None => less_reserve(memory_mib()),
        },
        storage_mib: match options.host_storage {
            Some(mib) => mib,
            None => less_reserve(free_storage_mib(state)?),
        },
        cpus: match &options.host_cpus {
            Some(cpus) => cpus.clone(),
            None => own_cpus()?,
        },
    };
    Ok(limits)
}

const fn less_reserve(mib: u64) -> u64 {
    mib - mib / 8
}

fn memory_mib() -> u64 {
    let info = rustix::system::sysinfo();
    // Both are as wide as a machine word.
    (info.totalram as u64).saturating_mul(u64::from(info.mem_unit)) >> 20
}

fn free_storage_mib(state: &Path) -> anyhow::Result<u64> {
    let fs = rustix::fs::statvfs(state)
        .with_context(|| format!("cannot tell the free storage of {}", state.display()))?;
    Ok(fs.f_bavail.saturating_mul(fs.f_frsize) >> 20)
}

fn own_cpus() -> anyhow::Result<CpuSet> {
    let set = rustix::thread::sched_getaffinity(None).context("cannot tell the CPUs")?;
    let most = u16::try_from(rustix::thread::CpuSet::MAX_CPU).unwrap_or(MAX_CPU).min(MAX_CPU);
    Ok((0..most).filter(|id| set.is_set(usize::from(*id))).collect())
}

/// Which boot of the host this is: a random number of its kernel.
pub(crate) fn boot() -> anyhow::Result<String> {
    const FILE: &str = "/proc/sys/kernel/random/boot_id";
    let id = std::fs::read_to_string(FILE).with_context(|| format!("cannot read {FILE}"))?;
    Ok(id.trim_end().to_owned())
}
