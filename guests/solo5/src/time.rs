//! Clocks and waiting.

use core::time::Duration;

use crate::target;

/// Time since an arbitrary moment; never goes back.
pub fn monotonic() -> Duration {
    Duration::from_nanos(target::monotonic())
}

/// Time since 1970-01-01 00:00 UTC, as the host has it.
pub fn wall() -> Duration {
    Duration::from_nanos(target::wall())
}

/// Waits until [`monotonic`] has reached `deadline`; at once if it has already.
pub fn sleep_until(deadline: Duration) {
    let deadline = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
    // The host may wake a guest early, for a device.
    while target::monotonic() < deadline {
        target::wait_until(deadline);
    }
}

/// Waits until a network interface has a frame or [`monotonic`] has reached `deadline`. Tells
/// whether there is a frame; also that need not be so, as hosts may wake a guest for nothing.
pub fn wait_until(deadline: Duration) -> bool {
    let deadline = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
    target::wait_until(deadline) != 0
}
