//! The expression tree, and its canonical text: what [`Display`](fmt::Display) writes parses back to the same tree.

use std::{fmt, ops::Range};

use regex::bytes::Regex;

use super::{
    field::FieldId,
    lexer::Lexer,
    pattern::{Pattern, quote},
};
use crate::{errno, event::Route, flags::FlagTest};

/// A filter as a tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// All of them hold. Empty: everything passes. None of them is an `All`.
    All(Vec<Expr>),
    /// One of them holds. At least two; none of them is an `Any`.
    Any(Vec<Expr>),
    /// It does not hold.
    Not(Box<Expr>),
    /// One test.
    Term(Term),
}

/// One test and where it was written.
#[derive(Clone, Debug)]
pub struct Term {
    /// The test.
    pub test: Test,
    /// Bytes of the text it came from.
    pub at: Range<usize>,
}

/// Terms are equal that test the same, wherever they stand.
impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.test == other.test
    }
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Compare {
    /// Whether `left` compares so with `right`.
    #[must_use]
    pub fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// What a test of an open looks at. Alternatives of one field (`pid:1,2`) are one test.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// `failed`
    Failed,
    /// A word: in the thread's name or the path.
    Word(Pattern),
    /// A number is one of these.
    Number(FieldId, Vec<u64>),
    /// A number (a duration in ns) compares so.
    Compare(FieldId, Compare, u64),
    /// Text matches one of these.
    Text(FieldId, Vec<Pattern>),
    /// Text matches.
    Regex(FieldId, Matching),
    /// The user is one of these: as written, and the uid it was resolved to.
    User(Vec<(String, u32)>),
    /// The cgroup is one of these: as written, and the id it was resolved to.
    Cgroup(Vec<(String, u64)>),
    /// The error is one of these.
    Err(Vec<i32>),
    /// The flags pass one of these: as written, and the test.
    Flags(Vec<(String, FlagTest)>),
    /// The permission bits are one of these.
    Mode(Vec<u16>),
    /// The route is one of these.
    Via(Vec<Route>),
}

/// A regular expression, equal to one with the same text.
#[derive(Clone, Debug)]
pub struct Matching(pub Regex);

impl PartialEq for Matching {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Expr {
    /// The conjunction of `parts`.
    pub(super) fn all(parts: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::All(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        Self::one_or(flat, Self::All)
    }

    /// The disjunction of `parts`.
    pub(super) fn any(parts: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::Any(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        Self::one_or(flat, Self::Any)
    }

    fn one_or(mut parts: Vec<Self>, many: impl FnOnce(Vec<Self>) -> Self) -> Self {
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return only;
        }
        many(parts)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Term(term) => term.test.fmt(f),
            Self::Not(inner) => match **inner {
                Self::All(_) | Self::Any(_) => write!(f, "!({inner})"),
                _ => write!(f, "!{inner}"),
            },
            Self::All(parts) => {
                for (i, part) in parts.iter().enumerate() {
                    let blank = if i > 0 { " " } else { "" };
                    match part {
                        Self::Any(_) => write!(f, "{blank}({part})")?,
                        _ => write!(f, "{blank}{part}")?,
                    }
                }
                Ok(())
            }
            Self::Any(parts) => list(f, parts.iter(), " | "),
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = T>, separator: &str) -> fmt::Result {
    for (i, item) in items.enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("failed"),
            Self::Word(pattern) => pattern.fmt(f),
            Self::Number(field, numbers) => {
                write!(f, "{}:", field.name())?;
                list(f, numbers.iter(), ",")
            }
            Self::Compare(FieldId::Dur, compare, ns) => write!(f, "dur{}{}", compare.text(), Duration(*ns)),
            Self::Compare(field, compare, number) => write!(f, "{}{}{number}", field.name(), compare.text()),
            Self::Text(field, patterns) => {
                write!(f, "{}:", field.name())?;
                list(f, patterns.iter(), ",")
            }
            Self::Regex(field, regex) => {
                let pattern = regex.0.as_str();
                if Lexer::reads_as_regex(pattern) {
                    write!(f, "{}~{pattern}", field.name())
                } else {
                    write!(f, "{}~\"{pattern}\"", field.name())
                }
            }
            Self::User(users) => {
                f.write_str("user:")?;
                list(f, users.iter().map(|(name, _)| quote(name.as_bytes())), ",")
            }
            Self::Cgroup(cgroups) => {
                f.write_str("cgroup:")?;
                list(f, cgroups.iter().map(|(name, _)| quote(name.as_bytes())), ",")
            }
            Self::Err(errors) => {
                f.write_str("err:")?;
                list(f, errors.iter().map(|e| errno::name(*e).map_or_else(|| e.to_string(), str::to_owned)), ",")
            }
            Self::Flags(flags) => {
                f.write_str("flags:")?;
                list(f, flags.iter().map(|(text, _)| text), ",")
            }
            Self::Mode(modes) => {
                f.write_str("mode:")?;
                list(f, modes.iter().map(|mode| format!("{mode:04o}")), ",")
            }
            Self::Via(routes) => {
                f.write_str("via:")?;
                list(f, routes.iter().map(|route| route.name()), ",")
            }
        }
    }
}

/// A duration in the largest unit that gives a whole number.
struct Duration(u64);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
        let (size, unit) =
            units.into_iter().find(|(size, _)| self.0 > 0 && self.0.is_multiple_of(*size)).unwrap_or((1, "ns"));
        write!(f, "{}{unit}", self.0 / size)
    }
}
