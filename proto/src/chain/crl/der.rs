//! A reader of DER that keeps nothing and copies nothing.
//!
//! The libraries at hand either make an object of every entry of a list (hundreds of bytes each), or
//! take lengths in more octets than they need, or do not tell a list's number.

use super::CrlError;

/// Tags that a list is made of (X.690, 8.1.2), each in one octet.
pub(super) mod tag {
    pub(in super::super) const BOOLEAN: u8 = 0x01;
    pub(in super::super) const INTEGER: u8 = 0x02;
    pub(in super::super) const BIT_STRING: u8 = 0x03;
    pub(in super::super) const OCTET_STRING: u8 = 0x04;
    pub(in super::super) const OID: u8 = 0x06;
    pub(in super::super) const ENUMERATED: u8 = 0x0a;
    pub(in super::super) const UTC_TIME: u8 = 0x17;
    pub(in super::super) const GENERALIZED_TIME: u8 = 0x18;
    pub(in super::super) const SEQUENCE: u8 = 0x30;
    pub(in super::super) const EXTENSIONS: u8 = 0xa0;
    pub(in super::super) const KEY_IDENTIFIER: u8 = 0x80;
}

/// What is left to read of some contents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'d>(pub(super) &'d [u8]);

/// One element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'d> {
    pub(super) tag: u8,
    pub(super) contents: &'d [u8],
    /// All of it, with its tag and length.
    pub(super) whole: &'d [u8],
}

impl<'d> Reader<'d> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, of any tag that has one octet.
    pub(super) fn any(&mut self) -> Result<Element<'d>, CrlError> {
        let (tag, start, length) = header(self.0).ok_or(CrlError::Der)?;
        let end = start.checked_add(length).ok_or(CrlError::Der)?;
        let (whole, rest) = self.0.split_at_checked(end).ok_or(CrlError::Der)?;
        self.0 = rest;
        Ok(Element { tag, contents: &whole[start..], whole })
    }

    /// The next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<Element<'d>, CrlError> {
        self.any()
            .and_then(|element| if element.tag == tag { Ok(element) } else { Err(CrlError::Der) })
    }

    /// The next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Element<'d>>, CrlError> {
        if self.0.first() == Some(&tag) { self.any().map(Some) } else { Ok(None) }
    }

    /// Nothing may be left.
    pub(super) const fn end(&self) -> Result<(), CrlError> {
        if self.is_empty() { Ok(()) } else { Err(CrlError::Der) }
    }
}

/// The one element that all of `der` is.
pub(super) fn only(der: &[u8], tag: u8) -> Result<&[u8], CrlError> {
    let mut reader = Reader(der);
    let element = reader.expect(tag)?;
    reader.end()?;
    Ok(element.contents)
}

/// Tag, octets of the header, octets of the contents. The length is definite and as short as can be
/// (X.690, 10.1).
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (tag, rest) = bytes.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    if *first < 0x80 {
        return Some((*tag, 2, usize::from(*first)));
    }
    let count = usize::from(first & 0x7f);
    // Four octets are enough for anything that is let in.
    let octets = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
    let length = octets.iter().fold(0_u64, |length, octet| length << 8 | u64::from(*octet));
    let shortest = length >= 0x80 && octets.first() != Some(&0);
    let length = usize::try_from(length).ok().filter(|_| shortest)?;
    Some((*tag, 2 + count, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_definite_shortest_and_within_what_there_is() {
        let read = |bytes: &[u8]| Reader(bytes).any().map(|element| element.contents.len());
        assert_eq!(read(&[4, 0]).unwrap(), 0);
        assert_eq!(read(&[4, 1, 7, 9]).unwrap(), 1);
        assert_eq!(read(&[&[4, 0x81, 0x80][..], &[0; 0x80]].concat()).unwrap(), 0x80);
        assert_eq!(read(&[&[4, 0x82, 1, 0][..], &[0; 256]].concat()).unwrap(), 256);
        let bad: [&[u8]; 9] = [
            &[],
            &[4],
            &[4, 2, 0],
            &[0x30, 0x80, 0, 0],
            &[4, 0x81, 1, 0],
            &[4, 0x82, 0, 0x80],
            &[4, 0x85, 0, 0, 0, 0, 1, 0],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x1f, 0x22, 0],
        ];
        for bytes in bad {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }
}
