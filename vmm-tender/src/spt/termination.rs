//! How an spt machine is asked to end.
//!
//! SIGTERM ends a process that has not said otherwise, except the first one of a process namespace:
//! the kernel does not pass that one a signal that it does not handle. So it handles this one.
#![allow(unsafe_code, reason = "a handler that runs on the registers of a guest")]

use std::arch::naked_asm;
use std::ffi::c_int;

use rustix::io::Errno;
use rustix::process::getpid;

use crate::sys;

/// Exit status of the first process of a namespace that was asked to end: what a shell says of one
/// that SIGTERM ended.
const ASKED_TO_END: c_int = 128 + libc::SIGTERM;

/// Makes SIGTERM end this process, if it is the first one of its namespace.
///
/// # Errors
/// The kernel has no memory left.
pub(super) fn heed() -> Result<(), Errno> {
    if !getpid().is_init() {
        return Ok(());
    }
    // SAFETY: the handler uses no memory and no register that it has not set, and does not return.
    unsafe { sys::end_by(end) }
}

/// The handler: one system call, which the filter permits. It has neither a stack nor a thread that
/// it could rely on: both are the guest's.
#[unsafe(naked)]
extern "C" fn end(_signal: c_int) {
    naked_asm!(
        "mov edi, {status}",
        "mov eax, {exit_group}",
        "syscall",
        "ud2",
        status = const ASKED_TO_END,
        exit_group = const libc::SYS_exit_group,
    )
}
