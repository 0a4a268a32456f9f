//! Text patterns: literal text with `*`, `?` and `**`, made ready once so that matching neither allocates nor backtracks.
//!
//! `?` is one character and `*` any number of them, in a path never a `/`; `**` is anything, and `**/` also nothing.

use std::fmt;

use regex::bytes::Regex;

use super::lexer::Unit;
use crate::escape;

/// Longest name of a thread, bytes: the kernel cuts what is longer, so patterns are cut, too.
const COMM_MAX: usize = probe_common::COMM_LEN - 1;

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes that stand for themselves, at least one.
    Literal(Vec<u8>),
    /// `?`
    One,
    /// `*`
    Many,
    /// `**`
    Deep,
}

/// What a pattern is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A thread's name, whole.
    Comm,
    /// A path, whole; a pattern that does not begin with `/` is held against its last components.
    Path,
    /// The same, or anything under it.
    Dir,
    /// Anywhere in the text; case matters only if the pattern has upper case.
    Word,
}

/// A pattern, ready to match.
#[derive(Clone, Debug)]
pub struct Pattern {
    pieces: Vec<Piece>,
    target: Target,
    matcher: Matcher,
}

/// A pattern is what it says, not how it is matched.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target && self.pieces == other.pieces
    }
}

#[derive(Clone, Debug)]
enum Matcher {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    /// The last components.
    Tail(Vec<u8>),
    /// The directory (without a slash at its end) or anything under it.
    Under(Vec<u8>),
    Find(Vec<u8>),
    /// Lower case ASCII, found in any case.
    FindAnyCase(Vec<u8>),
    Regex(Regex),
}

/// What a capture can do with a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Simple<'a> {
    /// These bytes.
    Exact(&'a [u8]),
    /// What begins with these bytes.
    Prefix(&'a [u8]),
    /// This directory (without a slash at its end; empty is the root) or anything under it.
    Under(&'a [u8]),
}

impl Pattern {
    /// Makes a pattern ready.
    ///
    /// # Errors
    /// When it is too large, in words.
    pub(super) fn new(units: &[Unit], target: Target) -> Result<Self, String> {
        let mut pieces: Vec<Piece> = Vec::new();
        for unit in units {
            let last = pieces.last_mut();
            match (unit, last) {
                (Unit::Byte(byte), Some(Piece::Literal(bytes))) => bytes.push(*byte),
                (Unit::Byte(byte), _) => pieces.push(Piece::Literal(vec![*byte])),
                (Unit::Question, _) => pieces.push(Piece::One),
                (Unit::Star, Some(last @ Piece::Many)) => *last = Piece::Deep,
                (Unit::Star, Some(Piece::Deep)) => {}
                (Unit::Star, _) => pieces.push(Piece::Many),
            }
        }
        let matcher = matcher(&pieces, target)?;
        Ok(Self { pieces, target, matcher })
    }

    /// Whether `text` matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Exact(bytes) => text == bytes,
            Matcher::Prefix(bytes) => text.starts_with(bytes),
            Matcher::Tail(bytes) => {
                text.strip_suffix(bytes.as_slice()).is_some_and(|rest| matches!(rest.last(), None | Some(b'/')))
            }
            Matcher::Under(dir) => {
                text.strip_prefix(dir.as_slice()).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
            }
            Matcher::Find(needle) => find(text, needle),
            Matcher::FindAnyCase(needle) => find_any_case(text, needle),
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }

    /// What it says.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The pattern as something the kernel can do, if it is that simple.
    #[must_use]
    pub fn simple(&self) -> Option<Simple<'_>> {
        match &self.matcher {
            Matcher::Exact(bytes) => Some(Simple::Exact(bytes)),
            Matcher::Prefix(bytes) => Some(Simple::Prefix(bytes)),
            Matcher::Under(dir) => Some(Simple::Under(dir)),
            _ => None,
        }
    }

    /// The bytes it begins with, up to the first wildcard.
    #[must_use]
    pub fn literal_start(&self) -> &[u8] {
        match self.pieces.first() {
            Some(Piece::Literal(bytes)) => bytes,
            _ => b"",
        }
    }
}

fn matcher(pieces: &[Piece], target: Target) -> Result<Matcher, String> {
    let cut = |bytes: &[u8]| bytes.get(..COMM_MAX).unwrap_or(bytes).to_vec();
    Ok(match (target, pieces) {
        (Target::Comm | Target::Path, []) => Matcher::Exact(Vec::new()),
        (Target::Comm, [Piece::Literal(bytes)]) => Matcher::Exact(cut(bytes)),
        (Target::Comm, [Piece::Literal(bytes), Piece::Many | Piece::Deep]) => Matcher::Prefix(cut(bytes)),
        (Target::Path, [Piece::Literal(bytes)]) if bytes.starts_with(b"/") => Matcher::Exact(bytes.clone()),
        (Target::Path, [Piece::Literal(bytes)]) => Matcher::Tail(bytes.clone()),
        (Target::Path, [Piece::Literal(bytes), Piece::Deep]) if bytes.starts_with(b"/") => {
            Matcher::Prefix(bytes.clone())
        }
        (Target::Dir, [Piece::Literal(bytes)]) if bytes.starts_with(b"/") => {
            Matcher::Under(trim_slashes(bytes).to_vec())
        }
        (Target::Word, [Piece::Literal(bytes)]) if has_upper_case(bytes) => Matcher::Find(bytes.clone()),
        (Target::Word, [Piece::Literal(bytes)]) if bytes.is_ascii() => Matcher::FindAnyCase(bytes.clone()),
        _ => Matcher::Regex(regex(pieces, target)?),
    })
}

fn trim_slashes(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}

fn has_upper_case(bytes: &[u8]) -> bool {
    bytes.utf8_chunks().any(|chunk| chunk.valid().chars().any(char::is_uppercase))
}

/// A pattern as a regular expression, which matches in time linear in the text whatever the pattern.
fn regex(pieces: &[Piece], target: Target) -> Result<Regex, String> {
    let (one, many) = match target {
        // A byte that is no UTF-8 counts as a character.
        Target::Comm => ("(?:(?s:.)|(?-u:[\\x80-\\xff]))", "(?s-u:.*)"),
        _ => ("(?:[^/]|(?-u:[\\x80-\\xff]))", "(?-u:[^/]*)"),
    };
    let deep = "(?s-u:.*)";
    let mut out = String::new();
    let absolute = matches!(pieces.first(), Some(Piece::Literal(bytes)) if bytes.starts_with(b"/"));
    match target {
        Target::Comm => out.push('^'),
        Target::Path | Target::Dir if absolute => out.push('^'),
        Target::Path | Target::Dir => out.push_str("^(?s-u:.*/)?"),
        Target::Word => {
            let literals = pieces.iter().filter_map(|piece| if let Piece::Literal(b) = piece { Some(b) } else { None });
            if !literals.into_iter().any(|bytes| has_upper_case(bytes)) {
                out.push_str("(?i)");
            }
        }
    }
    // `dir:build*/` is the directory, not its inside.
    let mut pieces = pieces.to_vec();
    if target == Target::Dir
        && let Some(Piece::Literal(bytes)) = pieces.last_mut()
    {
        bytes.truncate(trim_slashes(bytes).len());
        if bytes.is_empty() {
            pieces.pop();
        }
    }
    // A word may begin in the middle of a component.
    let mut component_start = target != Target::Word;
    let mut pieces = pieces.iter().peekable();
    let mut swallow_slash = false;
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Literal(bytes) => {
                let mut bytes = bytes.as_slice();
                if std::mem::take(&mut swallow_slash) {
                    bytes = bytes.strip_prefix(b"/").unwrap_or(bytes);
                }
                push_literal(&mut out, bytes);
                component_start = bytes.last().is_none_or(|b| *b == b'/');
            }
            Piece::One => out.push_str(one),
            Piece::Many => out.push_str(many),
            Piece::Deep => {
                let before_slash = matches!(pieces.peek(), Some(Piece::Literal(bytes)) if bytes.starts_with(b"/"));
                if component_start && before_slash && target != Target::Comm {
                    out.push_str("(?s-u:.*/)?");
                    swallow_slash = true;
                } else {
                    out.push_str(deep);
                }
            }
        }
        component_start &= matches!(piece, Piece::Literal(_));
    }
    out.push_str(match target {
        Target::Dir => "(?s-u:/.*)?$",
        Target::Comm | Target::Path => "$",
        Target::Word => "",
    });
    build_regex(&out)
}

fn push_literal(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        out.push_str(&regex::escape(chunk.valid()));
        for byte in chunk.invalid() {
            out.push_str(&format!("(?-u:\\x{byte:02x})"));
        }
    }
}

/// Compiles a regular expression over bytes, with a bound on what it may cost.
pub(super) fn build_regex(pattern: &str) -> Result<Regex, String> {
    let built = regex::bytes::RegexBuilder::new(pattern).size_limit(2 << 20).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "this pattern is too large".to_owned(),
        // The first lines draw the pattern, the last one says what is wrong.
        error => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            format!("not a regular expression: {}", escape::escaped(reason.as_bytes()))
        }
    })
}

fn find(text: &[u8], needle: &[u8]) -> bool {
    let Some((first, tail)) = needle.split_first() else { return true };
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| b == first) {
        rest = rest.get(at + 1..).unwrap_or_default();
        if rest.starts_with(tail) {
            return true;
        }
    }
    false
}

/// `needle` is lower case.
fn find_any_case(text: &[u8], needle: &[u8]) -> bool {
    let Some((first, tail)) = needle.split_first() else { return true };
    let upper = first.to_ascii_uppercase();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| b == first || *b == upper) {
        rest = rest.get(at + 1..).unwrap_or_default();
        if rest.get(..tail.len()).is_some_and(|head| head.eq_ignore_ascii_case(tail)) {
            return true;
        }
    }
    false
}

/// The text of a pattern that reads back as the same pattern.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `failed` is a keyword.
        if self.target == Target::Word && matches!(self.pieces.as_slice(), [Piece::Literal(word)] if word == b"failed")
        {
            return f.write_str("\"failed\"");
        }
        if self.pieces.is_empty() {
            return f.write_str("\"\"");
        }
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => f.write_str(&quote(bytes))?,
                Piece::One => f.write_str("?")?,
                Piece::Many => f.write_str("*")?,
                Piece::Deep => f.write_str("**")?,
            }
        }
        Ok(())
    }
}

/// `bytes` as a value or word of the filter language that stands for just these bytes: plain where that is safe, else
/// in quotes.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    let text = escape::escaped(bytes);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '@' | '%' | '+' | '-');
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    // The escaper's `\\` and `\xNN` mean the same inside of quotes.
    format!("\"{}\"", text.replace('"', "\\\""))
}
