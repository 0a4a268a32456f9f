//! What could be typed next: names of fields, and the words that a field knows. Pure: no users, no files.

use std::ops::Range;

use super::field::{self, FIELDS, FieldId, Kind};

/// One thing that could stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The text to put there.
    pub text: String,
    /// The bytes that it takes the place of.
    pub at: Range<usize>,
    /// What it means, in a few words. May be empty.
    pub doc: &'static str,
}

/// What could stand at `cursor` (a byte of `text`; beyond its end is its end): fields that begin with what is typed,
/// or behind a field its words. Empty inside of quotes and where anything goes.
#[must_use]
pub fn complete(text: &str, cursor: usize) -> Vec<Completion> {
    let mut cursor = cursor.min(text.len());
    while !text.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let before = text.get(..cursor).unwrap_or_default();
    let Some(start) = word_start(before) else { return Vec::new() };
    let word = before.get(start..).unwrap_or_default();
    let name: &str =
        word.get(..word.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()).unwrap_or_default();
    if name.len() == word.len() {
        return fields(word, start..cursor);
    }
    let Some(field) = field::find(name) else { return Vec::new() };
    let value = word.get(name.len()..).unwrap_or_default();
    let operator = [":", "!=", "="].into_iter().find(|op| value.starts_with(op));
    let Some(operator) = operator else { return Vec::new() };
    let list = name.len() + operator.len();
    let last = word.get(list..).and_then(|values| values.rfind(',')).map_or(list, |comma| list + comma + 1);
    words(field.id, word.get(last..).unwrap_or_default(), start + last..cursor)
}

/// Where the word begins that `before` ends in; `None` inside of quotes.
fn word_start(before: &str) -> Option<usize> {
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in before.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '!' if at == start => start = at + 1,
            c if c.is_whitespace() || matches!(c, '|' | '(' | ')') => start = at + c.len_utf8(),
            _ => {}
        }
    }
    (!quoted && !escaped).then_some(start)
}

fn fields(typed: &str, at: Range<usize>) -> Vec<Completion> {
    let lower = typed.to_ascii_lowercase();
    let fields = FIELDS.iter().filter(|f| f.name.starts_with(&lower)).map(|f| {
        let operator = if f.kind == Kind::Duration { '>' } else { ':' };
        Completion { text: format!("{}{operator}", f.name), at: at.clone(), doc: f.doc }
    });
    let failed = "failed".starts_with(&lower).then(|| Completion {
        text: "failed".to_owned(),
        at: at.clone(),
        doc: "opens that failed",
    });
    fields.chain(failed).collect()
}

fn words(field: FieldId, typed: &str, at: Range<usize>) -> Vec<Completion> {
    let lower = typed.to_ascii_lowercase();
    let begins = |word: &str| {
        let word = word.to_ascii_lowercase();
        word.starts_with(&lower)
            || word.strip_prefix("o_").is_some_and(|short| !lower.is_empty() && short.starts_with(&lower))
    };
    let words = field.words().filter(|(word, _)| begins(word));
    words.map(|(word, doc)| Completion { text: word.to_owned(), at: at.clone(), doc }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(text: &str) -> Vec<String> {
        complete(text, text.len()).into_iter().map(|c| c.text).collect()
    }

    #[test]
    fn fields_are_completed_from_their_beginning() {
        assert_eq!(texts("p"), ["pid:", "ppid:", "path:"]);
        assert_eq!(texts("comm:x !pa"), ["path:"]);
        assert_eq!(texts("(du"), ["dur>"]);
        assert_eq!(texts("fai"), ["failed"]);
        assert_eq!(texts("").len(), FIELDS.len() + 1);
        assert_eq!(complete("comm:x pa y", 9)[0].at, 7..9);
    }

    #[test]
    fn words_of_a_field_are_completed_behind_the_last_comma() {
        assert_eq!(texts("err:ENOE"), ["ENOEXEC", "ENOENT"].iter().rev().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(texts("via:exec,io"), ["io_uring"]);
        assert_eq!(texts("flags:crea"), ["O_CREAT"]);
        assert_eq!(texts("err!=enoen"), ["ENOENT"]);
        let found = complete("via:exec,io", 11);
        assert_eq!(found[0].at, 9..11);
    }

    #[test]
    fn nothing_is_offered_where_anything_goes() {
        for text in ["comm:x", "\"p", "path:/e", "dur>1", "é", "zz"] {
            assert_eq!(texts(text), Vec::<String>::new(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn completing_any_text_never_panics_and_fits(text in "\\PC{0,20}", cursor in 0_usize..90) {
            for completion in complete(&text, cursor) {
                prop_assert!(text.get(completion.at.clone()).is_some());
            }
        }
    }
}
