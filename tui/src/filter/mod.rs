//! The filter language: one for the dashboard, the command line, the capture and replay. docs/filter.md is its
//! reference.
//!
//! Text is parsed to an expression, the expression is evaluated over an [`Event`], and [`capture`] says which part of
//! it the kernel can do. No clock and no I/O, but for the users and cgroups that are looked up when a filter is parsed
//! ([`Names`]).

pub mod capture;
mod complete;
mod eval;
mod expr;
mod field;
mod lexer;
pub mod lower;
mod names;
mod parse;
mod pattern;
mod value;

#[cfg(test)]
mod tests;

use std::{fmt, ops::Range};

pub use complete::{Completion, complete};
pub use expr::{Compare, Expr, Matching, Term, Test};
pub use field::{FIELDS, Field, FieldId, Kind};
pub use names::{Names, Recorded, System};
pub use pattern::{Pattern, Piece, Simple, Target, quote};

use crate::{escape::escaped, event::Event};

/// Why a text is no filter, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong and what would be right; everything from outside is escaped.
    pub message: String,
    /// The bytes of the text that it is about. May be empty, and at the end of the text.
    pub at: Range<usize>,
}

impl ParseError {
    pub(crate) fn new(message: impl Into<String>, at: Range<usize>) -> Self {
        Self { message: message.into(), at }
    }

    /// The text with carets under what is wrong, and the message: three lines for a terminal, without an end.
    #[must_use]
    pub fn pointing(&self, text: &str) -> String {
        let (before, rest) = text.split_at_checked(self.at.start).unwrap_or((text, ""));
        let marked = rest.get(..self.at.len()).unwrap_or_default();
        let width = |text: &str| unicode_width::UnicodeWidthStr::width(escaped(text.as_bytes()).as_str());
        let (blanks, carets) = (" ".repeat(width(before)), "^".repeat(width(marked).max(1)));
        format!("  {}\n  {blanks}{carets}\n{}", escaped(text.as_bytes()), self.message)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}

/// A filter, ready to be asked. Its [`Display`](fmt::Display) is the canonical text, which parses to an equal filter.
#[derive(Clone, Debug)]
pub struct Filter {
    text: String,
    expr: Expr,
}

impl Default for Filter {
    fn default() -> Self {
        Self { text: String::new(), expr: Expr::All(Vec::new()) }
    }
}

/// Filters are equal that test the same, however they were written.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.expr == other.expr
    }
}

impl Filter {
    /// Parses a filter; users and cgroups are those of this machine. Blank text is the filter that everything passes.
    ///
    /// ```
    /// use opentop::filter::Filter;
    ///
    /// assert!(Filter::parse("comm:nginx err:ENOENT | dur>1ms").is_ok());
    /// assert!(Filter::parse("comm:nginx (").is_err());
    /// ```
    ///
    /// # Errors
    /// Where and why it is none.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(text, &System)
    }

    /// The same with other users and cgroups.
    ///
    /// # Errors
    /// Where and why it is none.
    pub fn parse_with(text: &str, names: &dyn Names) -> Result<Self, ParseError> {
        Ok(Self { text: text.to_owned(), expr: parse::parse(text, names)? })
    }

    /// Whether `event` passes.
    #[must_use]
    pub fn matches(&self, event: &Event<'_>) -> bool {
        eval::matches(&self.expr, event)
    }

    /// Whether everything passes because nothing is asked for.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(&self.expr, Expr::All(parts) if parts.is_empty())
    }

    /// The text as it was written. Escape it before it is shown.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The tree.
    #[must_use]
    pub fn expr(&self) -> &Expr {
        &self.expr
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}
