//! A capture program as it lies in the kernel's map: a list of steps (`probe_common::filter`), and the few questions that
//! the probe answers without it.
//!
//! Not in here: how it comes into the map, and which bit stands for which process tree.

use bytemuck::Zeroable as _;
use probe_common::{
    capture as flag,
    filter::{FAIL, PASS, Program, STEPS, Step, TEXT_MAX, check, how},
};

use super::capture::{
    CaptureProgram, Check, Clause, Condition, How, Inclusive, MAX_CLAUSES, MAX_CONDITIONS, Number, Text,
};
use crate::flags;

const _: () = assert!(MAX_CLAUSES * MAX_CONDITIONS <= STEPS && super::capture::PATH_MAX <= TEXT_MAX);

/// What goes to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// Set of [`probe_common::capture`]; 0 captures everything.
    pub flags: u32,
    /// For the slot of the map.
    pub program: Box<Program>,
}

/// Lowers `program`. `scope` is the set of trees that it is confined to whatever it says, 0 for none; `tree` gives the bit
/// of a process with its descendants.
#[must_use]
pub fn lower(program: &CaptureProgram, scope: u64, tree: &dyn Fn(u32) -> u64) -> Lowered {
    let mut clauses = program.clauses.clone();
    let mut out = Lowered { flags: 0, program: Box::new(Program::zeroed()) };
    // First what is answered without the program: whose opens, which user's, only failures.
    let trees = trees(&mut clauses, tree);
    let trees = if scope != 0 { scope } else { trees };
    if scope != 0 {
        clauses.clone_from(&program.clauses);
    }
    if trees != 0 {
        (out.flags, out.program.trees) = (out.flags | flag::SCOPE, trees);
    }
    if let [clause] = clauses.as_mut_slice()
        && let Some(uid) = take(clause, |check| match check {
            Check::Number(Number::Uid, Inclusive { from, to }) if from == to => u32::try_from(*from).ok(),
            _ => None,
        })
    {
        (out.flags, out.program.uid) = (out.flags | flag::UID, uid);
    }
    if let [clause] = clauses.as_mut_slice()
        && take(clause, |check| (*check == FAILED).then_some(())).is_some()
    {
        out.flags |= flag::FAILED;
    }
    let fails = |c: &Condition| matches!(c.check, Check::Number(Number::Errno, range) if range.from > 0) && !c.negated;
    if !clauses.is_empty() && clauses.iter().all(|clause| clause.conditions.iter().any(fails)) {
        out.flags |= flag::FAILED;
    }
    if clauses.iter().any(|clause| clause.conditions.is_empty()) {
        return out;
    }
    let early = |c: &Condition| check_of(&c.check) < check::ERRNO;
    if clauses.iter().all(|clause| clause.conditions.iter().any(early)) {
        out.flags |= flag::AT_ENTRY;
    }
    let all = || clauses.iter().flat_map(|clause| &clause.conditions).map(|c| check_of(&c.check));
    if all().any(|check| (check::ERRNO..check::PATH).contains(&check)) {
        out.flags |= flag::AT_RETURN;
    }
    if all().any(|check| check == check::PATH) {
        out.flags |= flag::PATH;
    }
    steps(&clauses, tree, &mut out.program);
    // A program without a clause captures nothing; the parser makes none.
    if clauses.is_empty() {
        out.flags |= flag::OFF;
    }
    out
}

/// What the kernel decides by and when, in a sentence for whoever types a capture.
#[must_use]
pub fn explain(program: &CaptureProgram) -> String {
    let name = |check: &Check| match check {
        Check::Tree(_) => "process tree",
        Check::Number(number, range) => match number {
            Number::Pid => "process",
            Number::Tid => "thread",
            Number::Ppid => "parent",
            Number::Uid => "user",
            Number::Errno if range.from == 1 && range.to == u64::MAX => "failure",
            Number::Errno => "error",
            Number::Duration => "duration",
            Number::Cgroup => "cgroup",
        },
        Check::Comm(_) => "comm",
        Check::Path(_) => "path",
        Check::Flags(_) => "flags",
        Check::Routes(_) => "route",
    };
    let names = |early: bool| {
        let all = program.clauses.iter().flat_map(|clause| &clause.conditions);
        let mut names: Vec<_> = all
            .filter(|c| (check_of(&c.check) < check::ERRNO) == early)
            .map(|c| (check_of(&c.check), name(&c.check)))
            .collect();
        names.sort_unstable();
        names.dedup_by_key(|(_, name)| *name);
        names.into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(", ")
    };
    let (entry, end) = (names(true), names(false));
    match (entry.is_empty(), end.is_empty()) {
        _ if program.is_all() => "Enter: the kernel captures every open, and counts it".into(),
        (false, true) => format!("Enter: the kernel does all of it, when an open begins: {entry}"),
        (true, _) => format!("Enter: the kernel does all of it, when an open returns: {end}"),
        (false, false) => {
            format!("Enter: the kernel does all of it; when an open begins: {entry}; when it returns: {end}")
        }
    }
}

const FAILED: Check = Check::Number(Number::Errno, Inclusive { from: 1, to: u64::MAX });

/// Takes a condition out of a clause that need not be asked again.
fn take<T>(clause: &mut Clause, find: impl Fn(&Check) -> Option<T>) -> Option<T> {
    let (at, found) = clause
        .conditions
        .iter()
        .enumerate()
        .filter(|(_, c)| !c.negated)
        .find_map(|(at, c)| find(&c.check).map(|found| (at, found)))?;
    clause.conditions.remove(at);
    Some(found)
}

/// The trees one of which the process must be in, whichever clause holds; 0 where there is a clause without. Takes out what
/// need not be asked again.
fn trees(clauses: &mut [Clause], tree: &dyn Fn(u32) -> u64) -> u64 {
    let of = |c: &Condition| match c.check {
        Check::Tree(pid) if !c.negated => Some(tree(pid)),
        _ => None,
    };
    let mut all = 0;
    for clause in clauses.iter() {
        match clause.conditions.iter().find_map(of) {
            Some(bit) => all |= bit,
            None => return 0,
        }
    }
    let alone = clauses.iter().all(|clause| clause.conditions.len() == 1);
    if alone || clauses.len() == 1 {
        for clause in clauses {
            let _ = take(clause, |check| matches!(check, Check::Tree(_)).then_some(()));
        }
    }
    all
}

fn steps(clauses: &[Clause], tree: &dyn Fn(u32) -> u64, program: &mut Program) {
    let mut at = 0_usize;
    let last_clause = clauses.len().saturating_sub(1);
    for (i, clause) in clauses.iter().enumerate() {
        // What is cheap and known early comes first.
        let mut conditions: Vec<&Condition> = clause.conditions.iter().collect();
        conditions.sort_by_key(|c| (check_of(&c.check) >= check::ERRNO, check_of(&c.check)));
        let next_clause = at + conditions.len();
        let on_false = if i == last_clause { FAIL } else { index(next_clause) };
        for condition in conditions {
            let Some((step, text)) = program.steps.get_mut(at).zip(program.texts.get_mut(at)) else { return };
            at += 1;
            let on_true = if at == next_clause { PASS } else { index(at) };
            *step = Step { on_true, on_false, negated: u8::from(condition.negated), ..step_of(&condition.check, tree) };
            if let Check::Path(path) = &condition.check {
                let dir = reversed_dir(path);
                (step.len, step.dir_len) = (index(path.bytes.len()), index(dir.len()));
                copy(&mut text.path, &path.bytes);
                copy(&mut text.dir, &dir);
            }
        }
    }
}

fn index(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(FAIL)
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// The check by its number, which also says when it can be made.
fn check_of(what: &Check) -> u8 {
    match what {
        Check::Tree(_) => check::TREE,
        Check::Number(number, _) => match number {
            Number::Pid => check::PID,
            Number::Tid => check::TID,
            Number::Ppid => check::PPID,
            Number::Uid => check::UID,
            Number::Errno => check::ERRNO,
            Number::Duration => check::DURATION,
            Number::Cgroup => check::CGROUP,
        },
        Check::Comm(_) => check::COMM,
        Check::Path(_) => check::PATH,
        // The kernel adds it to what was asked for; the probe takes it off again, at the return.
        Check::Flags(test) if (test.set | test.clear) & flags::LARGEFILE != 0 => check::FLAGS_AT_RETURN,
        Check::Flags(_) => check::FLAGS,
        Check::Routes(_) => check::ROUTE,
    }
}

fn step_of(what: &Check, tree: &dyn Fn(u32) -> u64) -> Step {
    let step = Step { check: check_of(what), ..Step::zeroed() };
    match what {
        Check::Tree(pid) => Step { a: tree(*pid), ..step },
        Check::Number(_, range) => Step { a: range.from, b: range.to, ..step },
        Check::Flags(test) => Step { a: test.set.into(), b: test.clear.into(), c: test.access.into(), ..step },
        Check::Routes(set) => Step { a: (*set).into(), ..step },
        Check::Comm(text) => {
            // All of a name is its bytes and the NUL behind them.
            let compared = text.bytes.len() + usize::from(text.how == How::Exact);
            let (mut bytes, mut mask) = ([0; 16], [0; 16]);
            copy(&mut bytes, &text.bytes);
            mask.iter_mut().take(compared).for_each(|byte| *byte = 0xff);
            let [a, b] = words(bytes);
            let [c, d] = words(mask);
            Step { a, b, c, d, ..step }
        }
        Check::Path(text) => {
            let how = match text.how {
                How::Exact => how::EXACT,
                How::Prefix => how::PREFIX,
                How::Under => how::UNDER,
            };
            Step { how, ..step }
        }
    }
}

fn words(bytes: [u8; 16]) -> [u64; 2] {
    bytemuck::cast(bytes)
}

/// The directories of a path as records have them, see [`probe_common::filter::Text::dir`].
fn reversed_dir(path: &Text) -> Vec<u8> {
    let below_root = path.bytes.strip_prefix(b"/").unwrap_or_default();
    let mut components: Vec<&[u8]> = below_root.split(|b| *b == b'/').collect();
    // What is behind the last slash is a directory only where the path is to be one.
    if path.how != How::Under || below_root.is_empty() {
        components.pop();
    }
    let mut out = Vec::with_capacity(path.bytes.len());
    for component in components.iter().rev() {
        out.extend_from_slice(component);
        out.push(b'/');
    }
    out
}

#[cfg(test)]
pub(crate) mod tests;
