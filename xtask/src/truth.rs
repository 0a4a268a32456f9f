//! Holds a trace against the truth: every case of `src/bin/truth`, every field of its event.
//!
//! What an event should say is worked out here a second time, from what the truth program did: nothing is shared
//! with the code under test.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

/// One open as the truth program tells it; its fields are described there.
#[derive(Deserialize)]
pub struct Told {
    pub case: String,
    pub via: String,
    pub pid: i64,
    pub tid: Option<i64>,
    ppid: i64,
    pub uid: i64,
    pub comm: String,
    pub name: Option<String>,
    pub path: Option<String>,
    flags: Option<i64>,
    resolve: i64,
    pub mode: i64,
    pub ret: i32,
    no_fd: bool,
    arch: String,
    compat: bool,
    deleted: bool,
    truncated: bool,
}

/// The opens that the truth program tells of, without the cases that the machine could not do.
pub fn told(lines: &str) -> Result<Vec<Told>> {
    let values = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).with_context(|| format!("not a JSON line: {line}")));
    let values = values.filter(|value| value.as_ref().map_or(true, |value| value.get("skipped").is_none()));
    values.map(|value| Ok(serde_json::from_value(value?)?)).collect()
}

/// What became of one case, or of one check of the whole trace.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Passed,
    /// What is wrong, a line each.
    Failed(Vec<String>),
    /// Why it was not tried.
    Skipped(String),
}

/// What opentop left behind.
pub struct Trace<'a> {
    /// Lines of `opentop trace --format json`.
    pub events: &'a str,
    /// Lines of the truth program.
    pub truth: &'a str,
    pub stderr: &'a str,
    /// Whether it was attached to tracepoints, which may miss routes if it says so and see only the user's memory.
    pub tracepoint: bool,
    /// Whether it was attached to kprobes, which the kernel runs without being preempted. Other programs it skips where a
    /// task was preempted within one (`prog->active`), on the preemptible kernels from 7.0: then an open of the many
    /// threads may be missing if, and only if, it is told as skipped or lost.
    pub kprobe: bool,
}

/// How many opens the trace says it missed: skipped by the kernel, or lost.
fn told_missing(stderr: &str) -> usize {
    let before = |words: &str| {
        let at = stderr.find(words)?;
        stderr[..at].split_whitespace().next_back()?.parse::<usize>().ok()
    };
    before("times the kernel skipped").unwrap_or(0) + before("lost: the end of the open was not seen").unwrap_or(0)
}

/// Every case and check by name, with its verdict.
pub fn judge(trace: &Trace<'_>) -> Result<BTreeMap<String, Verdict>> {
    let mut events: HashMap<(i64, Option<String>), Vec<Value>> = HashMap::new();
    let mut shown = 0;
    for line in trace.events.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("not a JSON line: {line}"))?;
        shown += 1;
        events.entry((event["pid"].as_i64().unwrap_or(-1), name(&event))).or_default().push(event);
    }
    let mut missing = if trace.kprobe { 0 } else { told_missing(trace.stderr) };
    let may_lose = missing > 0;
    let mut verdicts = BTreeMap::new();
    for line in trace.truth.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| format!("not a JSON line: {line}"))?;
        let (case, verdict) = match line["skipped"].as_str() {
            Some(reason) => (line["case"].as_str().unwrap_or("?").to_owned(), Verdict::Skipped(reason.to_owned())),
            None => {
                let told: Told = serde_json::from_value(line)?;
                let found = events.get(&(told.pid, told.name.clone())).map_or(&[][..], Vec::as_slice);
                if found.is_empty() && told.case.starts_with("thread ") && missing > 0 {
                    missing -= 1;
                    continue;
                }
                (told.case.clone(), compare(&told, found, trace))
            }
        };
        merge(verdicts.entry(case).or_insert(Verdict::Passed), verdict);
    }
    verdicts.insert("the account adds up".into(), account(trace.stderr, shown, may_lose));
    verdicts.insert("no control characters in any output".into(), clean(trace));
    Ok(verdicts)
}

/// Several opens may make one case: it passes when all do.
fn merge(all: &mut Verdict, one: Verdict) {
    match (&mut *all, one) {
        (_, Verdict::Passed) => {}
        (Verdict::Failed(lines), Verdict::Failed(more)) => lines.extend(more),
        (_, other) => *all = other,
    }
}

/// The name as passed: the path unless it says otherwise; none when it could not be read.
fn name(event: &Value) -> Option<String> {
    event["name"].as_str().or_else(|| event["path"].as_str()).map(str::to_owned)
}

fn compare(told: &Told, found: &[Value], trace: &Trace<'_>) -> Verdict {
    let event = match found {
        [event] => event,
        [] if trace.tracepoint => {
            let route = if told.compat { "compat" } else { told.via.as_str() };
            let may_be_blind = matches!(route, "compat" | "io_uring" | "exec" | "handle");
            if may_be_blind && trace.stderr.lines().any(|line| line.contains(route)) {
                return Verdict::Passed;
            }
            return Verdict::Failed(vec![format!(
                "no event for {:?} ({route}), and nothing said of being blind to it",
                told.name
            )]);
        }
        [] => return Verdict::Failed(vec![format!("no event for {:?}", told.name)]),
        many => return Verdict::Failed(vec![format!("{} events for {:?}: {}", many.len(), told.name, json!(many))]),
    };
    let mut wrong = Vec::new();
    let mut check = |field: &str, is: &Value, should: &Value| {
        if is != should {
            wrong.push(format!("{field} is {is}, should be {should}"));
        }
    };
    check("via", &event["via"], &json!(told.via));
    if let Some(tid) = told.tid {
        check("tid", &event["tid"], &json!(tid));
    }
    check("ppid", &event["ppid"], &json!(told.ppid));
    check("uid", &event["uid"], &json!(told.uid));
    check("comm", &event["comm"], &json!(told.comm));
    if let Some(path) = &told.path {
        check("path", &event["path"], &json!(path));
    }
    check("unreadable", &event["unreadable"], &flag(told.name.is_none()));
    check("deleted", &event["deleted"], &flag(told.deleted));
    check("truncated", &event["truncated"], &flag(told.truncated));
    check("compat", &event["compat"], &flag(told.compat));
    check("relative", &event["relative"], &flag(told.path.is_none() && told.name.is_some()));
    if let Some(flags) = told.flags {
        let flags = if told.arch == "aarch64" { generic_flags(flags) } else { flags };
        let mut is = event["flags"].clone();
        if let Some(names) = is.as_array_mut() {
            // The kernel sets it on every open of a 64-bit process, the hooks see it from there on.
            names.retain(|name| name != "O_LARGEFILE");
        }
        check("flags", &is, &json!(flag_names(flags)));
        let creates = flags & 0o100 != 0 || flags & O_TMPFILE == O_TMPFILE;
        check("mode", &event["mode"], &if creates { json!(format!("{:04o}", told.mode)) } else { Value::Null });
    }
    check(
        "resolve",
        &event["resolve"],
        &if told.resolve == 0 { Value::Null } else { json!(resolve_names(told.resolve)) },
    );
    if told.ret >= 0 {
        check("errno", &event["errno"], &Value::Null);
        check("fd", &event["fd"], &if told.no_fd { Value::Null } else { json!(told.ret) });
        if !trace.tracepoint {
            // Where the kernel skipped the program that takes its copy, the user's is taken, and told as such.
            let skipped = told.case.starts_with("thread ") && !trace.kprobe && told_missing(trace.stderr) > 0;
            if !skipped {
                check("name_from_user", &event["name_from_user"], &Value::Null);
            }
        }
    } else {
        check("fd", &event["fd"], &Value::Null);
        check("errno", &event["errno"], &json!(format!("{:?}", nix::errno::Errno::from_raw(-told.ret))));
    }
    check("result_unknown", &event["result_unknown"], &Value::Null);
    if event["duration_ns"].as_u64().is_none_or(|ns| ns == 0 || ns > 60_000_000_000) {
        wrong.push(format!("duration_ns is {}", event["duration_ns"]));
    }
    if wrong.is_empty() {
        Verdict::Passed
    } else {
        wrong.push(format!("event: {event}"));
        Verdict::Failed(wrong)
    }
}

/// Marks are only there when they are true.
fn flag(set: bool) -> Value {
    if set { Value::Bool(true) } else { Value::Null }
}

/// Flags in arm64's values (arch/arm64/include/uapi/asm/fcntl.h) as asm-generic/fcntl.h has them.
fn generic_flags(flags: i64) -> i64 {
    // O_DIRECTORY, O_NOFOLLOW, O_DIRECT, O_LARGEFILE.
    let moved = [(0o40_000, 0o200_000), (0o100_000, 0o400_000), (0o200_000, 0o40_000), (0o400_000, 0o100_000)];
    let others = flags & !0o740_000;
    moved.iter().filter(|(from, _)| flags & from != 0).fold(others, |flags, (_, to)| flags | to)
}

/// From asm-generic/fcntl.h, with `O_DIRECTORY`.
const O_TMPFILE: i64 = 0o20_200_000;

/// Names of flags as in open(2), the access mode first. Octal values from asm-generic/fcntl.h, which x86 has.
fn flag_names(flags: i64) -> Vec<&'static str> {
    const NAMES: [(i64, &str); 12] = [
        (0o10_000_000, "O_PATH"),
        (0o100, "O_CREAT"),
        (0o200, "O_EXCL"),
        (0o1000, "O_TRUNC"),
        (0o2000, "O_APPEND"),
        (O_TMPFILE, "O_TMPFILE"),
        (0o200_000, "O_DIRECTORY"),
        (0o2_000_000, "O_CLOEXEC"),
        (0o4000, "O_NONBLOCK"),
        (0o4_010_000, "O_SYNC"),
        (0o400_000, "O_NOFOLLOW"),
        (0o1_000_000, "O_NOATIME"),
    ];
    let mut names = Vec::new();
    if flags & 0o10_000_000 == 0 {
        names.push(["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][(flags & 3) as usize]);
    }
    let mut rest = flags;
    for (bits, name) in NAMES {
        if rest & bits == bits {
            names.push(name);
            rest &= !bits;
        }
    }
    names
}

fn resolve_names(resolve: i64) -> Vec<&'static str> {
    // By bit, from uapi/linux/openat2.h.
    let names = [
        "RESOLVE_NO_XDEV",
        "RESOLVE_NO_MAGICLINKS",
        "RESOLVE_NO_SYMLINKS",
        "RESOLVE_BENEATH",
        "RESOLVE_IN_ROOT",
        "RESOLVE_CACHED",
    ];
    (0..names.len()).filter(|bit| resolve >> bit & 1 == 1).map(|bit| names[bit]).collect()
}

/// `opentop: 12345 opens = 12000 shown + 345 filtered + 0 lost`, the last line of stderr.
fn account(stderr: &str, shown: usize, may_lose: bool) -> Verdict {
    let last = stderr.lines().last().unwrap_or_default();
    let numbers: Vec<usize> = last.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [opens, told, filtered, lost] if last.starts_with("opentop: ") => {
            if opens == told + filtered + lost && told == shown && (lost == 0 || may_lose) {
                Verdict::Passed
            } else {
                Verdict::Failed(vec![format!("`{last}` with {shown} lines")])
            }
        }
        _ => Verdict::Failed(vec![format!("the last line of stderr is no account: `{last}`")]),
    }
}

/// Names with escape sequences were opened: none may come out as such.
fn clean(trace: &Trace<'_>) -> Verdict {
    let dirty =
        |text: &str| text.chars().any(|c| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)));
    match (dirty(trace.events), dirty(trace.stderr)) {
        (false, false) => Verdict::Passed,
        (events, _) => Verdict::Failed(vec![format!("in {}", if events { "the events" } else { "stderr" })]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = r#"{"case":"c","via":"openat","pid":7,"tid":8,"ppid":1,"uid":0,"comm":"t","name":"x","path":"/d/x","flags":577,"resolve":0,"mode":420,"ret":-2,"no_fd":false,"arch":"x86_64","compat":false,"deleted":false,"truncated":false}"#;
    const EVENT: &str = r#"{"pid":7,"tid":8,"ppid":1,"uid":0,"comm":"t","path":"/d/x","name":"x","flags":["O_WRONLY","O_CREAT","O_TRUNC","O_LARGEFILE"],"mode":"0644","errno":"ENOENT","duration_ns":5,"via":"openat"}"#;
    const ACCOUNT: &str = "opentop: 1 opens = 1 shown + 0 filtered + 0 lost\n";

    fn verdict(event: &str, stderr: &str, tracepoint: bool) -> BTreeMap<String, Verdict> {
        judge(&Trace { events: event, truth: TOLD, stderr, tracepoint, kprobe: !tracepoint }).unwrap()
    }

    #[test]
    fn an_event_that_tells_the_truth_passes() {
        assert!(verdict(EVENT, ACCOUNT, false).values().all(|verdict| *verdict == Verdict::Passed));
    }

    #[test]
    fn every_field_that_lies_is_found() {
        for (from, to) in [
            ("\"tid\":8", "\"tid\":7"),
            ("\"ppid\":1", "\"ppid\":0"),
            ("\"uid\":0", "\"uid\":1"),
            ("\"comm\":\"t\"", "\"comm\":\"u\""),
            ("\"path\":\"/d/x\"", "\"path\":\"/e/x\""),
            ("O_TRUNC", "O_EXCL"),
            ("0644", "0600"),
            ("ENOENT", "EACCES"),
            ("\"duration_ns\":5", "\"duration_ns\":null"),
            ("\"via\":\"openat\"", "\"via\":\"open\""),
            ("\"pid\":7", "\"pid\":9"),
        ] {
            let lie = EVENT.replace(from, to);
            assert_ne!(lie, EVENT);
            assert!(matches!(verdict(&lie, ACCOUNT, false)["c"], Verdict::Failed(_)), "{from} as {to} passed");
        }
        let twice = format!("{EVENT}\n{EVENT}\n");
        assert!(matches!(verdict(&twice, ACCOUNT, false)["c"], Verdict::Failed(_)));
    }

    #[test]
    fn an_account_that_does_not_add_up_is_found() {
        for wrong in
            ["", "opentop: 2 opens = 1 shown + 0 filtered + 0 lost", "opentop: 2 opens = 1 shown + 0 filtered + 1 lost"]
        {
            assert!(matches!(verdict(EVENT, wrong, false)["the account adds up"], Verdict::Failed(_)), "{wrong}");
        }
    }

    #[test]
    fn a_route_may_be_missed_by_tracepoints_alone_and_not_in_silence() {
        let told = TOLD.replace("\"via\":\"openat\"", "\"via\":\"io_uring\"");
        let stderr = "opentop: tracepoint does not see io_uring\nopentop: 0 opens = 0 shown + 0 filtered + 0 lost\n";
        let case = |stderr: &str, tracepoint| {
            judge(&Trace { events: "", truth: &told, stderr, tracepoint, kprobe: !tracepoint })
                .unwrap()
                .remove("c")
                .unwrap()
        };
        assert_eq!(case(stderr, true), Verdict::Passed);
        assert!(matches!(case(stderr, false), Verdict::Failed(_)));
        assert!(matches!(case("", true), Verdict::Failed(_)));
    }

    #[test]
    fn what_is_told_as_missed_may_be_missing_of_many_threads() {
        let told = TOLD.replace("\"case\":\"c\"", "\"case\":\"thread 1\"");
        let case = |stderr: &str, kprobe| {
            judge(&Trace { events: "", truth: &told, stderr, tracepoint: false, kprobe }).unwrap().remove("thread 1")
        };
        let said = "opentop: 1 times the kernel skipped the probe: another one ran\n";
        assert_eq!(case(said, false), None);
        assert!(matches!(case(said, true), Some(Verdict::Failed(_))));
        assert!(matches!(case("", false), Some(Verdict::Failed(_))));
        assert_eq!(
            told_missing("opentop: 12 lost: the end of the open was not seen; 3 times the kernel skipped x"),
            15
        );
    }

    #[test]
    fn an_escape_sequence_in_the_output_is_found() {
        let dirty = format!("{ACCOUNT}\x1b[31m");
        assert!(matches!(verdict(EVENT, &dirty, false)["no control characters in any output"], Verdict::Failed(_)));
    }
}
