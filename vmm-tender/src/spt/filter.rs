//! The system calls of an spt guest: exactly those of the Solo5 spt ABI, section 4.6.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::stdio::raw_stdout;
use seccompiler::SeccompCmpArgLen::Qword;
use seccompiler::SeccompCmpOp::Eq;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::Waiting;

/// The only operation of `arch_prctl` that is permitted.
const ARCH_SET_FS: u64 = 0x1002;

/// Everything else ends the process, not only its thread: calls of other architectures and of
/// x32 too, as their numbers are none of these.
pub(super) fn build(waiting: &Waiting) -> Result<BpfProgram, BackendError> {
    let rules = BTreeMap::from([
        (libc::SYS_write, vec![first(number(raw_stdout()))?]),
        (
            libc::SYS_clock_gettime,
            vec![first(number(libc::CLOCK_REALTIME))?, first(number(libc::CLOCK_MONOTONIC))?],
        ),
        (libc::SYS_epoll_pwait, vec![first(descriptor(&waiting.epoll))?]),
        (libc::SYS_timerfd_settime, vec![first(descriptor(&waiting.timer))?]),
        (libc::SYS_exit_group, vec![]),
        (libc::SYS_arch_prctl, vec![first(ARCH_SET_FS)?]),
    ]);
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

fn descriptor(fd: &OwnedFd) -> u64 {
    number(fd.as_raw_fd())
}

/// Descriptors and clocks are small and not negative.
fn number(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}
