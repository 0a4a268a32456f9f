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
pub(crate) mod tests {
    use std::cell::RefCell;

    use super::super::{
        capture::{compile, tests::capture_like},
        tests::parse,
    };
    use super::*;
    use crate::{
        event::{Event, RecordBuilder},
        headless::tests::records,
    };
    use probe_common::{
        filter::{self, Known, Memory, Open, Place, answered, follow},
        marks,
    };
    use proptest::prelude::*;

    /// An open that returned, as the probe has it, with the probe's own code.
    struct Done<'a> {
        event: &'a Event<'a>,
        program: &'a Program,
        whole: bool,
    }

    /// Memory of which address 8 is the first byte: the name and, behind it, the directory.
    struct Bytes<'a> {
        bytes: Vec<u8>,
        program: &'a Program,
        looked: RefCell<u64>,
    }

    impl Bytes<'_> {
        fn at(&self, address: u64, len: u64) -> Vec<u8> {
            *self.looked.borrow_mut() += 1;
            (address..address + len).map(|at| self.bytes.get(at as usize - 8).copied().unwrap_or(b'/')).collect()
        }

        fn texts(&self) -> &[u8] {
            bytemuck::bytes_of(self.program).get(16 + size_of_val(&self.program.steps)..).unwrap()
        }
    }

    impl Memory for Bytes<'_> {
        fn equal(&self, address: u64, text: u64, len: u64) -> bool {
            assert!(len <= TEXT_MAX as u64, "{len}");
            let bytes = self.at(address, len);
            let words = |bytes: &[u8]| -> Vec<u64> {
                bytes
                    .chunks(8)
                    .map(|c| {
                        let mut w = [0; 8];
                        copy(&mut w, c);
                        u64::from_le_bytes(w)
                    })
                    .collect()
            };
            let text = &self.texts()[text as usize..][..len.next_multiple_of(8) as usize];
            let (ours, theirs) = (words(&bytes), words(text));
            ours.iter().zip(theirs).enumerate().all(|(i, (a, b))| (a ^ b) & filter::mask(len - 8 * i as u64) == 0)
        }

        fn first_slash(&self, address: u64, len: u64) -> u64 {
            for (i, word) in self.at(address, len.min(256)).chunks(8).enumerate() {
                let mut bytes = [0; 8];
                copy(&mut bytes, word);
                let found = filter::slashes(u64::from_le_bytes(bytes));
                if found != 0 {
                    return 8 * i as u64 + filter::first(found);
                }
            }
            256
        }

        fn behind_last_slash(&self, address: u64, len: u64) -> u64 {
            let skip = len.saturating_sub(256);
            let mut behind = 0;
            for (i, word) in self.at(address + skip, len - skip).chunks(8).enumerate() {
                let mut bytes = [0; 8];
                copy(&mut bytes, word);
                let found = filter::slashes(u64::from_le_bytes(bytes));
                if found != 0 {
                    behind = skip + 8 * i as u64 + filter::last(found) + 1;
                }
            }
            behind
        }

        fn four(&self, address: u64) -> u32 {
            u32::from_le_bytes(self.at(address, 4).try_into().unwrap())
        }

        fn text(&self, text: u64) -> u64 {
            u64::from_le_bytes(self.texts()[text as usize..][..8].try_into().unwrap())
        }

        fn leading(&self, address: u64, left: u64) -> u64 {
            filter::leading(address, left, self)
        }
    }

    impl Open for Done<'_> {
        fn known(&self, check: u8) -> Known {
            if check != check::PATH || self.whole { Known::Yes } else { Known::Later }
        }

        fn number(&self, check: u8) -> Option<u64> {
            let header = self.event.header();
            Some(match check {
                check::PID => header.tgid.into(),
                check::TID => header.tid.into(),
                check::PPID => header.ppid.into(),
                check::UID => header.uid.into(),
                check::CGROUP => header.cgroup_id,
                check::FLAGS => header.flags.into(),
                check::ROUTE => header.route.into(),
                check::ERRNO => return self.event.errno().map(|e| u64::try_from(e).unwrap()),
                check::DURATION => return self.event.duration_ns(),
                other => panic!("{other}"),
            })
        }

        fn trees(&self) -> u64 {
            bit(self.event.header().tgid)
        }

        fn comm(&self) -> [u64; 2] {
            words(self.event.header().comm)
        }
    }

    impl Done<'_> {
        fn path(&self, at: u32) -> u32 {
            let header = self.event.header();
            let mut bytes = self.event.name().to_vec();
            bytes.extend_from_slice(self.event.dir());
            let memory = Bytes { bytes, program: self.program, looked: RefCell::default() };
            let name_len = u64::from(header.name_len);
            let place =
                Place { name: 8, name_len, dir: 8 + name_len, dir_len: header.dir_len.into(), marks: header.marks };
            let step = &self.program.steps[at as usize];
            answered(step, filter::path_matches(step, at, &place, filter::fold(&place, &memory), &memory))
        }
    }

    fn bit(pid: u32) -> u64 {
        1 << (pid % 60 + 1)
    }

    /// What the probe decides at the return.
    fn captured(lowered: &Lowered, event: &Event<'_>, whole: bool) -> bool {
        let (flags, program, header) = (lowered.flags, &lowered.program, event.header());
        let done = Done { event, program, whole };
        let asked = |bit| flags & bit != 0;
        !(asked(flag::OFF)
            || asked(flag::SCOPE) && bit(header.tgid) & program.trees == 0
            || asked(flag::UID) && header.uid != program.uid
            || asked(flag::FAILED) && header.ret >= 0
            || asked(flag::PROGRAM)
                && !filter::run(|at| follow(&program.steps[at as usize], &done), |at| done.path(at)))
    }

    fn lowered(text: &str) -> Lowered {
        lower(&compile(&parse(text)).unwrap(), 0, &bit)
    }

    #[test]
    fn what_the_probe_answers_without_the_program_is_lifted_out_of_it() {
        use flag::{AT_ENTRY, AT_RETURN, FAILED, PATH, SCOPE, UID};
        for (text, flags) in [
            ("", 0),
            ("pid:42", SCOPE),
            ("pid:42,43", SCOPE),
            ("pid:42 user:root failed", SCOPE | UID | FAILED),
            ("pid:42 comm:sh", SCOPE | AT_ENTRY),
            ("pid:42 uid:0 | pid:43 uid:1", SCOPE | AT_ENTRY),
            ("pid:42 | uid:1", AT_ENTRY),
            ("!pid:42", AT_ENTRY),
            ("uid>=1000", AT_ENTRY),
            ("err:ENOENT", FAILED | AT_RETURN),
            ("err:ENOENT,EACCES", FAILED | AT_RETURN),
            ("!failed", AT_RETURN),
            ("uid:7 dur>1ms", UID | AT_RETURN),
            ("path:/etc/**", PATH),
            ("dir:/etc comm:a", AT_ENTRY | PATH),
            ("dir:/etc | comm:a", PATH),
            ("flags:w", AT_ENTRY),
            ("flags:O_LARGEFILE", AT_RETURN),
        ] {
            assert_eq!(lowered(text).flags, flags, "{text}");
        }
        let program = compile(&parse("pid:42 failed")).unwrap();
        let scoped = lower(&program, 1, &bit);
        assert_eq!(
            (scoped.flags, scoped.program.trees),
            (SCOPE | FAILED | AT_ENTRY, 1),
            "in the scope, and in the tree"
        );
    }

    #[test]
    fn a_path_is_compared_where_it_lies() {
        let open = |dir: Option<&str>, name: &str, text: &str| {
            let mut builder = RecordBuilder::new(1, "sh", name);
            builder.dir = dir.map(|dir| dir.as_bytes().to_vec());
            let bytes = builder.build();
            captured(&lowered(text), &Event::decode(&bytes).unwrap(), true)
        };
        for (dir, name, text, passes) in [
            (None, "/etc/passwd", "path:/etc/passwd", true),
            (None, "/etc/passwd", "path:/etc/passw", false),
            (None, "/etc/passwd", "path:/etc/**", true),
            (None, "/etc", "dir:/etc", true),
            (None, "/etcetera", "dir:/etc", false),
            (None, "etc/passwd", "dir:/", false),
            (Some("/home/u"), "x", "path:/home/u/x", true),
            (Some("/home/u"), "x", "path:/home/u/xy", false),
            (Some("/home/u"), "x", "path:/home**", true),
            (Some("/home/u"), "x", "path:/ho**", true),
            (Some("/home/u"), "x", "path:/home/**", true),
            (Some("/home/u"), "x", "path:/home/u**", true),
            (Some("/home/u"), "x", "path:/home/v**", false),
            (Some("/home/u"), "x", "dir:/home/u", true),
            (Some("/home/u"), "x", "dir:/home/u/x", true),
            (Some("/home/u"), "xy", "dir:/home/u/x", false),
            (Some("/home/u"), "x/y", "dir:/home/u/x", true),
            (Some("/home/u"), "../v/x", "dir:/home/v", true),
            (Some("/home/u"), "../v/x", "dir:/home/u", false),
            (Some("/home/u"), "../../../etc/x", "path:/etc/x", true),
            (Some("/home/u"), ".", "path:/home/u", true),
            (Some("/home/u"), "..", "path:/home", true),
            (Some("/home/u"), "", "path:/home/u", true),
            (Some("/"), "", "path:/", true),
            (Some("/"), "etc", "path:/etc", true),
            (Some("/a/home"), "u", "dir:/home", false),
            (Some("/ahome"), "u", "dir:/home", false),
        ] {
            assert_eq!(open(dir, name, text), passes, "{dir:?} {name} {text}");
        }
    }

    #[test]
    fn a_name_that_climbs_too_often_has_no_known_path() {
        let name = format!("{}etc/x", "../".repeat(filter::FOLDS as usize));
        let bytes = RecordBuilder::new(1, "sh", name).dir("/home").build();
        let event = Event::decode(&bytes).unwrap();
        assert!(parse("path:/etc/x").matches(&event));
        assert!(!captured(&lowered("path:/etc/x"), &event, true));
    }

    #[test]
    fn it_is_told_when_the_kernel_decides_by_what() {
        let explained = |text: &str| explain(&compile(&parse(text)).unwrap());
        assert_eq!(explained(""), "Enter: the kernel captures every open, and counts it");
        assert!(explained("comm:a uid:0 comm:b").ends_with("when an open begins: user, comm"));
        assert!(explained("failed | path:/etc/**").ends_with("when an open returns: failure, path"));
        assert!(explained("pid:1 dur>1ms").ends_with("when an open begins: process tree; when it returns: duration"));
    }

    /// Paths, and records of them, that meet often.
    fn path_filter() -> impl Strategy<Value = String> {
        let component = "(a|b|ab|abcdefghi)";
        let path = proptest::collection::vec(component, 0..4).prop_map(|all| format!("/{}", all.join("/")));
        (path, "!?", prop_oneof![Just(0), Just(1), Just(2), Just(3)]).prop_map(|(path, not, how)| match how {
            0 => format!("{not}path:{path}"),
            1 => format!("{not}path:{path}**"),
            2 => format!("{not}path:{path}/**"),
            _ => format!("{not}dir:{path}"),
        })
    }

    fn path_record() -> impl Strategy<Value = Vec<u8>> {
        let dir = proptest::collection::vec("(a|b|ab|abcdefghi)", 0..5).prop_map(|all| format!("/{}", all.join("/")));
        let name = "/?((\\./|\\.\\./|/){0,3})((a|b|ab|abcdefghi|\\.|\\.\\.)/?){0,3}";
        let marks = prop_oneof![
            6 => Just(0),
            2 => Just(marks::DIR_DELETED),
            1 => Just(marks::DIR_TRUNCATED),
            1 => Just(marks::DIR_UNREACHABLE),
            1 => Just(marks::NAME_UNREADABLE),
        ];
        (dir, name, marks, proptest::bool::weighted(0.9)).prop_map(|(dir, name, marks, has_dir)| {
            let mut builder = RecordBuilder::new(1, "sh", name);
            builder.header.marks = marks;
            builder.dir = has_dir.then(|| dir.into_bytes());
            builder.build()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn the_kernels_program_captures_what_the_filter_passes(
            text in capture_like(),
            records in proptest::collection::vec(records(), 1..8),
        ) {
            let filter = parse(&text);
            let Ok(program) = compile(&filter) else { return Ok(()) };
            let lowered = lower(&program, 0, &bit);
            for record in records {
                let event = Event::decode(&record).unwrap();
                let passes = filter.matches(&event);
                prop_assert_eq!(captured(&lowered, &event, true), passes, "{} as {} on {:?}", text, program, event);
                // What is decided before the path is known keeps nothing out that passes.
                prop_assert!(captured(&lowered, &event, false) || !passes, "{} as {} on {:?}", text, program, event);
            }
        }

        #[test]
        fn paths_are_compared_as_the_filter_compares_them(
            text in path_filter(),
            records in proptest::collection::vec(path_record(), 1..24),
        ) {
            let filter = parse(&text);
            let lowered = lowered(&text);
            for record in records {
                let event = Event::decode(&record).unwrap();
                prop_assert_eq!(captured(&lowered, &event, true), filter.matches(&event), "{} on {:?}", text, event);
            }
        }
    }
}
