//! Evaluation against a plain, slow reading of the reference, and properties over any text.

use probe_common::marks;
use proptest::prelude::*;

use super::*;
use crate::headless::tests::records;

/// A test as a person would write it, with what it means spelled out in the plainest way.
#[derive(Clone, Debug)]
enum Plain {
    All(Vec<Plain>),
    Any(Vec<Plain>),
    Not(Box<Plain>),
    Failed,
    Word(String),
    Number(&'static str, Vec<u32>),
    Compare(&'static str, &'static str, u32),
    Duration(&'static str, u64),
    Pattern(&'static str, Vec<String>),
    Err(Vec<i32>),
    Flags(String),
    Via(crate::event::Route),
}

fn text(plain: &Plain) -> String {
    let join = |parts: &[Plain], with: &str| parts.iter().map(text).collect::<Vec<_>>().join(with);
    let commas = |numbers: &[u32]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    match plain {
        Plain::All(parts) => format!("({})", join(parts, " ")),
        Plain::Any(parts) => format!("({})", join(parts, "|")),
        Plain::Not(inner) => format!("!{}", text(inner)),
        Plain::Failed => "failed".into(),
        Plain::Word(word) => word.clone(),
        Plain::Number(field, numbers) => format!("{field}:{}", commas(numbers)),
        Plain::Compare(field, op, number) => format!("{field}{op}{number}"),
        Plain::Duration(op, ns) => format!("dur{op}{ns}ns"),
        Plain::Pattern(field, patterns) => format!("{field}:{}", patterns.join(",")),
        Plain::Err(errors) => format!("err:{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        Plain::Flags(letters) => format!("flags:{letters}"),
        Plain::Via(route) => format!("via:{}", route.name()),
    }
}

fn compare(op: &str, left: u64, right: u64) -> bool {
    match op {
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        _ => left >= right,
    }
}

/// `pattern` held against all of `text`, by trying everything.
fn glob(pattern: &[u8], text: &[u8], slashes: bool, start: bool) -> bool {
    let Some(first) = pattern.first() else { return text.is_empty() };
    let tails = |from: usize| (from..=text.len()).map(|at| &text[at..]);
    if pattern.starts_with(b"**") {
        let rest = &pattern[pattern.iter().take_while(|b| **b == b'*').count()..];
        if slashes && start && rest.first() == Some(&b'/') {
            let after = &rest[1..];
            return (0..=text.len())
                .filter(|at| *at == 0 || text[at - 1] == b'/')
                .any(|at| glob(after, &text[at..], slashes, true));
        }
        return tails(0).any(|tail| glob(rest, tail, slashes, false));
    }
    match first {
        b'*' => {
            let until = if slashes { text.iter().position(|b| *b == b'/').unwrap_or(text.len()) } else { text.len() };
            (0..=until).any(|at| glob(&pattern[1..], &text[at..], slashes, false))
        }
        b'?' => {
            let char_len = (1..=4).find(|n| {
                text.get(..*n).is_some_and(|head| std::str::from_utf8(head).is_ok_and(|s| s.chars().count() == 1))
            });
            let lengths = [char_len, text.first().filter(|b| **b >= 0x80).map(|_| 1)];
            lengths
                .into_iter()
                .flatten()
                .any(|n| !(slashes && text[0] == b'/') && glob(&pattern[1..], &text[n..], slashes, false))
        }
        byte => text.first() == Some(byte) && glob(&pattern[1..], &text[1..], slashes, *byte == b'/'),
    }
}

fn path_glob(pattern: &str, path: &[u8]) -> bool {
    if pattern.starts_with('/') {
        return glob(pattern.as_bytes(), path, true, true);
    }
    (0..=path.len())
        .filter(|at| *at == 0 || path[at - 1] == b'/')
        .any(|at| glob(pattern.as_bytes(), &path[at..], true, true))
}

fn dir_glob(pattern: &str, path: &[u8]) -> bool {
    let dir = pattern.trim_end_matches('/');
    (0..=path.len()).filter(|at| *at == path.len() || path[*at] == b'/').any(|at| {
        if pattern.starts_with('/') {
            glob(dir.as_bytes(), &path[..at], true, true)
        } else {
            path_glob(dir, &path[..at])
        }
    })
}

fn word(pattern: &str, text: &[u8]) -> bool {
    let lower = |bytes: &[u8]| bytes.to_ascii_lowercase();
    let text = if pattern.bytes().any(|b| b.is_ascii_uppercase()) { text.to_vec() } else { lower(text) };
    (0..=text.len()).any(|from| (from..=text.len()).any(|to| glob(pattern.as_bytes(), &text[from..to], true, false)))
}

fn holds(plain: &Plain, event: &Event<'_>) -> bool {
    let header = event.header();
    let number = |field: &str| {
        Some(match field {
            "pid" => header.tgid,
            "tid" => header.tid,
            "ppid" => header.ppid,
            "uid" => header.uid,
            "fd" => u32::try_from(event.fd()?).ok()?,
            _ => unreachable!(),
        })
    };
    let mut path = Vec::new();
    event.path_into(&mut path);
    let readable = !event.has(marks::NAME_UNREADABLE);
    match plain {
        Plain::All(parts) => parts.iter().all(|p| holds(p, event)),
        Plain::Any(parts) => parts.iter().any(|p| holds(p, event)),
        Plain::Not(inner) => !holds(inner, event),
        Plain::Failed => header.ret < 0,
        Plain::Word(text) => word(text, event.comm()) || readable && word(text, &path),
        Plain::Number(field, numbers) => number(field).is_some_and(|n| numbers.contains(&n)),
        Plain::Compare(field, op, right) => number(field).is_some_and(|n| compare(op, n.into(), (*right).into())),
        Plain::Duration(op, ns) => !event.has(marks::NO_ENTRY) && compare(op, header.duration_ns, *ns),
        Plain::Pattern("comm", patterns) => patterns.iter().any(|p| glob(p.as_bytes(), event.comm(), false, false)),
        Plain::Pattern("path", patterns) => readable && patterns.iter().any(|p| path_glob(p, &path)),
        Plain::Pattern("dir", patterns) => readable && patterns.iter().any(|p| dir_glob(p, &path)),
        Plain::Pattern(_, patterns) => readable && patterns.iter().any(|p| path_glob(p, event.name())),
        Plain::Err(errors) => errors.iter().any(|e| i64::from(header.ret) == -i64::from(*e)),
        Plain::Flags(letters) => letters.chars().all(|letter| {
            let flags = header.flags as i32;
            let access = flags & 3;
            let has = |bits: i32| flags & bits == bits;
            match letter {
                'r' => (access == 0 || access == 2) && !has(libc::O_PATH),
                'w' => (access == 1 || access == 2) && !has(libc::O_PATH),
                'c' => has(libc::O_CREAT),
                't' => has(libc::O_TRUNC),
                'x' => has(libc::O_EXCL),
                _ => has(libc::O_CLOEXEC),
            }
        }),
        Plain::Via(route) => event.route() == *route,
    }
}

fn patterns() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-e]",
        2 => Just("/".to_owned()),
        1 => prop_oneof![Just("/etc"), Just("/usr/"), Just("/home"), Just(".conf"), Just(".so")].prop_map(str::to_owned),
        2 => Just("*".to_owned()),
        1 => Just("**".to_owned()),
        1 => Just("?".to_owned()),
    ];
    proptest::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

fn plains() -> impl Strategy<Value = Plain> {
    let op = || prop_oneof![Just("<"), Just("<="), Just(">"), Just(">=")];
    let field = prop_oneof![Just("pid"), Just("tid"), Just("ppid"), Just("uid"), Just("fd")];
    let field2 = prop_oneof![Just("pid"), Just("tid"), Just("ppid"), Just("uid"), Just("fd")];
    let text = prop_oneof![Just("comm"), Just("path"), Just("dir"), Just("name")];
    let leaf = prop_oneof![
        Just(Plain::Failed),
        "[a-eA-B/]{1,2}".prop_map(Plain::Word),
        patterns().prop_map(Plain::Word),
        (field, proptest::collection::vec(0_u32..10, 1..4)).prop_map(|(f, n)| Plain::Number(f, n)),
        (field2, op(), 0_u32..10).prop_map(|(f, o, n)| Plain::Compare(f, o, n)),
        (op(), 0_u64..5_000_000).prop_map(|(o, n)| Plain::Duration(o, n)),
        (text, proptest::collection::vec(patterns(), 1..3)).prop_map(|(f, p)| Plain::Pattern(f, p)),
        proptest::collection::vec(1_i32..135, 1..40).prop_map(Plain::Err),
        "[rwctxe]{1,2}".prop_map(Plain::Flags),
        proptest::sample::select(crate::event::Route::ALL.to_vec()).prop_map(Plain::Via),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Plain::All),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Plain::Any),
            inner.prop_map(|p| Plain::Not(Box::new(p))),
        ]
    })
}

/// Text that often is a filter, and often nearly one.
pub(in crate::filter) fn filter_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(FIELDS.to_vec()).prop_map(|f| f.name.to_owned()),
        proptest::sample::select(FIELDS.to_vec()).prop_map(|f| f.example.to_owned()),
        proptest::sample::select(vec![
            ":", "=", "!=", "<", "<=", ">=", "~", "!~", "|", "||", "&&", "!", "(", ")", " ", " ", " ", "\"", "\\", "*",
            "?", ",", "failed", "1ms", "42", "ENOENT", "wc", "0644", "/etc/**", "[a", "]", "\\x1b", "root", "\u{202e}",
            "é",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
        any::<String>(),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn evaluation_agrees_with_the_plain_reading(plain in plains(), records in proptest::collection::vec(records(), 1..6)) {
        let text = text(&plain);
        let filter = Filter::parse_with(&text, &Fixed).map_err(|e| TestCaseError::fail(e.pointing(&text)))?;
        for record in records {
            let event = Event::decode(&record).unwrap();
            prop_assert_eq!(filter.matches(&event), holds(&plain, &event), "{} on {:?}", text, event);
        }
    }

    #[test]
    fn parsing_any_text_never_panics_and_points_into_it(text in prop_oneof![any::<String>(), filter_like()]) {
        if let Err(error) = Filter::parse_with(&text, &Fixed) {
            prop_assert!(text.get(error.at.clone()).is_some(), "{:?} of {text:?}", error.at);
            prop_assert!(!error.message.is_empty());
            prop_assert!(!error.pointing(&text).replace('\n', "").chars().any(char::is_control));
        }
    }

    #[test]
    fn canonical_text_parses_back_to_the_same_tree(text in prop_oneof![filter_like(), plains().prop_map(|p| super::reference::text(&p))]) {
        if let Ok(filter) = Filter::parse_with(&text, &Fixed) {
            let canonical = filter.to_string();
            let again = Filter::parse_with(&canonical, &Fixed).map_err(|e| TestCaseError::fail(e.pointing(&canonical)))?;
            prop_assert_eq!(&again, &filter, "{} became {}", text, canonical);
            prop_assert_eq!(again.to_string(), canonical.clone());
            prop_assert!(!canonical.chars().any(char::is_control), "{canonical:?}");
        }
    }

    #[test]
    fn quoted_bytes_are_found(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
        let record = RecordBuilder::new(1, "x", [b"/", bytes.as_slice()].concat()).build();
        let filter = Filter::parse(&format!("path:/{0} name~. dir:/{0}", quote(&bytes))).unwrap();
        if !bytes.contains(&b'\n') {
            prop_assert!(filter.matches(&Event::decode(&record).unwrap()));
        }
    }
}
