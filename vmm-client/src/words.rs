//! Cutting a typed line into words, as a shell would without its special characters.

/// The words of a line: separated by blanks; `'…'` and `"…"` keep what is in them together, and a
/// backslash keeps the next character (not inside `'…'`).
pub(crate) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(end), _) if character == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = characters.next().ok_or("nothing follows the last backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("a quotation begun with {quote} has no end"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_at_blanks_and_quotes_keep_them_together() {
        for (line, words) in [
            ("", &[][..]),
            ("  info  ", &["info"]),
            ("run a b -- 'x y' \"it's\" c\\ d", &["run", "a", "b", "--", "x y", "it's", "c d"]),
            ("a'b'\"c\"", &["abc"]),
            ("'' \"\\\"\" '\\'", &["", "\"", "\\"]),
        ] {
            assert_eq!(
                split(line).as_deref(),
                Ok(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()[..]),
                "{line}"
            );
        }
        for bad in ["'a", "\"a'", "a\\"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
