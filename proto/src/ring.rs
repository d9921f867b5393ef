//! The layout of a console ring: a file of fixed size that `vmm-spawn` writes and `vmm-console`
//! reads by position.
//!
//! The first page holds three counters, each stored as the number and its complement, so that a
//! reader who looks while one is stored can tell, and looks again. Two are of bytes ever written:
//!
//! * `claimed` at 0: the writer has perhaps overwritten everything up to `claimed - CAPACITY`;
//! * `written` at 16: everything before is there to read.
//!
//! The third, `rest` at 32, is for the writer alone, and for the one that comes after it: it says
//! which bytes that it has taken out of the console are in the ring already.
//!
//! The data follows at [`DATA`]; byte `n` stands at `DATA + n % CAPACITY`. The writer claims,
//! writes the data, then moves `written`; the reader takes `written`, reads the data, then looks at
//! `claimed` to learn how much of what it read was overwritten meanwhile. So neither waits for the
//! other, and the size of a gap is exact.

/// Where the data begins.
pub const DATA: u64 = 4096;

/// Bytes of console that a ring keeps: 256 KiB.
pub const CAPACITY: u64 = 256 << 10;

/// Bytes of the whole file.
pub const FILE_SIZE: u64 = DATA + CAPACITY;

/// Where the counter of claimed bytes stands.
pub const CLAIMED: u64 = 0;

/// Where the counter of written bytes stands.
pub const WRITTEN: u64 = 16;

/// Where the writer notes which of the bytes that wait beside the ring are in it already: 0 when
/// none are, or 1 more than the number of bytes at their end that are not. It stands right behind
/// `written`, and both change by one write.
pub const REST: u64 = 32;

/// A counter as it is stored.
pub fn encode_counter(value: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    bytes[8..].copy_from_slice(&(!value).to_le_bytes());
    bytes
}

/// A stored counter; `None` when it was being stored.
pub fn decode_counter(bytes: [u8; 16]) -> Option<u64> {
    let (value, complement) = bytes.split_at(8);
    let value = u64::from_le_bytes(value.try_into().ok()?);
    let complement = u64::from_le_bytes(complement.try_into().ok()?);
    (value == !complement).then_some(value)
}

/// Where `length` bytes at `position` stand in the file: at most two pieces, as (offset, length).
/// `length` is at most [`CAPACITY`].
pub fn pieces(position: u64, length: u64) -> [(u64, u64); 2] {
    let start = position % CAPACITY;
    let first = length.min(CAPACITY - start);
    [(DATA + start, first), (DATA, length - first)]
}

/// The oldest position that is still whole when `claimed` bytes were claimed.
pub const fn oldest(claimed: u64) -> u64 {
    claimed.saturating_sub(CAPACITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_stored_counter_is_noticed() {
        let old = encode_counter(0x00ff);
        let new = encode_counter(0x0100);
        for cut in 1..16 {
            let mut mixed = new;
            mixed[cut..].copy_from_slice(&old[cut..]);
            let seen = decode_counter(mixed);
            assert!(matches!(seen, None | Some(0x0100)), "{cut}: {seen:?}");
        }
    }

    #[test]
    fn a_piece_that_wraps_is_two() {
        assert_eq!(pieces(10, 5), [(DATA + 10, 5), (DATA, 0)]);
        assert_eq!(pieces(CAPACITY - 2, 5), [(DATA + CAPACITY - 2, 2), (DATA, 3)]);
        assert_eq!(pieces(3 * CAPACITY, CAPACITY), [(DATA, CAPACITY), (DATA, 0)]);
    }
}
