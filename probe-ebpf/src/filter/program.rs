//! Runs the capture's program: on an open that begins, and on one that returned.

use probe_common::{
    COMM_LEN, Capture,
    filter::{self, FAIL, Known, Open, STEPS, answered, check, follow},
    route,
};

use super::{
    UNSEEN,
    memory::{Kernel, filter_fold, place},
    trees,
};
use crate::{
    config,
    maps::{FILTER, INFLIGHT, InFlight},
    open::kind,
    process::{self, Current, read},
};

/// Runs the program on an open that begins, or whose beginning was not seen. `owner` is the task whose work a kernel thread
/// does, else 0. `asked` has flags, route (from bit 32), kind
/// (from bit 40) and [`UNSEEN`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_now(capture: u64, subject: u64, owner: u64, asked: u64, result: u64) -> u32 {
    let slot = Capture(capture).slot();
    // A path is never asked for before it is known.
    u32::from(filter::run(
        |at| filter_now_step(u64::from(slot) << 32 | u64::from(at), subject, owner, asked, result),
        |_| u32::from(FAIL),
    ))
}

/// One step of it: what to go on with. `at` is the step, and from bit 32 the slot.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_now_step(at: u64, subject: u64, owner: u64, asked: u64, result: u64) -> u32 {
    let Some(program) = FILTER.get((at >> 32) as u32) else { return u32::from(FAIL) };
    let at = at as u32 & (STEPS as u32 - 1);
    follow(&program.steps[at as usize], &Now { subject, owner, asked, result })
}

/// An open that begins.
struct Now {
    subject: u64,
    owner: u64,
    asked: u64,
    result: u64,
}

impl Open for Now {
    #[inline(always)]
    fn known(&self, check: u8) -> Known {
        let unseen = self.asked & UNSEEN != 0;
        match check {
            check::FLAGS if unseen => Known::Never,
            check::FLAGS if (self.asked >> 40) as u8 == kind::EXEC as u8 => Known::Later,
            check::ERRNO if unseen => Known::Yes,
            0..check::ERRNO => Known::Yes,
            _ if unseen => Known::Never,
            _ => Known::Later,
        }
    }

    #[inline(always)]
    fn number(&self, check: u8) -> Option<u64> {
        Some(match check {
            check::PID => self.subject >> 32,
            check::TID => self.subject & 0xffff_ffff,
            check::PPID if self.owner != 0 => u64::from(process::ppid(self.owner)),
            check::PPID => u64::from(Current::get().ppid()),
            check::UID => u64::from(Current::get().uid()),
            check::CGROUP => Current::get().cgroup_id(),
            check::FLAGS => self.asked & 0xffff_ffff,
            check::ROUTE => {
                let by = (self.asked >> 32) as u8;
                u64::from(if by == route::SYSCALL { process::syscall_route(Current::get()).0 } else { by })
            }
            check::ERRNO => return errno(self.result as i32),
            _ => return None,
        })
    }

    #[inline(always)]
    fn trees(&self) -> u64 {
        trees((self.subject >> 32) as u32)
    }

    #[inline(always)]
    fn comm(&self) -> [u64; 2] {
        let mut comm = [0u64; 2];
        // SAFETY: two words are 16 bytes.
        let bytes = unsafe { &mut *comm.as_mut_ptr().cast::<[u8; COMM_LEN]>() };
        if self.owner == 0 {
            Current::get().comm(bytes);
        } else if let Some(name) = read(self.owner + u64::from(config::setting!(offsets.task_comm))) {
            *bytes = name;
        }
        comm
    }
}

#[inline(always)]
fn errno(result: i32) -> Option<u64> {
    if result < 0 { Some(result.unsigned_abs().into()) } else { None }
}

#[inline(always)]
fn words(comm: &[u8; COMM_LEN]) -> [u64; 2] {
    // SAFETY: 16 bytes are two words.
    unsafe { core::ptr::read_unaligned(comm.as_ptr().cast()) }
}

/// Runs the program on the open in the thread's entry; `whole` is 0 while its name may still be missing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_done(capture: u64, pid_tgid: u64, whole: u64) -> u32 {
    let slot = Capture(capture).slot();
    let at = |at: u32| u64::from(slot) << 32 | u64::from(at);
    u32::from(filter::run(
        |step| filter_done_step(at(step), pid_tgid, whole),
        |step| filter_path(at(step), pid_tgid, filter_fold(pid_tgid)),
    ))
}

/// One step of it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_done_step(at: u64, pid_tgid: u64, whole: u64) -> u32 {
    let Some(program) = FILTER.get((at >> 32) as u32) else { return u32::from(FAIL) };
    let Some(entry) = INFLIGHT.get_ptr(pid_tgid) else { return u32::from(FAIL) };
    let index = at as u32 & (STEPS as u32 - 1);
    // SAFETY: a value of INFLIGHT that only this thread uses.
    let done = unsafe { Done { entry: &*entry, whole: whole != 0 } };
    follow(&program.steps[index as usize], &done)
}

/// An open that returned.
struct Done<'a> {
    entry: &'a InFlight,
    whole: bool,
}

impl Open for Done<'_> {
    #[inline(always)]
    fn known(&self, check: u8) -> Known {
        if check != check::PATH || self.whole { Known::Yes } else { Known::Later }
    }

    #[inline(always)]
    fn number(&self, check: u8) -> Option<u64> {
        let header = &self.entry.header;
        Some(match check {
            check::PID => header.tgid.into(),
            check::TID => header.tid.into(),
            check::PPID => header.ppid.into(),
            check::UID => header.uid.into(),
            check::CGROUP => header.cgroup_id,
            check::FLAGS => header.flags.into(),
            check::ROUTE => header.route.into(),
            check::ERRNO => return errno(header.ret),
            check::DURATION => header.duration_ns,
            _ => return None,
        })
    }

    #[inline(always)]
    fn trees(&self) -> u64 {
        trees(self.entry.header.tgid)
    }

    #[inline(always)]
    fn comm(&self) -> [u64; 2] {
        words(&self.entry.header.comm)
    }
}

/// What to go on with after a step that asks for the path, whose beginning was folded.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_path(at: u64, pid_tgid: u64, folded: u64) -> u32 {
    let Some(program) = FILTER.get((at >> 32) as u32) else { return u32::from(FAIL) };
    let index = at as u32 & (STEPS as u32 - 1);
    let step = &program.steps[index as usize];
    let Some(place) = place(pid_tgid) else { return u32::from(FAIL) };
    answered(step, filter::path_matches(step, index, &place, folded, &Kernel { slot: at & !0xffff_ffff }))
}
