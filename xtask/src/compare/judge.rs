//! What a tool saw, row by row: held against what the truth program says it did.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::inside::Flood;
use super::read::Seen;
use crate::truth::Told;

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Of so many opens …
    pub of: u64,
    /// … so many were as the row has it.
    pub got: u64,
    pub how: How,
}

/// What more there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The numbers say it.
    Plain,
    /// The open is told, the name as it was passed.
    AsPassed,
    /// The path as the rest of the machine has it.
    Outside,
    /// The open is told, the file is not.
    WithoutName,
    /// Bytes that steer a terminal go to it.
    Raw,
    /// They are escaped, so that they can be had back.
    Escaped,
    /// Something else stands for them.
    Replaced,
    /// Threads: their process is told.
    Process,
    /// The thread is, its process is not.
    Thread,
    /// Both are.
    Both,
    /// Flags and no mode.
    Flags,
    /// Lost opens: their number is told.
    Counted,
    /// That there are some is told, with another number.
    Told,
    /// Nothing is said of them.
    Silent,
    /// None were: the program had to wait.
    Held,
    /// The tool did not run; the table says why.
    Unmeasured,
}

/// What is asked of the cases of a row.
#[derive(Clone, Copy)]
enum Asked {
    /// That they are told of at all.
    Told,
    /// The file's absolute path.
    Path,
    Error,
    Comm,
    User,
    Duration,
    Flags,
    Threads,
    Hostile,
    Losses,
}

/// A row of the table.
pub struct Row {
    pub key: &'static str,
    asked: Asked,
    /// Names of cases of the truth program.
    cases: &'static [&'static str],
}

const fn row(key: &'static str, asked: Asked, cases: &'static [&'static str]) -> Row {
    Row { key, asked, cases }
}

/// In the order of the table. What is asked for besides failures is asked of opens that succeed, which all tools can see.
pub const ROWS: [Row; 21] = [
    row("open, openat", Asked::Told, &["open", "openat"]),
    row("openat2", Asked::Told, &["openat2"]),
    row("creat", Asked::Told, &["creat"]),
    row("compat", Asked::Told, &["32-bit open", "32-bit creat", "32-bit openat", "32-bit openat2"]),
    row("io_uring", Asked::Told, &["io_uring openat", "io_uring openat2", "io_uring openat by a worker"]),
    row("exec", Asked::Told, &["exec", "exec of a script", "exec of its interpreter"]),
    row("handle", Asked::Path, &["open_by_handle_at"]),
    row("failures", Asked::Error, &["ENOENT", "ENOTDIR", "EEXIST", "EISDIR", "ELOOP", "EBADF", "EMFILE"]),
    row("cwd", Asked::Path, &["relative to cwd", "below cwd", "../name"]),
    row("dirfd", Asked::Path, &["relative to a dirfd", "../name from a dirfd"]),
    row("chroot", Asked::Path, &["relative name in a chroot", "absolute name in a chroot"]),
    row("mounts", Asked::Path, &["bind mount", "overlay"]),
    row("long", Asked::Path, &["255-byte component", "4,095-byte path"]),
    row("untouched", Asked::Path, &["untouched page", "name across two untouched pages"]),
    row(
        "hostile",
        Asked::Hostile,
        &[
            "hostile: escape sequences",
            "hostile: newline, return, tab",
            "hostile: invalid UTF-8",
            "hostile: bidi override",
            "hostile: zero width",
            "hostile: C1 controls",
        ],
    ),
    row("short-lived", Asked::Comm, &["short-lived child", "grandchild"]),
    row("threads", Asked::Threads, &[]),
    row("user", Asked::User, &["EACCES of another user"]),
    row("flags", Asked::Flags, &["openat", "O_CREAT"]),
    row("duration", Asked::Duration, &["openat", "openat2", "relative to cwd"]),
    row("losses", Asked::Losses, &[]),
];

/// What one tool left.
pub struct Left {
    pub seen: Vec<Seen>,
    pub text: Vec<u8>,
    pub truth: Vec<Told>,
    pub flood: Flood,
}

impl Row {
    /// The cell of a tool.
    pub fn cell(&self, left: &Left) -> Cell {
        let told: Vec<&Told> = match self.asked {
            Asked::Threads => {
                left.truth.iter().filter(|told| told.ret >= 0 && told.case.starts_with("thread ")).collect()
            }
            _ => left.truth.iter().filter(|told| self.cases.contains(&told.case.as_str())).collect(),
        };
        let of = told.len() as u64;
        let count = |good: &dyn Fn(&Told) -> bool| told.iter().filter(|told| good(told)).count() as u64;
        let found = |told: &Told| find(told, &left.seen).map(|(_, seen)| seen);
        let plain = |got: u64| Cell { of, got, how: How::Plain };
        match self.asked {
            Asked::Told => plain(count(&|told| found(told).is_some())),
            Asked::Path => path(&told, &left.seen),
            Asked::Error => plain(count(&|told| found(told).is_some_and(|seen| seen.result == Some(told.ret.into())))),
            Asked::Comm => plain(count(&|told| found(told).is_some_and(|seen| seen.comm.as_ref() == Some(&told.comm)))),
            Asked::User => plain(count(&|told| found(told).is_some_and(|seen| seen.uid == Some(told.uid)))),
            Asked::Duration => plain(count(&|told| found(told).is_some_and(|seen| seen.duration))),
            Asked::Flags => {
                let flags = count(&|told| found(told).is_some_and(|seen| seen.flags));
                let modes = count(&|told| told.mode == 0 || found(told).is_some_and(|seen| seen.mode));
                Cell { of, got: flags, how: if flags > 0 && modes < of { How::Flags } else { How::Plain } }
            }
            Asked::Threads => {
                let got = count(&|told| found(told).is_some());
                let process = count(&|told| found(told).is_some_and(|seen| seen.pid == Some(told.pid)));
                let thread = count(&|told| found(told).is_some_and(|seen| seen.tid == told.tid));
                let how = match (process == got, thread == got) {
                    (true, true) => How::Both,
                    (true, false) => How::Process,
                    (false, _) => How::Thread,
                };
                Cell { of, got, how }
            }
            Asked::Hostile => hostile(&told, &left.text),
            Asked::Losses => losses(&left.flood),
        }
    }
}

/// How well a line names a case's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    /// Not at all.
    Without,
    AsPassed,
    Outside,
    Whole,
}

/// A path without `.`, `..` and doubled slashes.
fn tidy(path: &str) -> PathBuf {
    let mut tidy = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}

fn named(told: &Told, name: &str) -> Option<Named> {
    let passed = told.name.as_deref()?;
    let path = told.path.as_deref().unwrap_or(passed);
    if name.starts_with('/') && tidy(name) == tidy(path) {
        return Some(Named::Whole);
    }
    if name.starts_with('/') && path.len() > 1 && name.ends_with(path) {
        return Some(Named::Outside);
    }
    (name == passed).then_some(Named::AsPassed)
}

/// The line that tells of a case best; of those alike the first: the truth program removes its files when it is done.
fn find<'a>(told: &Told, seen: &'a [Seen]) -> Option<(Named, &'a Seen)> {
    let by = |seen: &Seen| match seen.pid {
        Some(pid) => pid == told.pid,
        None => seen.tid == told.tid || told.tid.is_none(),
    };
    let lines = seen.iter().rev().filter(|seen| by(seen));
    let best = lines.filter_map(|seen| {
        let best = seen.names.iter().filter_map(|name| named(told, name)).max();
        // A handle has no name that could be told.
        let handle =
            || (told.via == "handle" && seen.via.as_deref() == Some("open_by_handle_at")).then_some(Named::Without);
        Some((best.or_else(handle)?, seen))
    });
    best.max_by_key(|(named, _)| *named)
}

fn path(told: &[&Told], seen: &[Seen]) -> Cell {
    let best: Vec<Option<Named>> = told.iter().map(|told| find(told, seen).map(|(named, _)| named)).collect();
    let of = told.len() as u64;
    let count = |wanted: Named| best.iter().filter(|named| **named == Some(wanted)).count() as u64;
    let how = [(Named::Outside, How::Outside), (Named::AsPassed, How::AsPassed), (Named::Without, How::WithoutName)];
    let whole = count(Named::Whole);
    // What is alike in all of them is said instead.
    let alike = how.into_iter().find(|(named, _)| whole == 0 && count(*named) == of && of > 0);
    Cell { of, got: whole, how: alike.map_or(How::Plain, |(_, how)| how) }
}

/// Of the names that were made to harm a terminal, those that it is given as they are.
fn hostile(told: &[&Told], text: &[u8]) -> Cell {
    let contains = |bytes: &[u8]| text.windows(bytes.len()).any(|window| window == bytes);
    let last = |name: &str| unescaped(name.rsplit('/').next().unwrap_or_default());
    let raw = told.iter().filter(|told| told.name.as_deref().is_some_and(|name| contains(&last(name)))).count() as u64;
    // ESC as opentop, as C, as strace and as cat -v write it.
    let escaped = [&br"\x1b[31m"[..], br"\033[31m", br"\33[31m", b"^[[31m"].iter().any(|form| contains(form));
    let how = match raw {
        0 if escaped => How::Escaped,
        0 => How::Replaced,
        _ => How::Raw,
    };
    Cell { of: told.len() as u64, got: raw, how }
}

/// The bytes of a name as the truth program writes it.
fn unescaped(name: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), name.as_bytes());
    loop {
        rest = match rest {
            [] => return bytes,
            [b'\\', b'x', high, low, rest @ ..] => {
                let digit = |c: u8| char::from(c).to_digit(16).unwrap_or(0) as u8;
                bytes.push(digit(*high) << 4 | digit(*low));
                rest
            }
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
}

fn losses(flood: &Flood) -> Cell {
    let lost = flood.opens.saturating_sub(flood.shown);
    let told = told_lost(&flood.said);
    let how = match told {
        _ if lost == 0 && flood.held => How::Held,
        _ if lost == 0 => How::Plain,
        // A few opens of the loop's own start may be among them.
        Some(told) if (lost..=lost + 50).contains(&told) => How::Counted,
        Some(_) => How::Told,
        None => How::Silent,
    };
    Cell { of: flood.opens, got: lost, how }
}

/// How many lost opens a tool speaks of: in opentop's account, or in every line of the others together.
fn told_lost(said: &str) -> Option<u64> {
    let after = |line: &str, word: &str| -> Option<u64> {
        let (_, rest) = line.split_once(word)?;
        rest.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty())?.parse().ok()
    };
    if let Some(account) = said.lines().rfind(|line| line.contains(" filtered + ")) {
        return after(account, " filtered + ");
    }
    let lines = said.lines().map(str::to_lowercase);
    lines.filter_map(|line| ["lost", "drop"].iter().find_map(|word| after(&line, word))).reduce(|all, one| all + one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth;

    #[test]
    fn a_name_is_whole_as_passed_or_as_seen_from_outside() {
        let told = r#"{"case":"c","via":"openat","pid":7,"tid":8,"ppid":1,"uid":0,"comm":"t","name":"jailed","path":"/inner/jailed","flags":0,"resolve":0,"mode":0,"ret":3,"no_fd":false,"arch":"x86_64","compat":false,"deleted":false,"truncated":false}"#;
        let told = &truth::told(told).unwrap()[0];
        for (name, how) in [
            ("/inner/jailed", Some(Named::Whole)),
            ("/inner/./x/../jailed", Some(Named::Whole)),
            ("/tmp/jail/inner/jailed", Some(Named::Outside)),
            ("jailed", Some(Named::AsPassed)),
            ("jaile", None),
            ("/other/jailed", None),
        ] {
            assert_eq!(named(told, name), how, "{name}");
        }
    }

    #[test]
    fn the_bytes_of_an_escaped_name_are_had_back() {
        assert_eq!(unescaped(r"h-\x1b[31m\\\xff"), b"h-\x1b[31m\\\xff");
    }

    #[test]
    fn what_was_lost_is_told_exactly_or_not_at_all() {
        let flood = |shown, said: &str| Flood { opens: 100, shown, held: false, said: said.into() };
        let how = |flood: &Flood| losses(flood).how;
        assert_eq!(how(&flood(60, "opentop: 110 opens = 70 shown + 0 filtered + 40 lost\n")), How::Counted);
        assert_eq!(how(&flood(60, "Lost 30 events\nDriver Drops:11\n")), How::Counted);
        assert_eq!(how(&flood(60, "Lost 3 events\n")), How::Told);
        assert_eq!(how(&flood(60, "")), How::Silent);
        assert_eq!(how(&Flood { held: true, ..flood(100, "") }), How::Held);
    }
}
