use super::*;
use crate::inmate::{Attempt, Outcome, VCPU, outcome};

const INMATE: &str = "hvt::filter::tests::inmate";
const BAD_SYSTEM_CALL: i32 = 31;

#[test]
#[ignore = "runs as a process of the other tests"]
fn inmate() {
    let attempt = Attempt::asked_for();
    seccompiler::apply_filter(&build(VCPU, None, &Devices::none()).unwrap()).unwrap();
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
        "duplicate",
        "write-elsewhere",
        "write-high",
        "read-input",
        "other-architecture",
    ] {
        assert_eq!(outcome(INMATE, what), Outcome::Signal(BAD_SYSTEM_CALL), "{what}");
    }
}
