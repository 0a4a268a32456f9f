//! What each tool wrote, line by line, in one form.

use std::collections::HashMap;

use serde_json::Value;

/// One open as a tool told it. What its line does not have is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub pid: Option<i64>,
    pub tid: Option<i64>,
    pub comm: Option<String>,
    pub uid: Option<i64>,
    /// Every name of the file in it: as passed, absolute, with what the descriptor is of.
    pub names: Vec<String>,
    /// A descriptor or −errno.
    pub result: Option<i64>,
    pub flags: bool,
    pub mode: bool,
    pub duration: bool,
    /// The system call or route, where the line says it.
    pub via: Option<String>,
}

/// The opens in what a tool wrote.
pub fn opens(tool: &str, text: &str) -> Vec<Seen> {
    match tool {
        "opentop" => text.lines().filter_map(opentop).collect(),
        "opensnoop" => text.lines().filter_map(|line| columns(line, true)).collect(),
        "bpftrace" => text.lines().filter_map(|line| columns(line, false)).collect(),
        "fatrace" => text.lines().filter_map(fatrace).collect(),
        "strace" => strace(text),
        _ => text.lines().filter_map(sysdig).collect(),
    }
}

fn opentop(line: &str) -> Option<Seen> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| event[key].as_str().map(str::to_owned);
    Some(Seen {
        pid: event["pid"].as_i64(),
        tid: event["tid"].as_i64(),
        comm: text("comm"),
        uid: event["uid"].as_i64(),
        names: text("path").into_iter().chain(text("name")).collect(),
        result: event["fd"].as_i64().or_else(|| text("errno").and_then(|name| errno(&name)).map(|number| -number)),
        flags: event["flags"].is_array(),
        mode: event["mode"].is_string(),
        duration: event["duration_ns"].is_u64(),
        via: text("via"),
    })
}

/// `UID PID COMM FD ERR FLAGS PATH` of opensnoop -e -U; opensnoop.bt has `PID COMM FD ERR PATH`. A thread's name may
/// have blanks in it: it takes 16 columns at the least.
fn columns(line: &str, extended: bool) -> Option<Seen> {
    let word = |text: &'_ str| -> Option<(String, usize)> {
        let start = text.len() - text.trim_start().len();
        let end = text[start..].find(' ').map_or(text.len(), |at| start + at);
        Some((text[start..end].to_owned(), end)).filter(|(word, _)| !word.is_empty())
    };
    let mut rest = line;
    let next = |rest: &mut &str| {
        let (word, end) = word(rest)?;
        *rest = &rest[end..];
        Some(word)
    };
    let uid = if extended { Some(next(&mut rest)?.parse().ok()?) } else { None };
    let pid = next(&mut rest)?.parse().ok()?;
    let rest = rest.trim_start();
    let comm_end = rest.char_indices().nth(16).map_or(rest.len(), |(at, _)| at);
    let (comm, mut rest) = rest.split_at(comm_end);
    let fd: i64 = next(&mut rest)?.parse().ok()?;
    let err: i64 = next(&mut rest)?.parse().ok()?;
    let flags = if extended { Some(next(&mut rest)?) } else { None };
    Some(Seen {
        pid: Some(pid),
        comm: Some(comm.trim_end().to_owned()),
        uid,
        names: vec![rest.strip_prefix(' ').unwrap_or(rest).trim_start().to_owned()],
        result: Some(if err != 0 { -err } else { fd }),
        flags: flags.is_some_and(|flags| flags.chars().all(|c| c.is_digit(8))),
        ..Seen::default()
    })
}

/// `comm(pid): O   /path`
fn fatrace(line: &str) -> Option<Seen> {
    let (who, what) = line.split_once("): ")?;
    let (comm, pid) = who.rsplit_once('(')?;
    let (_, path) = what.split_once(char::is_whitespace)?;
    Some(Seen {
        pid: Some(pid.parse().ok()?),
        comm: Some(comm.to_owned()),
        names: vec![path.trim_start().to_owned()],
        ..Seen::default()
    })
}

/// `tid<comm> openat(AT_FDCWD</cwd>, "name", O_RDONLY) = 3</cwd/name> <0.000010>`, also in two halves.
fn strace(text: &str) -> Vec<Seen> {
    let mut halves: HashMap<&str, String> = HashMap::new();
    let mut all = Vec::new();
    for line in text.lines() {
        // A thread's name may have blanks in it.
        let end = if line.contains('<') { line.find("> ").map(|at| at + 1) } else { line.find(' ') };
        let Some((who, what)) = end.and_then(|end| line.split_at_checked(end)) else { continue };
        let what = what.trim_start();
        if let Some(half) = what.strip_suffix(" <unfinished ...>") {
            halves.insert(who, half.to_owned());
            continue;
        }
        let whole = match what.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, rest)) => halves.remove(who).unwrap_or_default() + rest,
            None => what.to_owned(),
        };
        all.extend(strace_call(who, &whole));
    }
    all
}

fn strace_call(who: &str, what: &str) -> Option<Seen> {
    let (tid, comm) = who.split_once('<').unwrap_or((who, ""));
    let (call, rest) = what.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let quoted = arguments.split('"').nth(1).map(str::to_owned);
    let inside = |text: &str| Some(text.split_once('<')?.1.split_once('>')?.0.to_owned());
    let dir = arguments.split('"').next().and_then(inside);
    let opened = result.split(' ').next().and_then(inside);
    let joined = match (&dir, &quoted) {
        (Some(dir), Some(name)) if !name.starts_with('/') => Some(format!("{dir}/{name}")),
        _ => None,
    };
    let mut words = result.split([' ', '<']);
    let number: i64 = words.next()?.parse().ok()?;
    let error = result.split(' ').nth(1).and_then(errno);
    Some(Seen {
        pid: None,
        tid: tid.parse().ok(),
        comm: Some(comm.trim_end_matches('>').to_owned()),
        names: quoted.into_iter().chain(joined).chain(opened).collect(),
        result: Some(error.map_or(number, |error| -error)),
        flags: arguments.contains("O_"),
        mode: arguments.rsplit(", ").next().is_some_and(|last| last.trim_end_matches(')').starts_with('0')),
        duration: result.ends_with('>'),
        via: Some(call.to_owned()),
        ..Seen::default()
    })
}

/// The fields asked for, by tabs.
fn sysdig(line: &str) -> Option<Seen> {
    let mut fields = line.splitn(9, '\t');
    let mut next = || fields.next();
    let (pid, tid, uid, comm, via, latency, result, fd_name, args) =
        (next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?);
    let mut names = vec![fd_name.to_owned()];
    // `name=as passed(absolute) flags=…`; of an execve, `exe=program args=…`
    if let Some((value, _)) = args.split_once("name=").and_then(|(_, rest)| rest.split_once(" flags=")) {
        match value.strip_suffix(')').and_then(|value| value.split_once('(')) {
            Some((passed, absolute)) => names.extend([passed, absolute].map(str::to_owned)),
            None => names.push(value.to_owned()),
        }
    }
    let exe = args.split_once("exe=").and_then(|(_, rest)| rest.split(' ').next());
    names.extend(exe.map(str::to_owned));
    let number = |text: &str| text.parse::<i64>().ok();
    Some(Seen {
        pid: number(pid),
        tid: number(tid),
        comm: Some(comm.to_owned()),
        uid: number(uid),
        names,
        result: errno(result).map(|error| -error).or_else(|| {
            let fd = args.split("fd=").nth(1)?;
            number(fd.split(['(', ' ']).next()?)
        }),
        flags: args.contains("flags="),
        mode: args.contains("mode="),
        duration: number(latency).is_some_and(|ns| ns > 0),
        via: Some(via.to_owned()),
    })
}

/// The number of an error by its name.
fn errno(name: &str) -> Option<i64> {
    (1..134).map(nix::errno::Errno::from_raw).find(|errno| format!("{errno:?}") == name).map(|errno| errno as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_each_tool_are_read() {
        let json = r#"{"pid":7,"tid":8,"uid":0,"comm":"t","path":"/d/x","name":"x","flags":["O_RDONLY"],"errno":"ENOENT","duration_ns":5,"via":"openat"}"#;
        let seen = &opens("opentop", json)[0];
        assert_eq!((seen.pid, seen.result, &seen.names[..]), (Some(7), Some(-2), &["/d/x".into(), "x".into()][..]));

        let line = "0      123    worker 3         -1   2 02000000 /d/x y\n";
        let seen = &opens("opensnoop", line)[0];
        assert_eq!((seen.pid, seen.uid, seen.result, seen.flags), (Some(123), Some(0), Some(-2), true));
        assert_eq!((seen.comm.as_deref(), &seen.names[0][..]), (Some("worker 3"), "/d/x y"));

        let seen = &opens("bpftrace", "123    truth               3   0 /d/x\n")[0];
        assert_eq!((seen.pid, seen.result, &seen.names[0][..]), (Some(123), Some(3), "/d/x"));

        let seen = &opens("fatrace", "truth(123): O   /d/x\n")[0];
        assert_eq!((seen.pid, &seen.names[0][..]), (Some(123), "/d/x"));

        let text = "12<a> openat(AT_FDCWD</d>, \"x\", O_RDONLY <unfinished ...>\n\
                    13<b c> creat(\"/d/y\", 0640) = 3</d/y> <0.1>\n\
                    12<a> <... openat resumed>) = -1 ENOENT (No such file or directory) <0.2>\n";
        let seen = opens("strace", text);
        assert_eq!((seen[0].tid, seen[0].mode, seen[0].result), (Some(13), true, Some(3)));
        assert_eq!((seen[1].result, &seen[1].names[..]), (Some(-2), &["x".into(), "/d/x".into()][..]));

        let line = "7\t8\t0\tt\topenat\t512\tENOENT\t\tfd=-2(ENOENT) dirfd=-100(AT_FDCWD) name=x(/d/x) flags=1(O_RDONLY) mode=0\n";
        let seen = &opens("sysdig", line)[0];
        assert_eq!((seen.pid, seen.tid, seen.result), (Some(7), Some(8), Some(-2)));
        assert!(seen.names.iter().any(|name| name == "/d/x"), "{seen:?}");
    }
}
