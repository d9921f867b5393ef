//! What the process of a machine gives up before its guest runs, and never gets back: files,
//! privileges, and being looked at by others.
//!
//! Everything that the machine needs is open by then. The filter of system calls follows, last of
//! all, and forbids nearly all of this once more: what one of the two misses, the other stops.

use std::os::fd::BorrowedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_no_new_privs,
};

use crate::program::Program;
use crate::{Error, console};

/// The newest Landlock that this has been tried on. Older kernels offer less of it, which the
/// filter of system calls makes up for.
const LANDLOCK: ABI = ABI::V7;

/// How to confine a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Jail {
    /// Run no machine where the kernel has no Landlock, instead of doing without and saying so on
    /// standard error.
    pub(crate) whole: bool,
    /// Let the kernel leave a core file of the process, which opens it to debuggers of the same
    /// user.
    pub(crate) dumpable: bool,
}

/// Gives everything up, for this thread and those that it starts later. No file can be opened any
/// more, except that new ones can be made in one directory, if there is one.
///
/// # Errors
/// Something could not be given up: then no guest may run.
pub(crate) fn enter(jail: Jail, new_files: Option<BorrowedFd<'_>>) -> Result<(), Error> {
    if !jail.dumpable {
        // Nobody who runs as the same user can attach to it.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(Error::host("forbid to be traced"))?;
    }
    set_no_new_privs(true).map_err(Error::host("renounce new privileges"))?;
    match (restrict(new_files, jail.dumpable)?, jail.whole) {
        (RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced, _) => {}
        (RulesetStatus::NotEnforced, true) => return Err(Error::NoLandlock),
        (RulesetStatus::NotEnforced, false) => warn()?,
    }
    drop_capabilities().map_err(Error::host("drop capabilities"))
}

/// Leaves no file, no port and no process outside in reach.
fn restrict(
    new_files: Option<BorrowedFd<'_>>,
    by_kernel: bool,
) -> Result<RulesetStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    if let Some(directory) = new_files {
        let mut access = AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::Truncate;
        if by_kernel {
            // Some kernels, 6.1 among them, open the core file that they leave for reading too, and
            // leave an empty one where that is forbidden.
            access |= AccessFs::ReadFile;
        }
        rules = rules.add_rule(PathBeneath::new(directory, access))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

fn warn() -> Result<(), Error> {
    let name = Program::current().name();
    let line = format!(
        "{name}: WARNING: this kernel has no Landlock: only the filter of system calls keeps \
         the machine from files\n"
    );
    console::write_all(rustix::stdio::stderr(), line.as_bytes()).map_err(Error::Output)
}

/// Drops the capabilities of root, and the way to get them back.
fn drop_capabilities() -> Result<(), Errno> {
    if capabilities(None)?.effective.contains(CapabilitySet::SETPCAP) {
        lock_capabilities()?;
    }
    // The ambient set is unknown to kernels before 4.3, which then have none.
    clear_ambient_capability_set().or_else(|error| match error {
        Errno::INVAL => Ok(()),
        error => Err(error),
    })?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// Whoever may do it sees to it that no program and no change of user brings any back.
fn lock_capabilities() -> Result<(), Errno> {
    let locked = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    match set_capabilities_secure_bits(locked) {
        // Whoever started the tender has locked them otherwise: an empty bounding set is enough.
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last one that this kernel has.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "jail_tests.rs"]
mod tests;
