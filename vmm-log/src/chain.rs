//! The chain that makes tampering show.
//!
//! A record is a JSON document whose last member is its link:
//! `{"time":…,"sequence":7,"chain":"<64 hexadecimal digits>"}`. The link is SHA-256 over the 32
//! bytes of the link before it and the document without that member:
//! `{"time":…,"sequence":7}`. Before the very first record stand 32 zero bytes.

use std::fmt;

use sha2::{Digest, Sha256};

/// The chain value of one record: it stands for that record and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link([u8; 32]);

/// What stands before the first record of a log.
pub const FIRST: Link = Link([0; 32]);

const BEFORE: &[u8] = b",\"chain\":\"";
const AFTER: &[u8] = b"\"}";
const DIGITS: usize = 64;

/// Bytes that sealing adds to a document, without the line break.
pub const ADDED: usize = BEFORE.len() + DIGITS + AFTER.len() - 1;

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Link {
    fn parse(digits: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let text = std::str::from_utf8(pair).ok()?;
            // Just as it was written: another spelling would be another line with the same link.
            if text.bytes().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                return None;
            }
            *byte = u8::from_str_radix(text, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The link of the document `start` and a closing brace, after this one.
    fn then(self, start: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(self.0).chain_update(start).chain_update(b"}");
        Self(hash.finalize().into())
    }
}

/// Appends `document`, a JSON object with at least one member, to `out` as a line with its link after
/// `previous`. Returns that link.
pub fn seal(previous: Link, document: &[u8], out: &mut Vec<u8>) -> Link {
    let start = document.strip_suffix(b"}").unwrap_or(document);
    let link = previous.then(start);
    out.extend_from_slice(start);
    out.extend_from_slice(BEFORE);
    out.extend_from_slice(link.to_string().as_bytes());
    out.extend_from_slice(AFTER);
    out.push(b'\n');
    link
}

/// A line as it claims to be.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    start: &'a [u8],
    /// The link that it states.
    pub link: Link,
}

impl<'a> Sealed<'a> {
    /// Takes a line apart, without its line break; `None` when it has no link.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_suffix(AFTER)?;
        let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
        Some(Self { start: rest.strip_suffix(BEFORE)?, link: Link::parse(digits)? })
    }

    /// Whether it follows `previous`.
    pub fn follows(&self, previous: Link) -> bool {
        previous.then(self.start) == self.link
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sealed_line_is_as_the_documentation_says() {
        let mut out = Vec::new();
        let link = seal(FIRST, b"{\"a\":1}", &mut out);
        // (head -c 32 /dev/zero; printf '{"a":1}') | sha256sum
        let expected = "b06a229070741292512e8760f470dd7a4c46ccfdf253df781d88dabe58c1ccb1";
        assert_eq!(link.to_string(), expected);
        assert_eq!(out, format!("{{\"a\":1,\"chain\":\"{link}\"}}\n").as_bytes());
        assert_eq!(out.len(), 7 + ADDED + 1);
        let sealed = Sealed::parse(out.trim_ascii_end()).unwrap();
        assert!(sealed.follows(FIRST));
        assert!(!sealed.follows(link));
    }

    proptest! {
        #[test]
        fn any_other_byte_anywhere_breaks_the_chain(at in 0..84usize, to in any::<u8>()) {
            let mut line = Vec::new();
            seal(FIRST, b"{\"a\":1}", &mut line);
            line.pop();
            prop_assume!(at < line.len() && line[at] != to);
            line[at] = to;
            prop_assert!(!Sealed::parse(&line).is_some_and(|sealed| sealed.follows(FIRST)));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Sealed::parse(&line);
        }
    }
}
