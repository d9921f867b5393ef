//! The system calls of a tender whose hvt guest runs.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::stdio::{raw_stderr, raw_stdout};
use seccompiler::SeccompCmpArgLen::Qword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::postmortem::Postmortem;
use crate::core_directory::CoreDirectory;
use crate::devices::Devices;

const KVM_RUN: u64 = 0xAE80;
const KVM_GET_REGS: u64 = 0x8090_AE81;
const KVM_GET_SREGS: u64 = 0x8138_AE83;

/// Everything that is not listed ends the process.
pub(super) fn build(
    vcpu: RawFd,
    status: Option<BorrowedFd<'_>>,
    devices: &Devices,
    postmortem: &Postmortem,
) -> Result<BpfProgram, BackendError> {
    let status = status.map(|fd| fd.as_raw_fd());
    let taps = || devices.nets().map(|(_, tap)| tap.as_fd().as_raw_fd());
    let disks = || devices.disks().map(|disk| disk.as_fd().as_raw_fd());
    let writable = [Some(raw_stdout()), Some(raw_stderr()), status];
    let vcpu = number(vcpu);
    let anything = Vec::new;
    let mut rules = BTreeMap::from([
        // The guest runs, and its registers are read when it fails.
        (
            libc::SYS_ioctl,
            [KVM_RUN, KVM_GET_REGS, KVM_GET_SREGS]
                .map(|operation| rule(&[(0, vcpu), (1, operation)]))
                .into_iter()
                .collect::<Result<_, _>>()?,
        ),
        // Its console, messages, and the frames that it sends.
        (libc::SYS_write, on(writable.into_iter().flatten().chain(taps()))?),
        // Waiting, for frames, for its timeouts and for room in a full console; a stopped process
        // goes on with `restart_syscall`.
        (libc::SYS_ppoll, anything()),
        (libc::SYS_poll, anything()),
        (libc::SYS_restart_syscall, anything()),
        // Clocks, where the kernel does not offer them without a call.
        (libc::SYS_clock_gettime, anything()),
        // Messages are formatted on the heap: memory that is not executable, and no file's, may
        // come and go.
        (libc::SYS_brk, anything()),
        (libc::SYS_mmap, vec![memory_only()?]),
        (libc::SYS_munmap, anything()),
        // What is open is closed; a debug build asks before that whether it is open.
        (libc::SYS_close, anything()),
        (libc::SYS_fcntl, vec![rule(&[(1, number(libc::F_GETFD))])?]),
        // The end, from `exit`, which takes back the standard library's signal stack, or from a
        // signal's handler.
        (libc::SYS_sigaltstack, anything()),
        (libc::SYS_exit_group, anything()),
    ]);
    for (call, permitted) in [
        // The frames that it receives.
        (libc::SYS_read, on(taps())?),
        // The blocks that it reads and writes; the symbols of its image, when it has failed.
        (libc::SYS_pread64, on(disks().chain([postmortem.image().as_raw_fd()]))?),
        (libc::SYS_pwrite64, on(disks())?),
    ] {
        // No rule at all would permit any argument.
        if !permitted.is_empty() {
            rules.insert(call, permitted);
        }
    }
    if let Some(directory) = postmortem.cores() {
        permit_core_file(&mut rules, directory)?;
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        TargetArch::x86_64,
    )?;
    filter.try_into()
}

/// The one core file: it can be made, but no other opened, gets the number of the directory, and
/// is written under that; guest memory is searched for pages that belong in it.
fn permit_core_file(
    rules: &mut BTreeMap<i64, Vec<SeccompRule>>,
    directory: &CoreDirectory,
) -> Result<(), BackendError> {
    let number = number(directory.as_fd().as_raw_fd());
    let flags = u64::from((CoreDirectory::FLAGS - CoreDirectory::FLAGS_IGNORED).bits());
    let checked = !u64::from(CoreDirectory::FLAGS_IGNORED.bits());
    let made = SeccompRule::new(vec![
        SeccompCondition::new(0, Qword, Eq, number)?,
        SeccompCondition::new(2, Qword, MaskedEq(checked), flags)?,
        SeccompCondition::new(3, Qword, Eq, CoreDirectory::MODE.bits().into())?,
    ])?;
    rules.insert(libc::SYS_openat, vec![made]);
    rules.insert(libc::SYS_dup3, vec![rule(&[(1, number)])?]);
    rules.insert(libc::SYS_ftruncate, vec![rule(&[(0, number)])?]);
    rules.entry(libc::SYS_pwrite64).or_default().push(rule(&[(0, number)])?);
    rules.insert(libc::SYS_mincore, vec![]);
    Ok(())
}

/// The first argument is one of these descriptors.
fn on(descriptors: impl Iterator<Item = RawFd>) -> Result<Vec<SeccompRule>, BackendError> {
    descriptors.map(|fd| rule(&[(0, number(fd))])).collect()
}

/// The arguments at these positions, all 64 bits of them, have these values.
fn rule(arguments: &[(u8, u64)]) -> Result<SeccompRule, BackendError> {
    let conditions =
        arguments.iter().map(|&(index, value)| SeccompCondition::new(index, Qword, Eq, value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// A mapping of nothing but memory, without the right to execute it.
fn memory_only() -> Result<SeccompRule, BackendError> {
    let execute = u64::from(libc::PROT_EXEC.cast_unsigned());
    let anonymous = u64::from(libc::MAP_ANONYMOUS.cast_unsigned());
    SeccompRule::new(vec![
        SeccompCondition::new(2, Qword, MaskedEq(execute), 0)?,
        SeccompCondition::new(3, Qword, MaskedEq(anonymous), anonymous)?,
    ])
}

/// Descriptors are small and not negative.
fn number(fd: RawFd) -> u64 {
    u64::from(fd.cast_unsigned())
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
