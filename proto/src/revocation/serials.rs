//! Many serial numbers in little room.

use std::fmt;

/// How many octets a serial number has at most (RFC 5280, 4.1.2.2).
const OCTETS: usize = 20;

/// One serial number: its length, its octets, zeros. 21 bytes, so a million take 21 MB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Packed {
    length: u8,
    octets: [u8; OCTETS],
}

impl Packed {
    fn of(serial: &[u8]) -> Option<Self> {
        let length = u8::try_from(serial.len()).ok().filter(|length| *length > 0)?;
        let mut octets = [0; OCTETS];
        octets.get_mut(..serial.len())?.copy_from_slice(serial);
        Some(Self { length, octets })
    }

    fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

/// A serial number has 1 to 20 octets
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a serial number has 1 to 20 octets, not {0}")]
pub struct BadSerial(pub usize);

/// A set of serial numbers.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Serials(Box<[Packed]>);

impl Serials {
    /// The set of these serial numbers, each as its octets stand in the certificate. One that comes
    /// twice counts once.
    ///
    /// # Errors
    /// [`BadSerial`], or the first error of `serials`.
    pub fn collect<'s, E: From<BadSerial>>(
        serials: impl IntoIterator<Item = Result<&'s [u8], E>>,
    ) -> Result<Self, E> {
        let mut all = Vec::new();
        for serial in serials {
            let serial = serial?;
            all.push(Packed::of(serial).ok_or(BadSerial(serial.len()))?);
        }
        all.sort_unstable();
        all.dedup();
        Ok(Self(all.into_boxed_slice()))
    }

    /// Whether this one is among them.
    pub fn contains(&self, serial: &[u8]) -> bool {
        Packed::of(serial).is_some_and(|serial| self.0.binary_search(&serial).is_ok())
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The octets of each, shorter ones first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.iter().map(Packed::octets)
    }
}

impl fmt::Debug for Serials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} serial numbers", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(serials: &[&[u8]]) -> Result<Serials, BadSerial> {
        Serials::collect(serials.iter().copied().map(Ok))
    }

    #[test]
    fn a_set_holds_what_was_put_in_once_and_nothing_like_it() {
        let serials = set(&[&[2, 0], &[1], &[0x7f; 20], &[1], &[2]]).unwrap();
        assert_eq!(serials.len(), 4);
        assert!(
            serials.contains(&[2, 0]) && serials.contains(&[2]) && serials.contains(&[0x7f; 20])
        );
        assert!(!serials.contains(&[1, 0]) && !serials.contains(&[0x7f; 19]));
        assert!(!serials.contains(&[]) && !serials.contains(&[0x7f; 21]));
        assert_eq!(serials.iter().collect::<Vec<_>>(), [&[1][..], &[2], &[2, 0], &[0x7f; 20]]);
    }

    #[test]
    fn a_serial_number_of_no_or_too_many_octets_is_refused() {
        assert_eq!(set(&[&[1], &[]]), Err(BadSerial(0)));
        assert_eq!(set(&[&[1; 21]]), Err(BadSerial(21)));
    }

    #[test]
    fn a_packed_serial_number_takes_twenty_one_bytes() {
        assert_eq!(size_of::<Packed>(), 21);
    }
}
