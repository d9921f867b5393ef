//! What processes take of the memory of the host.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};

use crate::house::{DAEMONS, House};

/// A field of a `/proc` file in KiB lines, summed.
fn kib(text: &str, field: &str) -> u64 {
    let value =
        |line: &str| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<u64>().ok();
    text.lines().filter_map(value).sum()
}

#[expect(clippy::cast_precision_loss, reason = "sizes of processes are far below 2^52")]
fn megabytes(kib: u64) -> f64 {
    (kib * 1024) as f64 / 1e6
}

fn pids<'a>(house: &'a House, names: &'a [&str]) -> impl Iterator<Item = u32> + 'a {
    names.iter().filter_map(|name| house.daemon(name)).map(crate::house::Daemon::pid)
}

/// Resident memory of these daemons, in megabytes.
///
/// # Errors
/// When one of them has just ended.
pub fn resident(house: &House, names: &[&str]) -> Result<f64> {
    let mut total = 0;
    for pid in pids(house, names) {
        total += kib(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:");
    }
    Ok(megabytes(total))
}

/// Proportional memory of all daemons and of the files that `vmm-spawn` keeps, in KiB.
///
/// # Errors
/// When one of them has just ended.
pub fn daemons_kib(house: &House) -> Result<u64> {
    let mut total = 0;
    for pid in pids(house, &DAEMONS) {
        total += kib(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?, "Pss:");
    }
    for machine in fs::read_dir(house.dir.join("run/spawn"))? {
        let path = machine?.path();
        if path.is_dir() {
            for file in fs::read_dir(path)? {
                total += file?.metadata()?.blocks() / 2;
            }
        }
    }
    Ok(total)
}

/// The processes whose parent is `parent`.
///
/// # Errors
/// When there is no such process.
pub fn children(parent: u32) -> Result<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    Ok(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// Proportional memory of a tender outside of the address range of its guest, which has so many
/// MiB, in KiB.
///
/// # Errors
/// When it has just ended.
pub fn outside_guest_kib(pid: u32, guest_mib: u64) -> Result<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let (mut total, mut in_guest) = (0, false);
    for line in maps.lines() {
        let start = line.split_once('-').and_then(|(start, _)| u64::from_str_radix(start, 16).ok());
        match start {
            Some(start) => in_guest = start < guest_mib << 20,
            None if !in_guest => total += kib(line, "Pss:"),
            None => {}
        }
    }
    Ok(total)
}

/// With `machines` running: what the daemons that know each of them take, in megabytes, and what one
/// machine takes beside the pages of its guest, in MiB. Without machines, all daemons took `idle` KiB.
///
/// # Errors
/// When there are not as many machines, or one ends meanwhile.
pub fn of_many(house: &House, machines: usize, idle: u64, guest_mib: u64) -> Result<(f64, f64)> {
    let resident = resident(house, &["vmmd", "vmm-spawn", "vmm-console"])?;
    let spawn = house.daemon("vmm-spawn").context("vmm-spawn runs")?.pid();
    let pids = children(spawn)?;
    ensure!(pids.len() == machines, "{} machines instead of {machines}", pids.len());
    let mut total = daemons_kib(house)?.saturating_sub(idle);
    for pid in pids {
        total += outside_guest_kib(pid, guest_mib)?;
    }
    let each = f64::from(u32::try_from(total / machines as u64)?) / 1024.0;
    Ok((resident, each))
}
