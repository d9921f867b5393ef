//! The memory functions that compilers take for granted. They are written as instructions: in
//! Rust, the compiler would turn them into calls of themselves.

use core::arch::asm;
use core::cmp::Ordering;
use core::ffi::c_int;

/// # Safety
/// `len` bytes are readable at `from` and writable at `to`, and do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the instructions read and write what the caller vouches for. Words first: where
    // the CPU is emulated, each repetition costs the same, whatever its size.
    unsafe {
        asm!(
            "rep movsq",
            "mov rcx, {rest}",
            "rep movsb",
            rest = in(reg) len % 8,
            inout("rcx") len / 8 => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
    to
}

/// # Safety
/// `len` bytes are readable at `from` and writable at `to`; they may overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= len {
        // SAFETY: the instruction reads and writes what the caller vouches for. `to` does not lie
        // behind the start of the source, so going upwards, byte by byte, each byte is read before
        // it is overwritten.
        unsafe {
            asm!(
                "rep movsb",
                inout("rcx") len => _,
                inout("rdi") to => _,
                inout("rsi") from => _,
                options(nostack, preserves_flags),
            );
        }
        return to;
    }
    // SAFETY: downwards, from the last byte on; the direction flag is cleared again.
    unsafe {
        asm!(
            "std",
            "rep movsb",
            "cld",
            inout("rcx") len => _,
            inout("rdi") to.wrapping_add(len).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(len).wrapping_sub(1) => _,
            options(nostack),
        );
    }
    to
}

/// # Safety
/// `len` bytes are writable at `to`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: c_int, len: usize) -> *mut u8 {
    let word = u64::from(byte.to_le_bytes()[0]) * 0x0101_0101_0101_0101;
    // SAFETY: the instructions write what the caller vouches for.
    unsafe {
        asm!(
            "rep stosq",
            "mov rcx, {rest}",
            "rep stosb",
            rest = in(reg) len % 8,
            inout("rcx") len / 8 => _,
            inout("rdi") to => _,
            in("rax") word,
            options(nostack, preserves_flags),
        );
    }
    to
}

/// # Safety
/// `len` bytes are readable at both addresses.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> c_int {
    let (above, below): (u8, u8);
    // SAFETY: the instructions read what the caller vouches for. The first comparison makes the
    // flags those of equal bytes, in case the length is 0.
    unsafe {
        asm!(
            "cmp rcx, rcx",
            "repe cmpsb",
            "seta {above}",
            "setb {below}",
            above = out(reg_byte) above,
            below = out(reg_byte) below,
            inout("rcx") len => _,
            inout("rsi") a => _,
            inout("rdi") b => _,
            options(nostack, readonly),
        );
    }
    match above.cmp(&below) {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }
}

/// # Safety
/// As for [`memcmp`].
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { memcmp(a, b, len) }
}

/// # Safety
/// A NUL-terminated string begins at `text`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let left: usize;
    // SAFETY: the instruction reads up to the terminating NUL, which the caller vouches for.
    unsafe {
        asm!(
            "repne scasb",
            inout("rcx") usize::MAX => left,
            inout("rdi") text => _,
            in("al") 0u8,
            options(nostack, readonly),
        );
    }
    usize::MAX - left - 1
}
