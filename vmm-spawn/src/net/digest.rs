//! Numbers for directories and names, by FNV-1a: enough to tell those apart that nobody chose to
//! confuse. They are on interfaces that outlive this process, and so never change.

/// That of no bytes, with which one begins.
pub const OF_NOTHING: u64 = 0xcbf2_9ce4_8422_2325;

/// The number of the bytes that led to `begin`, and these.
pub fn digest(bytes: &[u8], begin: u64) -> u64 {
    bytes.iter().fold(begin, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fnv_1a_of_64_bits() {
        // Out of the list of its authors.
        assert_eq!(digest(b"foobar", OF_NOTHING), 0x8594_4171_f739_67e8);
        assert_eq!(digest(b"bar", digest(b"foo", OF_NOTHING)), digest(b"foobar", OF_NOTHING));
    }
}
