//! Core files of guests, for debuggers (the Solo5 hvt ABI, section 3.11): an ELF file with the
//! registers as a note and the memory as one segment, where pages that the guest never touched
//! are holes.

use std::os::fd::BorrowedFd;

use rustix::fs::ftruncate;
use rustix::io::{Errno, pwrite};
use vmm_tender_abi::hypercall::TrapFrame;
use vmm_tender_abi::{GuestAddress, PAGE_SIZE};

use super::Registers;
use crate::memory::GuestMemory;

const HEADER_SIZE: u16 = 64;
const PROGRAM_HEADER_SIZE: u16 = 56;
const NOTE_AT: u64 = HEADER_SIZE as u64 + 2 * PROGRAM_HEADER_SIZE as u64;
/// Sizes and type, then the name.
const NOTE_HEAD: u16 = 12 + 8;
/// `struct elf_prstatus` of x86-64.
const STATUS_SIZE: u16 = 336;
const STATUS_REGISTERS_AT: usize = 112;
/// Where memory begins in the file: on a page, so that holes are whole pages.
const MEMORY_AT: u64 = PAGE_SIZE;

/// How many pages a core file has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pages {
    pub(super) written: u64,
    pub(super) total: u64,
}

/// Writes the core of a guest with `registers` and `memory` to the empty `file`. Where and how the
/// guest was trapped, it says itself, if it says so.
///
/// # Errors
/// What is in the file then is not all.
pub(super) fn write(
    file: BorrowedFd<'_>,
    registers: &Registers,
    trap: Option<&TrapFrame>,
    memory: &GuestMemory,
) -> Result<Pages, Errno> {
    write_all(file, &head(registers, trap, memory.size()), 0)?;
    let mut written = 0;
    memory.for_resident_pages(|GuestAddress(address), page| {
        // Zeros are read from a hole as well.
        if page.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        written += 1;
        write_all(file, page, MEMORY_AT + address)
    })?;
    ftruncate(file, MEMORY_AT + memory.size())?;
    Ok(Pages { written, total: memory.size() / PAGE_SIZE })
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match pwrite(file, bytes, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(len) => {
                bytes = &bytes[len..];
                offset += len as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Everything before the memory.
fn head(registers: &Registers, trap: Option<&TrapFrame>, memory_size: u64) -> Vec<u8> {
    const TYPE_CORE: u16 = 4;
    const MACHINE_X86_64: u16 = 62;
    const PT_LOAD: u32 = 1;
    const PT_NOTE: u32 = 4;
    const READ: u32 = 4;
    const ALL: u32 = 7;
    const NT_PRSTATUS: u32 = 1;

    let mut out = Vec::new();
    // 64 bits, little-endian, version 1, of no particular system.
    out.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    out.extend([TYPE_CORE, MACHINE_X86_64].map(u16::to_le_bytes).as_flattened());
    out.extend(1u32.to_le_bytes());
    let (entry, sections) = (0, 0);
    out.extend([entry, u64::from(HEADER_SIZE), sections].map(u64::to_le_bytes).as_flattened());
    out.extend(0u32.to_le_bytes());
    let sizes = [HEADER_SIZE, PROGRAM_HEADER_SIZE, 2, 0, 0, 0];
    out.extend(sizes.map(u16::to_le_bytes).as_flattened());

    let note_size = u64::from(NOTE_HEAD + STATUS_SIZE);
    for (kind, flags, words) in [
        (PT_NOTE, READ, [NOTE_AT, 0, 0, note_size, note_size, 4]),
        (PT_LOAD, ALL, [MEMORY_AT, 0, 0, memory_size, memory_size, PAGE_SIZE]),
    ] {
        out.extend([kind, flags].map(u32::to_le_bytes).as_flattened());
        out.extend(words.map(u64::to_le_bytes).as_flattened());
    }

    let (name, description) = (8, u32::from(STATUS_SIZE));
    out.extend([name, description, NT_PRSTATUS].map(u32::to_le_bytes).as_flattened());
    out.extend(b"CORE\0\0\0\0");
    out.extend(status(registers, trap));
    out
}

/// The registers as a process of Linux has them.
fn status(registers: &Registers, trap: Option<&TrapFrame>) -> [u8; STATUS_SIZE as usize] {
    let Registers { general, special } = registers;
    let selector = |segment: &kvm_bindings::kvm_segment| u64::from(segment.selector);
    let place = trap.copied().unwrap_or(TrapFrame {
        cr2: special.cr2,
        error_code: 0,
        rip: general.rip,
        cs: selector(&special.cs),
        rflags: general.rflags,
        rsp: general.rsp,
        ss: selector(&special.ss),
    });
    // Of a system call there is none.
    let orig_rax = u64::MAX;
    let words = [
        general.r15,
        general.r14,
        general.r13,
        general.r12,
        general.rbp,
        general.rbx,
        general.r11,
        general.r10,
        general.r9,
        general.r8,
        general.rax,
        general.rcx,
        general.rdx,
        general.rsi,
        general.rdi,
        orig_rax,
        place.rip,
        place.cs,
        place.rflags,
        place.rsp,
        place.ss,
        special.fs.base,
        special.gs.base,
        selector(&special.ds),
        selector(&special.es),
        selector(&special.fs),
        selector(&special.gs),
    ];
    let mut out = [0; STATUS_SIZE as usize];
    let end = STATUS_REGISTERS_AT + 8 * words.len();
    out[STATUS_REGISTERS_AT..end].copy_from_slice(words.map(u64::to_le_bytes).as_flattened());
    out
}

#[cfg(test)]
#[path = "core_file_tests.rs"]
mod tests;
