//! The program as it lies in the kernel, held against the filter that it was made of.

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
        let place = Place { name: 8, name_len, dir: 8 + name_len, dir_len: header.dir_len.into(), marks: header.marks };
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
        || asked(flag::PROGRAM) && !filter::run(|at| follow(&program.steps[at as usize], &done), |at| done.path(at)))
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
    assert_eq!((scoped.flags, scoped.program.trees), (SCOPE | FAILED | AT_ENTRY, 1), "in the scope, and in the tree");
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
