//! A writer of DER that may also write it wrongly.
//!
//! Every function returns bytes. What a test wants malformed it takes apart and puts together
//! again: nothing here insists on anything.

#![allow(clippy::cast_possible_truncation, reason = "single octets are cut out of larger numbers")]

/// BOOLEAN
pub const BOOLEAN: u8 = 0x01;
/// INTEGER
pub const INTEGER: u8 = 0x02;
/// BIT STRING
pub const BIT_STRING: u8 = 0x03;
/// OCTET STRING
pub const OCTET_STRING: u8 = 0x04;
/// NULL
pub const NULL: u8 = 0x05;
/// OBJECT IDENTIFIER
pub const OID: u8 = 0x06;
/// ENUMERATED
pub const ENUMERATED: u8 = 0x0a;
/// `UTF8String`
pub const UTF8_STRING: u8 = 0x0c;
/// `PrintableString`
pub const PRINTABLE_STRING: u8 = 0x13;
/// `TeletexString`
pub const TELETEX_STRING: u8 = 0x14;
/// `IA5String`
pub const IA5_STRING: u8 = 0x16;
/// `UTCTime`
pub const UTC_TIME: u8 = 0x17;
/// `GeneralizedTime`
pub const GENERALIZED_TIME: u8 = 0x18;
/// `BMPString`
pub const BMP_STRING: u8 = 0x1e;
/// SEQUENCE and SEQUENCE OF
pub const SEQUENCE: u8 = 0x30;
/// SET and SET OF
pub const SET: u8 = 0x31;

/// The tag `[n]` of a primitive type.
pub const fn context(n: u8) -> u8 {
    0x80 | n
}

/// The tag `[n]` of a constructed type.
pub const fn constructed(n: u8) -> u8 {
    0xa0 | n
}

/// Tag, length, value, with the shortest length.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = vec![tag];
    if content.len() < 0x80 {
        out.push(content.len() as u8);
    } else {
        out.push(0x80 | significant.len() as u8);
        out.extend(significant);
    }
    out.extend(content);
    out
}

/// Tag, length, value, with one octet more of length than DER allows.
pub fn tlv_long(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.extend([0x81, short as u8]),
        medium @ 0x80..0x100 => out.extend([0x82, 0, medium as u8]),
        long => out.extend([0x83, 0, (long >> 8) as u8, long as u8]),
    }
    out.extend(content);
    out
}

/// Tag, the indefinite length of BER, value, end of contents.
pub fn tlv_indefinite(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, 0x80], content, &[0, 0]].concat()
}

/// A SEQUENCE of finished elements.
pub fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    tlv(SEQUENCE, &elements.concat())
}

/// The content octets of a non-negative INTEGER, as few as possible.
pub fn unsigned(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let skip = bytes.iter().take_while(|byte| **byte == 0).count().min(7);
    let mut out = bytes[skip..].to_vec();
    if out[0] & 0x80 != 0 {
        out.insert(0, 0);
    }
    out
}

/// An INTEGER.
pub fn integer(value: u64) -> Vec<u8> {
    tlv(INTEGER, &unsigned(value))
}

/// The content octets of an object identifier.
pub fn arcs(arcs: &[u128]) -> Vec<u8> {
    let mut out = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let mut octets = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest != 0 {
            octets.insert(0, 0x80 | (rest & 0x7f) as u8);
            rest >>= 7;
        }
        out.extend(octets);
    }
    out
}

/// An OBJECT IDENTIFIER.
pub fn oid(of: &[u128]) -> Vec<u8> {
    tlv(OID, &arcs(of))
}

/// The content octets of a named bit list: the numbers of the bits that are set.
pub fn bits(set: &[usize]) -> Vec<u8> {
    let Some(last) = set.iter().max() else { return vec![0] };
    let mut octets = vec![0; last / 8 + 1];
    for bit in set {
        octets[bit / 8] |= 0x80 >> (bit % 8);
    }
    octets.insert(0, (7 - last % 8) as u8);
    octets
}

/// The content octets of the first element, which must be written as [`tlv`] writes it.
///
/// # Panics
/// For anything else.
pub fn content(element: &[u8]) -> &[u8] {
    let (header, length) = match element[1] {
        short @ 0..0x80 => (2, usize::from(short)),
        long => {
            let octets = usize::from(long & 0x7f);
            let length = element[2..2 + octets].iter();
            (2 + octets, length.fold(0, |length, octet| length << 8 | usize::from(*octet)))
        }
    };
    &element[header..header + length]
}

/// PEM (RFC 7468) with the given label.
pub fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text: Vec<u8> = Vec::new();
    for group in der.chunks(3) {
        let word = group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = (word >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= group.len() { ALPHABET[sextet] } else { b'=' });
        }
    }
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.chunks(64) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_integers_are_as_short_as_can_be() {
        assert_eq!(tlv(4, &[1, 2]), [4, 2, 1, 2]);
        assert_eq!(tlv(4, &[0; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(tlv(4, &[0; 0x1234])[..4], [4, 0x82, 0x12, 0x34]);
        for length in [0, 0x7f, 0x80, 0xff, 0x100, 0x1234] {
            assert_eq!(content(&tlv(4, &vec![9; length])), vec![9; length]);
        }
        assert_eq!([unsigned(0), unsigned(127), unsigned(128)], [vec![0], vec![127], vec![0, 128]]);
    }

    #[test]
    fn identifiers_bits_and_pem_are_as_in_the_textbook() {
        assert_eq!(arcs(&[1, 2, 840, 113_549]), [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]);
        assert_eq!(bits(&[0]), [7, 0x80]);
        assert_eq!(bits(&[5, 6]), [1, 0x06]);
        assert_eq!(bits(&[8]), [7, 0, 0x80]);
        assert_eq!(pem("X", b"Man"), "-----BEGIN X-----\nTWFu\n-----END X-----\n");
        assert!(pem("X", b"Ma").contains("TWE=") && pem("X", b"M").contains("TQ=="));
    }
}
