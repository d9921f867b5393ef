//! Places at which tests have this process die, to see what the next one makes of what is left.
//!
//! There are none in a release build.

/// The environment variable that says at which boundary to die, counted from 1.
#[cfg(debug_assertions)]
const DIE_AT: &str = "VMMD_DIE_AT";

/// A boundary: something was done here, and something else was not yet.
#[cfg(debug_assertions)]
pub(crate) fn boundary() {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    static AT: LazyLock<Option<u64>> =
        LazyLock::new(|| std::env::var(DIE_AT).ok().and_then(|at| at.parse().ok()));
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let Some(at) = *AT else { return };
    if PASSED.fetch_add(1, Ordering::SeqCst) + 1 == at {
        // As a kill from outside: nothing is run, closed or written any more.
        if let Err(error) = kill_process(getpid(), Signal::KILL) {
            tracing::error!("cannot die: {error}");
        }
        loop {
            std::thread::park();
        }
    }
}

/// A boundary: something was done here, and something else was not yet.
#[cfg(not(debug_assertions))]
pub(crate) const fn boundary() {}
