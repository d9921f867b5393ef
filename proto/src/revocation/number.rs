//! The number of a revocation list.

use std::fmt;

/// How many octets the largest number has (RFC 5280, 5.2.3).
const OCTETS: usize = 20;

/// A cRLNumber: at least 0, at most 20 octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlNumber([u8; OCTETS]);

impl CrlNumber {
    /// From the content octets of an INTEGER in DER; `None` when it is negative, too large, or has
    /// more octets than it needs.
    pub fn from_der(octets: &[u8]) -> Option<Self> {
        let minimal = match octets {
            [] => false,
            [0, second, ..] => second & 0x80 != 0,
            [first, ..] => first & 0x80 == 0,
        };
        let minimal = minimal || octets == [0];
        let place = OCTETS.checked_sub(octets.len()).filter(|_| minimal)?;
        let mut number = [0; OCTETS];
        number[place..].copy_from_slice(octets);
        Some(Self(number))
    }

    /// The content octets of its INTEGER in DER.
    pub fn to_der(&self) -> &[u8] {
        let zeros = self.0.iter().take(OCTETS - 1).take_while(|octet| **octet == 0).count();
        let sign = usize::from(self.0[zeros] & 0x80 != 0);
        &self.0[zeros.saturating_sub(sign)..]
    }
}

impl From<u64> for CrlNumber {
    fn from(number: u64) -> Self {
        let mut octets = [0; OCTETS];
        octets[OCTETS - 8..].copy_from_slice(&number.to_be_bytes());
        Self(octets)
    }
}

impl fmt::Display for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        let mut digits = Vec::new();
        while digits.is_empty() || left != [0; OCTETS] {
            let mut rest = 0_u16;
            for octet in &mut left {
                let value = rest << 8 | u16::from(*octet);
                *octet = (value / 10).to_be_bytes()[1];
                rest = value % 10;
            }
            digits.push(char::from(b'0' + rest.to_be_bytes()[1]));
        }
        f.write_str(&digits.iter().rev().collect::<String>())
    }
}

impl fmt::Debug for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers_and_written_in_tens() {
        let number = |octets: &[u8]| CrlNumber::from_der(octets).unwrap();
        assert!(number(&[0]) < number(&[1]) && number(&[127]) < number(&[0, 128]));
        assert!(number(&[0, 255]) < number(&[1, 0]));
        assert_eq!(number(&[0]).to_string(), "0");
        assert_eq!(number(&[1, 0]).to_string(), "256");
        assert_eq!(CrlNumber::from(u64::MAX).to_string(), u64::MAX.to_string());
        let largest = (1_u128 << 127).to_string();
        assert_eq!(number(&[&[0, 0x80][..], &[0; 15]].concat()).to_string(), largest);
    }

    #[test]
    fn a_number_has_one_form_and_at_most_twenty_octets() {
        for octets in [&[0][..], &[1], &[0x7f], &[0, 0x80], &[0x7f; 20]] {
            assert_eq!(CrlNumber::from_der(octets).unwrap().to_der(), octets);
        }
        for octets in [&[][..], &[0x80], &[0xff; 3], &[0, 1], &[0, 0], &[1; 21]] {
            assert_eq!(CrlNumber::from_der(octets), None, "{octets:?}");
        }
    }
}
