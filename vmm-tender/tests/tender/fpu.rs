//! Guests that use vector and floating-point instructions.

use vmm_testkit::untested_here;

use crate::stock_kvm::STOCK_KVM;
use crate::support::{End, Kind, kvm, run};

/// What the tender says where KVM comes upon an instruction that it does not know.
const EMULATION_FAILED: &str = "vmm-tender: KVM: internal error exit: suberror=0x1, rip=0x";

const RESULTS: &str = "fpu: mxcsr 0x1f80 control 0x37f\n\
    fpu: e 2.718281828459045\n\
    fpu: sqrt 2 1.4142135623730951\n\
    fpu: 1/3 0.33333334\n\
    fpu: registers survived 100 calls\n";

/// Whether hvt guests may use such instructions here. A KVM that emulates its guests knows none of
/// them; then it is said loudly, and only on the stock kernel is it an error.
fn vectors() -> bool {
    if !kvm() {
        return false;
    }
    let end = End::of(&mut run("fpu-sse", Kind::Hvt, &[]));
    if end.status != 1 || !end.stderr.starts_with(EMULATION_FAILED) {
        return true;
    }
    assert!(std::env::var_os(STOCK_KVM).is_none(), "a stock KVM is expected: {}", end.stderr);
    untested_here("hvt guests with SSE, as KVM emulates its guests; see stock_kvm.rs");
    false
}

#[test]
fn a_guest_computes_and_its_registers_survive_calls() {
    let end = End::of(&mut run("fpu", Kind::Spt, &[]));
    assert_eq!(end, End { status: 0, stdout: RESULTS.to_owned(), stderr: String::new() });
    if vectors() {
        let end = End::of(&mut run("fpu-sse", Kind::Hvt, &[]));
        assert_eq!(end, End { status: 0, stdout: RESULTS.to_owned(), stderr: String::new() });
    }
}

#[test]
fn two_guests_that_compute_at_once_do_not_disturb_each_other() {
    if vectors() {
        let guests: Vec<_> =
            (0..4).map(|_| run("fpu-sse", Kind::Hvt, &[]).spawn().unwrap()).collect();
        for guest in guests {
            let end = End::from(guest.wait_with_output().unwrap());
            assert_eq!((end.status, &*end.stdout), (0, RESULTS), "{}", end.stderr);
        }
    }
}

#[test]
fn a_floating_point_exception_is_a_trap_of_the_guest() {
    const DIVISION: i32 = 128 + 8;
    let end = End::of(&mut run("fpu", Kind::Spt, &["--trap"]));
    assert_eq!((end.status, &*end.stdout, &*end.stderr), (DIVISION, RESULTS, ""));
    if vectors() {
        let end = End::of(&mut run("fpu-sse", Kind::Hvt, &["--trap"]));
        let explained = "vmm-tender: the guest reports a trap: rip=0x1";
        assert!(end.status == 255 && end.stderr.starts_with(explained), "{}", end.stderr);
        let trap = end.stdout.strip_prefix(RESULTS).unwrap();
        assert!(trap.starts_with("Solo5: trap: floating-point error (16)"), "{trap}");
    }
}

#[test]
fn a_guest_that_is_built_with_sse_is_a_guest_like_any_other() {
    if vectors() {
        let end = End::of(&mut run("hello-sse", Kind::Hvt, &["--name=Ann", "--exit=7"]));
        let stdout = "Hello from Ann\n--name=Ann\n--exit=7\n".to_owned();
        assert_eq!(end, End { status: 7, stdout, stderr: String::new() });
    }
}
