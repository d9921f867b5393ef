//! The system calls of an spt guest: exactly those of the Solo5 spt ABI, section 4.6.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};

use rustix::stdio::raw_stdout;
use seccompiler::SeccompCmpArgLen::Qword;
use seccompiler::SeccompCmpOp::{Eq, Le};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::Waiting;
use crate::devices::{Devices, Disk};

/// The only operation of `arch_prctl` that is permitted.
const ARCH_SET_FS: u64 = 0x1002;

/// Everything else ends the process, not only its thread: calls of other architectures and of
/// x32 too, as their numbers are none of these.
pub(super) fn build(waiting: &Waiting, devices: &Devices) -> Result<BpfProgram, BackendError> {
    let console = first(number(raw_stdout()));
    let frames = || devices.nets().map(|(_, tap)| first(descriptor(tap)));
    let blocks = || devices.disks().map(one_block);
    let mut rules = BTreeMap::from([
        (libc::SYS_write, std::iter::once(console).chain(frames()).collect::<Result<_, _>>()?),
        (
            libc::SYS_clock_gettime,
            vec![first(number(libc::CLOCK_REALTIME))?, first(number(libc::CLOCK_MONOTONIC))?],
        ),
        (libc::SYS_epoll_pwait, vec![first(descriptor(&waiting.epoll))?]),
        (libc::SYS_timerfd_settime, vec![first(descriptor(&waiting.timer))?]),
        (libc::SYS_exit_group, vec![]),
        (libc::SYS_arch_prctl, vec![first(ARCH_SET_FS)?]),
    ]);
    for (call, permitted) in [
        (libc::SYS_read, frames().collect::<Result<Vec<_>, _>>()?),
        (libc::SYS_pread64, blocks().collect::<Result<_, _>>()?),
        (libc::SYS_pwrite64, blocks().collect::<Result<_, _>>()?),
    ] {
        // No rule at all would permit any argument.
        if !permitted.is_empty() {
            rules.insert(call, permitted);
        }
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        TargetArch::x86_64,
    )?;
    filter.try_into()
}

/// The first argument, all 64 bits of it, is `value`.
fn first(value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(0, Qword, Eq, value)?])
}

/// One block of `disk`, wherever it begins.
fn one_block(disk: &Disk) -> Result<SeccompRule, BackendError> {
    let block = u64::from(disk.block_size());
    SeccompRule::new(vec![
        SeccompCondition::new(0, Qword, Eq, descriptor(disk))?,
        SeccompCondition::new(2, Qword, Eq, block)?,
        // A device has at least one block.
        SeccompCondition::new(3, Qword, Le, disk.capacity() - block)?,
    ])
}

fn descriptor(fd: impl AsFd) -> u64 {
    number(fd.as_fd().as_raw_fd())
}

/// Descriptors and clocks are small and not negative.
fn number(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}
