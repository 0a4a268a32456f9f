//! A hostile machine: names, commands, arguments, cgroups, an environment and a configuration made of what terminals obey.
//! Whatever of it is shown, the terminal gets only sequences that opentop itself writes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path, process::Command};

use common::{opentop, pty::Pty};

/// What a terminal would obey: a title, erasing, a report, a C1 introducer, a bell, a device string, overrides of the
/// direction of text, a character of no width, and bytes that are no text.
const EVIL: &[u8] = b"\x1b]0;owned\x07\x1b[2J\x1b[6n\xc2\x9b31m\x9b5n\x07\x08\x0b\x0c\r\x1bP0;0|17ab\x1b\\\xe2\x80\xae\xe2\x80\x8b\xff\x7f";

/// The DEC private modes that opentop sets and resets.
const MODES: [&str; 8] = ["1049", "25", "2026", "1000", "1002", "1006", "2004", "1004"];

/// The first thing in what was written to the terminal that is none of opentop's own: neither printable text nor one of
/// its sequences.
fn foreign(mut bytes: &[u8]) -> Option<String> {
    let all = bytes;
    let report = |rest: &[u8]| {
        let at = all.len() - rest.len();
        let around = &all[at.saturating_sub(40)..(at + 40).min(all.len())];
        Some(format!("at byte {at}: {:?}", String::from_utf8_lossy(around)))
    };
    while let Some(first) = bytes.first() {
        let rest = match *first {
            b'\r' | b'\n' => &bytes[1..],
            0x1b => match own_sequence(bytes) {
                Some(length) => &bytes[length..],
                None => return report(bytes),
            },
            _ => {
                let valid = match std::str::from_utf8(&bytes[..bytes.len().min(4)]) {
                    Ok(text) => text,
                    Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap(),
                };
                let Some(c) = valid.chars().next() else { return report(bytes) };
                let length = c.len_utf8();
                // Escaping changes nothing that is printable, but for the backslash.
                if c != '\\' && opentop::escape::escaped(&bytes[..length]).as_bytes() != &bytes[..length] {
                    return report(bytes);
                }
                &bytes[length..]
            }
        };
        bytes = rest;
    }
    None
}

/// The length of one of opentop's own sequences at the beginning of `bytes`.
fn own_sequence(bytes: &[u8]) -> Option<usize> {
    let body = bytes.strip_prefix(b"\x1b[")?;
    let end = body.iter().position(|b| b.is_ascii_alphabetic())?;
    let (parameters, last) = (std::str::from_utf8(&body[..end]).ok()?, body[end]);
    let numbers = |text: &str| text.split(';').all(|n| n.bytes().all(|b| b.is_ascii_digit()) && n.len() < 4);
    let own = match last {
        b'h' | b'l' => parameters.strip_prefix('?').is_some_and(|mode| MODES.contains(&mode)),
        b'H' => parameters.split(';').count() == 2 && numbers(parameters),
        b'J' => parameters == "2",
        b'm' => numbers(parameters),
        _ => false,
    };
    own.then_some(end + 3)
}

#[test]
fn the_parser_of_this_test_knows_what_is_foreign() {
    assert_eq!(
        foreign("\x1b[?1049h\x1b[?25l\x1b[0m\x1b[2J\x1b[3;14H│ größe 日本\r\n\x1b[0;1;38;2;1;2;3m".as_bytes()),
        None
    );
    for bad in
        [&b"\x1b]0;t\x07"[..], b"\x1b[6n", b"\x1b[3J", b"\x07", b"\xc2\x9b", b"\x9b", b"\x1b[?47h", b"\x1b", EVIL]
    {
        assert!(foreign(&[b"text ", bad].concat()).is_some(), "{bad:?}");
    }
}

/// Opens files under every byte there is, with hostile names for everything that has one.
const SCRIPT: &str = r"
import ctypes, os, sys, time
evil = os.fsencode(sys.argv[1])
libc = ctypes.CDLL(None)
comms = [evil[i:i + 15] for i in range(0, len(evil), 15)]
os.mkdir(b'dir' + evil)
while True:
    for i, byte in enumerate(range(1, 256)):
        libc.prctl(15, comms[i % len(comms)], 0, 0, 0)
        name = bytes([byte, byte]) if byte != 47 else b'slash'
        for where in (b'dir' + evil + b'/', b'missing' + evil):
            try: os.close(os.open(where + name + evil, os.O_CREAT | os.O_RDWR if where.endswith(b'/') else 0))
            except OSError: pass
    time.sleep(0.05)
";

fn python(dir: &Path) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(OsStr::from_bytes(EVIL)).current_dir(dir);
    command
}

/// A child that is killed with the test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Puts a process into a cgroup of a hostile name; where cgroups cannot be made it stays where it is.
fn into_hostile_cgroup(pid: u32) -> Option<std::path::PathBuf> {
    let dir = Path::new("/sys/fs/cgroup").join(OsStr::from_bytes(&[b"opentop-test", EVIL].concat()));
    // The second version of cgroups, mounted there; else it is a folder like any other.
    if !Path::new("/sys/fs/cgroup/cgroup.procs").exists() {
        return None;
    }
    std::fs::create_dir(&dir).ok()?;
    std::fs::write(dir.join("cgroup.procs"), pid.to_string()).ok()?;
    Some(dir)
}

/// Every page and list of the dashboard, with time to draw it.
fn look_at_everything(pty: &mut Pty) {
    for keys in [
        "\r", "\x1b", "2", "\r", "\x1b", "3", "\r", "\x1b", "4", "5", "1", "t", "\t", "\r", "\x1b", "?", "\x1b",
        "/own\r", " ",
    ] {
        pty.keys_alone(keys);
        std::thread::sleep(std::time::Duration::from_millis(120));
    }
}

#[test]
fn nothing_of_a_hostile_machine_reaches_the_terminal_raw() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("opentop");
    std::fs::create_dir(&config).unwrap();
    let text = [b"theme = \"", EVIL, b"\"\n", EVIL, b" = 1\n"].concat();
    std::fs::write(config.join("config.toml"), text).unwrap();
    let watched = Child(python(dir.path()).spawn().unwrap());
    let cgroup = into_hostile_cgroup(watched.0.id());
    let recording = dir.path().join(OsStr::from_bytes(&[b"rec", EVIL].concat()));

    let evil = OsStr::from_bytes(EVIL);
    // NUL cannot be in an argument; text must be, in a filter.
    let filter = "!path:\"nothing\x1b]0;owned\x07\u{202e}\"";
    let pid = watched.0.id().to_string();
    let mut live = opentop();
    live.args(["-p", &pid, "-f", filter, "-w"]).arg(&recording);
    live.env("XDG_CONFIG_HOME", dir.path()).env("COLORTERM", evil).env("LC_ALL", evil).env("TZ", evil);
    let mut pty = Pty::start_as_it_is(&mut live, 120, 40);
    pty.wait_for("a name, escaped", |screen| screen.contains(r"\x1b]0;owned\x07"));
    look_at_everything(&mut pty);
    pty.keys("qq");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
    let written = pty.bytes();
    assert_eq!(foreign(&written), None);
    common::figure("hostile", "a live session", &format!("{} bytes to the terminal, none foreign", written.len()));

    // The same from the recording, whose name is hostile as well, and complaints on stderr.
    let mut replayed = opentop();
    let mut pty = Pty::start_as_it_is(replayed.args(["-f", filter, "-r"]).arg(&recording), 120, 40);
    pty.wait_for("a name, escaped", |screen| screen.contains(r"\x1b]0;owned\x07"));
    look_at_everything(&mut pty);
    pty.keys("qq");
    pty.wait();
    pty.assert_restored();
    let written = pty.bytes();
    assert_eq!(foreign(&written), None);
    common::figure("hostile", "its replay", &format!("{} bytes to the terminal, none foreign", written.len()));

    for args in [&["trace"][..], &["trace", "--format", "json"], &["trace", "--format", "csv"], &["summary"]] {
        let output = opentop().args(args).arg("-r").arg(&recording).output().unwrap();
        assert_eq!(foreign(&output.stdout), None, "{args:?}");
        assert_eq!(foreign(&output.stderr), None, "{args:?}");
    }
    let cut = std::fs::read(&recording).unwrap();
    std::fs::write(&recording, &cut[..cut.len() / 2]).unwrap();
    let output = opentop().args(["trace", "-r"]).arg(&recording).output().unwrap();
    assert_eq!(foreign(&output.stderr), None, "a complaint about a damaged recording");
    drop(watched);
    if let Some(cgroup) = cgroup {
        common::wait_until("the cgroup is empty", || std::fs::remove_dir(&cgroup).ok());
    }
}

#[test]
fn no_argument_makes_an_error_message_obey() {
    let evil = OsStr::from_bytes(EVIL);
    let options = [
        "--pid",
        "--user",
        "--filter",
        "--capture",
        "--duration",
        "--attach",
        "--ring-size",
        "--probe-log",
        "--read",
        "--write",
        "--rotate",
        "--keys",
        "--cast",
        "--cast-size",
        "--theme",
        "--history",
        "--interval",
        "--layout",
    ];
    for option in options {
        let output = opentop().arg(option).arg(evil).args(["-r", "/nonexistent"]).output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{option}");
        assert_eq!(foreign(&output.stderr), None, "{option}");
        assert_eq!(foreign(&output.stdout), None, "{option}");
    }
    let nowhere = OsStr::from_bytes(&[b"/nonexistent/", EVIL].concat()).to_owned();
    for (args, argument) in [
        (&["trace", "-r", "/nonexistent", "--output"][..], nowhere.as_os_str()),
        (&["trace", "--"], nowhere.as_os_str()),
        (&["trace", "--"], evil),
        (&["trace", "--format"], evil),
        (&["summary", "--sort"], evil),
        (&["man"], evil),
        (&[], evil),
    ] {
        let output = opentop().args(args).arg(argument).output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(foreign(&output.stderr), None, "{args:?}");
    }
}

#[test]
fn a_process_whose_name_is_no_text_is_captured_by_its_pid_and_known() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("watched-file"), "").unwrap();
    let script = "import ctypes, os, time\nctypes.CDLL(None).prctl(15, b'\\xff\\x1b[2J\\xfe', 0, 0, 0)\nwhile True: os.close(os.open('watched-file', 0)); time.sleep(0.02)";
    let mut command = Command::new("python3");
    let watched = Child(command.args(["-c", script]).current_dir(dir.path()).spawn().unwrap());
    common::wait_until("the name", || {
        let comm = std::fs::read(format!("/proc/{}/comm", watched.0.id())).unwrap();
        comm.starts_with(b"\xff").then_some(())
    });
    let pid = watched.0.id().to_string();
    let ended = common::run(["trace", "-p", &pid, "--duration", "1s"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains(r"\xff\x1b[2J\xfe"), "{ended:?}");
    // Who it is comes from /proc, name and all.
    let mut pty = Pty::start(opentop().args(["-p", &pid]), 120, 40);
    pty.wait_for("an open", |screen| screen.contains("watched-file"));
    pty.keys("\r");
    pty.wait_for("its command line", |screen| screen.contains("import ctypes"));
    pty.keys("qq");
    pty.wait();
    assert_eq!(foreign(&pty.bytes()), None);
}

#[test]
fn no_variable_of_the_environment_makes_it_obey_or_fall() {
    let evil = OsStr::from_bytes(EVIL);
    let long = "x".repeat(100_000);
    let values = [
        evil,
        OsStr::new(""),
        OsStr::new("-1"),
        OsStr::new("4294967295"),
        OsStr::new("/nonexistent"),
        OsStr::new(&long),
    ];
    #[rustfmt::skip]
    let names = [
        "SUDO_UID", "SUDO_GID", "SUDO_USER", "HOME", "TERM", "COLORTERM", "NO_COLOR", "XDG_CONFIG_HOME", "LANG", "LC_ALL", "TZ",
        "PATH", "COLUMNS", "LINES", "RUST_BACKTRACE", "RUST_LOG", "OPENTOP_FAULT",
    ];
    for args in [&["config"][..], &["summary", "-r", "sample"], &["--help"]] {
        // Each alone, and all at once.
        for name in names.iter().map(Some).chain([None]) {
            for value in values {
                let mut command = opentop();
                names.iter().filter(|of| name.is_none_or(|name| name == *of)).for_each(|name| {
                    command.env(name, value);
                });
                let output = command.args(args).output().unwrap();
                let code = output.status.code();
                assert!(
                    code.is_some_and(|code| [0, 69, 77].contains(&code)),
                    "{name:?}={value:?} {args:?}: {output:?}"
                );
                assert_eq!(foreign(&output.stdout), None, "{name:?}={value:?} {args:?}");
                assert_eq!(foreign(&output.stderr), None, "{name:?}={value:?} {args:?}");
            }
        }
    }
}
