//! kretprobes with room for every thread that is in an open at once.
//!
//! A kretprobe made by perf_event_open(2), as aya makes it, follows as many calls at once as the kernel thinks fit: before
//! 5.17 one for each CPU (`register_kretprobe`, kernel/kprobes.c), later max(10, 2 × CPUs). Threads that wait in an open beyond that return
//! unseen. Only tracefs lets one ask for more (`r4096:…`, Documentation/trace/kprobetrace.rst), so that is tried first.
//!
//! The event it makes there goes with this process; if that is killed, [`Keeper`] deletes it, else the next opentop does.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    path::Path,
    sync::Arc,
};

use super::{keeper::Keeper, tracefs};

/// The kernel's own upper bound, `KRETPROBE_MAXACTIVE_MAX`.
const MAX_ACTIVE: u32 = 4096;
const GROUP: &str = "opentop_";

/// An attached kretprobe. Dropping it takes it out of the kernel.
pub(super) struct Kretprobe {
    perf: Option<OwnedFd>,
    /// Opened while tracefs was in sight and privileges were there: clearing up needs neither.
    events: File,
    name: String,
    /// Deletes the event should this process not come to it.
    keeper: Option<Arc<Keeper>>,
}

/// Hangs a loaded kretprobe program behind `function`. `others` are those that hang already.
///
/// # Errors
/// When tracefs or the kernel refuses; aya's way is left then.
pub(super) fn attach(program: BorrowedFd<'_>, function: &str, others: &[Kretprobe]) -> io::Result<Kretprobe> {
    let keeper = others.first().and_then(|other| other.keeper.clone());
    tracefs::with(|dir| attach_at(dir, program, function, keeper)).map_err(io::Error::other)?
}

fn attach_at(
    dir: &Path,
    program: BorrowedFd<'_>,
    function: &str,
    keeper: Option<Arc<Keeper>>,
) -> io::Result<Kretprobe> {
    let list = dir.join("kprobe_events");
    let mut events = File::options().append(true).open(&list)?;
    clear_stale(&list, &mut events);
    let name = format!("{GROUP}{}/{function}", std::process::id());
    // Without one the event of a killed opentop stays until the next start: no reason not to start.
    let keeper = keeper.or_else(|| Keeper::start(events.as_fd()).ok().map(Arc::new));
    if let Some(keeper) = &keeper {
        let _ = keeper.at_the_end(&deletion(&name));
    }
    events.write_all(format!("r{MAX_ACTIVE}:{name} {function}\n").as_bytes())?;
    // From here on dropping it clears the event away again.
    let mut kretprobe = Kretprobe { perf: None, events, name, keeper };
    let id = fs::read_to_string(dir.join("events").join(&kretprobe.name).join("id"))?;
    let id = id.trim().parse().map_err(io::Error::other)?;
    let perf = perf_event_open(id)?;
    // SAFETY: both descriptors are open, and the requests take them as plain numbers.
    let set = unsafe { libc::ioctl(perf.as_raw_fd(), PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()) };
    // SAFETY: the same.
    if set < 0 || unsafe { libc::ioctl(perf.as_raw_fd(), PERF_EVENT_IOC_ENABLE, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    kretprobe.perf = Some(perf);
    Ok(kretprobe)
}

impl Drop for Kretprobe {
    fn drop(&mut self) {
        // In use it cannot be deleted.
        self.perf = None;
        // A failure leaves a disabled event behind, which costs nothing and goes with the next start.
        let _ = self.events.write_all(deletion(&self.name).as_bytes());
    }
}

/// What tracefs is told to delete an event.
fn deletion(name: &str) -> String {
    format!("-:{name}\n")
}

/// Deletes the events of an opentop that was killed.
fn clear_stale(list: &Path, events: &mut File) {
    for line in fs::read_to_string(list).unwrap_or_default().lines() {
        let Some(name) = stale(line, |pid| Path::new("/proc").join(pid.to_string()).exists()) else { continue };
        let _ = events.write_all(deletion(name).as_bytes());
    }
}

/// The event of a line like `r4096:opentop_42/do_sys_openat2 do_sys_openat2`, if it is ours and its process is gone.
fn stale(line: &str, lives: impl Fn(u32) -> bool) -> Option<&str> {
    let (_, rest) = line.split_once(':')?;
    let name = rest.split_whitespace().next()?;
    let (group, _) = name.split_once('/')?;
    let pid = group.strip_prefix(GROUP)?.parse().ok()?;
    (!lives(pid)).then_some(name)
}

/// `PERF_EVENT_IOC_SET_BPF` of linux/perf_event.h: `_IOW('$', 8, __u32)`.
const PERF_EVENT_IOC_SET_BPF: libc::Ioctl = 0x4004_2408_u32 as libc::Ioctl;
/// `PERF_EVENT_IOC_ENABLE`: `_IO('$', 0)`.
const PERF_EVENT_IOC_ENABLE: libc::Ioctl = 0x2400;
/// `PERF_TYPE_TRACEPOINT`.
const PERF_TYPE_TRACEPOINT: u32 = 2;

/// `struct perf_event_attr` of its first version, `PERF_ATTR_SIZE_VER0`.
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint_kind: u32,
    breakpoint: u64,
}

fn perf_event_open(id: u64) -> io::Result<OwnedFd> {
    let attr = PerfEventAttr {
        kind: PERF_TYPE_TRACEPOINT,
        size: 64,
        config: id,
        sample_period: 1,
        ..PerfEventAttr::default()
    };
    // A BPF program hangs at the event as such and runs on every CPU; the one named here is for the counter.
    let (any_process, cpu, no_group, cloexec) = (-1, 0, -1, 8);
    // SAFETY: `attr` is a perf_event_attr of the size it says, and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, any_process, cpu, no_group, cloexec) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel just gave us, and nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_opentop_left_is_stale() {
        let line = "r4096:opentop_42/do_sys_openat2 do_sys_openat2";
        assert_eq!(stale(line, |_| false), Some("opentop_42/do_sys_openat2"));
        assert_eq!(stale(line, |pid| pid == 42), None);
        assert_eq!(stale("p:kprobes/mine do_sys_openat2", |_| false), None);
        assert_eq!(stale("r:opentop_x/f f", |_| false), None);
        assert_eq!(stale("", |_| false), None);
    }
}
