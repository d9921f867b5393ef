//! Guest addresses, which are never host pointers.

use core::fmt;

/// An address as the guest sees it: physical on hvt, virtual on spt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestAddress(pub u64);

impl GuestAddress {
    /// The address `bytes` further on, unless that wraps around.
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }
}

impl fmt::Display for GuestAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for GuestAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A half-open range of guest addresses that does not wrap around.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuestRange {
    start: u64,
    end: u64,
}

impl GuestRange {
    /// The `len` bytes from `start` on; `None` when the end is no 64-bit address.
    pub fn new(start: GuestAddress, len: u64) -> Option<Self> {
        Some(Self { start: start.0, end: start.0.checked_add(len)? })
    }

    /// First address.
    pub fn start(self) -> GuestAddress {
        GuestAddress(self.start)
    }

    /// First address behind the range.
    pub fn end(self) -> GuestAddress {
        GuestAddress(self.end)
    }

    /// Size in bytes.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether the range holds no byte at all.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether the ranges share at least one byte.
    pub fn overlaps(self, other: Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }
}

impl fmt::Display for GuestRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x},{:#x})", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_wraps_around_does_not_exist() {
        assert_eq!(GuestRange::new(GuestAddress(u64::MAX), 1), None);
        assert!(GuestRange::new(GuestAddress(u64::MAX), 0).is_some_and(GuestRange::is_empty));
    }

    #[test]
    fn neighbours_do_not_overlap_and_empty_ranges_overlap_nothing() {
        let range = |start, len| GuestRange::new(GuestAddress(start), len).unwrap();
        assert!(!range(0, 16).overlaps(range(16, 16)));
        assert!(range(0, 17).overlaps(range(16, 16)));
        assert!(!range(20, 0).overlaps(range(16, 16)));
    }
}
