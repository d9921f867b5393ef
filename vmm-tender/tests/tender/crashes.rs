//! Guests that end badly, by accident or by intent, take nothing with them.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use crate::support::{End, Kind, Running, kvm, run};

const SEGMENTATION_FAULT: i32 = 128 + 11;
const BAD_SYSTEM_CALL: i32 = 128 + 31;
const BROKEN_PIPE: i32 = 13;

fn crash(kind: Kind, how: &str) -> End {
    End::of(&mut run("crasher", kind, &[how]))
}

/// What the tender says when it ends a guest, before the registers.
fn complaint(how: &str) -> String {
    let end = crash(Kind::Hvt, how);
    assert_eq!((end.status, &*end.stdout), (1, ""), "{how}: {}", end.stderr);
    let (line, registers) = end.stderr.split_once('\n').unwrap();
    assert!(registers.starts_with("  rax="), "{how}: {registers}");
    line.strip_prefix("vmm-tender: ").unwrap().to_owned()
}

#[test]
fn an_abort_is_status_255() {
    for kind in Kind::available() {
        for how in ["abort", "panic", "oom"] {
            assert_eq!(crash(kind, how).status, 255, "{kind:?} {how}");
        }
    }
}

#[test]
fn an_endless_loop_can_be_ended() {
    for kind in Kind::available() {
        let machine = Running(run("crasher", kind, &["loop"]).spawn().unwrap());
        assert_eq!(machine.signal("KILL").0, 128 + 9, "{kind:?}");
    }
}

#[test]
fn an_spt_guest_that_breaks_memory_protection_ends_by_sigsegv() {
    for how in ["fault", "exec-data", "write-text"] {
        let end = crash(Kind::Spt, how);
        let expected = (SEGMENTATION_FAULT, "", "");
        assert_eq!((end.status, &*end.stdout, &*end.stderr), expected, "{how}");
    }
}

#[test]
fn an_spt_guest_that_makes_a_forbidden_system_call_ends_by_sigsys() {
    for how in ["syscall", "x32", "int80", "write-stderr", "write-high"] {
        let end = crash(Kind::Spt, how);
        let expected = (BAD_SYSTEM_CALL, "", "");
        assert_eq!((end.status, &*end.stdout, &*end.stderr), expected, "{how}");
    }
}

#[test]
fn an_hvt_guest_reports_its_own_traps() {
    if !kvm() {
        return;
    }
    let end = crash(Kind::Hvt, "fault");
    assert_eq!(end.status, 255);
    assert!(end.stdout.starts_with("Solo5: trap: page fault (14)"), "{}", end.stdout);
    assert!(end.stdout.contains("cr2=0x0"), "{}", end.stdout);
}

#[test]
fn an_hvt_guest_cannot_write_its_text() {
    if kvm() {
        let complaint = complaint("write-text");
        assert!(complaint.starts_with("KVM: host/guest translation fault: rip=0x"), "{complaint}");
    }
}

#[test]
fn ports_without_meaning_end_an_hvt_guest() {
    if kvm() {
        assert_eq!(complaint("port"), "Invalid guest port access: port=0x3f8");
        assert_eq!(complaint("port-in"), "Invalid guest port access: port=0x501");
        assert_eq!(complaint("port-byte"), "Invalid guest port access: port=0x502");
        assert_eq!(complaint("call-0"), "Invalid guest hypercall: num=0");
        assert_eq!(complaint("call-net"), "Invalid guest hypercall: num=7");
    }
}

#[test]
fn hypercall_structures_outside_writable_memory_end_the_guest_and_not_the_tender() {
    if !kvm() {
        return;
    }
    for how in ["struct-in-text", "poll-in-text", "struct-low", "struct-end"] {
        let complaint = complaint(how);
        assert!(complaint.starts_with("Invalid guest access: gpa=0x"), "{how}: {complaint}");
    }
    assert_eq!(complaint("puts-beyond"), "Invalid guest access: gpa=0x10000000000, sz=16");
    assert_eq!(complaint("halt-cookie"), "Invalid guest access: gpa=0x10000000000, sz=512");
}

#[test]
fn an_hvt_guest_that_stops_its_cpu_is_at_its_end() {
    if kvm() {
        for (how, reason) in [("triple", "0x8"), ("hlt", "0x5")] {
            let complaint = complaint(how);
            let expected = format!("KVM: unhandled exit: exit_reason={reason}, rip=0x");
            assert!(complaint.starts_with(&expected), "{complaint}");
        }
    }
}

#[test]
fn a_console_that_takes_nothing_more_ends_an_hvt_machine_with_a_message() {
    if !kvm() {
        return;
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let end = End::of(run("hello", Kind::Hvt, &[]).stdout(full));
    let message = "vmm-tender: cannot write console output: No space left on device";
    assert_eq!(end.status, 1);
    assert!(end.stderr.starts_with(message), "{}", end.stderr);

    let mut machine = Running::after(&mut run("chatter", Kind::Hvt, &[]), 100);
    drop(machine.0.stdout.take());
    assert_eq!(machine.0.wait().unwrap().code(), Some(1));
    let mut stderr = String::new();
    machine.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.starts_with("vmm-tender: cannot write console output: Broken pipe"), "{stderr}");
}

#[test]
fn a_console_that_takes_nothing_more_is_an_spt_guests_own_business() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(End::of(run("hello", Kind::Spt, &[]).stdout(full)).status, 0);

    let mut machine = Running::after(&mut run("chatter", Kind::Spt, &[]), 100);
    drop(machine.0.stdout.take());
    assert_eq!(machine.0.wait().unwrap().signal(), Some(BROKEN_PIPE));
}

#[test]
fn a_closed_console_is_no_crash() {
    for kind in Kind::available() {
        let mut command = crate::support::shell("exec \"$@\" >&-", ["run"]);
        let end = End::of(command.arg(crate::support::guest("hello", kind)).stdout(Stdio::null()));
        assert!(matches!(end.status, 0 | 1), "{kind:?}: {end:?}");
    }
}
