use super::*;
use crate::inmate::{Attempt, Outcome, VCPU, outcome};
use crate::jail::{self, Jail};

const INMATE: &str = "hvt::filter::tests::inmate";
const INMATE_WITH_CORES: &str = "hvt::filter::tests::inmate_with_cores";
const BAD_SYSTEM_CALL: i32 = 31;

fn confine(postmortem: &Postmortem) {
    let filter = build(VCPU, None, &Devices::none(), postmortem).unwrap();
    seccompiler::apply_filter(&filter).unwrap();
}

#[test]
#[ignore = "runs as a process of the other tests"]
fn inmate() {
    let attempt = Attempt::asked_for();
    confine(&Postmortem::of_nothing(None));
    attempt.make()
}

#[test]
#[ignore = "runs as a process of the other tests"]
fn inmate_with_cores() {
    let place = tempfile::tempdir().unwrap();
    let directory = CoreDirectory::open(place.path()).unwrap();
    let attempt = Attempt::asked_for().on(directory.as_fd().as_raw_fd());
    // Open still, but without a name: nothing is left behind.
    drop(place);
    let postmortem = Postmortem::of_nothing(Some(directory));
    jail::enter(Jail::default(), postmortem.cores().map(AsFd::as_fd)).unwrap();
    confine(&postmortem);
    attempt.make()
}

#[test]
fn whatever_an_escaped_guest_tries_ends_its_process() {
    assert_eq!(outcome(INMATE, "nothing"), Outcome::Success);
    for what in [
        "open",
        "open-2",
        "create",
        "own-memory",
        "list",
        "unlink",
        "execute",
        "socket",
        "trace",
        "signal",
        "signal-thread",
        "become-another",
        "become-root",
        "mount",
        "change-root",
        "namespace",
        "network",
        "program",
        "ring",
        "fork",
        "clone",
        "steal",
        "read-parent",
        "dumpable",
        "executable-map",
        "map-file",
        "protect",
        "terminal",
        "other-ioctl",
        "tap-persist",
        "tap-kind",
        "tap-address",
        "tap-offload",
        "tap-filter",
        "tap-program",
        "duplicate",
        "write-elsewhere",
        "write-high",
        "read-input",
        "other-architecture",
    ] {
        assert_eq!(outcome(INMATE, what), Outcome::Signal(BAD_SYSTEM_CALL), "{what}");
    }
}

#[test]
fn with_a_directory_for_core_files_a_process_can_make_one_there_and_nothing_else() {
    // In a directory that is gone, the kernel has no more to say than that.
    let none = Outcome::Failure(rustix::io::Errno::NOENT);
    assert_eq!(outcome(INMATE_WITH_CORES, "core"), none);
    for what in ["core-over", "core-for-all", "core-list", "core-as-console"] {
        let end = Outcome::Signal(BAD_SYSTEM_CALL);
        assert_eq!(outcome(INMATE_WITH_CORES, what), end, "{what}");
    }
    let denied = Outcome::Failure(rustix::io::Errno::ACCESS);
    assert_eq!(outcome(INMATE_WITH_CORES, "core-elsewhere"), denied);
}
