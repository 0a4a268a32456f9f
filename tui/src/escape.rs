//! The one function between bytes from outside and any terminal, line, log or title.
//!
//! Bytes that are not printable text become `\xNN`, a backslash becomes `\\`: reversible by [`unescape`], and the
//! same everywhere. Not printable are controls, DEL, C1, bidirectional and zero-width characters, other invisible
//! format characters, line and paragraph separators, and every byte of invalid UTF-8.

use std::fmt;

/// Whether `bytes` are printable ASCII without a backslash, as nearly every name is: escaping changes nothing.
#[must_use]
pub fn is_plain(bytes: &[u8]) -> bool {
    // No early end: this way it takes many bytes at once.
    bytes.iter().fold(true, |plain, b| plain & matches!(b, b' '..=b'~') & (*b != b'\\'))
}

/// Appends `bytes` to `out`, escaped.
pub fn push(out: &mut String, bytes: &[u8]) {
    if is_plain(bytes)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        out.push_str(text);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        // Printable ASCII without a backslash is nearly every name: copied in one piece.
        while !rest.is_empty() {
            let plain = rest.bytes().position(|b| !matches!(b, b' '..=b'[' | b']'..=b'~')).unwrap_or(rest.len());
            let (head, tail) = rest.split_at(plain);
            out.push_str(head);
            let mut chars = tail.chars();
            if let Some(c) = chars.next() {
                push_char(out, c);
            }
            rest = chars.as_str();
        }
        for byte in chunk.invalid() {
            push_byte(out, *byte);
        }
    }
}

/// `bytes`, escaped, as a new string.
///
/// ```
/// use opentop::escape::{escaped, unescape};
///
/// let name = b"red\x1b[31m";
/// assert_eq!(escaped(name), r"red\x1b[31m");
/// assert_eq!(unescape(&escaped(name)).as_deref(), Some(&name[..]));
/// ```
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    push(&mut out, bytes);
    out
}

/// Shows bytes escaped where a `Display` is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(self.0))
    }
}

/// The bytes that [`push`] wrote as `text`. `None` when it is not the escaper's output.
#[must_use]
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'\\' => out.push(b'\\'),
            b'x' => {
                let hex = [bytes.next()?, bytes.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
            }
            _ => return None,
        }
    }
    Some(out)
}

fn push_char(out: &mut String, c: char) {
    if c == '\\' {
        out.push_str("\\\\");
    } else if printable(c) {
        out.push(c);
    } else {
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            push_byte(out, byte);
        }
    }
}

fn push_byte(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    for nibble in [byte >> 4, byte & 15] {
        out.push(char::from(HEX[usize::from(nibble)]));
    }
}

/// Whether a terminal shows `c` as itself and nothing else happens.
fn printable(c: char) -> bool {
    !matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
        | '\u{ad}' | '\u{61c}' | '\u{180b}'..='\u{180f}'
        // Combining grapheme joiner, Hangul fillers: invisible.
        | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{17b4}' | '\u{17b5}'
        // Zero-width characters and marks, separators, embeddings and overrides, invisible operators, isolates.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // Variation selectors, BOM, interlinear annotation, tags, musical format characters.
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        // Noncharacters.
        | '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(escaped(b"a\x1b[31mb"), r"a\x1b[31mb");
        assert_eq!(escaped(b"a\nb\tc\x7f"), r"a\x0ab\x09c\x7f");
        assert_eq!(escaped("\u{9b}31m".as_bytes()), r"\xc2\x9b31m");
        assert_eq!(escaped("a\u{202e}b".as_bytes()), r"a\xe2\x80\xaeb");
        assert_eq!(escaped("a\u{200b}b".as_bytes()), r"a\xe2\x80\x8bb");
        assert_eq!(escaped(b"\xff\xfe"), r"\xff\xfe");
        assert_eq!(escaped(br"C:\x"), r"C:\\x");
    }

    #[test]
    fn what_people_write_stays_readable() {
        for text in ["plain", "größe", "日本語.txt", "emoji 🎉", "a b"] {
            assert_eq!(escaped(text.as_bytes()), text);
        }
    }

    proptest! {
        #[test]
        fn escaping_is_reversible_and_clean(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = escaped(&bytes);
            prop_assert_eq!(unescape(&text), Some(bytes));
            prop_assert!(text.chars().all(printable));
        }

        #[test]
        fn escaping_any_text_is_reversible(text in any::<String>()) {
            prop_assert_eq!(unescape(&escaped(text.as_bytes())), Some(text.into_bytes()));
        }
    }
}
