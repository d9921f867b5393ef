//! Making bytes harmless for a terminal: it acts on control characters, and whoever wrote the
//! bytes (a guest, another tenant) must not speak to it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal, or the eye, would be led astray by it: controls of both sets, and the marks
/// that reorder or hide what stands around them.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

fn push(character: char, out: &mut String) {
    match character {
        '\n' | '\t' => out.push(character),
        '\r' => out.push_str("\\r"),
        character if is_harmful(character) => out.extend(character.escape_unicode()),
        character => out.push(character),
    }
}

/// A text of one or more lines, with what is harmful in it escaped.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|character| is_harmful(character) && character != '\n') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    text.chars().for_each(|character| push(character, &mut out));
    Cow::Owned(out)
}

/// A text that must stay on one line, as in a table's cell.
pub(crate) fn on_one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Escapes a stream of bytes. A character may be cut in two by the pieces that it comes in.
#[derive(Debug, Default)]
pub(crate) struct Escaper {
    /// The beginning of a character, at most three bytes.
    begun: Vec<u8>,
}

impl Escaper {
    /// What to print for the next bytes.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> String {
        let mut joined = std::mem::take(&mut self.begun);
        joined.extend(bytes);
        let mut out = String::with_capacity(joined.len());
        let mut chunks = joined.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().for_each(|character| push(character, &mut out));
            let invalid = chunk.invalid();
            if chunks.peek().is_none() && may_go_on(invalid) {
                self.begun = invalid.to_vec();
            } else {
                push_bytes(invalid, &mut out);
            }
        }
        out
    }

    /// What to print for a character that was begun and never ended.
    pub(crate) fn finish(&mut self) -> String {
        let mut out = String::new();
        push_bytes(&std::mem::take(&mut self.begun), &mut out);
        out
    }
}

fn push_bytes(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// Whether the bytes are the beginning of a character whose end may still come.
fn may_go_on(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => false,
        Err(error) => error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        assert_eq!(printable("plain ä €\n"), "plain ä €\n");
        assert_eq!(printable("\x1b]0;x\x07"), "\\u{1b}]0;x\\u{7}");
        assert_eq!(printable("a\tb\r\n\x7f\u{9b}"), "a\tb\\r\n\\u{7f}\\u{9b}");
        assert_eq!(printable("\u{202e}abc"), "\\u{202e}abc");
        assert_eq!(on_one_line("a\nb\tc"), "a\\nb\\tc");
    }

    #[test]
    fn a_character_may_come_in_pieces() {
        let mut escaper = Escaper::default();
        let euro = "€".as_bytes();
        let mut shown = escaper.next(&[b'a', euro[0]]);
        shown += &escaper.next(&euro[1..2]);
        shown += &escaper.next(&[euro[2], b'b']);
        assert_eq!(shown + &escaper.finish(), "a€b");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_bytes() {
        let mut escaper = Escaper::default();
        assert_eq!(escaper.next(b"a\xff\xc3(b\xe2"), "a\\xff\\xc3(b");
        assert_eq!(escaper.next(b"x\xe2\x82"), "\\xe2x");
        assert_eq!(escaper.finish(), "\\xe2\\x82");
        assert_eq!(escaper.finish(), "");
    }
}
