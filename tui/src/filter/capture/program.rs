//! The program that the kernel decides by: clauses of conditions, and what they say of an open.

use std::fmt;

use super::route_bit;
use crate::{escape::escaped, event::Event, flags::FlagTest};

/// What the kernel decides by. An open is captured when one of the clauses holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureProgram {
    /// At most [`super::MAX_CLAUSES`], at least one. The program that captures everything has one without conditions.
    pub clauses: Vec<Clause>,
}

/// Conditions that must all hold. None at all: every open passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clause {
    /// At most [`super::MAX_CONDITIONS`].
    pub conditions: Vec<Condition>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is looked at.
    pub check: Check,
    /// It must not hold, rather than hold.
    pub negated: bool,
}

/// What a condition looks at. What an open does not have is in no range: a success has no error, an open whose entry
/// was not seen no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The process is this one (tgid) or one of its descendants.
    Tree(u32),
    /// A number is in a range.
    Number(Number, Inclusive),
    /// The thread's name.
    Comm(Text),
    /// The path as the process sees it.
    Path(Text),
    /// The flags.
    Flags(FlagTest),
    /// The route is in a set: bit `1 << route`, with the values of [`probe_common::route`].
    Routes(u8),
}

/// Numbers that have ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// The process (tgid). Only for comparisons: `pid:42` is [`Check::Tree`].
    Pid,
    /// The thread.
    Tid,
    /// tgid of the parent.
    Ppid,
    /// Real uid.
    Uid,
    /// errno of a failure; a success has none. `failed` is 1 and above.
    Errno,
    /// Duration, ns; none where the entry was not seen.
    Duration,
    /// cgroup v2 id.
    Cgroup,
}

/// A range of numbers, both ends in it. Empty when `from` is above `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inclusive {
    /// Smallest.
    pub from: u64,
    /// Largest.
    pub to: u64,
}

/// How text is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// With how much of it.
    pub how: How,
    /// The bytes: at most [`super::COMM_MAX`] of a thread's name, [`super::PATH_MAX`] of a path.
    pub bytes: Vec<u8>,
}

/// How much of a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// All of it.
    Exact,
    /// Its beginning.
    Prefix,
    /// Its beginning, behind which it ends or a `/` follows: a directory and all under it. Empty bytes are the root.
    Under,
}

impl CaptureProgram {
    /// The one that captures everything.
    #[must_use]
    pub fn all() -> Self {
        Self { clauses: vec![Clause::default()] }
    }

    /// Whether it captures everything.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.clauses.iter().any(|clause| clause.conditions.is_empty())
    }

    /// What the probe must decide, in plain Rust: for a recording, and for tests that hold the probe to it.
    /// `in_tree(pid)` says whether the event's process is `pid` or one of its descendants; `path` is the event's path,
    /// `None` where it is not known.
    pub fn passes(&self, event: &Event<'_>, path: Option<&[u8]>, in_tree: &dyn Fn(u32) -> bool) -> bool {
        self.clauses.iter().any(|clause| {
            clause.conditions.iter().all(|condition| holds(&condition.check, event, path, in_tree) != condition.negated)
        })
    }
}

fn holds(check: &Check, event: &Event<'_>, path: Option<&[u8]>, in_tree: &dyn Fn(u32) -> bool) -> bool {
    let header = event.header();
    match check {
        Check::Tree(pid) => in_tree(*pid),
        Check::Number(number, range) => {
            let value = match number {
                Number::Pid => Some(header.tgid.into()),
                Number::Tid => Some(header.tid.into()),
                Number::Ppid => Some(header.ppid.into()),
                Number::Uid => Some(header.uid.into()),
                Number::Errno => event.errno().and_then(|errno| u64::try_from(errno).ok()),
                Number::Duration => event.duration_ns(),
                Number::Cgroup => Some(header.cgroup_id),
            };
            value.is_some_and(|value| (range.from..=range.to).contains(&value))
        }
        Check::Comm(text) => text.holds(event.comm()),
        Check::Path(text) => path.is_some_and(|path| text.holds(path)),
        Check::Flags(test) => test.holds(header.flags),
        Check::Routes(set) => set & route_bit(event.route()) != 0,
    }
}

impl Text {
    /// Whether `text` compares so.
    #[must_use]
    pub fn holds(&self, text: &[u8]) -> bool {
        match (self.how, text.strip_prefix(self.bytes.as_slice())) {
            (_, None) => false,
            (How::Exact, Some(rest)) => rest.is_empty(),
            (How::Prefix, Some(_)) => true,
            (How::Under, Some(rest)) => matches!(rest.first(), None | Some(b'/')),
        }
    }
}

/// The program in words, for the log and for people who wonder: `uid in 0..=0 and not path under "/proc" or …`.
impl fmt::Display for CaptureProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, clause) in self.clauses.iter().enumerate() {
            f.write_str(if i > 0 { " or " } else { "" })?;
            if clause.conditions.is_empty() {
                f.write_str("all")?;
            }
            for (k, condition) in clause.conditions.iter().enumerate() {
                f.write_str(if k > 0 { " and " } else { "" })?;
                f.write_str(if condition.negated { "not " } else { "" })?;
                match &condition.check {
                    Check::Tree(pid) => write!(f, "process tree of {pid}")?,
                    Check::Number(number, range) => write!(f, "{number:?} in {}..={}", range.from, range.to)?,
                    Check::Comm(text) => write!(f, "comm {:?} \"{}\"", text.how, escaped(&text.bytes))?,
                    Check::Path(text) => write!(f, "path {:?} \"{}\"", text.how, escaped(&text.bytes))?,
                    Check::Flags(test) => {
                        write!(f, "flags access {:#06b} set {:#x} clear {:#x}", test.access, test.set, test.clear)?;
                    }
                    Check::Routes(set) => write!(f, "routes {set:#010b}")?,
                }
            }
        }
        Ok(())
    }
}
