//! What the kernel can do becomes a program; what it cannot is refused with what works.

use super::super::tests::{parse, reference::filter_like};
use super::*;
use crate::{event::Event, headless::tests::records};
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
