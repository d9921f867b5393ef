//! Places at which this process can be made to die, to see that the next one goes on from there.
//!
//! Only in debug builds, and only with `VMM_SPAWN_DIE_AT=NAME` or `NAME:COUNT` in the environment:
//! the process kills itself the first or the COUNT-th time that it comes to NAME.

/// The names of all of them, in the order in which a machine comes to them.
pub const NAMES: [&str; 23] = [
    "start-made",
    "start-recorded",
    "start-prepared",
    "start-tapped",
    "birth-before",
    "birth-after",
    "start-launched",
    "pump-taken",
    "pump-copied",
    "pump-claimed",
    "pump-stored",
    "pump-counted",
    "pump-dropped",
    "pump-cleared",
    "end-seen",
    "end-drained",
    "end-stored",
    "end-written",
    "end-reaped",
    "acknowledged",
    "forget-begun",
    "forget-half",
    "adopted",
];

/// Those that host networks come to, in this order: the first one when a bridge is made, the last but one
/// when one was removed, the last one when one is there, and "opened" while any is.
pub const OF_NETWORKS: [&str; 8] = [
    "network-made",
    "network-addressed",
    "network-shut",
    "network-closed",
    "network-ruled",
    "network-opened",
    "network-removed",
    "network-up",
];

/// Dies here if it was told to.
#[inline]
pub fn reach(name: &str) {
    #[cfg(debug_assertions)]
    if debug::due(name) {
        debug::kill(rustix::process::getpid());
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// The same in a process that was just started: the one that started it dies.
#[inline]
pub fn reach_in_child(name: &str) {
    #[cfg(debug_assertions)]
    if debug::due(name)
        && let Some(parent) = rustix::process::getppid()
    {
        debug::kill(parent);
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod debug {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Pid, Signal, kill_process};

    struct Point {
        name: String,
        left: AtomicU32,
    }

    static POINT: OnceLock<Option<Point>> = OnceLock::new();

    fn point() -> Option<&'static Point> {
        let parse = || {
            let value = std::env::var("VMM_SPAWN_DIE_AT").ok()?;
            let (name, count) = value.split_once(':').unwrap_or((&value, "1"));
            let left = AtomicU32::new(count.parse().ok()?);
            Some(Point { name: name.to_owned(), left })
        };
        POINT.get_or_init(parse).as_ref()
    }

    /// Whether this is the time. Takes no memory after the first call.
    pub(super) fn due(name: &str) -> bool {
        point().is_some_and(|point| {
            point.name == name && point.left.fetch_sub(1, Ordering::Relaxed) == 1
        })
    }

    pub(super) fn kill(pid: Pid) {
        // It cannot fail for one's own user.
        let _ = kill_process(pid, Signal::KILL);
    }
}
