//! Choices that can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

/// A generator of numbers: `SplitMix64`, which is small and good enough for choices.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The seed that was given, or one made from the time.
    pub(crate) fn seed() -> u64 {
        let now = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(since.subsec_nanos())
        };
        let given = std::env::var("VMM_STORM_SEED").ok();
        given.map_or_else(now, |text| text.parse().expect("VMM_STORM_SEED"))
    }

    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// One of some.
    pub(crate) fn one_of<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        let count = u64::try_from(some.len()).unwrap();
        &some[usize::try_from(self.below(count)).unwrap()]
    }
}
