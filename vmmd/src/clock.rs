//! The time and the chance that the engine is given.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vmm_engine::Now;

/// Where the monotonic clock of this process begins.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// The time now.
pub(crate) fn now() -> Now {
    let monotonic_ms = u64::try_from(start().elapsed().as_millis()).unwrap_or(u64::MAX);
    Now { unix_ms: unix_ms(), monotonic_ms }
}

/// Milliseconds since the Unix epoch; 0 on a clock that stands before it.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since the Unix epoch, as certificates count them.
pub(crate) fn unix_s() -> i64 {
    i64::try_from(unix_ms() / 1000).unwrap_or(i64::MAX)
}

/// The moment when the engine's monotonic clock shows `monotonic_ms`.
pub(crate) fn instant_of(monotonic_ms: u64) -> tokio::time::Instant {
    (start() + Duration::from_millis(monotonic_ms)).into()
}

/// A random number, to spread restarts out.
pub(crate) fn jitter() -> u32 {
    let [a, b, c, d, ..] = uuid::Uuid::new_v4().into_bytes();
    u32::from_le_bytes([a, b, c, d])
}
