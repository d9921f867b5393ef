//! The guest's command line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use vmm_tender_abi::{COMMAND_LINE_MAX, COMMAND_LINE_SIZE};

use crate::Error;

/// What a guest gets as arguments: words joined by single spaces, at most 8191 bytes, without
/// NUL.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommandLine(Vec<u8>);

impl CommandLine {
    /// Joins `words`. There is no quoting: the guest cannot tell a space within a word from one
    /// between words.
    ///
    /// # Errors
    /// The line is longer than 8191 bytes.
    pub fn join(words: impl IntoIterator<Item = OsString>) -> Result<Self, Error> {
        let words: Vec<Vec<u8>> = words.into_iter().map(OsStringExt::into_vec).collect();
        let line = words.join(&b' ');
        if line.len() > COMMAND_LINE_MAX {
            return Err(Error::CommandLineTooLong { len: line.len(), max: COMMAND_LINE_MAX });
        }
        Ok(Self(line))
    }

    /// As it stands in guest memory: NUL-terminated, at most 8192 bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.0.clone();
        out.push(0);
        debug_assert!(out.len() <= COMMAND_LINE_SIZE);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(words: &[&str]) -> Result<CommandLine, Error> {
        CommandLine::join(words.iter().map(OsString::from))
    }

    #[test]
    fn words_are_joined_by_single_spaces_and_empty_ones_stay() {
        assert_eq!(join(&["a", "", "b c"]).unwrap().encode(), b"a  b c\0");
        assert_eq!(join(&[]).unwrap().encode(), b"\0");
    }

    #[test]
    fn the_longest_line_has_8191_bytes() {
        let word = "x".repeat(8190);
        assert!(join(&["", &word]).is_ok());
        let error = join(&["y", &word]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the guest's command line is too long: 8192 bytes, at most 8191 are possible"
        );
    }
}
