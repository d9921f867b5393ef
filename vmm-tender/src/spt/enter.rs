//! The jump into the guest.
#![allow(unsafe_code, reason = "the guest's first instruction is where Rust ends")]

use std::arch::asm;
use std::convert::Infallible;

use crate::Error;
use crate::memory::GuestMemory;

/// Gives the thread to the guest: its stack begins 8 bytes below the end of memory, its argument
/// is the address of its boot information. Nothing of the tender runs afterwards, and no register
/// tells the guest where the tender is.
pub(super) fn enter(memory: &GuestMemory, entry: u64, boot_info: u64) -> Result<Infallible, Error> {
    let stack = memory.size() - 8;
    // SAFETY: this never returns. The entry point is in an executable segment of the image, the
    // stack in guest memory; what the guest does afterwards is bounded by the system calls that
    // the filter leaves it.
    unsafe {
        asm!(
            "mov rsp, {stack}",
            "xor eax, eax",
            "xor ebx, ebx",
            "xor ecx, ecx",
            "xor edx, edx",
            "xor ebp, ebp",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "xor r11d, r11d",
            "xor r12d, r12d",
            "xor r13d, r13d",
            "xor r14d, r14d",
            "xor r15d, r15d",
            "cld",
            "jmp rsi",
            stack = in(reg) stack,
            in("rsi") entry,
            in("rdi") boot_info,
            options(noreturn),
        )
    }
}
