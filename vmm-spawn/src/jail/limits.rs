//! What one process may have at most, whatever cgroups there are.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const MIB: u64 = 1 << 20;

/// Descriptors: a Solo5 machine has at most 63 devices.
const DESCRIPTORS: u64 = 128;

/// Bytes of a file that it writes: the only one is that for what it says before its guest runs, of
/// which half would be too much.
const FILE: u64 = 128 << 10;

/// Processes and threads of one user id, or of one machine. A tender has one thread, and the
/// kernel's helpers of its virtual CPU count as others.
pub const PROCESSES: u64 = 16;

/// Address space beside the guest's memory: the tender, its libraries, stack and heap.
const ADDRESS_SPACE: u64 = 256 * MIB;

/// Memory beside the guest's that a machine's cgroup permits: the tender, page tables, and the
/// kernel's own for it.
const OVERHEAD: u64 = 16 * MIB;

/// Page tables, those of the host and those of a virtual CPU, take a 256th of what they describe:
/// there is room for twice that, a part of the guest's memory.
const TABLES: u64 = 128;

/// Bytes that the cgroup of a machine with `guest` MiB may use.
pub fn memory(guest: u32) -> u64 {
    let guest = u64::from(guest) * MIB;
    guest + guest / TABLES + OVERHEAD
}

/// Lowers a limit: what this process itself may not have, machines may not either.
fn limit(resource: Resource, value: u64) -> Result<(), (&'static str, Errno)> {
    let value = getrlimit(resource).current.map_or(value, |current| current.min(value));
    let limit = Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(resource, limit).map_err(|error| ("limit its resources", error))
}

/// Limits the numbers of descriptors that this process opens from now on.
///
/// # Errors
/// What was tried, and why it failed.
pub fn apply_to_descriptors() -> Result<(), (&'static str, Errno)> {
    limit(Resource::Nofile, DESCRIPTORS)
}

/// Limits this process in everything else, for a machine with `guest` MiB: `alone` if nobody else runs as its user, or
/// users are counted for it alone.
///
/// # Errors
/// What was tried, and why it failed.
pub fn apply(guest: u32, alone: bool) -> Result<(), (&'static str, Errno)> {
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, FILE)?;
    limit(Resource::Memlock, 0)?;
    limit(Resource::Msgqueue, 0)?;
    limit(Resource::Rtprio, 0)?;
    limit(Resource::As, u64::from(guest) * MIB + ADDRESS_SPACE)?;
    if alone { limit(Resource::Nproc, PROCESSES) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_cgroup_has_room_for_its_guest_and_what_comes_with_it() {
        assert_eq!(memory(1), MIB + MIB / 128 + 16 * MIB);
        assert_eq!(memory(512), (512 + 4 + 16) * MIB);
        assert_eq!(memory(u32::MAX), (1 << 52) - MIB + (1 << 45) - MIB / 128 + 16 * MIB);
    }
}
