//! What confines a machine, and what is said where the kernel lacks a part of it.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use vmm_testkit::skipped;

use crate::support::links::{Links, name, text};
use crate::support::{End, Kind, guest, tender};

/// `landlock_create_ruleset`, on every architecture.
const CREATE_RULESET: i64 = 444;
const ENOSYS: u32 = 38;

/// Does `work` where the kernel seems to have no Landlock, for itself and what it starts.
fn without_landlock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let rules = [(CREATE_RULESET, vec![])].into();
    let (missing, other) = (SeccompAction::Errno(ENOSYS), SeccompAction::Allow);
    let filter = SeccompFilter::new(rules, other, missing, TargetArch::x86_64).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    std::thread::spawn(move || {
        // Of this thread and its children alone.
        seccompiler::apply_filter(&filter).unwrap();
        work()
    })
    .join()
    .unwrap()
}

const WITHOUT: &str = "WARNING: this kernel has no Landlock: only the filter of system calls keeps the machine from files\n";

#[test]
fn a_kernel_without_landlock_runs_machines_and_it_is_said() {
    for kind in Kind::available() {
        let hello = guest("hello", kind);
        let end = without_landlock(move || End::of(tender(["run", "--mem=8"]).arg(hello)));
        assert_eq!((end.status, &*end.stdout), (0, "Hello from hello\n"), "{kind:?}");
        assert_eq!(end.stderr, format!("vmm-tender: {WITHOUT}"), "{kind:?}");
        let hello = text(&guest("hello", kind));
        let end = without_landlock(move || Links::new().end(name(kind), &["--mem=8", &hello]));
        assert_eq!((end.status, &*end.stdout), (0, "Hello from hello\n"), "{kind:?}");
        assert_eq!(end.stderr, format!("{}: {WITHOUT}", name(kind)), "{kind:?}");
    }
}

#[test]
fn whoever_requires_the_whole_jail_gets_it_or_no_machine() {
    for kind in Kind::available() {
        let hello = guest("hello", kind);
        let run = move || End::of(tender(["run", "--mem=8", "--require-jail"]).arg(hello));
        let end = without_landlock(run.clone());
        assert_eq!((end.status, &*end.stdout), (1, ""), "{kind:?}");
        let expected = "vmm-tender: this kernel has no Landlock, and --require-jail is given: ";
        assert!(end.stderr.starts_with(expected), "{kind:?}: {}", end.stderr);

        let end = run();
        if end.stderr.starts_with(expected) {
            skipped("a machine in a whole jail, as this kernel has no Landlock");
            continue;
        }
        assert_eq!((end.status, &*end.stderr), (0, ""), "{kind:?}");
    }
}
