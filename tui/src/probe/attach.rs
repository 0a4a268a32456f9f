//! Hanging the programs of one kind of hook into the kernel.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use aya::{
    Ebpf,
    programs::{FEntry, FExit, KProbe, Program, RawTracePoint},
};
use probe_common::Offsets;

use super::{
    btf::Btf,
    kretprobe::{self, Kretprobe},
    load::{self, Wanted, accepted},
    options::Options,
    refusal::{Refusal, refused, words},
    stage::Stage,
    sys, tracefs, tracepoints,
};
use crate::{
    error::Error,
    session::{AttachKind, ProgramCost, RouteState},
};

/// What the kernel calls the function that walks a name: renamed in 7.x.
const FILE_OPEN: [&str; 2] = ["do_filp_open", "do_file_open"];

/// The hooks on processes coming and going: programs and tracepoints.
const PROCESSES: [(&str, &str); 3] =
    [("p_fork", "sched_process_fork"), ("p_exit", "sched_process_exit"), ("p_exec", "sched_process_exec")];

/// A route beyond the system calls that open by name, with its function and programs.
struct Extra {
    route: &'static str,
    function: &'static str,
    parameters: usize,
    kprobes: [&'static str; 2],
    fentries: [&'static str; 2],
}

const EXTRAS: [Extra; 3] = [
    Extra {
        route: "io_uring",
        function: "io_openat2",
        parameters: 2,
        kprobes: ["k_io_openat2", "k_io_openat2_ret"],
        fentries: ["f_io_openat2", "f_io_openat2_ret"],
    },
    Extra {
        route: "exec",
        function: "do_open_execat",
        parameters: 3,
        kprobes: ["k_execat", "k_execat_ret"],
        fentries: ["f_execat", "f_execat_ret"],
    },
    Extra {
        route: "handle",
        function: "do_handle_open",
        parameters: 3,
        kprobes: ["k_handle", "k_handle_ret"],
        fentries: ["f_handle", "f_handle_ret"],
    },
];

type Chosen = (AttachKind, String, Attached);

/// The first kind that really attaches, with why.
pub(super) fn attach_first(
    ebpf: &mut Ebpf,
    options: &Options,
    btf: Option<&Btf>,
    offsets: Option<&Offsets>,
) -> Result<Chosen, Error> {
    let wanted = options.attach;
    let all = [AttachKind::Kprobe, AttachKind::Fentry, AttachKind::Tracepoint];
    let kinds = wanted.as_ref().map_or(&all[..], std::slice::from_ref);
    let mut refusals = Vec::new();
    for kind in kinds {
        match attach(ebpf, *kind, options.stage, btf, offsets) {
            Ok(attached) => {
                let reason = match (wanted, refusals.is_empty()) {
                    (Some(_), _) => "as asked for".to_owned(),
                    (None, true) => "first choice".to_owned(),
                    (None, false) => words(&refusals),
                };
                return Ok((*kind, reason, attached));
            }
            Err(refusal) => {
                unload_all(ebpf, Vec::new());
                refusals.push((Some(*kind), refusal));
            }
        }
    }
    Err(refused(&refusals))
}

/// Attaches one kind. What it sees comes back, or why it cannot be, in words.
fn attach(
    ebpf: &mut Ebpf,
    kind: AttachKind,
    stage: Stage,
    btf: Option<&Btf>,
    offsets: Option<&Offsets>,
) -> Result<Attached, Refusal> {
    // Without it the completion is in the request until the open's function returns (5.19).
    let posted_early = btf.is_some_and(|btf| btf.offset("io_kiocb", "cqe.res").is_none());
    let mut attached = Attached::default();
    attached.routes = match kind {
        AttachKind::Kprobe => kprobes(ebpf, stage, offsets, &mut attached.kretprobes)?,
        AttachKind::Fentry => fentries(ebpf, stage, btf, offsets)?,
        AttachKind::Tracepoint => {
            // Where they are not needed they only cost.
            let twins = stage != Stage::Two && preemptible() && tracepoints::preemptible(btf);
            load::together(ebpf, &wanted(&tracepoints::programs(twins)), None);
            tracefs::with(|dir| tracepoints::attach(ebpf, dir, twins)).map_err(Refusal::other)??
        }
    };
    if posted_early && let Some(route) = attached.routes.iter_mut().find(|r| r.name == "io_uring" && r.blind.is_none())
    {
        route.blind = raw_tracepoints(ebpf, &[("p_io_complete", "io_uring_complete")]).err().map(|r| r.why);
    }
    Ok(attached)
}

/// What hangs in the kernel beside the programs that aya keeps, and what it sees.
#[derive(Default)]
pub(super) struct Attached {
    /// Every route, live or blind.
    pub(super) routes: Vec<RouteState>,
    /// Dropping them takes them out.
    pub(super) kretprobes: Vec<Kretprobe>,
}

/// The hooks on processes coming and going, which every kind needs.
pub(super) fn attach_processes(ebpf: &mut Ebpf) -> Result<(), Refusal> {
    raw_tracepoints(ebpf, &PROCESSES)
}

/// What is to be loaded beside the hooks on processes.
fn wanted(programs: &[&'static str]) -> Vec<Wanted> {
    programs.iter().chain(PROCESSES.iter().map(|(program, _)| program)).map(|program| Wanted::new(program)).collect()
}

fn raw_tracepoints(ebpf: &mut Ebpf, hooks: &[(&str, &str)]) -> Result<(), Refusal> {
    for (program, tracepoint) in hooks {
        let p: &mut RawTracePoint = program_mut(ebpf, program)?;
        accepted(p.load()).and_then(|()| p.attach(tracepoint)).map_err(|e| Refusal::of(tracepoint, &e))?;
    }
    Ok(())
}

/// Takes everything out of the kernel, all at once: for each hook the kernel waits until no CPU can be in it any more,
/// some 50 ms, and waiting together takes no longer than waiting once.
pub(super) fn unload_all(ebpf: &mut Ebpf, kretprobes: Vec<Kretprobe>) {
    std::thread::scope(|scope| {
        for kretprobe in kretprobes {
            scope.spawn(move || drop(kretprobe));
        }
        for (_, program) in ebpf.programs_mut().filter(|(_, program)| program.fd().is_ok()) {
            scope.spawn(move || unload(program));
        }
    });
}

/// What the programs that are in the kernel cost its verifier, by name.
pub(super) fn costs(ebpf: &Ebpf) -> Vec<ProgramCost> {
    let loaded = ebpf.programs().filter_map(|(name, program)| Some((name, program.info().ok()?)));
    let mut costs: Vec<_> = loaded
        .map(|(name, info)| ProgramCost {
            name: name.to_owned(),
            // `struct bpf_insn` has eight bytes.
            instructions: info.size_translated().map(|bytes| bytes / 8),
            verified: info.verified_instruction_count().filter(|count| *count > 0),
        })
        .collect();
    costs.sort_by(|a, b| a.name.cmp(&b.name));
    costs
}

/// The programs that are in the kernel.
pub(super) fn program_fds(ebpf: &Ebpf) -> impl Iterator<Item = BorrowedFd<'_>> {
    programs(ebpf).map(|(_, fd)| fd)
}

/// The same with their names.
pub(super) fn programs(ebpf: &Ebpf) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
    ebpf.programs().filter_map(|(name, program)| Some((name, program.fd().ok()?.as_fd())))
}

/// That it is not in the kernel is the only error there is.
fn unload(program: &mut Program) {
    let _ = match program {
        Program::KProbe(p) if p.fd().is_ok() => p.unload(),
        Program::FEntry(p) if p.fd().is_ok() => p.unload(),
        Program::FExit(p) if p.fd().is_ok() => p.unload(),
        Program::TracePoint(p) if p.fd().is_ok() => p.unload(),
        Program::RawTracePoint(p) if p.fd().is_ok() => p.unload(),
        _ => Ok(()),
    };
}

pub(super) fn program_mut<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, Refusal>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    ebpf.program_mut(name)
        .and_then(|p| p.try_into().ok())
        .ok_or_else(|| Refusal::other(format!("the embedded probe has no program {name}: opentop is not built right")))
}

fn kprobe(ebpf: &mut Ebpf, program: &str, function: &str) -> Result<(), Refusal> {
    let p: &mut KProbe = program_mut(ebpf, program)?;
    accepted(p.load()).map_err(|e| Refusal::of(function, &e))?;
    p.attach(function, 0).map(drop).map_err(|e| Refusal::of(function, &e))
}

/// The same at the return: with room for every thread where tracefs gives it, else with the kernel's own idea of it.
fn kretprobe(ebpf: &mut Ebpf, program: &str, function: &str, all: &mut Vec<Kretprobe>) -> Result<(), Refusal> {
    let p: &mut KProbe = program_mut(ebpf, program)?;
    accepted(p.load()).map_err(|e| Refusal::of(function, &e))?;
    if let Ok(fd) = p.fd()
        && let Ok(attached) = kretprobe::attach(fd.as_fd(), function, all)
    {
        all.push(attached);
        return Ok(());
    }
    p.attach(function, 0).map(drop).map_err(|e| Refusal::of(function, &e))
}

fn kprobes(
    ebpf: &mut Ebpf,
    stage: Stage,
    offsets: Option<&Offsets>,
    returns: &mut Vec<Kretprobe>,
) -> Result<Vec<RouteState>, Refusal> {
    if !Path::new("/sys/bus/event_source/devices/kprobe").exists() {
        return Err(Refusal::other("this kernel is built without kprobes (CONFIG_KPROBE_EVENTS)".into()));
    }
    let mut programs = vec!["k_openat2_ret", "k_openat2"];
    programs.extend((stage != Stage::Two).then_some("k_filp_open"));
    programs.extend(EXTRAS.iter().filter(|extra| usable(extra, offsets).is_ok()).flat_map(|extra| extra.kprobes));
    load::together(ebpf, &wanted(&programs), None);
    if stage != Stage::Two {
        first_of(&FILE_OPEN, |f| kprobe(ebpf, "k_filp_open", f))?;
    }
    // The return first: an entry without it would wait forever.
    kretprobe(ebpf, "k_openat2_ret", "do_sys_openat2", returns)?;
    kprobe(ebpf, "k_openat2", "do_sys_openat2")?;
    let mut routes = native();
    for extra in &EXTRAS {
        let [entry, ret] = extra.kprobes;
        let attached = usable(extra, offsets)
            .and_then(|()| kretprobe(ebpf, ret, extra.function, returns))
            .and_then(|()| kprobe(ebpf, entry, extra.function));
        routes.push(RouteState { name: extra.route, blind: attached.err().map(|r| r.why) });
    }
    Ok(routes)
}

fn fentries(
    ebpf: &mut Ebpf,
    stage: Stage,
    btf: Option<&Btf>,
    offsets: Option<&Offsets>,
) -> Result<Vec<RouteState>, Refusal> {
    let no_btf = || Refusal::other("this kernel has no BTF (CONFIG_DEBUG_INFO_BTF), which fentry needs".into());
    let btf = btf.ok_or_else(no_btf)?;
    // Before anything larger is tried: whether the kernel takes any such program.
    if let Some(id) = btf.function("do_sys_openat2") {
        sys::try_fentry(id).map_err(|e| Refusal::of_load("do_sys_openat2", &e))?;
    }
    let preemptible = preemptible();
    let functions = FILE_OPEN.into_iter().chain(["do_sys_openat2"]).chain(EXTRAS.iter().map(|extra| extra.function));
    let aya_btf = btf.only(&functions.collect::<Vec<_>>()).ok_or_else(no_btf)?;
    load::together(ebpf, &fentry_programs(stage, preemptible, btf, offsets), Some(&aya_btf));
    let mut pair = |entry: &str, exit: &str, function: &str, parameters: usize| -> Result<(), Refusal> {
        match btf.parameters(function) {
            Some(n) if n == parameters => {}
            Some(n) => return Err(Refusal::other(format!("{function} has {n} parameters here, not {parameters}"))),
            None => return Err(Refusal::other(format!("the kernel's BTF has no function {function}"))),
        }
        if !exit.is_empty() {
            let p: &mut FExit = program_mut(ebpf, exit)?;
            let loaded = accepted(p.load(function, &aya_btf));
            loaded.and_then(|()| p.attach().map(drop)).map_err(|e| Refusal::of(function, &e))?;
        }
        let p: &mut FEntry = program_mut(ebpf, entry)?;
        let loaded = accepted(p.load(function, &aya_btf));
        loaded.and_then(|()| p.attach().map(drop)).map_err(|e| Refusal::of(function, &e))
    };
    if stage != Stage::Two {
        first_of(&FILE_OPEN, |f| {
            pair("f_filp_open", "", f, 3)?;
            if preemptible { pair("f_filp_open_twin", "", f, 3) } else { Ok(()) }
        })?;
    }
    pair("f_openat2", "f_openat2_ret", "do_sys_openat2", 3)?;
    // Where they are not needed they only cost.
    if preemptible && stage != Stage::Two {
        pair("f_openat2_twin", "f_openat2_ret_twin", "do_sys_openat2", 3)?;
    }
    let mut routes = native();
    for extra in &EXTRAS {
        let [entry, exit] = extra.fentries;
        let attached = usable(extra, offsets).and_then(|()| pair(entry, exit, extra.function, extra.parameters));
        routes.push(RouteState { name: extra.route, blind: attached.err().map(|r| r.why) });
    }
    Ok(routes)
}

/// What is to be loaded by fentry and fexit: what the kernel has a function of the right shape for.
fn fentry_programs(stage: Stage, preemptible: bool, btf: &Btf, offsets: Option<&Offsets>) -> Vec<Wanted> {
    let mut programs = Vec::new();
    let mut add = |programs_of: &[&'static str], function, parameters| {
        if btf.parameters(function) == Some(parameters) {
            programs.extend(programs_of.iter().map(|program| Wanted { program, function }));
        }
    };
    add(&["f_openat2_ret", "f_openat2"], "do_sys_openat2", 3);
    if stage != Stage::Two {
        let file_open = FILE_OPEN.into_iter().find(|f| btf.parameters(f) == Some(3)).unwrap_or_default();
        add(&["f_filp_open"], file_open, 3);
        if preemptible {
            add(&["f_filp_open_twin"], file_open, 3);
            add(&["f_openat2_ret_twin", "f_openat2_twin"], "do_sys_openat2", 3);
        }
    }
    for extra in EXTRAS.iter().filter(|extra| usable(extra, offsets).is_ok()) {
        add(&extra.fentries, extra.function, extra.parameters);
    }
    programs.extend(wanted(&[]));
    programs
}

/// Whether a task can be preempted within the kernel, and so within an fentry program. Without an answer the safe side.
fn preemptible() -> bool {
    // "#1 SMP PREEMPT_DYNAMIC …"
    let built = nix::sys::utsname::uname().map_or(true, |uname| uname.version().to_string_lossy().contains("PREEMPT"));
    built && std::fs::read_to_string("/sys/kernel/debug/sched/preempt").map_or(true, |modes| preempts(&modes))
}

/// Whether the mode in force is one that preempts: "none (voluntary) full", on kernels that can choose.
fn preempts(modes: &str) -> bool {
    !modes.contains("(none)") && !modes.contains("(voluntary)")
}

/// The first name that works; the first refusal if none does, as the others are for other kernels.
fn first_of<T>(names: &[&str], mut attempt: impl FnMut(&str) -> Result<T, Refusal>) -> Result<T, Refusal> {
    let mut first = None;
    for name in names {
        match attempt(name) {
            Ok(done) => return Ok(done),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    Err(first.unwrap_or_else(|| Refusal::other("no name to try".into())))
}

/// Whether the kernel's layout is known as far as an extra route needs it.
fn usable(extra: &Extra, offsets: Option<&Offsets>) -> Result<(), Refusal> {
    if extra.route != "io_uring" {
        return Ok(());
    }
    let known = offsets
        .is_some_and(|o| [o.req_open, o.io_open_dfd, o.io_open_how, o.req_result].iter().all(|o| *o != Offsets::NONE));
    if known { Ok(()) } else { Err(Refusal::other("the kernel's BTF does not tell its requests' layout".into())) }
}

/// What do_sys_openat2 covers.
fn native() -> Vec<RouteState> {
    ["open", "openat", "openat2", "creat", "compat"].map(|name| RouteState { name, blind: None }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_modes_that_never_preempt_do_without_twins() {
        assert!(!preempts("none (voluntary) full \n"));
        assert!(!preempts("(none) voluntary full lazy \n"));
        assert!(preempts("none voluntary (full) \n"));
        assert!(preempts("full (lazy) \n"));
        assert!(preempts("(undefined)\n"));
    }
}
