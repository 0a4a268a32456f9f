//! The script of `--keys`: what is typed, and when. `wait 1s; type comm:make; key Enter; mark filtered; resize 80x24`.
//!
//! Parsing only; whoever drives a run decides what time is. Steps are separated by `;`, a `;` or `\` to be typed is
//! written `\;` or `\\`.

use std::ops::Range;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Lets time pass.
    Wait(Duration),
    /// Types text, key by key.
    Type(String),
    /// Presses one key.
    Key(KeyEvent),
    /// Puts a marker with this label into the cast.
    Mark(String),
    /// Gives the terminal a new size: columns, rows.
    Resize(u16, u16),
}

/// What is done at a moment of a scripted run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Presses one key.
    Key(KeyEvent),
    /// Puts a marker with this label into the cast.
    Mark(String),
    /// Gives the terminal a new size: columns, rows.
    Resize(u16, u16),
    /// The script is over.
    End,
}

/// Between two keys of what is typed: fast, and still to be seen.
pub const TYPING: Duration = Duration::from_millis(60);

/// When each thing is done, since the beginning, in order; the end last.
#[must_use]
pub fn timeline(steps: Vec<Step>) -> Vec<(Duration, Act)> {
    let (mut at, mut acts) = (Duration::ZERO, Vec::new());
    for step in steps {
        match step {
            Step::Wait(time) => at = at.saturating_add(time),
            Step::Type(text) => {
                for c in text.chars() {
                    acts.push((at, Act::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE))));
                    at = at.saturating_add(TYPING);
                }
            }
            Step::Key(key) => acts.push((at, Act::Key(key))),
            Step::Mark(label) => acts.push((at, Act::Mark(label))),
            Step::Resize(columns, rows) => acts.push((at, Act::Resize(columns, rows))),
        }
    }
    acts.push((at, Act::End));
    acts
}

/// What is wrong with a script, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// In words.
    pub message: String,
    /// Bytes of the script that it is about.
    pub at: Range<usize>,
}

impl ScriptError {
    /// The script with carets under what is wrong, and the message.
    #[must_use]
    pub fn pointing(&self, script: &str) -> String {
        crate::filter::ParseError { message: self.message.clone(), at: self.at.clone() }.pointing(script)
    }
}

/// Parses a script.
///
/// # Errors
/// The first thing that is not understood, with its place.
pub fn parse(script: &str) -> Result<Vec<Step>, ScriptError> {
    let mut steps = Vec::new();
    for at in split(script) {
        let raw = script.get(at.clone()).unwrap_or_default();
        let text = raw.trim_start();
        let start = at.start + raw.len() - text.len();
        if text.trim_end().is_empty() {
            continue;
        }
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let error = |message: String| ScriptError { message, at: start..start + text.trim_end().len() };
        let argument = rest.trim();
        steps.push(match word.trim_end() {
            "wait" => Step::Wait(duration(argument).ok_or_else(|| {
                error(format!("wait for how long? {argument:?} is no time such as 1s, 250ms or 1.5s"))
            })?),
            // Blanks within what is typed count; the one behind the word does not.
            "type" if !rest.is_empty() => Step::Type(unescape(rest)),
            "type" => return Err(error("type what?".into())),
            "key" => Step::Key(key(argument).ok_or_else(|| {
                error(format!(
                    "{argument:?} is no key: a character, Enter, Esc, Tab, Backspace, Delete, Insert, Up, Down, Left, \
                     Right, Home, End, PageUp, PageDown, Space, F1 to F12, with Ctrl-, Alt- or Shift- before it"
                ))
            })?),
            "mark" => Step::Mark(unescape(argument)),
            "resize" => argument
                .split_once('x')
                .and_then(|(columns, rows)| Some(Step::Resize(columns.parse().ok()?, rows.parse().ok()?)))
                .ok_or_else(|| error("resize to what? COLUMNSxROWS, as in 80x24".into()))?,
            other => return Err(error(format!("{other:?} is no step: wait, type, key, mark or resize"))),
        });
    }
    Ok(steps)
}

/// Where the steps are: between `;` that have no backslash before them.
fn split(script: &str) -> Vec<Range<usize>> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in script.char_indices() {
        if c == ';' && !escaped {
            parts.push(start..at);
            start = at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(start..script.len());
    parts
}

fn unescape(text: &str) -> String {
    let (mut out, mut escaped) = (String::new(), false);
    for c in text.chars() {
        if c == '\\' && !escaped {
            escaped = true;
            continue;
        }
        if escaped && !matches!(c, ';' | '\\') {
            out.push('\\');
        }
        out.push(c);
        escaped = false;
    }
    if escaped {
        out.push('\\');
    }
    out
}

fn duration(text: &str) -> Option<Duration> {
    let (number, scale) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    let number: f64 = number.trim().parse().ok().filter(|n: &f64| n.is_finite() && (0.0..1e6).contains(n))?;
    Duration::try_from_secs_f64(number * scale).ok()
}

fn key(text: &str) -> Option<KeyEvent> {
    let (mut modifiers, mut name) = (KeyModifiers::NONE, text);
    loop {
        let before = name;
        for (prefix, modifier) in
            [("Ctrl-", KeyModifiers::CONTROL), ("Alt-", KeyModifiers::ALT), ("Shift-", KeyModifiers::SHIFT)]
        {
            if let Some(rest) = name.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
                modifiers |= modifier;
                name = rest;
            }
        }
        if name == before {
            break;
        }
    }
    let name = if matches!(name, "\\;" | "\\\\") { name.get(1..)? } else { name };
    let mut chars = name.chars();
    let code = match (name, chars.next(), chars.next()) {
        (_, Some(c), None) => KeyCode::Char(c),
        ("Enter", ..) => KeyCode::Enter,
        ("Esc", ..) => KeyCode::Esc,
        ("Tab", ..) if modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
        ("Tab", ..) => KeyCode::Tab,
        ("Space", ..) => KeyCode::Char(' '),
        ("Backspace", ..) => KeyCode::Backspace,
        ("Delete", ..) => KeyCode::Delete,
        ("Insert", ..) => KeyCode::Insert,
        ("Up", ..) => KeyCode::Up,
        ("Down", ..) => KeyCode::Down,
        ("Left", ..) => KeyCode::Left,
        ("Right", ..) => KeyCode::Right,
        ("Home", ..) => KeyCode::Home,
        ("End", ..) => KeyCode::End,
        ("PageUp", ..) => KeyCode::PageUp,
        ("PageDown", ..) => KeyCode::PageDown,
        _ => KeyCode::F(name.strip_prefix('F')?.parse().ok().filter(|n| (1..=12).contains(n))?),
    };
    Some(KeyEvent::new(code, modifiers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_script_becomes_its_steps() {
        let plain = |code| Step::Key(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(
            parse("wait 1s; type /; type comm:make a; key Enter;key Ctrl-c; key F5 ; wait 250ms; mark a\\;b; resize 80x24;").unwrap(),
            [
                Step::Wait(Duration::from_secs(1)),
                Step::Type("/".into()),
                Step::Type("comm:make a".into()),
                plain(KeyCode::Enter),
                Step::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)),
                plain(KeyCode::F(5)),
                Step::Wait(Duration::from_millis(250)),
                Step::Mark("a;b".into()),
                Step::Resize(80, 24),
            ]
        );
        assert_eq!(parse("type \\;\\\\; key -").unwrap(), [Step::Type(";\\".into()), plain(KeyCode::Char('-'))]);
        assert_eq!(parse(" ; ").unwrap(), []);
    }

    #[test]
    fn a_timeline_waits_where_the_script_does_and_types_key_by_key() {
        let acts = timeline(parse("wait 1s; type ab; mark x; wait 2s").unwrap());
        let key = |c| Act::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        let typed = Duration::from_secs(1) + 2 * TYPING;
        assert_eq!(
            acts,
            [
                (Duration::from_secs(1), key('a')),
                (Duration::from_secs(1) + TYPING, key('b')),
                (typed, Act::Mark("x".into())),
                (typed + Duration::from_secs(2), Act::End),
            ]
        );
    }

    #[test]
    fn an_error_says_where_it_is() {
        let script = "wait 1s; prss Enter; key q";
        let error = parse(script).unwrap_err();
        assert_eq!(&script[error.at], "prss Enter");
        assert!(error.message.contains("wait, type, key"));
        for bad in ["wait", "wait soon", "wait -1s", "wait 1e99s", "type", "key", "key Hyper-x", "key F13", "resize 80"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_script_is_parsed_or_refused_within_its_bounds(script in ".{0,60}") {
            if let Err(error) = parse(&script) {
                prop_assert!(script.get(error.at).is_some());
            }
        }
    }
}
