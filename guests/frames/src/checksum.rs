//! The Internet checksum (RFC 1071).

/// The one's complement sum of `bytes` as words, added to `sum`.
pub(crate) fn add(sum: u16, bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
    bytes.chunks(2).fold(sum, |sum, pair| plus(sum, word(pair)))
}

/// One's complement addition.
pub(crate) fn plus(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_has_its_sum() {
        assert_eq!(add(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(add(0, &[0x12]), 0x1200, "the last byte of an odd number is the higher one");
    }
}
