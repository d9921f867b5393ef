//! System calls about signals and the like for which there is no safe interface.
#![allow(unsafe_code, reason = "signal dispositions are beyond what rustix can make safe")]

use std::mem::MaybeUninit;
use std::ptr;

use libc::{
    SIG_DFL, SIG_IGN, SIG_SETMASK, SIGBUS, SIGINT, SIGPIPE, SIGSEGV, SIGTERM, SIGXFSZ, c_int,
    sighandler_t,
};
use rustix::io::Errno;

use crate::program::Program;

type Result<T> = std::result::Result<T, Errno>;

/// The result of a libc function that returns -1 and sets `errno` on failure.
fn check(result: c_int) -> Result<c_int> {
    if result == -1 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(result)
}

/// The persona of this process, a set of flags.
pub(crate) fn personality() -> Result<u32> {
    const QUERY: libc::c_ulong = 0xFFFF_FFFF;
    // SAFETY: this value changes nothing.
    check(unsafe { libc::personality(QUERY) }).map(c_int::cast_unsigned)
}

/// Lets all signals through that whoever started the tender had blocked.
pub(crate) fn unblock_all_signals() -> Result<()> {
    let none = empty_set()?;
    // SAFETY: the kernel reads one signal set.
    check(unsafe { libc::sigprocmask(SIG_SETMASK, &raw const none, ptr::null_mut()) })?;
    Ok(())
}

/// Undoes what the standard library does about signals at start, for a guest that takes the
/// process over: its faults and broken pipes shall end it, and no handler shall run on its
/// thread pointer.
pub(crate) fn restore_signals() -> Result<()> {
    for signal in [SIGPIPE, SIGSEGV, SIGBUS] {
        set_handler(signal, SIG_DFL)?;
    }
    let disabled = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    // SAFETY: no handler is left that could be running on the stack.
    check(unsafe { libc::sigaltstack(&raw const disabled, ptr::null_mut()) })?;
    Ok(())
}

/// Makes writing past the largest size of a file that this process may write an error like others,
/// instead of its end.
pub(crate) fn ignore_file_size_signal() -> Result<()> {
    set_handler(SIGXFSZ, SIG_IGN)
}

/// Makes SIGINT and SIGTERM end the process with status 1 and a message, which tells whoever
/// started a machine that it need not be restarted.
pub(crate) fn exit_on_termination() -> Result<()> {
    let handler = end_on_signal as extern "C" fn(c_int) as *const () as sighandler_t;
    set_handler(SIGINT, handler)?;
    set_handler(SIGTERM, handler)
}

/// Makes SIGTERM run `handler`, which must not return.
///
/// # Safety
/// It keeps to what is allowed in a handler, with whatever the guest has in its registers.
pub(crate) unsafe fn end_by(handler: extern "C" fn(c_int)) -> Result<()> {
    set_handler(SIGTERM, handler as *const () as sighandler_t)
}

fn set_handler(signal: c_int, handler: sighandler_t) -> Result<()> {
    let action = libc::sigaction {
        sa_sigaction: handler,
        sa_mask: empty_set()?,
        sa_flags: 0,
        sa_restorer: None,
    };
    // SAFETY: the handler is the default action, none, `end_on_signal`, which keeps to what is
    // allowed in a handler, or one of which the caller of `end_by` says so.
    check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })?;
    Ok(())
}

fn empty_set() -> Result<libc::sigset_t> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: it writes one signal set.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: it has just been written.
    Ok(unsafe { set.assume_init() })
}

/// Signal handler: only calls that are safe in one, no allocation, no formatting.
extern "C" fn end_on_signal(signal: c_int) {
    let end = if signal == SIGINT {
        &b": Exiting on signal 2\n"[..]
    } else {
        b": Exiting on signal 15\n"
    };
    let name = Program::current().name().as_bytes();
    let mut line = [0; 64];
    for (place, &byte) in line.iter_mut().zip(name.iter().chain(end)) {
        *place = byte;
    }
    let len = line.len().min(name.len() + end.len());
    let mut stderr = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // The end comes at once, also where nobody reads messages: a pipe that can be written has room
    // for a page, which one line does not fill.
    // SAFETY: the kernel reads and writes one structure.
    let writable = unsafe { libc::poll(&raw mut stderr, 1, 0) } == 1;
    if writable && stderr.revents == libc::POLLOUT {
        // SAFETY: the kernel reads bytes of an array.
        unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), len) };
    }
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(1) };
}
