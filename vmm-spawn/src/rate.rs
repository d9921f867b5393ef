//! How fast a machine may write to its console.

use std::time::{Duration, Instant};

/// Bytes a second that one machine may write for as long as it likes. Enough for a guest that
/// prints a lot while it looks for an error; little enough that copying it costs a fraction of a
/// percent of a processor, so that many can do so at once.
pub const RATE: u64 = 4 << 20;

/// Bytes that a machine may write at once after it was silent: what a ring keeps. More would only
/// overwrite itself before anyone could read it.
pub const BURST: u64 = vmm_proto::ring::CAPACITY;

/// Parts of a byte that the bucket counts in: what a nanosecond earns is then a whole number.
const PARTS: u64 = 1_000_000_000;

/// A token bucket: one token a byte.
#[derive(Debug, Clone)]
pub struct Bucket {
    parts: u64,
    /// Up to when time has been turned into tokens.
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub fn full(now: Instant) -> Self {
        Self { parts: BURST * PARTS, filled: now }
    }

    /// How many bytes may be read now.
    pub fn available(&mut self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.filled).as_nanos();
        let earned = u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_mul(RATE);
        self.parts = self.parts.saturating_add(earned).min(BURST * PARTS);
        self.filled = self.filled.max(now);
        self.parts / PARTS
    }

    /// Bytes were read: at most as many as were available.
    pub fn take(&mut self, bytes: u64) {
        self.parts = self.parts.saturating_sub(bytes * PARTS);
    }

    /// When `bytes` (at most [`BURST`]) will be available.
    pub fn ready_at(&self, bytes: u64) -> Instant {
        let missing = (bytes * PARTS).saturating_sub(self.parts);
        self.filled + Duration::from_nanos(missing.div_ceil(RATE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as much as is allowed every `step` for `total`, after the burst.
    fn read_for(total: Duration, step: Duration) -> u64 {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        bucket.take(BURST);
        let mut now = start;
        let mut read = 0;
        while now < start + total {
            now += step;
            let bytes = bucket.available(now);
            bucket.take(bytes);
            read += bytes;
        }
        read
    }

    #[test]
    fn the_rate_does_not_depend_on_how_often_one_asks() {
        for step in [Duration::from_nanos(701), Duration::from_micros(33), Duration::from_millis(7)]
        {
            let read = read_for(Duration::from_millis(70), step);
            let expected = RATE * 70 / 1000;
            // The last step may end a little later than asked.
            let late = RATE * u64::try_from(step.as_nanos()).unwrap() / 1_000_000_000;
            assert!(read.abs_diff(expected) <= late + 1, "{step:?}: {read} of {expected}");
        }
    }

    #[test]
    fn silence_earns_no_more_than_a_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        assert_eq!(bucket.available(start + Duration::from_secs(1 << 40)), BURST);
    }

    #[test]
    fn what_is_promised_for_a_moment_is_there_then() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        bucket.take(BURST);
        for bytes in [1, 3, 4096, 65536, BURST] {
            let mut bucket = bucket.clone();
            let at = bucket.ready_at(bytes);
            assert!(bucket.available(at) >= bytes, "{bytes}");
        }
    }
}
