//! Facts → what is well, what is not, why it matters and what mends it.

use crate::{
    error::{Error, Kind},
    escape::escaped,
    privilege::{self, Capability},
    session::AttachKind,
};

use super::Facts;

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ok,
    /// Works, with less.
    Limited,
    /// Missing; opentop may still run without it.
    Missing,
}

/// One thing that was looked at. All text is escaped already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
    /// Why it matters. Said where it is not [`State::Ok`].
    pub why: &'static str,
    /// The command, or the step, that mends it; `None` where there is nothing to mend or nothing helps.
    pub mend: Option<String>,
}

impl Check {
    fn new(name: &'static str, state: State, found: impl Into<String>, why: &'static str) -> Self {
        Self { name, state, found: found.into(), why, mend: None }
    }

    fn mended_by(mut self, step: impl Into<String>) -> Self {
        if self.state != State::Ok {
            self.mend = Some(step.into());
        }
        self
    }
}

fn ok_if(ok: bool, otherwise: State) -> State {
    if ok { State::Ok } else { otherwise }
}

/// Judges every fact.
#[must_use]
pub fn checks(facts: &Facts) -> Vec<Check> {
    let mut all = vec![kernel(facts), btf(facts), ring_buffer(facts)];
    all.extend(facts.trials.iter().map(|(kind, trial)| attach(facts, *kind, trial.as_ref().err())));
    all.push(tracefs(facts));
    all.push(lockdown(facts));
    all.push(paranoid(facts));
    all.extend([privilege::BPF, privilege::PERFMON, privilege::DAC_READ_SEARCH].map(|c| capability(facts, c)));
    all.extend([memlock(facts), jit(facts), container(facts), terminal(facts)]);
    all
}

/// Whether opentop can run: what `--attach auto` would take, or the error with the exit code.
///
/// # Errors
/// When there is no way to attach: not permitted where privileges are missing, else the kernel can't.
pub fn verdict(facts: &Facts) -> Result<AttachKind, Error> {
    if let Some((kind, _)) = facts.trials.iter().find(|(_, trial)| trial.is_ok()) {
        return Ok(*kind);
    }
    let missing = facts.capabilities.missing(facts.root, facts.tracefs.is_some());
    if !missing.is_empty() {
        return Err(privilege::denied(&missing, &facts.typed, facts.exe.as_deref()));
    }
    let denied = |error: &Error| error.kind == Kind::Denied;
    let kind = match facts.trials.iter().all(|(_, trial)| trial.as_ref().err().is_some_and(denied)) {
        true => Kind::Denied,
        false => Kind::Unsupported,
    };
    Err(Error::new(kind, "there is no way to attach here; what is marked \"missing\" says why and what mends it"))
}

/// Whether one way of attaching works.
fn runs(facts: &Facts) -> bool {
    facts.trials.iter().any(|(_, trial)| trial.is_ok())
}

/// Major and minor of `6.1.0-13-amd64`.
fn version(kernel: &str) -> Option<(u32, u32)> {
    let mut numbers = kernel.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn at_least(facts: &Facts, wanted: (u32, u32)) -> bool {
    version(&facts.kernel).is_none_or(|version| version >= wanted)
}

fn kernel(facts: &Facts) -> Check {
    let state = if at_least(facts, (5, 10)) { State::Ok } else { State::Limited };
    let found = format!("{} {}", escaped(facts.kernel.as_bytes()), escaped(facts.machine.as_bytes()));
    Check::new("kernel", state, found, "opentop is tested on 5.10 and later")
        .mended_by("boot a kernel of 5.10 or later")
}

fn btf(facts: &Facts) -> Check {
    let found = match facts.btf {
        Some(bytes) => format!("/sys/kernel/btf/vmlinux, {} KiB", bytes / 1024),
        None => facts.no_btf.clone().unwrap_or_else(|| "none".into()),
    };
    let why = "tells where the kernel keeps what the probe reads (directories, parents); fentry does not work without";
    Check::new("BTF", ok_if(facts.btf.is_some(), State::Missing), found, why).mended_by(WITH_BTF)
}

fn ring_buffer(facts: &Facts) -> Check {
    // Once one way of attaching was loaded there is no doubt; else the version is the best guess there is.
    let tried = runs(facts);
    let found = if tried { "works" } else { "not tried: nothing could be attached" };
    let state = ok_if(tried || at_least(facts, (5, 8)), State::Missing);
    Check::new("ring buffer", state, found, "carries the opens from the kernel; Linux has it since 5.8")
        .mended_by("boot a kernel of 5.10 or later")
}

fn attach(facts: &Facts, kind: AttachKind, error: Option<&Error>) -> Check {
    let why = match kind {
        AttachKind::Kprobe => "the reference: sees every way of opening a file",
        AttachKind::Fentry => "sees every way of opening a file, without kprobes",
        AttachKind::Tracepoint => "works nearly everywhere; blind to io_uring",
    };
    let Some(error) = error else {
        return Check::new(kind.name(), State::Ok, "attached and detached again", why);
    };
    // Messages of several lines are for the terminal's end of a run; here the first says it.
    let said = reason(kind, error.message.lines().next().unwrap_or_default());
    let check = Check::new(kind.name(), State::Missing, said, why);
    let lacking = !facts.capabilities.missing(facts.root, facts.tracefs.is_some()).is_empty();
    match kind {
        _ if error.message.contains("verifier's log") => check.mended_by(format!(
            "another kind serves meanwhile; please report it at {}/issues with this report as JSON",
            env!("CARGO_PKG_REPOSITORY")
        )),
        _ if lacking => check.mended_by(privilege::sudo(&facts.typed, facts.exe.as_deref())),
        AttachKind::Kprobe if !facts.kprobes => {
            let meanwhile = if runs(facts) { "; meanwhile another kind serves" } else { "" };
            check.mended_by(format!("boot a kernel built with CONFIG_KPROBE_EVENTS=y{meanwhile}"))
        }
        AttachKind::Tracepoint if error.message.contains("tracefs") => check.mended_by(MOUNT),
        _ if error.message.contains("seccomp filter") => check.mended_by(OUTSIDE),
        AttachKind::Kprobe | AttachKind::Tracepoint if is_paranoid(facts) => check.mended_by(RELAX),
        AttachKind::Fentry if facts.btf.is_none() => check.mended_by(WITH_BTF),
        _ if runs(facts) => check.mended_by("nothing needs to be done: `--attach auto` takes what works"),
        _ => check.mended_by("sudo dmesg | tail has what the kernel says of it"),
    }
}

/// From this value on Debian's and Ubuntu's kernels (no others know it) let perf_event_open(2) to `CAP_SYS_ADMIN` alone.
const PARANOID: i32 = 3;

const RELAX: &str = "sudo sysctl kernel.perf_event_paranoid=2";

const OUTSIDE: &str = "run opentop on the machine itself, outside of the container";

const WITH_BTF: &str = "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (those of the distributions are)";

fn is_paranoid(facts: &Facts) -> bool {
    facts.paranoid.is_some_and(|level| level >= PARANOID) && !facts.capabilities.has(privilege::SYS_ADMIN)
}

fn paranoid(facts: &Facts) -> Check {
    let why = "kprobes and tracepoints are attached with perf_event_open(2), which from 3 on takes CAP_SYS_ADMIN; fentry is not";
    let Some(level) = facts.paranoid else {
        return Check::new("perf_event_paranoid", State::Limited, "this kernel has no perf events", why)
            .mended_by("boot a kernel built with CONFIG_PERF_EVENTS=y; meanwhile fentry serves");
    };
    Check::new("perf_event_paranoid", ok_if(!is_paranoid(facts), State::Limited), level.to_string(), why)
        .mended_by(RELAX)
}

/// The reason within the probe's refusal `… (not KIND: REASON). …`, which goes on to recommend the doctor.
fn reason(kind: AttachKind, message: &str) -> &str {
    let marker = format!("(not {kind}: ");
    let inner = message.split_once(marker.as_str()).and_then(|(_, rest)| rest.rsplit_once(')'));
    inner.map_or(message, |(reason, _)| reason)
}

const MOUNT: &str = "sudo mount -t tracefs tracefs /sys/kernel/tracing";

fn tracefs(facts: &Facts) -> Check {
    let why = "has the numbers of the tracepoints; root can do without a mount, others cannot";
    match &facts.tracefs {
        Some(dir) => Check::new("tracefs", State::Ok, escaped(dir.as_os_str().as_encoded_bytes()), why),
        None => Check::new("tracefs", State::Limited, "not mounted, or not readable", why).mended_by(MOUNT),
    }
}

fn lockdown(facts: &Facts) -> Check {
    let why = "in mode confidentiality the kernel lets no probe read its memory";
    match facts.lockdown.as_deref() {
        None => Check::new("lockdown", State::Ok, "this kernel has none", why),
        Some("confidentiality") => Check::new("lockdown", State::Missing, "confidentiality", why)
            .mended_by("boot without lockdown=confidentiality on the kernel's command line"),
        Some(mode) => Check::new("lockdown", State::Ok, escaped(mode.as_bytes()), why),
    }
}

fn capability(facts: &Facts, capability: Capability) -> Check {
    let missing = facts.capabilities.missing(facts.root, facts.tracefs.is_some()).contains(&capability);
    let found = match (missing, facts.capabilities.has(capability)) {
        (true, _) => "missing",
        (false, true) => "in effect",
        (false, false) => "not needed here",
    };
    let name = match capability.bit {
        bit if bit == privilege::BPF.bit => "CAP_BPF",
        bit if bit == privilege::PERFMON.bit => "CAP_PERFMON",
        _ => "CAP_DAC_READ_SEARCH",
    };
    Check::new(name, ok_if(!missing, State::Missing), found, capability.why)
        .mended_by(privilege::setcap(facts.exe.as_deref()))
}

fn memlock(facts: &Facts) -> Check {
    let found = facts.memlock.map_or_else(|| "no limit".into(), |bytes| format!("{} KiB", bytes / 1024));
    // From 5.11 on the kernel charges maps to the memory cgroup.
    let fine = facts.memlock.is_none() || at_least(facts, (5, 11));
    Check::new("memlock", ok_if(fine, State::Limited), found, "before 5.11 it bounds the probe's maps")
        .mended_by("ulimit -l unlimited")
}

fn jit(facts: &Facts) -> Check {
    let found = match facts.jit {
        Some(0) => "off",
        Some(_) => "on",
        None => "not readable without root",
    };
    Check::new(
        "BPF JIT",
        ok_if(facts.jit != Some(0), State::Limited),
        found,
        "without it each open costs several times as much",
    )
    .mended_by("sudo sysctl net.core.bpf_jit_enable=1")
}

fn container(facts: &Facts) -> Check {
    let user = facts.namespaces.contains(&"user");
    let found = match (facts.namespaces.is_empty(), facts.seccomp) {
        (true, false) => "the machine's own namespaces".to_owned(),
        (true, true) => "the machine's own namespaces, with a seccomp filter".to_owned(),
        (false, seccomp) => {
            let with = if seccomp { ", with a seccomp filter" } else { "" };
            format!("inside a {} namespace{with}", facts.namespaces.join(" and "))
        }
    };
    let why = if user {
        "root of a user namespace may load no probe, and a container's filter may forbid bpf(2)"
    } else {
        "process ids on the screen are the machine's, not the container's; a container's filter may forbid bpf(2)"
    };
    let state = match (user, facts.namespaces.is_empty(), facts.seccomp) {
        (true, ..) => State::Missing,
        (false, true, false) => State::Ok,
        _ => State::Limited,
    };
    Check::new("container", state, found, why).mended_by(OUTSIDE)
}

fn terminal(facts: &Facts) -> Check {
    let terminal = &facts.terminal;
    let Some((cols, rows)) = terminal.size else {
        let why = "the dashboard needs a terminal; `opentop trace` does not";
        return Check::new("terminal", State::Limited, "stdout is none", why)
            .mended_by("run `opentop doctor` without a pipe");
    };
    let colours = match (terminal.no_color, terminal.truecolor, terminal.term.contains("256color")) {
        (true, ..) => "no colours (NO_COLOR)",
        (_, true, _) => "24-bit colours",
        (_, _, true) => "256 colours",
        _ => "few colours",
    };
    let locale = if terminal.utf8 { "UTF-8" } else { "not UTF-8" };
    let found = format!("{cols}×{rows}, {}, {colours}, {locale}", escaped(terminal.term.as_bytes()));
    let why = "the dashboard draws lines and bars with UTF-8 and wants 80×24 at least";
    let fine = terminal.utf8 && cols >= 80 && rows >= 24 && terminal.term != "dumb";
    let step = if terminal.utf8 { "make the window larger, or set TERM to what it is" } else { "export LANG=C.UTF-8" };
    Check::new("terminal", ok_if(fine, State::Limited), found, why).mended_by(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::Terminal, privilege::Capabilities};

    fn healthy() -> Facts {
        Facts {
            kernel: "6.1.0-13-amd64".into(),
            machine: "x86_64".into(),
            btf: Some(5 << 20),
            kprobes: true,
            tracefs: Some("/sys/kernel/tracing".into()),
            lockdown: Some("none".into()),
            paranoid: Some(2),
            capabilities: Capabilities(u64::MAX),
            root: true,
            jit: Some(1),
            terminal: Terminal {
                size: Some((120, 40)),
                term: "xterm-256color".into(),
                truecolor: true,
                no_color: false,
                utf8: true,
            },
            trials: vec![
                (AttachKind::Kprobe, Ok(vec![])),
                (AttachKind::Fentry, Ok(vec![])),
                (AttachKind::Tracepoint, Ok(vec![])),
            ],
            typed: vec!["opentop".into(), "doctor".into()],
            ..Facts::default()
        }
    }

    fn find(facts: &Facts, name: &str) -> Check {
        checks(facts).into_iter().find(|check| check.name == name).unwrap()
    }

    #[test]
    fn a_healthy_machine_has_nothing_to_mend() {
        for check in checks(&healthy()) {
            assert_eq!(check.state, State::Ok, "{check:?}");
            assert_eq!(check.mend, None, "{check:?}");
        }
        assert_eq!(verdict(&healthy()), Ok(AttachKind::Kprobe));
    }

    #[test]
    fn one_way_of_attaching_is_enough() {
        let mut facts = healthy();
        facts.kprobes = false;
        for (_, trial) in facts.trials.iter_mut().take(2) {
            *trial = Err(Error::new(Kind::Unsupported, "no such hook"));
        }
        assert_eq!(verdict(&facts), Ok(AttachKind::Tracepoint));
        let kprobe = find(&facts, "kprobe");
        assert_eq!((kprobe.state, kprobe.found.as_str()), (State::Missing, "no such hook"));
        assert!(kprobe.mend.unwrap().contains("CONFIG_KPROBE_EVENTS"));
    }

    #[test]
    fn missing_privileges_are_77_and_a_kernel_that_cannot_is_69() {
        let mut facts = healthy();
        for (_, trial) in &mut facts.trials {
            *trial = Err(Error::new(Kind::Unsupported, "no such hook"));
        }
        assert_eq!(verdict(&facts).unwrap_err().kind, Kind::Unsupported);
        facts.capabilities = Capabilities(0);
        facts.root = false;
        assert_eq!(verdict(&facts).unwrap_err().kind, Kind::Denied);
        assert!(find(&facts, "CAP_BPF").mend.unwrap().starts_with("sudo setcap cap_bpf"));
        assert!(find(&facts, "kprobe").mend.unwrap().starts_with("sudo "));
    }

    #[test]
    fn what_is_not_well_says_why_and_what_to_do() {
        let mut facts = healthy();
        facts.kernel = "5.4.0".into();
        facts.btf = None;
        facts.tracefs = None;
        facts.lockdown = Some("confidentiality".into());
        facts.capabilities = Capabilities(0);
        facts.root = false;
        facts.paranoid = Some(4);
        for (_, trial) in &mut facts.trials {
            *trial = Err(Error::new(Kind::Denied, "no"));
        }
        facts.memlock = Some(65_536);
        facts.jit = Some(0);
        facts.namespaces = vec!["pid", "user"];
        facts.seccomp = true;
        facts.terminal.size = Some((40, 10));
        facts.terminal.utf8 = false;
        let bad: Vec<Check> = checks(&facts).into_iter().filter(|c| c.state != State::Ok).collect();
        // Each thing that is looked at, and no less.
        let names = |checks: &[Check]| checks.iter().map(|check| check.name).collect::<Vec<_>>();
        assert_eq!(names(&bad), names(&checks(&healthy())));
        assert_eq!(bad.len(), 16);
        let (command, step) = (["sudo ", "ulimit ", "export "], ["boot ", "run "]);
        for check in &bad {
            assert!(!check.why.is_empty() && !check.found.is_empty(), "{check:?}");
            let mend = check.mend.as_deref().unwrap_or_default();
            assert!(command.iter().chain(&step).any(|begin| mend.starts_with(begin)), "{check:?}");
        }
    }

    #[test]
    fn whatever_keeps_a_kind_from_attaching_has_its_own_step() {
        let refused = |change: &dyn Fn(&mut Facts), kind: AttachKind, message: &str| {
            let mut facts = healthy();
            for (of, trial) in &mut facts.trials {
                if *of == kind {
                    *trial = Err(Error::new(Kind::Denied, message));
                }
            }
            change(&mut facts);
            find(&facts, kind.name()).mend.unwrap()
        };
        let nothing: &dyn Fn(&mut Facts) = &|_| {};
        let user = |facts: &mut Facts| {
            facts.capabilities = Capabilities(
                [privilege::BPF, privilege::PERFMON, privilege::DAC_READ_SEARCH].map(|c| 1 << c.bit).iter().sum(),
            );
            facts.root = false;
            facts.paranoid = Some(3);
        };
        assert_eq!(refused(&user, AttachKind::Kprobe, "perf_event_open: permission denied"), RELAX);
        assert_eq!(refused(nothing, AttachKind::Tracepoint, "tracefs is not mounted"), MOUNT);
        assert_eq!(refused(nothing, AttachKind::Fentry, "the seccomp filter that stands here forbids bpf(2)"), OUTSIDE);
        assert_eq!(refused(&|facts| facts.btf = None, AttachKind::Fentry, "no types"), WITH_BTF);
        assert!(refused(&|facts| facts.kprobes = false, AttachKind::Kprobe, "none").contains("CONFIG_KPROBE_EVENTS"));
        assert!(refused(nothing, AttachKind::Kprobe, "see the verifier's log").contains("/issues"));
        assert!(refused(nothing, AttachKind::Fentry, "no such hook").contains("--attach auto"));
        let alone = |facts: &mut Facts| facts.trials.retain(|(kind, _)| *kind == AttachKind::Fentry);
        assert!(refused(&alone, AttachKind::Fentry, "no such hook").starts_with("sudo dmesg"));
    }

    #[test]
    fn a_refusal_is_cut_down_to_its_reason() {
        let message = "the probe cannot be attached (not fentry: f: no (os error 1)). `opentop doctor` tells";
        assert_eq!(reason(AttachKind::Fentry, message), "f: no (os error 1)");
        assert_eq!(reason(AttachKind::Kprobe, "out of memory"), "out of memory");
    }

    #[test]
    fn versions_of_distributions_are_understood() {
        assert_eq!(version("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(version("5.10.0"), Some((5, 10)));
        assert_eq!(version("7.2-rc1"), Some((7, 2)));
        assert_eq!(version("x"), None);
    }
}
