use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};

use super::*;
use crate::memory::Rights;

const SIZE: u64 = 0x60_0000;

fn registers() -> Registers {
    let general = kvm_regs { r15: 1, rip: 0x10_0000, rsp: 0x20_0000, ..kvm_regs::default() };
    let cs = kvm_segment { selector: 8, ..kvm_segment::default() };
    let fs = kvm_segment { base: 0x1234, ..kvm_segment::default() };
    Registers { general, special: kvm_sregs { cs, fs, ..kvm_sregs::default() } }
}

fn word(bytes: &[u8], register: usize) -> u64 {
    let at = STATUS_REGISTERS_AT + 8 * register;
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn registers_are_where_linux_has_them_and_a_trap_says_where_it_was() {
    const R15: usize = 0;
    const RIP: usize = 16;
    const CS: usize = 17;
    const RSP: usize = 19;
    const FS_BASE: usize = 21;
    let own = status(&registers(), None);
    let values = [R15, RIP, CS, RSP, FS_BASE].map(|register| word(&own, register));
    assert_eq!(values, [1, 0x10_0000, 8, 0x20_0000, 0x1234]);
    let trap =
        TrapFrame { cr2: 0, error_code: 0, rip: 0x11_0000, cs: 24, rflags: 2, rsp: 5, ss: 6 };
    let trapped = status(&registers(), Some(&trap));
    let values = [R15, RIP, CS, RSP, FS_BASE].map(|register| word(&trapped, register));
    assert_eq!(values, [1, 0x11_0000, 24, 5, 0x1234]);
}

#[test]
fn only_what_a_guest_has_touched_and_may_read_takes_room() {
    let mut memory = GuestMemory::anywhere(SIZE, 0).unwrap();
    for at in [0x1_0000, 0x10_0000, 0x41_2345, SIZE - 8] {
        memory.store(GuestAddress(at), b"touched").unwrap();
    }
    memory.store(GuestAddress(0x18_0000), &[0]).unwrap();
    memory.store(GuestAddress(0x19_0000), b"hidden").unwrap();
    let nothing = Rights { read: false, write: false, execute: false };
    memory.protect(GuestAddress(0x19_0000), 0x1000, nothing).unwrap();

    let file = tempfile::tempfile().unwrap();
    let pages = write(std::os::fd::AsFd::as_fd(&file), &registers(), None, &memory).unwrap();
    assert_eq!(pages, Pages { written: 4, total: SIZE / PAGE_SIZE });
    assert_eq!(file.metadata().unwrap().len(), MEMORY_AT + SIZE);
    let mut room = [0; 7];
    for (at, expected) in [(0x41_2345, b"touched"), (SIZE - 8, b"touched"), (0x19_0000, &[0; 7])] {
        rustix::io::pread(&file, &mut room, MEMORY_AT + at).unwrap();
        assert_eq!(&room, expected, "{at:#x}");
    }
}
