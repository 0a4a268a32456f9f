//! One JSON object per open and line.
//!
//! Keys, in this order; those marked `*` are only there when they apply:
//!
//! | key | value |
//! |---|---|
//! | `time` | when the open began: RFC 3339, UTC, nanoseconds |
//! | `pid` `tid` `ppid` | the process, its thread, its parent (0: unknown), as numbered in the initial pid namespace |
//! | `uid` | real uid in the initial user namespace |
//! | `comm` | name of the thread |
//! | `path` | absolute, as the process sees it; `null` where the name could not be read |
//! | `name` * | as passed, if that differs from `path` |
//! | `flags` | names, the access mode (or `O_PATH`) first, bits without a name in hexadecimal |
//! | `resolve` * | names of the `RESOLVE_*` flags of openat2, if any |
//! | `mode` * | permission bits asked for, in octal, if the open may create |
//! | `fd` or `errno` | the descriptor (`null`: a success without one, as of exec), or the error's name (its number where it has none) |
//! | `result_unknown` * | `true`: whether it succeeded could not be learnt; `fd` is `null` |
//! | `duration_ns` | how long it took; `null` where its entry was not seen |
//! | `via` | open, openat, openat2, creat, io_uring, exec, handle; syscall where the hook can't tell |
//! | `cgroup_id` | cgroup v2 id of the task |
//! | `relative` * | `true`: `path` is relative, to a directory that is not known |
//! | `unreadable` * | `true`: the name could not be read |
//! | `truncated` * | `true`: the name was longer than a record holds |
//! | `dir_truncated` * | `true`: the directory was; `path` begins with `...` |
//! | `deleted` * | `true`: the directory that a relative name starts from was deleted; `path` has ` (deleted)` behind it |
//! | `unreachable` * | `true`: that directory is outside of the process's root; `path` begins with `(unreachable)` |
//! | `compat` * | `true`: a 32-bit system call |
//! | `name_from_user` * | `true`: the name was read from user memory, where another thread may have changed it |
//! | `stack_user` `stack_kernel` * | the frames of the open's stacks, innermost first: see [`super::stacked`] |
//!
//! Names are escaped (`\xNN`) before they are quoted, so a parser gets text that [`escape::unescape`]
//! turns back into the bytes.

use probe_common::marks;

use super::{Scratch, push_hex, push_mode, push_number, time::Utc};
use crate::{errno, escape, event::Event, flags, session::Session};

/// `,"name":`, for a name that is known beforehand.
macro_rules! push_key {
    ($out:expr, $name:literal) => {
        $out.extend_from_slice(concat!(",\"", $name, "\":").as_bytes())
    };
}
/// Marks that are keys of their own when they are set.
pub(crate) const MARKS: &[(u16, &str)] = &[
    (marks::NAME_UNREADABLE, "unreadable"),
    (marks::NAME_TRUNCATED, "truncated"),
    (marks::DIR_TRUNCATED, "dir_truncated"),
    (marks::DIR_DELETED, "deleted"),
    (marks::DIR_UNREACHABLE, "unreachable"),
    (marks::COMPAT, "compat"),
    (marks::NAME_FROM_USER, "name_from_user"),
];

/// Writes JSON lines.
#[derive(Clone, Debug)]
pub struct Json {
    wall_offset_ns: i64,
    clock: Utc,
    scratch: Scratch,
}

impl Json {
    /// A writer for the opens of `session`.
    #[must_use]
    pub fn new(session: &Session) -> Self {
        Self { wall_offset_ns: session.wall_offset_ns, clock: Utc::default(), scratch: Scratch::default() }
    }

    /// Appends one open with its line end.
    pub fn event(&mut self, out: &mut Vec<u8>, event: &Event<'_>) {
        let header = event.header();
        out.extend_from_slice(b"{\"time\":\"");
        self.clock.push(out, i128::from(header.start_ns) + i128::from(self.wall_offset_ns));
        out.push(b'"');
        push_key!(out, "pid");
        push_number(out, header.tgid);
        push_key!(out, "tid");
        push_number(out, header.tid);
        push_key!(out, "ppid");
        push_number(out, header.ppid);
        push_key!(out, "uid");
        push_number(out, header.uid);
        push_key!(out, "comm");
        push_bytes(out, &mut self.scratch, event.comm());
        push_key!(out, "path");
        self.scratch.with_path(event, |scratch, path, name| {
            match path {
                Some(path) => push_bytes(out, scratch, path),
                None => out.extend_from_slice(b"null"),
            }
            if let Some(name) = name {
                push_key!(out, "name");
                push_bytes(out, scratch, name);
            }
        });
        push_flags(out, header.flags);
        if header.resolve != 0 {
            push_resolve(out, header.resolve);
        }
        if flags::creates(header.flags) {
            push_key!(out, "mode");
            out.push(b'"');
            push_mode(out, header.mode);
            out.push(b'"');
        }
        push_result(out, event);
        push_key!(out, "duration_ns");
        match event.duration_ns() {
            Some(ns) => push_number(out, ns),
            None => out.extend_from_slice(b"null"),
        }
        push_key!(out, "via");
        out.push(b'"');
        out.extend_from_slice(event.route().name().as_bytes());
        out.push(b'"');
        push_key!(out, "cgroup_id");
        push_number(out, header.cgroup_id);
        if is_relative(event) {
            out.extend_from_slice(b",\"relative\":true");
        }
        if header.marks != 0 {
            for (_, name) in MARKS.iter().filter(|(mark, _)| event.has(*mark)) {
                key(out, name);
                out.extend_from_slice(b"true");
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Whether the path stands for a place that is not known, because its directory is not.
pub(crate) fn is_relative(event: &Event<'_>) -> bool {
    !event.path_is_absolute() && !event.has(marks::NAME_UNREADABLE)
}

/// `,"name":`
fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends bytes as a JSON string, escaped.
fn push_bytes(out: &mut Vec<u8>, scratch: &mut Scratch, bytes: &[u8]) {
    let quotes = bytes.iter().fold(false, |found, b| found | (*b == b'"'));
    if quotes || !escape::is_plain(bytes) {
        push_string(out, scratch.escape(bytes));
        return;
    }
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
}

/// Appends `text`, which is escaped already (no control characters), as a JSON string.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'\\')) {
        let (head, tail) = rest.split_at(at);
        out.extend_from_slice(head);
        out.push(b'\\');
        let (special, after) = tail.split_at(1);
        out.extend_from_slice(special);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn push_flags(out: &mut Vec<u8>, bits: u32) {
    push_key!(out, "flags");
    let mut separator: &[u8] = b"[\"";
    let rest = flags::names(bits, |name| {
        out.extend_from_slice(separator);
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
        separator = b",\"";
    });
    if rest != 0 {
        // There is always an access mode or O_PATH before it.
        out.extend_from_slice(b",\"");
        push_hex(out, rest);
        out.push(b'"');
    }
    out.push(b']');
}

fn push_resolve(out: &mut Vec<u8>, bits: u32) {
    push_key!(out, "resolve");
    let mut rest = bits;
    let mut separator = b'[';
    for (bit, name) in flags::RESOLVE.iter().filter(|(bit, _)| bits & bit != 0) {
        rest &= !bit;
        out.push(separator);
        push_string(out, name);
        separator = b',';
    }
    if rest != 0 {
        out.push(separator);
        out.push(b'"');
        push_hex(out, rest);
        out.push(b'"');
    }
    out.push(b']');
}

fn push_result(out: &mut Vec<u8>, event: &Event<'_>) {
    if event.has(marks::RESULT_UNKNOWN) {
        out.extend_from_slice(b",\"fd\":null,\"result_unknown\":true");
    } else if let Some(errno) = event.errno() {
        out.extend_from_slice(b",\"errno\":\"");
        errno::push(out, errno);
        out.push(b'"');
    } else {
        push_key!(out, "fd");
        match event.fd() {
            Some(fd) => push_number(out, fd),
            None => out.extend_from_slice(b"null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Format,
        tests::{line, records},
    };
    use super::*;
    use crate::event::RecordBuilder;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn a_line_has_the_keys_of_the_contract_in_their_order() {
        let mut builder = RecordBuilder::new(42, "vim", "notes.txt").dir("/home/u");
        builder.header.flags = (libc::O_RDWR | libc::O_CREAT) as u32;
        builder.header.mode = 0o644;
        builder.header.uid = 1000;
        builder.header.cgroup_id = 77;
        assert_eq!(
            line(Format::Json, &builder.build()),
            concat!(
                r#"{"time":"2026-01-02T03:04:06.000000000Z","pid":42,"tid":42,"ppid":1,"uid":1000,"comm":"vim","#,
                r#""path":"/home/u/notes.txt","name":"notes.txt","flags":["O_RDWR","O_CREAT"],"mode":"0644","fd":3,"#,
                r#""duration_ns":1000,"via":"openat","cgroup_id":77}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_failure_names_its_error_and_no_descriptor() {
        let json: Value =
            serde_json::from_str(&line(Format::Json, &RecordBuilder::new(1, "sh", "/x").errno(2).build())).unwrap();
        assert_eq!(json["errno"], "ENOENT");
        assert_eq!(json.get("fd"), None);
        assert_eq!(json.get("name"), None);
        assert_eq!(json.get("mode"), None);
    }

    #[test]
    fn an_exec_succeeds_without_a_descriptor() {
        let mut builder = RecordBuilder::new(1, "sh", "/bin/ls");
        builder.header.route = probe_common::route::EXEC;
        builder.header.marks = marks::NO_FD;
        builder.header.ret = 0;
        let json: Value = serde_json::from_str(&line(Format::Json, &builder.build())).unwrap();
        assert_eq!(json["fd"], Value::Null);
        assert!(json.as_object().unwrap().contains_key("fd"));
        assert_eq!(json["via"], "exec");
    }

    #[test]
    fn an_unreadable_name_is_null_and_marked() {
        let mut builder = RecordBuilder::new(1, "sh", "").dir("/home/u").errno(libc::EFAULT);
        builder.header.marks = marks::NAME_UNREADABLE;
        let json: Value = serde_json::from_str(&line(Format::Json, &builder.build())).unwrap();
        assert_eq!(json["path"], Value::Null);
        assert_eq!(json["unreadable"], true);
        assert_eq!(json.get("relative"), None);
    }

    #[test]
    fn resolve_flags_are_named_when_given() {
        let mut builder = RecordBuilder::new(1, "sh", "/x");
        builder.header.resolve = 0x108;
        let json: Value = serde_json::from_str(&line(Format::Json, &builder.build())).unwrap();
        assert_eq!(json["resolve"], serde_json::json!(["RESOLVE_BENEATH", "0x100"]));
    }

    fn bytes_of(value: &Value) -> Vec<u8> {
        escape::unescape(value.as_str().unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_parsed_back_is_the_event(record in records()) {
            let event = Event::decode(&record).unwrap();
            let json: Value = serde_json::from_str(&line(Format::Json, &record)).unwrap();
            let header = event.header();
            let wall = i128::from(header.start_ns) + i128::from(super::super::tests::session().wall_offset_ns);
            let time: jiff::Timestamp = json["time"].as_str().unwrap().parse().unwrap();
            prop_assert_eq!(time.as_nanosecond(), wall);
            prop_assert_eq!(&json["pid"], header.tgid);
            prop_assert_eq!(&json["tid"], header.tid);
            prop_assert_eq!(&json["ppid"], header.ppid);
            prop_assert_eq!(&json["uid"], header.uid);
            prop_assert_eq!(&json["cgroup_id"], header.cgroup_id);
            prop_assert_eq!(json["via"].as_str().unwrap(), event.route().name());
            prop_assert_eq!(bytes_of(&json["comm"]), event.comm());
            prop_assert_eq!(json["duration_ns"].as_u64(), event.duration_ns());
            let mut path = Vec::new();
            event.path_into(&mut path);
            if event.has(marks::NAME_UNREADABLE) {
                prop_assert!(json["path"].is_null());
            } else {
                prop_assert_eq!(bytes_of(&json["path"]), path.clone());
                if !event.has(marks::DIR_IS_FILE) {
                    let name = json.get("name").map_or(path, bytes_of);
                    prop_assert_eq!(name, event.name());
                }
            }
            prop_assert_eq!(json.get("relative").is_some(), is_relative(&event));
            let known = !event.has(marks::RESULT_UNKNOWN);
            let errno = event.errno().filter(|_| known).map(|e| {
                let mut text = Vec::new();
                errno::push(&mut text, e);
                String::from_utf8(text).unwrap()
            });
            prop_assert_eq!(json.get("errno").and_then(Value::as_str), errno.as_deref());
            prop_assert_eq!(json.get("fd").and_then(Value::as_i64), event.fd().map(i64::from).filter(|_| known));
            let mut bits = 0_u32;
            for flag in json["flags"].as_array().unwrap() {
                let name = flag.as_str().unwrap();
                bits |= match name {
                    "O_RDONLY" => 0,
                    "O_WRONLY" => 1,
                    "O_RDWR" => 2,
                    "O_ACCMODE" => 3,
                    _ => name.strip_prefix("0x").map_or_else(
                        || flags::FLAGS.iter().find(|f| f.name == name).unwrap().bits,
                        |hex| u32::from_str_radix(hex, 16).unwrap(),
                    ),
                };
            }
            let access = if header.flags & flags::PATH == 0 { 0 } else { 3 };
            prop_assert_eq!(bits, header.flags & !access);
            for (mark, key) in MARKS {
                prop_assert_eq!(json.get(*key).is_some(), event.has(*mark));
            }
        }
    }
}
