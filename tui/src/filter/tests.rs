//! The language as a whole: what it means, how it reads back, what it says about mistakes.

use super::*;
use crate::event::RecordBuilder;

pub(super) mod reference;

/// Users and cgroups that are the same on every machine.
pub(super) struct Fixed;

impl Names for Fixed {
    fn uid(&self, user: &str) -> Option<u32> {
        Some(match user {
            "root" => 0,
            "www-data" => 33,
            _ => return None,
        })
    }

    fn users(&self) -> Vec<String> {
        vec!["root".into(), "www-data".into()]
    }

    fn cgroup(&self, path: &str) -> Option<u64> {
        (path == "/system.slice").then_some(99)
    }
}

pub(super) fn parse(text: &str) -> Filter {
    Filter::parse_with(text, &Fixed).unwrap_or_else(|e| panic!("{}", e.pointing(text)))
}

fn passes(text: &str, builder: &RecordBuilder) -> bool {
    parse(text).matches(&Event::decode(&builder.build()).unwrap())
}

fn nginx() -> RecordBuilder {
    let mut builder = RecordBuilder::new(42, "nginx", "/etc/nginx/nginx.conf");
    builder.header.tid = 43;
    builder.header.uid = 33;
    builder.header.cgroup_id = 99;
    builder.header.duration_ns = 1_500_000;
    builder.header.flags = (libc::O_RDWR | libc::O_CREAT) as u32;
    builder.header.mode = 0o644;
    builder
}

#[test]
fn a_filter_passes_what_it_says() {
    let open = nginx();
    for text in [
        "",
        "   ",
        "nginx",
        "NGINX | Nginx | nginx.conf",
        "conf !failed",
        "ETC | etc",
        "pid:42",
        "pid:1,42",
        "pid=42 tid:43 ppid:1 uid:33",
        "uid>=33 uid<=33 uid>32 uid<34",
        "uid != 34",
        "user:www-data",
        "user:33",
        "user:root,www-data",
        "comm:nginx",
        "comm:ng*",
        "comm:*x",
        "comm:n?inx",
        "comm~^ng",
        "comm!~^x",
        "path:/etc/**",
        "path:/etc/nginx/*.conf",
        "path:/etc/nginx/nginx.conf",
        "path:nginx.conf",
        "path:*.conf",
        "path:nginx/*.conf",
        "path:**/nginx/**",
        "path:/**/nginx.conf",
        "path:/etc/**/nginx/nginx.conf",
        "dir:/etc",
        "dir:/etc/",
        "dir:/",
        "dir:/etc/nginx/nginx.conf",
        "dir:nginx",
        "dir:/e*/nginx",
        "dir:/**/",
        "dir:/e*/",
        "/*/**/",
        "etc/**/nginx",
        r"path~\.(conf|so)$",
        "name:/etc/**",
        "!err:ENOENT",
        "fd:3",
        "fd<10",
        "flags:w",
        "flags:rw",
        "flags:wc",
        "flags:O_RDWR",
        "flags:creat",
        "flags:d,c",
        "flags:0x40",
        "mode:0644",
        "mode:600,644",
        "via:openat",
        "via:open,openat",
        "dur>1ms",
        "dur:>1ms",
        "dur > 1.4ms",
        "dur>=1500us dur<=1.5ms dur<2s",
        "cgroup:99",
        "cgroup:/system.slice",
        "(pid:1 | pid:42) comm:nginx",
        "pid:1 || pid:42 && comm:nginx",
        "!(pid:1 | failed)",
        "PID:42",
        "\"nginx\"",
        r"\x6eginx",
        "n*x",
        "etc**conf",
    ] {
        assert!(passes(text, &open), "{text}");
    }
    for text in [
        "apache",
        "Nginx",
        "failed",
        "pid:1",
        "!pid:42",
        "pid:42 failed",
        "comm:ngin",
        "comm:NGINX",
        "path:/etc/*",
        "path:/etc",
        "path:conf",
        "path:*.CONF",
        "path:/nginx/*.conf",
        "dir:/et",
        "dir:conf",
        "dir:/nginx",
        "err:ENOENT",
        "flags:t",
        "flags:O_WRONLY",
        "mode:0600",
        "via:open",
        "dur>1500us",
        "cgroup:98",
        "user:root",
        "nginx*failed",
        "etc*conf",
        "uid!=33",
    ] {
        assert!(!passes(text, &open), "{text}");
    }
}

#[test]
fn what_an_open_does_not_have_holds_for_no_test() {
    let failure = RecordBuilder::new(1, "sh", "/x").errno(libc::ENOENT);
    assert!(passes("failed err:ENOENT err:2 err:enoent !fd>=0 !mode:0", &failure));
    assert!(passes("err:EACCES,ENOENT", &failure));
    let mut exec = RecordBuilder::new(1, "sh", "/x");
    exec.header.marks = probe_common::marks::NO_FD | probe_common::marks::NO_ENTRY;
    assert!(passes("!failed !fd>=0 !dur>=0 !dur<1s", &exec));
    let mut unreadable = RecordBuilder::new(1, "sh", "");
    unreadable.header.marks = probe_common::marks::NAME_UNREADABLE;
    assert!(passes("sh !path:** !name:** !path~. !dir:/", &unreadable));
}

#[test]
fn a_relative_name_is_filtered_by_its_path() {
    let open = RecordBuilder::new(1, "sh", "../b/c").dir("/home/u/a");
    assert!(passes("path:/home/u/b/c dir:/home/u/b name:../b/c home", &open));
    assert!(passes("name:b/c !path:u/a/**", &open));
}

#[test]
fn a_name_of_a_thread_is_compared_as_the_kernel_cut_it() {
    let open = RecordBuilder::new(1, "systemd-journald", "/x");
    assert!(passes("comm:systemd-journald comm:systemd-journal comm:systemd-journald*", &open));
}

#[test]
fn hostile_bytes_are_found_as_they_are_shown() {
    let open = RecordBuilder::new(1, "sh", b"/tmp/a\x1b[31m b\xff\"(c)");
    for text in [
        r#"path:"/tmp/a\x1b[31m b\xff\"(c)""#,
        r"\x1b[31",
        r"path:/tmp/a\x1b\[31m\ b\xff\x22\(c\)",
        r#"" b\xff""#,
        "path:/tmp/a?\\[31m?b*",
    ] {
        assert!(passes(text, &open), "{text}");
    }
}

#[test]
fn canonical_text_is_what_one_would_write() {
    for (text, canonical) in [
        ("  a   b ", "a b"),
        ("(a b) c", "a b c"),
        ("a b|c d", "a b | c d"),
        ("(a|b) c", "(a | b) c"),
        ("((a))", "a"),
        ("!(a)", "!a"),
        ("!(a b)", "!(a b)"),
        ("uid != 3", "!uid:3"),
        ("comm!~x", "!comm~x"),
        ("dur>1500us", "dur>1500us"),
        ("dur>2000us", "dur>2ms"),
        ("dur>0", "dur>0ns"),
        ("dur>1.5µs", "dur>1500ns"),
        ("err:2,eacces,999", "err:ENOENT,EACCES,999"),
        ("mode:44", "mode:0044"),
        ("\"failed\"", "\"failed\""),
        ("\"a b\"*c", "\"a b\"*c"),
        ("comm:\"*\"", "comm:\"*\""),
        ("path~\"a b\"", "path~\"a b\""),
        (r"path~a(b|c) d", r"path~a(b|c) d"),
        ("a***b", "a**b"),
        ("name:\"\"", "name:\"\""),
    ] {
        assert_eq!(parse(text).to_string(), canonical, "{text}");
    }
}

#[test]
fn a_mistake_is_pointed_at_and_put_right() {
    for (text, at, words) in [
        ("pdi:42", 0..3, "did you mean pid"),
        ("a errno:2", 2..7, "did you mean err"),
        ("http://x", 0..4, "put it in quotes"),
        ("pid:abc", 4..7, "pid takes a number, as in pid:42"),
        ("uid:root", 4..8, "user: takes a name"),
        ("pid:99999999999", 4..15, "at most"),
        ("pid:4*", 4..6, "no wildcards"),
        ("user:rot", 5..8, "did you mean root"),
        ("err:ENOETN", 4..10, "did you mean ENOENT"),
        ("flags:O_CRAT", 6..12, "did you mean O_CREAT"),
        ("via:iouring", 4..11, "did you mean io_uring"),
        ("via:zzz", 4..7, "routes are open, openat"),
        ("dur:1ms", 0..7, "dur>1ms"),
        ("dur>5", 4..5, "5 of what"),
        ("dur>5h", 4..6, "ns, us, ms or s"),
        ("dur>1.", 4..6, "ns, us, ms or s"),
        ("dur>1.2.3s", 4..10, "ns, us, ms or s"),
        ("comm>x", 0..6, "comm:nginx"),
        ("pid>1,2", 0..7, "one number"),
        ("pid:", 4..4, "needs a value"),
        ("pid: 42", 4..5, "needs a value"),
        ("comm:a,,b", 7..8, "needs a value"),
        ("comm:\"a", 5..7, "not closed"),
        (r"a\q", 1..3, r"\xNN"),
        ("path~(a", 5..7, "not a regular expression"),
        ("path~", 5..5, "needs a value"),
        ("pid~4", 4..5, "comm, path and name"),
        ("(a", 0..1, "not closed"),
        ("a)", 1..2, "closes nothing"),
        ("()", 0..2, "nothing stands in these"),
        ("a |", 2..3, "after this |"),
        ("| a", 0..1, "before this |"),
        ("a && ", 2..4, "after this &&"),
        ("a !", 2..3, "after this !"),
        ("mode:9", 5..6, "octal"),
        ("cgroup:/nope", 7..12, "no cgroup"),
        ("cgroup>1", 0..8, "no order"),
        ("dir:\"\"", 4..6, "needs a directory"),
        ("\"\"", 0..2, "empty word"),
    ] {
        let error = Filter::parse_with(text, &Fixed).unwrap_err();
        assert!(error.message.contains(words), "{text}: {}", error.message);
        assert_eq!(error.at, at, "{text}: {}", error.message);
    }
}

#[test]
fn carets_stand_under_what_is_wrong() {
    let error = Filter::parse("größe pdi:1").unwrap_err();
    let shown = error.pointing("größe pdi:1");
    assert!(shown.starts_with("  größe pdi:1\n        ^^^\nthere is no field pdi"), "{shown}");
}

#[test]
fn deep_nesting_is_refused() {
    for text in ["(".repeat(100_000), "!".repeat(100_000), "!(".repeat(70)] {
        assert!(Filter::parse(&text).unwrap_err().message.contains("nested deeper"));
    }
    parse(&("(".repeat(60) + "a" + &")".repeat(60)));
}

#[test]
fn quoting_makes_any_bytes_a_value() {
    for bytes in [
        &b"plain"[..],
        b"",
        b"a b",
        b"failed",
        b"!x",
        b"a\"b",
        b"*?",
        b"a\\b",
        b"\x1b\xff",
        "größe".as_bytes(),
        b"pid:1",
    ] {
        let mut builder = RecordBuilder::new(1, "sh", bytes);
        builder.dir = Some(b"/d".to_vec());
        let tail = parse(&format!("name:{}", quote(bytes)));
        assert!(tail.matches(&Event::decode(&builder.build()).unwrap()), "{}", quote(bytes));
    }
}

/// The lines of docs/filter.md between two markers.
fn documented(from: &str, to: &str) -> Vec<String> {
    let doc = include_str!("../../../docs/filter.md");
    let lines = doc.lines().skip_while(|line| !line.starts_with(from)).skip(1);
    lines.take_while(|line| *line != to).map(str::to_owned).collect()
}

#[test]
fn the_reference_has_the_programs_own_tables() {
    let mut fields = vec![
        "| field | kind | what it looks at | example | in a capture |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    for field in FIELDS {
        let Field { name, kind, doc, example, capture, .. } = field;
        fields.push(format!("| `{name}` | {} | {doc} | `{example}` | {capture} |", kind.name()));
    }
    assert_eq!(documented("<!-- fields", "<!-- end of fields -->"), fields);
    let mut letters = vec!["| letter | means |".to_owned(), "|---|---|".to_owned()];
    letters.extend(crate::flags::letters().map(|(letter, doc)| format!("| `{letter}` | {doc} |")));
    assert_eq!(documented("<!-- letters", "<!-- end of letters -->"), letters);
}

#[test]
fn what_the_table_says_of_captures_is_so() {
    for field in FIELDS {
        let refused = capture::compile(&parse_example(field)).is_err();
        // `comm:nginx,php*` and `path:/etc/**` are among what works.
        assert_eq!(refused, field.capture == "nothing", "{}", field.name);
    }
}

fn parse_example(field: &Field) -> Filter {
    parse(&field.example.replace("/system.slice/ssh.service", "/system.slice"))
}

#[test]
fn the_examples_of_the_reference_parse() {
    let doc = include_str!("../../../docs/filter.md");
    let mut seen = 0;
    for line in doc.lines().filter_map(|line| line.strip_prefix("    ")) {
        let text = match line.split_once('\'') {
            Some((_, rest)) => rest.split('\'').next().unwrap_or_default(),
            None => line.split("   ").next().unwrap_or_default(),
        };
        parse(text);
        seen += 1;
    }
    assert!(seen >= 8);
}
