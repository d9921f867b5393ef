//! Signals to this process.
//!
//! All by handlers, which end with an exec: blocked or ignored signals would stay so in machines.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{fs, io};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;

/// A stream that gets a byte for each signal to end: SIGTERM, SIGINT, and SIGHUP unless whoever
/// started this process had that ignored (`nohup`).
///
/// # Errors
/// No descriptors, or no `/proc`.
pub fn to_end() -> io::Result<UnixStream> {
    // Whoever started this process may have ignored it, and then nobody could tell how a machine
    // ended. A handler undoes that; what it stores is of no use.
    flag::register(SIGCHLD, Arc::new(AtomicBool::new(false)))?;
    let (ours, handlers) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    // A terminal that goes away must not leave machines that nobody knows.
    if !ignored(SIGHUP)? {
        pipe::register(SIGHUP, handlers.try_clone()?)?;
    }
    pipe::register(SIGINT, handlers.try_clone()?)?;
    pipe::register(SIGTERM, handlers)?;
    Ok(ours)
}

/// Whether a signal was ignored when this process began.
fn ignored(signal: i32) -> io::Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .ok_or_else(|| io::Error::other("/proc/self/status does not tell ignored signals"))?;
    Ok(mask & 1 << (signal - 1) != 0)
}
