//! Which part of the filter language the kernel can do, as a small fixed program in plain data.
//!
//! A program is a disjunction of at most [`MAX_CLAUSES`] clauses, each a conjunction of at most [`MAX_CONDITIONS`]
//! conditions, each of which may be negated: what the probe can run without a loop that the verifier has to fear. A
//! filter that does not fit is refused with the reason and the nearest that works; nothing is captured by half.
//!
//! Not in here: how the program lies in a map, which is [`super::lower`]'s.

use std::{fmt, ops::Range};

use super::{
    Filter, ParseError,
    expr::{Compare, Expr, Term, Test},
    field::FieldId,
    pattern::{Simple, quote},
};
use crate::{
    escape::escaped,
    event::{Event, Route},
    flags::FlagTest,
};

/// Most clauses of a program.
pub const MAX_CLAUSES: usize = 8;

/// Most conditions of a clause.
pub const MAX_CONDITIONS: usize = 8;

/// Most bytes of a path in a condition.
pub const PATH_MAX: usize = 256;

/// Most bytes of a thread's name.
pub const COMM_MAX: usize = probe_common::COMM_LEN - 1;

/// What the kernel decides by. An open is captured when one of the clauses holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureProgram {
    /// At most [`MAX_CLAUSES`], at least one. The program that captures everything has one without conditions.
    pub clauses: Vec<Clause>,
}

/// Conditions that must all hold. None at all: every open passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clause {
    /// At most [`MAX_CONDITIONS`].
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
    /// The bytes: at most [`COMM_MAX`] of a thread's name, [`PATH_MAX`] of a path.
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

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{parse, reference::filter_like};
    use super::*;
    use crate::headless::tests::records;
    use proptest::prelude::*;

    fn compiled(text: &str) -> String {
        compile(&parse(text)).unwrap().to_string()
    }

    #[test]
    fn what_the_kernel_can_do_becomes_a_program() {
        for (text, program) in [
            ("", "all"),
            ("pid:42", "process tree of 42"),
            (
                "pid:1,2 failed",
                "process tree of 1 and Errno in 1..=18446744073709551615 or process tree of 2 and Errno in 1..=18446744073709551615",
            ),
            ("pid>=42", "Pid in 42..=18446744073709551615"),
            ("uid>=1000 uid<2000", "Uid in 1000..=1999"),
            ("user:root !tid:7 ppid:1", "Uid in 0..=0 and not Tid in 7..=7 and Ppid in 1..=1"),
            ("uid:1,2,3,7", "Uid in 1..=3 or Uid in 7..=7"),
            ("comm:nginx | comm:php*", "comm Exact \"nginx\" or comm Prefix \"php\""),
            ("path:/etc/**", "path Prefix \"/etc/\""),
            ("path:/etc/passwd", "path Exact \"/etc/passwd\""),
            ("dir:/etc/ !dir:/", "path Under \"/etc\" and not path Under \"\""),
            ("via:exec,io_uring", "routes 0b01100000"),
            ("dur>1ms", "Duration in 1000001..=18446744073709551615"),
            ("dur<0ns", "Duration in 1..=0"),
            ("cgroup:/system.slice", "Cgroup in 99..=99"),
            ("!(uid:0 | failed)", "not Uid in 0..=0 and not Errno in 1..=18446744073709551615"),
            ("!(uid:0 failed)", "not Uid in 0..=0 or not Errno in 1..=18446744073709551615"),
            ("!err:ENOENT,EACCES", "not Errno in 2..=2 and not Errno in 13..=13"),
            ("(uid:1 | uid:1 failed)", "Uid in 1..=1"),
            ("flags:w flags:c", &format!("flags access 0b0110 set {:#x} clear {:#x}", libc::O_CREAT, libc::O_PATH)),
        ] {
            assert_eq!(compiled(text), program, "{text}");
        }
    }

    #[test]
    fn what_it_cannot_do_is_refused_with_what_works() {
        for (text, at, words) in [
            ("nginx", 0..5, "comm:nginx* works in a capture, nginx needs -f"),
            ("/etc/x", 0..6, "dir:/etc/x works"),
            ("uid:0 comm:*inx", 6..15, "comm:nginx* works, comm:*inx needs -f"),
            ("comm:n*x", 0..8, "comm:n* works"),
            ("path:/etc/*.conf", 0..16, "path:/etc/** works, path:/etc/*.conf needs -f"),
            ("path:*.conf", 0..11, "path:/etc/** or dir:/etc works"),
            ("path:passwd", 0..11, "from its beginning"),
            ("path~x", 0..6, "no regular expressions"),
            ("!name:x", 1..7, "path:/dir/** works"),
            ("fd:3", 0..4, "fd needs -f"),
            ("mode:0644", 0..9, "flags:c works"),
            ("pid:1,2,3 err:1,3,5", 0..19, "at most 8 alternatives"),
        ] {
            let error = compile(&parse(text)).unwrap_err();
            assert!(error.message.contains(words), "{text}: {}", error.message);
            assert_eq!(error.at, at, "{text}: {}", error.message);
        }
        let long = format!("path:/{}", "x".repeat(300));
        assert!(compile(&parse(&long)).unwrap_err().message.contains("at most 256 bytes"));
        let many = (0..9).map(|i| format!("!tid:{i} ")).collect::<String>();
        assert!(compile(&parse(&many)).unwrap_err().message.contains("at most 8 conditions"));
    }

    #[test]
    fn a_filter_that_explodes_is_refused_in_time() {
        let text: String = (0..500).map(|i| format!("(tid:{i} | comm:c{i}) ")).collect();
        assert!(compile(&parse(&text)).is_err());
        let text = "(tid:1 | comm:a) (tid:2 | comm:b) ".repeat(500);
        assert!(compile(&parse(&text)).is_ok());
    }

    pub(in super::super) fn capture_like() -> impl Strategy<Value = String> {
        let term = prop_oneof![
            "(tid|ppid|uid)(:|<|>=)[0-7]".prop_map(|s| s),
            "uid:[0-3],[0-3]",
            "err:(ENOENT|EACCES|[1-9])",
            Just("failed".to_owned()),
            "comm:[a-e/]{1,2}\\*?",
            "path:/[a-e]?(\\*\\*)?",
            "(dir:/(etc|usr|home)?|dur[<>][1-4]ms|cgroup:[0-7])",
            "flags:[rwcte]",
            "via:(open|openat|exec|syscall,handle)",
        ];
        let terms = proptest::collection::vec(("!?", term, "( |\\|)"), 1..5);
        (terms, "!?").prop_map(|(terms, not)| {
            let inner: String = terms.into_iter().map(|(not, term, join)| format!("{not}{term}{join}")).collect();
            format!("{not}({})", inner.trim_end_matches([' ', '|']))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn the_program_captures_what_the_filter_passes(text in capture_like(), records in proptest::collection::vec(records(), 1..8)) {
            let filter = parse(&text);
            let Ok(program) = compile(&filter) else { return Ok(()) };
            prop_assert!(!program.clauses.is_empty() && program.clauses.len() <= MAX_CLAUSES);
            prop_assert!(program.clauses.iter().all(|c| c.conditions.len() <= MAX_CONDITIONS));
            for record in records {
                let event = Event::decode(&record).unwrap();
                let mut path = Vec::new();
                event.path_into(&mut path);
                let path = (!event.has(probe_common::marks::NAME_UNREADABLE)).then_some(path.as_slice());
                let passes = program.passes(&event, path, &|pid| event.header().tgid == pid);
                prop_assert_eq!(passes, filter.matches(&event), "{} as {} on {:?}", text, program, event);
            }
        }

        #[test]
        fn compiling_any_filter_answers(text in filter_like()) {
            if let Ok(filter) = Filter::parse_with(&text, &super::super::tests::Fixed)
                && let Err(error) = compile(&filter)
            {
                prop_assert!(text.get(error.at.clone()).is_some());
                prop_assert!(!error.message.chars().any(char::is_control), "{:?}", error.message);
            }
        }
    }
}
