//! What is said about an hvt guest that failed: registers and names of functions.

use crate::support::image::Files;
use crate::support::{End, Kind, guest, kvm, run, tender};

/// How an hvt guest can be ended, with the beginning of what is said.
pub(crate) const FAILURES: [(&str, &str); 6] = [
    ("write-text", "KVM: host/guest translation fault: rip=0x"),
    ("triple", "KVM: unhandled exit: exit_reason=0x8, rip=0x"),
    ("hlt", "KVM: unhandled exit: exit_reason=0x5, rip=0x"),
    ("port", "Invalid guest port access: port=0x3f8"),
    ("call-0", "Invalid guest hypercall: num=0"),
    ("struct-in-text", "Invalid guest access: gpa=0x10"),
];

/// Whether a guest ended in a way that on this host's processor leaves no register as it was: on
/// those of AMD, KVM resets the CPU.
pub(crate) fn was_reset(how: &str, end: &End) -> bool {
    let said = "\n  KVM has reset the processor: what it held is lost\n";
    how == "triple" && end.stderr.contains(", rip=0xfff0\n") && end.stderr.ends_with(said)
}

/// A line of a trace: its first word and address, and the rest of it.
fn place(line: &str) -> (&str, u64, &str) {
    let (how, rest) = line.trim_start().split_once(' ').unwrap();
    let (address, name) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
    let address = u64::from_str_radix(address.strip_prefix("0x").unwrap(), 16).unwrap();
    (how, address, name)
}

#[test]
fn an_hvt_guest_that_is_ended_comes_with_its_registers_and_with_names_of_functions() {
    if !kvm() {
        return;
    }
    for (how, expected) in FAILURES {
        let end = End::of(&mut run("crasher", Kind::Hvt, &[how]));
        let lines: Vec<_> = end.stderr.lines().collect();
        assert!(lines[0].starts_with(&format!("vmm-tender: {expected}")), "{how}: {lines:?}");
        assert!(lines[1].starts_with("  rax=") && lines[2].starts_with("  rsi="), "{lines:?}");
        if was_reset(how, &end) {
            continue;
        }
        let (first, rip, name) = place(lines[6]);
        assert!(lines[5].starts_with(&format!("  rip={rip:016x}  rflags=")), "{how}: {lines:?}");
        assert_eq!(first, "at", "{how}");
        assert!(name.contains("crasher") && name.contains("+0x"), "{how}: {name}");
        let callers: Vec<_> = lines[7..].iter().map(|line| place(line)).collect();
        assert!(callers.iter().all(|&(how, address, _)| how == "from" && address > 0x10_0000));
        let first = callers.iter().find(|(_, _, name)| name.starts_with("_start+0x"));
        assert!(first.is_some(), "{how}: {callers:?}");
    }
}

#[test]
fn a_trap_that_an_hvt_guest_reports_is_explained() {
    if !kvm() {
        return;
    }
    let end = End::of(&mut run("crasher", Kind::Hvt, &["fault"]));
    assert_eq!(end.status, 255);
    let lines: Vec<_> = end.stderr.lines().collect();
    let said = "vmm-tender: the guest reports a trap: rip=0x";
    assert!(lines[0].starts_with(said) && lines[0].contains("cr2=0x0 error=0x2"), "{lines:?}");
    let (how, _, name) = place(lines[1]);
    assert!(how == "at" && name.contains("crasher"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains(" _start+0x")), "{lines:?}");
}

#[test]
fn without_symbols_addresses_are_left() {
    if !kvm() {
        return;
    }
    let files = Files::new();
    let mut image = std::fs::read(guest("crasher", Kind::Hvt)).unwrap();
    // Where the section headers are.
    image[40..48].fill(0);
    let path = files.with(&image);
    let end = End::of(tender(["run", "--mem=8"]).arg(path).args(["--", "hlt"]));
    let lines: Vec<_> = end.stderr.lines().collect();
    assert!(lines[0].contains("exit_reason=0x5"), "{lines:?}");
    assert!(lines.len() > 7 && lines[6..].iter().all(|line| place(line).2.is_empty()), "{lines:?}");
}
