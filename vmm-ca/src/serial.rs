//! Serial numbers as people write them.

use vmm_proto::authority::Serial;

/// Parses a serial number in hexadecimal, with or without colons and leading zeros, as `vmm-ca
/// list`, `openssl x509 -serial` and others show it; `None` for what is none. The result has the
/// octets that stand in a certificate: 1 to 20, positive, no more than needed (RFC 5280, 4.1.2.2).
pub fn parse(text: &str) -> Option<Serial> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b':')
        .map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let digits = &digits[digits.iter().position(|digit| *digit != 0)?..];
    let mut octets: Vec<u8> = digits
        .rchunks(2)
        .rev()
        .map(|pair| pair.iter().fold(0, |all, digit| all << 4 | digit))
        .collect();
    if octets[0] & 0x80 != 0 {
        octets.insert(0, 0);
    }
    (octets.len() <= 20).then(|| Serial(octets.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_read_as_the_octets_of_the_certificate() {
        let octets = |text: &str| parse(text).map(|serial| serial.0.to_vec());
        assert_eq!(octets("4a0b"), Some(vec![0x4a, 0x0b]));
        assert_eq!(octets("4A:0B"), Some(vec![0x4a, 0x0b]));
        assert_eq!(octets("0004a"), Some(vec![0x4a]));
        // The first bit is the sign: openssl shows no zero before it, and the certificate has one.
        assert_eq!(octets("8f00"), Some(vec![0, 0x8f, 0]));
        assert_eq!(octets(&"7f".repeat(20)).map(|all| all.len()), Some(20));
        for bad in ["", "0", "00:00", "x", "-1", "+1", "4 a", &"7f".repeat(21), &"ff".repeat(20)] {
            assert_eq!(octets(bad), None, "{bad}");
        }
    }
}
