use rustix::process::dumpable_behavior;
use rustix::thread::{capability_is_in_bounding_set, no_new_privs};
use vmm_testkit::skipped;

use super::*;
use crate::inmate::{Attempt, Outcome, outcome};

const INMATE: &str = "jail::tests::inmate";
const FREE: &str = "jail::tests::free";

#[test]
#[ignore = "runs as a process of the other tests"]
fn inmate() {
    let attempt = Attempt::asked_for();
    enter(Jail { whole: true, dumpable: false }, None).unwrap();
    assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    assert_eq!(no_new_privs(), Ok(true));
    let sets = capabilities(None).unwrap();
    assert!((sets.effective | sets.permitted | sets.inheritable).is_empty(), "{sets:?}");
    attempt.make()
}

#[test]
#[ignore = "runs as a process of the other tests"]
fn free() {
    Attempt::asked_for().make()
}

/// Whether the kernel has Landlock. If not, it is said loudly, and on CI it is an error.
fn landlock() -> bool {
    match outcome(INMATE, "nothing") {
        Outcome::Success => true,
        Outcome::Other(said) if said.contains("NoLandlock") => {
            skipped("the jail, as this kernel has no Landlock");
            false
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_any_filter_too_the_jail_keeps_a_process_from_files_programs_users_and_others() {
    if !landlock() {
        return;
    }
    for (what, error) in [
        ("open", Errno::ACCESS),
        ("open-2", Errno::ACCESS),
        ("create", Errno::ACCESS),
        ("own-memory", Errno::ACCESS),
        ("list", Errno::ACCESS),
        ("execute", Errno::ACCESS),
        ("trace", Errno::PERM),
        ("signal", Errno::PERM),
        ("signal-thread", Errno::PERM),
        ("become-another", Errno::PERM),
        ("mount", Errno::PERM),
        ("change-root", Errno::PERM),
        ("network", Errno::PERM),
    ] {
        assert_eq!(outcome(INMATE, what), Outcome::Failure(error), "{what}");
    }
}

#[test]
fn outside_of_the_jail_the_same_attempts_succeed() {
    for what in ["open", "open-2", "own-memory", "list", "signal", "signal-thread"] {
        assert_eq!(outcome(FREE, what), Outcome::Success, "{what}");
    }
}

#[test]
fn a_thread_of_root_has_no_capability_left_to_regain() {
    // The jail is that of this thread, except for what is the process's.
    if !capabilities(None).unwrap().effective.contains(CapabilitySet::SETPCAP) {
        return skipped("the bounding set, as this is not root");
    }
    drop_capabilities().unwrap();
    let sets = capabilities(None).unwrap();
    assert!((sets.effective | sets.permitted | sets.inheritable).is_empty(), "{sets:?}");
    assert_eq!(capability_is_in_bounding_set(CapabilitySet::SYS_ADMIN), Ok(false));
    assert_eq!(capability_is_in_bounding_set(CapabilitySet::CHOWN), Ok(false));
    let bits = rustix::thread::capabilities_secure_bits().unwrap();
    assert!(bits.contains(CapabilitiesSecureBits::NO_ROOT_LOCKED), "{bits:?}");
    // Nothing to drop is no error.
    drop_capabilities().unwrap();
}
