//! What this process was started with and must not pass on.
#![allow(unsafe_code, reason = "close_range has no safe wrapper")]

use rustix::io::Errno;

/// The first descriptor that is not a standard stream.
const FIRST: libc::c_uint = 3;

/// Marks every descriptor but the standard streams close-on-exec, so that what whoever started
/// this process left open does not end up with machines.
///
/// # Errors
/// The kernel is older than 5.11.
pub fn keep_to_ourselves() -> Result<(), Errno> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: with this flag nothing is closed now, whoever it belongs to.
    let done = unsafe { libc::close_range(FIRST, libc::c_uint::MAX, flags) };
    if done == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}
