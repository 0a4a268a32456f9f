//! Which part of the filter language the kernel can do, as a small fixed program in plain data.
//!
//! A program is a disjunction of at most [`MAX_CLAUSES`] clauses, each a conjunction of at most [`MAX_CONDITIONS`]
//! conditions, each of which may be negated: what the probe can run without a loop that the verifier has to fear. A
//! filter that does not fit is refused with the reason and the nearest that works; nothing is captured by half.
//!
//! Not in here: how the program lies in a map, which is [`super::lower`]'s.

mod program;

use std::{fmt, ops::Range};

use super::{
    Filter, ParseError,
    expr::{Compare, Expr, Term, Test},
    field::FieldId,
    pattern::{Simple, quote},
};
use crate::event::Route;
pub use program::{CaptureProgram, Check, Clause, Condition, How, Inclusive, Number, Text};

/// Most clauses of a program.
pub const MAX_CLAUSES: usize = 8;

/// Most conditions of a clause.
pub const MAX_CONDITIONS: usize = 8;

/// Most bytes of a path in a condition.
pub const PATH_MAX: usize = 256;

/// Most bytes of a thread's name.
pub const COMM_MAX: usize = probe_common::COMM_LEN - 1;

/// Why the kernel cannot do a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureError {
    /// The reason and the nearest that works, escaped.
    pub message: String,
    /// The bytes of the filter's text that it is about.
    pub at: Range<usize>,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CaptureError {}

impl From<CaptureError> for ParseError {
    fn from(error: CaptureError) -> Self {
        Self { message: error.message, at: error.at }
    }
}

/// The program of `filter`.
///
/// # Errors
/// When the kernel cannot do some part of it, or not so much.
pub fn compile(filter: &Filter) -> Result<CaptureProgram, CaptureError> {
    let whole = 0..filter.text().len();
    let clauses = clauses(filter.expr(), false, &whole)?;
    for clause in &clauses {
        if clause.conditions.len() > MAX_CONDITIONS {
            let message = format!(
                "a capture has at most {MAX_CONDITIONS} conditions that must hold together, here are {}; capture less \
                 narrowly and put the rest into -f",
                clause.conditions.len()
            );
            return Err(CaptureError { message, at: whole });
        }
    }
    Ok(CaptureProgram { clauses })
}

/// The disjunctive normal form of `expr`, or of its negation.
fn clauses(expr: &Expr, negated: bool, whole: &Range<usize>) -> Result<Vec<Clause>, CaptureError> {
    match expr {
        Expr::Not(inner) => clauses(inner, !negated, whole),
        Expr::Term(term) => Ok(alternatives(term, negated)?),
        Expr::All(parts) | Expr::Any(parts) => {
            let conjunction = matches!(expr, Expr::All(_)) != negated;
            let mut all: Option<Vec<Clause>> = None;
            for part in parts {
                let part = clauses(part, negated, whole)?;
                let joined = match all {
                    None => part,
                    Some(all) if conjunction => product(&all, &part),
                    Some(mut all) => {
                        all.extend(part);
                        all
                    }
                };
                // Checked at each step: the product of many grows beyond all memory.
                all = Some(bounded(joined, whole)?);
            }
            // No part at all: everything passes.
            Ok(all.unwrap_or_else(|| vec![Clause::default()]))
        }
    }
}

fn bounded(mut clauses: Vec<Clause>, whole: &Range<usize>) -> Result<Vec<Clause>, CaptureError> {
    // Twice the same, and what another one covers, costs a slot for nothing.
    let mut kept: Vec<Clause> = Vec::new();
    clauses.sort_by_key(|clause| clause.conditions.len());
    for clause in clauses {
        let covered = kept.iter().any(|other| other.conditions.iter().all(|c| clause.conditions.contains(c)));
        if !covered {
            kept.push(clause);
        }
    }
    if kept.len() <= MAX_CLAUSES {
        return Ok(kept);
    }
    let message = format!(
        "a capture has at most {MAX_CLAUSES} alternatives, here are more (lists multiply: pid:1,2 err:3,4 are four); \
         capture more broadly and put the rest into -f"
    );
    Err(CaptureError { message, at: whole.clone() })
}

fn product(left: &[Clause], right: &[Clause]) -> Vec<Clause> {
    let mut out = Vec::with_capacity(left.len() * right.len());
    for a in left {
        for b in right {
            let mut clause = a.clone();
            for condition in &b.conditions {
                clause.add(condition.clone());
            }
            out.push(clause);
        }
    }
    out
}

impl Clause {
    /// Adds a condition, as part of one that is there where that says the same.
    fn add(&mut self, condition: Condition) {
        for there in self.conditions.iter_mut().filter(|there| !there.negated && !condition.negated) {
            match (&mut there.check, &condition.check) {
                (Check::Number(a, range), Check::Number(b, other)) if a == b => {
                    *range = Inclusive { from: range.from.max(other.from), to: range.to.min(other.to) };
                    return;
                }
                (Check::Flags(test), Check::Flags(other)) => {
                    *test = test.and(*other);
                    return;
                }
                (Check::Routes(set), Check::Routes(other)) => {
                    *set &= other;
                    return;
                }
                _ => {}
            }
        }
        if !self.conditions.contains(&condition) {
            self.conditions.push(condition);
        }
    }
}

/// A term as clauses: one for each of its alternatives, or all of them negated in one.
fn alternatives(term: &Term, negated: bool) -> Result<Vec<Clause>, CaptureError> {
    let checks = checks(term)?;
    let conditions = checks.into_iter().map(|check| Condition { check, negated });
    if negated {
        let mut clause = Clause::default();
        conditions.for_each(|condition| clause.add(condition));
        return Ok(vec![clause]);
    }
    Ok(conditions.map(|condition| Clause { conditions: vec![condition] }).collect())
}

fn checks(term: &Term) -> Result<Vec<Check>, CaptureError> {
    let refuse = |message: String| Err(CaptureError { message, at: term.at.clone() });
    let numbers = |number: Number, values: Vec<u64>| {
        ranges(values).into_iter().map(|range| Check::Number(number, range)).collect::<Vec<_>>()
    };
    Ok(match &term.test {
        Test::Failed => vec![Check::Number(Number::Errno, Inclusive { from: 1, to: u64::MAX })],
        // The parser let only numbers of 32 bits through.
        Test::Number(FieldId::Pid, pids) => {
            pids.iter().map(|pid| Check::Tree(u32::try_from(*pid).unwrap_or(u32::MAX))).collect()
        }
        Test::Number(field, values) => match number(*field) {
            Some(number) => numbers(number, values.clone()),
            None => return refuse(not_in_kernel(*field)),
        },
        Test::Compare(field, compare, value) => match number(*field) {
            Some(number) => vec![Check::Number(number, half_range(*compare, *value))],
            None => return refuse(not_in_kernel(*field)),
        },
        Test::User(users) => numbers(Number::Uid, users.iter().map(|(_, uid)| u64::from(*uid)).collect()),
        Test::Cgroup(cgroups) => numbers(Number::Cgroup, cgroups.iter().map(|(_, id)| *id).collect()),
        Test::Err(errors) => {
            numbers(Number::Errno, errors.iter().filter_map(|errno| u64::try_from(*errno).ok()).collect())
        }
        Test::Flags(flags) => flags.iter().map(|(_, test)| Check::Flags(*test)).collect(),
        Test::Via(routes) => vec![Check::Routes(routes.iter().fold(0, |set, route| set | route_bit(*route)))],
        Test::Mode(_) => return refuse(not_in_kernel(FieldId::Mode)),
        Test::Word(word) => {
            let (comm, path) = (word.literal_start(), word.literal_start());
            let (comm, path) = (quote(comm.get(..COMM_MAX).unwrap_or(comm)), quote(path));
            let nearest = if path.starts_with('/') { format!("dir:{path}") } else { format!("comm:{comm}*") };
            return refuse(format!(
                "the kernel can't search inside of names; {nearest} works in a capture, {word} needs -f"
            ));
        }
        Test::Regex(field, _) => {
            let nearest = if *field == FieldId::Comm { "comm:nginx*" } else { "path:/etc/**" };
            return refuse(format!(
                "the kernel has no regular expressions; {nearest} works in a capture, {} needs -f",
                field.name().to_owned() + "~"
            ));
        }
        Test::Text(FieldId::Name, _) => return refuse(not_in_kernel(FieldId::Name)),
        Test::Text(field, patterns) => {
            let mut checks = Vec::with_capacity(patterns.len());
            for pattern in patterns {
                let Some(simple) = pattern.simple() else { return refuse(nearest_text(*field, pattern)) };
                let (how, bytes) = match simple {
                    Simple::Exact(bytes) => (How::Exact, bytes),
                    Simple::Prefix(bytes) => (How::Prefix, bytes),
                    Simple::Under(bytes) => (How::Under, bytes),
                };
                if bytes.len() > PATH_MAX {
                    let length = bytes.len();
                    return refuse(format!(
                        "a capture compares at most {PATH_MAX} bytes of a path, this has {length}; capture a directory above it"
                    ));
                }
                let text = Text { how, bytes: bytes.to_vec() };
                checks.push(if *field == FieldId::Comm { Check::Comm(text) } else { Check::Path(text) });
            }
            checks
        }
    })
}

fn number(field: FieldId) -> Option<Number> {
    Some(match field {
        FieldId::Pid => Number::Pid,
        FieldId::Tid => Number::Tid,
        FieldId::Ppid => Number::Ppid,
        FieldId::Uid => Number::Uid,
        FieldId::Dur => Number::Duration,
        _ => return None,
    })
}

fn not_in_kernel(field: FieldId) -> String {
    let instead = match field {
        FieldId::Name => "; path:/dir/** works in a capture",
        FieldId::Mode => "; flags:c works in a capture",
        FieldId::Fd => "; !failed works in a capture",
        _ => "",
    };
    format!("a capture does not look at {}{instead}, {} needs -f", field.name(), field.name())
}

/// What to write instead of a pattern that the kernel cannot do.
fn nearest_text(field: FieldId, pattern: &super::Pattern) -> String {
    let start = pattern.literal_start();
    let shown = format!("{}:{pattern}", field.name());
    if field == FieldId::Comm {
        let nearest = if start.is_empty() { "comm:nginx*".to_owned() } else { format!("comm:{}*", quote(start)) };
        return format!("the kernel compares a name whole or from its beginning; {nearest} works, {shown} needs -f");
    }
    let directory = start.iter().rposition(|b| *b == b'/').and_then(|slash| start.get(..=slash));
    let nearest = match directory.filter(|dir| dir.starts_with(b"/")) {
        Some(dir) => format!("path:{}**", quote(dir)),
        None => "path:/etc/** or dir:/etc".to_owned(),
    };
    format!("the kernel compares a path whole or from its beginning; {nearest} works, {shown} needs -f")
}

/// Numbers as ranges: neighbours share one.
fn ranges(mut numbers: Vec<u64>) -> Vec<Inclusive> {
    numbers.sort_unstable();
    let mut out: Vec<Inclusive> = Vec::new();
    for number in numbers {
        match out.last_mut() {
            Some(last) if number <= last.to.saturating_add(1) => last.to = number,
            _ => out.push(Inclusive { from: number, to: number }),
        }
    }
    out
}

/// `from` above `to` where nothing can hold.
fn half_range(compare: Compare, value: u64) -> Inclusive {
    const NOTHING: Inclusive = Inclusive { from: 1, to: 0 };
    match compare {
        Compare::Less => value.checked_sub(1).map_or(NOTHING, |to| Inclusive { from: 0, to }),
        Compare::LessOrEqual => Inclusive { from: 0, to: value },
        Compare::Greater => value.checked_add(1).map_or(NOTHING, |from| Inclusive { from, to: u64::MAX }),
        Compare::GreaterOrEqual => Inclusive { from: value, to: u64::MAX },
    }
}

/// The bit of a route in [`Check::Routes`].
#[must_use]
pub fn route_bit(route: Route) -> u8 {
    use probe_common::route as abi;
    1 << match route {
        Route::Syscall => abi::SYSCALL,
        Route::Open => abi::OPEN,
        Route::Openat => abi::OPENAT,
        Route::Openat2 => abi::OPENAT2,
        Route::Creat => abi::CREAT,
        Route::IoUring => abi::IO_URING,
        Route::Exec => abi::EXEC,
        Route::Handle => abi::HANDLE,
    }
}

#[cfg(test)]
pub(super) mod tests;
