//! Text of others as a part of what we say: one line, and nothing that a terminal obeys.
//!
//! Called wherever words for people are made (`reason`, `source`, `report`) and once more by the log.
//! Pure.

use std::borrow::Cow;

/// `text` with what breaks a line, moves a cursor or turns the direction of writing written as escapes.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_active(c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    Cow::Owned(plain)
}

/// Control characters, the separators of Unicode, and marks of direction.
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most `bytes` of it, cut between characters.
pub fn cut(text: &str, bytes: usize) -> &str {
    let mut ends = (0..=bytes.min(text.len())).rev();
    &text[..ends.find(|end| text.is_char_boundary(*end)).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_as_an_escape() {
        assert!(matches!(plain("a b, ä, \u{1f600}"), Cow::Borrowed(_)));
        assert_eq!(plain("a\nb\r\0\u{1b}[31m\u{9b}2J"), "a\\nb\\r\\u{0}\\u{1b}[31m\\u{9b}2J");
        assert_eq!(plain("\u{202e}x\u{2028}"), "\\u{202e}x\\u{2028}");
    }

    #[test]
    fn a_cut_leaves_whole_characters() {
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("aä", 3), "aä");
    }
}
