//! The programs on the tracepoints of system calls, and the routes that these see.

use std::path::Path;

use aya::{Ebpf, programs::TracePoint};

use super::{attach::program_mut, btf::Btf, load::accepted, refusal::Refusal};
use crate::session::RouteState;

/// The programs on system calls.
const PROGRAMS: [&str; 7] = ["t_ret", "t_handle_ret", "t_openat", "t_open", "t_openat2", "t_creat", "t_handle"];

/// Those that stand in for them where they can be preempted.
const TWINS: [&str; 3] = ["t_ret_twin", "t_openat_twin", "t_open_twin"];

/// The kernel's function that runs the programs of a system call's tracepoint where they can be preempted (7.2, 7.3).
const PREEMPTIBLE: &str = "trace_call_bpf_faultable";

/// Whether tasks can be preempted within these, on a kernel that preempts at all.
pub(super) fn preemptible(btf: Option<&Btf>) -> bool {
    btf.is_some_and(|btf| btf.function(PREEMPTIBLE).is_some())
}

/// The programs that are wanted.
pub(super) fn programs(twins: bool) -> Vec<&'static str> {
    let mut programs = PROGRAMS.to_vec();
    programs.extend(TWINS.iter().filter(|_| twins));
    programs
}

/// Attaches them, `twins` too where they are wanted; gives the routes.
///
/// # Errors
/// When openat is not to be seen. Another route that is not is blind, with its reason.
pub(super) fn attach(ebpf: &mut Ebpf, tracefs: &Path, twins: bool) -> Result<Vec<RouteState>, Refusal> {
    let one = |ebpf: &mut Ebpf, program: &str, tracepoint: &str| -> Result<(), Refusal> {
        let p: &mut TracePoint = program_mut(ebpf, program)?;
        accepted(p.load()).map_err(|e| Refusal::of(tracepoint, &e))?;
        p.attach("syscalls", tracepoint).map(drop).map_err(|e| match std::fs::read_dir(tracefs) {
            // aya then finds none, whatever the reason.
            Err(unreadable) => Refusal::of_io(tracepoint, &unreadable),
            Ok(_) => Refusal::of(tracepoint, &e),
        })
    };
    let pair = |ebpf: &mut Ebpf, entry: &str, exit: &str, call: &str| -> Result<(), Refusal> {
        for (program, edge) in [(exit, "exit"), (entry, "enter")] {
            let tracepoint = format!("sys_{edge}_{call}");
            one(ebpf, program, &tracepoint)?;
            let twin = format!("{program}_twin");
            if twins && TWINS.contains(&twin.as_str()) {
                one(ebpf, &twin, &tracepoint)?;
            }
        }
        Ok(())
    };
    pair(ebpf, "t_openat", "t_ret", "openat")?;
    let mut routes = Vec::new();
    for (route, program, exit, call) in [
        ("open", "t_open", "t_ret", "open"),
        ("openat2", "t_openat2", "t_ret", "openat2"),
        ("creat", "t_creat", "t_ret", "creat"),
        ("handle", "t_handle", "t_handle_ret", "open_by_handle_at"),
    ] {
        routes.push(RouteState { name: route, blind: pair(ebpf, program, exit, call).err().map(|r| r.why) });
    }
    routes.insert(1, RouteState { name: "openat", blind: None });
    let blind = |name, why: &str| RouteState { name, blind: Some(why.into()) };
    routes.insert(4, blind("compat", "system call tracepoints pass 32-bit calls over"));
    routes.insert(5, blind("io_uring", "io_uring makes no system call for an open"));
    routes.insert(6, blind("exec", "the kernel opens the program by itself"));
    Ok(routes)
}
