//! `opentop doctor`: what this kernel and these privileges allow, and the exact command for what they don't.
//!
//! In three steps: the facts are gathered here (files read, and each way of attaching really tried on nobody but
//! opentop itself), [`checks`] judges them, [`report`] writes the judgement down. The last two are pure.

pub mod checks;
pub mod report;

use std::{
    ffi::OsString,
    fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use crate::{
    error::Error,
    filter::capture::{CaptureProgram, Check, Clause, Condition, Inclusive, Number},
    privilege::{self, Capabilities},
    probe::{self, Probe},
    session::{AttachKind, ProgramCost, RouteState, Session},
};

/// Everything a judgement needs. Text from files is raw: it is escaped where it is written.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub machine: String,
    /// Size of the kernel's BTF, bytes, where it can be used.
    pub btf: Option<u64>,
    /// Why it cannot.
    pub no_btf: Option<String>,
    /// Whether the kernel has kprobes for perf.
    pub kprobes: bool,
    /// Where tracefs is mounted.
    pub tracefs: Option<PathBuf>,
    /// The mode of lockdown in force, where the kernel has lockdown: "none", "integrity", "confidentiality".
    pub lockdown: Option<String>,
    /// `kernel.perf_event_paranoid`; `None` where the kernel has no perf events.
    pub paranoid: Option<i32>,
    /// Capabilities in effect.
    pub capabilities: Capabilities,
    /// Whether the effective user is root.
    pub root: bool,
    /// Soft limit of locked memory, bytes; `None` for no limit.
    pub memlock: Option<u64>,
    /// `net.core.bpf_jit_enable`, where it can be read.
    pub jit: Option<u32>,
    /// Namespaces other than the machine's own that opentop is in: "pid", "user".
    pub namespaces: Vec<&'static str>,
    /// Whether a seccomp filter stands.
    pub seccomp: bool,
    /// What is known of the terminal.
    pub terminal: Terminal,
    /// What came of each way of attaching, in the order of `--attach auto`.
    pub trials: Vec<(AttachKind, Result<Vec<RouteState>, Error>)>,
    /// What the programs of each way that worked cost the kernel's verifier.
    pub programs: Vec<(AttachKind, Vec<ProgramCost>)>,
    /// The program's file.
    pub exe: Option<PathBuf>,
    /// The command line.
    pub typed: Vec<OsString>,
}

/// The terminal that the dashboard would have.
#[derive(Clone, Debug, Default)]
pub struct Terminal {
    /// Columns and rows, where stdout is a terminal.
    pub size: Option<(u16, u16)>,
    /// `TERM`.
    pub term: String,
    /// Whether it says that it has 24-bit colours.
    pub truecolor: bool,
    /// Whether `NO_COLOR` is set.
    pub no_color: bool,
    /// Whether the locale is UTF-8.
    pub utf8: bool,
}

/// Looks at this machine. Takes as long as loading the probe three times.
#[must_use]
pub fn gather(typed: &[OsString]) -> Facts {
    let uname = nix::sys::utsname::uname().ok();
    let text = |of: Option<&std::ffi::OsStr>| of.unwrap_or_default().to_string_lossy().into_owned();
    let mut programs = Vec::new();
    let mut trials = Vec::new();
    for kind in [AttachKind::Kprobe, AttachKind::Fentry, AttachKind::Tracepoint] {
        trials.push((
            kind,
            attempt(kind).map(|(session, costs)| {
                programs.push((kind, costs));
                session.routes
            }),
        ));
    }
    let btf = probe::btf();
    Facts {
        kernel: text(uname.as_ref().map(|u| u.release())),
        machine: text(uname.as_ref().map(|u| u.machine())),
        btf: btf.as_ref().ok().copied(),
        no_btf: btf.err(),
        kprobes: Path::new("/sys/bus/event_source/devices/kprobe").exists(),
        tracefs: ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .into_iter()
            .map(PathBuf::from)
            .find(|dir| dir.join("events").is_dir()),
        lockdown: fs::read_to_string("/sys/kernel/security/lockdown").ok().and_then(|modes| bracketed(&modes)),
        paranoid: fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok().and_then(|n| n.trim().parse().ok()),
        capabilities: Capabilities::effective(),
        root: nix::unistd::geteuid().is_root(),
        memlock: memlock(),
        jit: fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok().and_then(|n| n.trim().parse().ok()),
        namespaces: namespaces(),
        seccomp: privilege::filtered(),
        terminal: terminal(),
        trials,
        programs,
        exe: std::env::current_exe().ok(),
        typed: typed.to_vec(),
    }
}

/// Attaches for real, and captures nobody: no process has the last uid (the one after it means "none").
fn attempt(kind: AttachKind) -> Result<(Session, Vec<ProgramCost>), Error> {
    let nobody = Condition {
        check: Check::Number(Number::Uid, Inclusive { from: u64::from(u32::MAX - 1), to: u64::from(u32::MAX - 1) }),
        negated: false,
    };
    let options = probe::Options {
        attach: Some(kind),
        ring_bytes: 64 << 10,
        program: CaptureProgram { clauses: vec![Clause { conditions: vec![nobody] }] },
        ..probe::Options::default()
    };
    Probe::start(&options).map(|probe| (probe.session().clone(), probe.program_costs()))
}

/// The mode in brackets of `none [integrity] confidentiality`.
fn bracketed(modes: &str) -> Option<String> {
    Some(modes.split_once('[')?.1.split_once(']')?.0.to_owned())
}

fn memlock() -> Option<u64> {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

/// The initial namespaces have fixed inode numbers (include/linux/proc_ns.h).
fn namespaces() -> Vec<&'static str> {
    let other = |name: &str, initial: &str| {
        fs::read_link(format!("/proc/self/ns/{name}")).is_ok_and(|link| link.to_string_lossy() != initial)
    };
    [("pid", "pid:[4026531836]"), ("user", "user:[4026531837]")]
        .into_iter()
        .filter(|(name, initial)| other(name, initial))
        .map(|(name, _)| name)
        .collect()
}

fn terminal() -> Terminal {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().map(variable).find(|v| !v.is_empty()).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    Terminal {
        size: std::io::stdout().is_terminal().then(crossterm::terminal::size).and_then(Result::ok),
        term: variable("TERM"),
        truecolor: matches!(variable("COLORTERM").as_str(), "truecolor" | "24bit"),
        no_color: !variable("NO_COLOR").is_empty(),
        utf8: locale.contains("utf-8") || locale.contains("utf8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_of_lockdown_is_the_one_in_brackets() {
        assert_eq!(bracketed("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(bracketed("[none] integrity confidentiality\n").as_deref(), Some("none"));
        assert_eq!(bracketed(""), None);
    }
}
