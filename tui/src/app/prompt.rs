//! The line in which a filter or a search is typed.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_segmentation::UnicodeSegmentation;

use crate::filter::{Completion, Filter, complete};

/// What is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A display filter.
    Filter,
    /// A capture, which the kernel does.
    Capture,
    /// A word to find.
    Search,
    /// A time of a replay.
    Time,
}

/// The line, and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What for.
    pub purpose: Purpose,
    /// What was typed.
    pub text: String,
    /// Byte offset of the caret, at a character's start.
    pub caret: usize,
    /// What is wrong with it: in words, and which bytes.
    pub error: Option<(String, Range<usize>)>,
    /// What is to be said where nothing is wrong.
    pub note: String,
    /// What was in force before.
    pub before: Option<Arc<Filter>>,
    /// Place in the history of lines, from the newest.
    older: usize,
    draft: String,
    /// Completions to go through, and the one that stands there.
    tabbed: Option<Tabbed>,
}

/// Completions to go through, and the one that stands there.
type Tabbed = (VecDeque<(Range<usize>, String)>, String);

/// What a key made of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Another text.
    Changed,
    /// Only the caret, or nothing.
    Nothing,
    /// It is to be kept.
    Keep,
    /// It is to be undone.
    Undo,
}

impl Prompt {
    /// A line that starts with `text`.
    #[must_use]
    pub fn new(purpose: Purpose, text: String, before: Option<Arc<Filter>>) -> Self {
        Self {
            purpose,
            caret: text.len(),
            text,
            error: None,
            note: String::new(),
            before,
            older: 0,
            draft: String::new(),
            tabbed: None,
        }
    }

    /// Takes a key; `lines` are those typed before, the newest last.
    pub fn key(&mut self, key: KeyEvent, lines: &[String]) -> Typed {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let before = self.text.clone();
        match key.code {
            KeyCode::Enter => return Typed::Keep,
            KeyCode::Esc => return Typed::Undo,
            KeyCode::Char('g') if ctrl => return Typed::Undo,
            KeyCode::Left => self.caret = self.left(),
            KeyCode::Right => self.caret = self.right(),
            KeyCode::Home => self.caret = 0,
            KeyCode::Char('a') if ctrl => self.caret = 0,
            KeyCode::End => self.caret = self.text.len(),
            KeyCode::Char('e') if ctrl => self.caret = self.text.len(),
            KeyCode::Char('h') if ctrl => self.cut(self.left()..self.caret),
            KeyCode::Backspace if self.text.is_empty() => return Typed::Undo,
            KeyCode::Backspace => self.cut(self.left()..self.caret),
            KeyCode::Delete => self.cut(self.caret..self.right()),
            KeyCode::Char('u') if ctrl => self.cut(0..self.caret),
            KeyCode::Char('k') if ctrl => self.cut(self.caret..self.text.len()),
            KeyCode::Char('w') if ctrl => self.cut(self.word()..self.caret),
            KeyCode::Tab if matches!(self.purpose, Purpose::Filter | Purpose::Capture) => self.complete(),
            KeyCode::Up => self.recall(lines, 1),
            KeyCode::Down => self.recall(lines, -1),
            KeyCode::Char(c) if !ctrl && !key.modifiers.contains(KeyModifiers::ALT) => self.insert(c),
            _ => {}
        }
        if self.text == before { Typed::Nothing } else { Typed::Changed }
    }

    /// Puts a character at the caret.
    pub fn insert(&mut self, c: char) {
        // A line longer than any filter is a paste gone wrong.
        if !c.is_control() && self.text.len() < 4096 {
            self.text.insert(self.caret, c);
            self.caret += c.len_utf8();
        }
    }

    /// What could stand at the caret.
    #[must_use]
    pub fn completions(&self) -> Vec<Completion> {
        if matches!(self.purpose, Purpose::Filter | Purpose::Capture) {
            complete(&self.text, self.caret)
        } else {
            Vec::new()
        }
    }

    /// Puts the first of them there; again, the next one.
    fn complete(&mut self) {
        let all = match self.tabbed.take() {
            Some((all, shown)) if self.text.get(..self.caret).is_some_and(|t| t.ends_with(&shown)) => all,
            _ => self.completions().into_iter().map(|c| (c.at, c.text)).collect(),
        };
        let mut all = all;
        let Some((at, text)) = all.pop_front() else { return };
        let end = self.caret;
        if self.text.get(at.start..end).is_some() {
            self.text.replace_range(at.start..end, &text);
            self.caret = at.start + text.len();
        }
        all.push_back((at, text.clone()));
        self.tabbed = Some((all, text));
    }

    fn left(&self) -> usize {
        let before = self.text.get(..self.caret).unwrap_or_default();
        before.grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn right(&self) -> usize {
        let after = self.text.get(self.caret..).unwrap_or_default();
        self.caret + after.graphemes(true).next().map_or(0, str::len)
    }

    fn word(&self) -> usize {
        let before = self.text.get(..self.caret).unwrap_or_default().trim_end();
        before
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + before.get(at..).and_then(|s| s.chars().next()).map_or(1, char::len_utf8))
    }

    fn cut(&mut self, range: Range<usize>) {
        if self.text.get(range.clone()).is_some() {
            self.caret = range.start;
            self.text.replace_range(range, "");
        }
    }

    fn recall(&mut self, lines: &[String], step: isize) {
        if self.older == 0 {
            self.draft.clone_from(&self.text);
        }
        self.older = self.older.saturating_add_signed(step).min(lines.len());
        let line = match self.older {
            0 => Some(&self.draft),
            n => lines.get(lines.len() - n),
        };
        if let Some(line) = line {
            self.text = line.clone();
            self.caret = self.text.len();
        }
    }
}
