//! The capture's decision: whose opens, and which of them. Where it can be taken at the entry it is, before anything is
//! written; what needs the result or the path waits for the return.
//!
//! The word in [`CAPTURE`] says what is to be asked at all. User space writes a new program into the slot of [`FILTER`] that
//! is not in use, then that word: a run of the probe, which has read the word once, sees the one or the other as a whole.
//! An open that a change overtakes is captured if both wanted it.

mod memory;
mod program;

use aya_ebpf::helpers::bpf_get_current_uid_gid;
use probe_common::{Capture, capture, route};

use crate::{
    arch,
    maps::{CAPTURE, FILTER, INFLIGHT, InFlight, REJECTED, REJECTED_SLOTS, SCOPE},
    open::{Request, kind},
    process,
};
use program::{filter_done, filter_now};

/// The capture in force, read in one piece.
#[inline(always)]
pub fn current() -> Capture {
    match CAPTURE.get_ptr(0) {
        // SAFETY: a value of CAPTURE; user space writes it as one word.
        Some(word) => Capture(unsafe { core::ptr::read_volatile(word) }),
        None => Capture::new(capture::OFF, 0),
    }
}

/// Whether an open that begins may be wanted.
#[inline(always)]
pub fn enter(capture: Capture, pid_tgid: u64, subject: u64, owner: u64, request: &Request) -> bool {
    if capture.flags() == 0 {
        return !process::is_self((subject >> 32) as u32);
    }
    let asked = u64::from(arch::flags(request.flags)) | u64::from(request.route) << 32 | u64::from(request.kind) << 40;
    filter_enter(capture.0, pid_tgid, subject, owner, asked) != 0
}

/// Whether the thread's entry may answer for [`enter`]: the capture asks for the process alone, and its trees are among
/// what it asks for. Not where the thread's last open was left out: it has no entry, most likely, and is not to pay for
/// looking.
#[inline(always)]
pub fn may_remember(capture: Capture, pid_tgid: u64) -> bool {
    let flags = capture.flags();
    flags & capture::SCOPE != 0
        && flags & (capture::OFF | capture::UID | capture::AT_ENTRY) == 0
        && match REJECTED.get_ptr(pid_tgid as u32 & (REJECTED_SLOTS - 1)) {
            // SAFETY: a value of REJECTED.
            Some(mark) => (unsafe { core::ptr::read_volatile(mark) }) & ((1 << ROLES) - 1) != pid_tgid as u32,
            None => false,
        }
}

/// Whether the entry is of an open that this capture let in: of the same process, which leaves no tree while it lives, so
/// the answer would be the same again.
#[inline(always)]
pub fn remembered(capture: Capture, entry: &InFlight) -> bool {
    entry.capture == capture.generation() && entry.foreign == 0
}

/// Whether opens of the process are wanted at all.
#[inline(always)]
fn process_wanted(capture: Capture, subject: u64) -> bool {
    let flags = capture.flags();
    if flags & capture::OFF != 0 {
        return false;
    }
    if flags & (capture::SCOPE | capture::UID) != 0 {
        let Some(program) = FILTER.get(capture.slot()) else { return false };
        if flags & capture::SCOPE != 0 && trees((subject >> 32) as u32) & program.trees == 0 {
            return false;
        }
        if flags & capture::UID != 0 && bpf_get_current_uid_gid() as u32 != program.uid {
            return false;
        }
    }
    !process::is_self((subject >> 32) as u32)
}

#[inline(always)]
fn trees(tgid: u32) -> u64 {
    // SAFETY: copied at once.
    unsafe { SCOPE.get(tgid) }.copied().unwrap_or(0)
}

/// Role bits of a mark are above the largest thread id (`PID_MAX_LIMIT`, 2²²).
const ROLES: u32 = 24;

/// Marks that the thread's open is left out, so that its return is not taken for one whose entry was missed, whatever the
/// capture is by then: the thread id, in a slot that few threads share.
///
/// Where two threads do and both are within an open, the return of the first is judged anew by [`unseen`].
#[inline(always)]
fn reject(pid_tgid: u64) {
    if let Some(mark) = REJECTED.get_ptr_mut(pid_tgid as u32 & (REJECTED_SLOTS - 1)) {
        // SAFETY: a value of REJECTED.
        unsafe { core::ptr::write_volatile(mark, pid_tgid as u32) };
    }
}

/// Takes back a mark whose return never came.
#[inline(always)]
fn accept(pid_tgid: u64) {
    if let Some(mark) = REJECTED.get_ptr_mut(pid_tgid as u32 & (REJECTED_SLOTS - 1)) {
        // SAFETY: a value of REJECTED.
        unsafe {
            if core::ptr::read_volatile(mark) & ((1 << ROLES) - 1) == pid_tgid as u32 {
                core::ptr::write_volatile(mark, 0);
            }
        }
    }
}

/// Whether this return is that of an open left out; asked once by each of two programs at the same place.
#[inline(always)]
pub fn was_rejected(pid_tgid: u64, role: u32) -> bool {
    let Some(mark) = REJECTED.get_ptr_mut(pid_tgid as u32 & (REJECTED_SLOTS - 1)) else { return false };
    // SAFETY: a value of REJECTED.
    let value = unsafe { core::ptr::read_volatile(mark) };
    if value & ((1 << ROLES) - 1) != pid_tgid as u32 || value & role << ROLES != 0 {
        return false;
    }
    // SAFETY: the same.
    unsafe { core::ptr::write_volatile(mark, value | role << ROLES) };
    true
}

/// Whether the other of two programs has told of this return, of a thread that has no entry: the mark says so, too.
#[inline(always)]
pub fn was_told(pid_tgid: u64, role: u32) -> bool {
    if was_rejected(pid_tgid, role) {
        return true;
    }
    if let Some(mark) = REJECTED.get_ptr_mut(pid_tgid as u32 & (REJECTED_SLOTS - 1)) {
        // SAFETY: a value of REJECTED.
        unsafe { core::ptr::write_volatile(mark, pid_tgid as u32 | role << ROLES) };
    }
    false
}

/// An open returns, its result and all but perhaps its path is in the entry: whether it may still be wanted.
#[inline(always)]
pub fn leave(capture: Capture, kind: u32, pid_tgid: u64, entry: &InFlight) -> bool {
    // As nearly always: this capture let it in, and asks for nothing that was not known then.
    let later = if kind == kind::EXEC { capture::AT_RETURN | capture::AT_ENTRY } else { capture::AT_RETURN };
    if entry.capture == capture.generation() && capture.flags() & later == 0 {
        return true;
    }
    match filter_leave(capture.0, pid_tgid, u64::from(kind)) {
        RUN => filter_done(capture.0, pid_tgid, 0) != 0,
        wanted => wanted != 0,
    }
}

/// Answer of [`filter_leave`]: the program decides. It is not run from there, as the stack has no room for one call more.
const RUN: u32 = 2;

/// The same, with the path.
#[inline(always)]
pub fn path_passes(capture: Capture, pid_tgid: u64) -> bool {
    filter_done(capture.0, pid_tgid, 1) != 0
}

/// Whether an open of which only the return was seen is in the capture for certain.
#[inline(always)]
pub fn unseen(pid_tgid: u64, kind: u32, result: i32) -> bool {
    filter_unseen(pid_tgid, u64::from(kind), result as i64 as u64) != 0
}

/// Among the bits of `asked`: the open returns, and its entry was not seen.
const UNSEEN: u64 = 1 << 48;

// What follows are functions of their own for the verifier, which checks each once and not anew for every path to every
// call; so they take plain numbers and find again what they need.

/// [`enter`], where not everything is captured.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_enter(capture: u64, pid_tgid: u64, subject: u64, owner: u64, asked: u64) -> u32 {
    let capture = Capture(capture);
    if !process_wanted(capture, subject)
        || capture.flags() & capture::AT_ENTRY != 0 && filter_now(capture.0, subject, owner, asked, 0) == 0
    {
        reject(pid_tgid);
        return 0;
    }
    accept(pid_tgid);
    1
}

/// [`leave`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_leave(capture: u64, pid_tgid: u64, kind: u64) -> u32 {
    let capture = Capture(capture);
    let flags = capture.flags();
    let Some(entry) = INFLIGHT.get_ptr(pid_tgid) else { return 0 };
    // SAFETY: a value of INFLIGHT that only this thread uses.
    let (changed, subject) =
        unsafe { ((*entry).capture != capture.generation(), u64::from((*entry).header.tgid) << 32) };
    // The last records of a probe that is being detached are those of its last capture.
    if changed && flags & capture::OFF == 0 && !process_wanted(capture, subject) {
        return 0;
    }
    // The flags of an exec are not known at its entry.
    let again = changed || kind == u64::from(kind::EXEC);
    if flags & capture::AT_RETURN != 0 || again && flags & capture::AT_ENTRY != 0 {
        return RUN;
    }
    1
}

/// [`unseen`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_unseen(pid_tgid: u64, kind: u64, result: u64) -> u32 {
    let capture = current();
    if capture.flags() == 0 {
        return u32::from(!process::is_self((pid_tgid >> 32) as u32));
    }
    if !process_wanted(capture, pid_tgid) || capture.flags() & capture::FAILED != 0 && result as i32 >= 0 {
        return 0;
    }
    if capture.flags() & capture::PROGRAM == 0 {
        return 1;
    }
    let by = match kind as u32 {
        kind::EXEC => route::EXEC,
        kind::HANDLE => route::HANDLE,
        _ => route::SYSCALL,
    };
    let asked = u64::from(by) << 32 | kind << 40 | UNSEEN;
    filter_now(capture.0, pid_tgid, 0, asked, result)
}
