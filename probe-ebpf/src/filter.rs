//! The capture's decision: whose opens, and which of them. Where it can be taken at the entry it is, before anything is
//! written; what needs the result or the path waits for the return.
//!
//! The word in [`CAPTURE`] says what is to be asked at all. User space writes a new program into the slot of [`FILTER`] that
//! is not in use, then that word: a run of the probe, which has read the word once, sees the one or the other as a whole.
//! An open that a change overtakes is captured if both wanted it.

use aya_ebpf::helpers::{bpf_get_current_uid_gid, generated};
use probe_common::{
    Capture, COMM_LEN, capture,
    filter::{self, FAIL, Known, Memory, Open, Place, Program, STEPS, TEXT_MAX, Text, answered, check, follow},
    route,
};

use crate::{
    arch, config,
    maps::{CAPTURE, FILTER, INFLIGHT, InFlight, LONG, NAMED_LONG, REJECTED, REJECTED_SLOTS, SCOPE},
    open::{Request, kind},
    process::{self, Current, read},
};

/// The capture in force, read in one piece.
#[inline(always)]
pub fn current() -> Capture {
    match CAPTURE.get_ptr(0) {
        // SAFETY: a value of CAPTURE; user space writes it as one word.
        Some(word) => Capture(unsafe { core::ptr::read_volatile(word) }),
        None => Capture::new(capture::OFF, 0),
    }
}

/// An open begins: the capture, if it may want it.
#[inline(always)]
pub fn enter(pid_tgid: u64, subject: u64, owner: u64, request: &Request) -> Option<Capture> {
    let capture = current();
    if capture.flags() == 0 {
        return if process::is_self((subject >> 32) as u32) { None } else { Some(capture) };
    }
    let asked = u64::from(arch::flags(request.flags)) | u64::from(request.route) << 32 | u64::from(request.kind) << 40;
    if filter_enter(capture.0, pid_tgid, subject, owner, asked) == 0 { None } else { Some(capture) }
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

/// An open returns, its result and all but perhaps its path is in the entry: whether it may still be wanted.
#[inline(always)]
pub fn leave(capture: Capture, kind: u32, pid_tgid: u64) -> bool {
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

/// Folds the beginning of the thread's name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_fold(pid_tgid: u64) -> u64 {
    match place(pid_tgid) {
        Some(place) => filter::fold(&place, &Kernel { slot: 0 }),
        None => filter::UNFOLDED,
    }
}

/// Where name and directory of the thread's open are.
#[inline(always)]
fn place(pid_tgid: u64) -> Option<Place> {
    let entry = INFLIGHT.get_ptr_mut(pid_tgid)?;
    // SAFETY: a value of INFLIGHT that only this thread uses. The address goes through memory, where the verifier takes it
    // for the number that the functions below want.
    let (name, header) = unsafe {
        let entry = &mut *entry;
        let mut bytes = entry.bytes.as_ptr();
        if entry.named == NAMED_LONG {
            bytes = (&raw const (*LONG.get_ptr(pid_tgid)?).bytes).cast();
        }
        core::ptr::write_volatile(&raw mut entry.address, bytes as u64);
        (core::ptr::read_volatile(&raw const entry.address), &entry.header)
    };
    let name_len = u64::from(header.name_len);
    Some(Place {
        name,
        name_len,
        dir: name + name_len,
        dir_len: u64::from(header.dir_len),
        marks: header.marks,
    })
}

/// The kernel's memory, and the texts of a program.
struct Kernel {
    /// From bit 32.
    slot: u64,
}

impl Memory for Kernel {
    #[inline(always)]
    fn equal(&self, address: u64, text: u64, len: u64) -> bool {
        filter_equal(address, self.slot | text, len) != 0
    }

    #[inline(always)]
    fn first_slash(&self, address: u64, len: u64) -> u64 {
        filter_first_slash(address, len)
    }

    #[inline(always)]
    fn behind_last_slash(&self, address: u64, len: u64) -> u64 {
        filter_behind_last_slash(address, len)
    }

    #[inline(always)]
    fn four(&self, address: u64) -> u32 {
        read(address).unwrap_or(0)
    }

    #[inline(always)]
    fn text(&self, text: u64) -> u64 {
        filter_text(self.slot | text)
    }

    #[inline(always)]
    fn leading(&self, address: u64, left: u64) -> u64 {
        filter_leading(address, left)
    }
}

/// Bytes that are looked at in one piece: what fits the stack beside its callers'.
const WINDOW: usize = 32;

/// Up to [`WINDOW`] bytes at an address, the rest zero; `len` is at most that.
#[inline(always)]
fn window(address: u64, len: u64) -> [u64; WINDOW / 8] {
    let mut window = [0u64; WINDOW / 8];
    // SAFETY: the helper checks the address itself; `len` bytes are within the window.
    unsafe { generated::bpf_probe_read_kernel(window.as_mut_ptr().cast(), len as u32, address as *const _) };
    window
}

/// Goes through `len` bytes at an address in words, of which there are at most [`TEXT_MAX`] bytes; `look` gets where they
/// begin and ends it by true.
#[inline(always)]
fn words_at(address: u64, len: u64, mut look: impl FnMut(u64, [u64; WINDOW / 8]) -> bool) {
    let mut left = len;
    for chunk in 0..TEXT_MAX / WINDOW {
        let at = (chunk * WINDOW) as u64;
        // One branch for each window: the verifier follows every one.
        if left <= WINDOW as u64 {
            look(at, window(address + at, left));
            return;
        }
        if look(at, window(address + at, WINDOW as u64)) {
            return;
        }
        left -= WINDOW as u64;
    }
}

/// The words at a byte offset into a program's texts; the slot from bit 32.
#[inline(always)]
fn texts(text: u64) -> Option<*const u8> {
    let program: *const Program = FILTER.get_ptr((text >> 32) as u32)?;
    let at = text as usize & (STEPS * size_of::<Text>() - 1);
    // SAFETY: within the texts, behind which there is slack for what is read from here.
    Some(unsafe { (&raw const (*program).texts).cast::<u8>().add(at) })
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_text(text: u64) -> u64 {
    // SAFETY: as in `texts`.
    texts(text).map_or(0, |words| unsafe { core::ptr::read_unaligned(words.cast()) })
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_equal(address: u64, text: u64, len: u64) -> u32 {
    let Some(words) = texts(text) else { return 0 };
    let mut left = len;
    for chunk in 0..TEXT_MAX / WINDOW {
        let done = chunk * WINDOW;
        let window = window(address + done as u64, if left > WINDOW as u64 { WINDOW as u64 } else { left });
        for (i, word) in window.iter().enumerate() {
            // SAFETY: less than TEXT_MAX bytes behind `words`, see `texts`.
            let other: u64 = unsafe { core::ptr::read_unaligned(words.add(done + 8 * i).cast()) };
            if left <= 8 {
                return u32::from((word ^ other) & filter::mask(left) == 0);
            }
            if *word != other {
                return 0;
            }
            left -= 8;
        }
    }
    1
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_first_slash(address: u64, len: u64) -> u64 {
    let (mut found, mut at) = (0, TEXT_MAX as u64);
    words_at(address, len, |begin, words| {
        for (i, word) in words.iter().enumerate() {
            let here = filter::slashes(*word);
            if here != 0 {
                (found, at) = (here, begin + 8 * i as u64);
                return true;
            }
        }
        false
    });
    if found == 0 { at } else { at + filter::first(found) }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_behind_last_slash(address: u64, len: u64) -> u64 {
    let skip = if len > TEXT_MAX as u64 { len - TEXT_MAX as u64 } else { 0 };
    let (mut found, mut at) = (0, 0);
    words_at(address + skip, len - skip, |begin, words| {
        for (i, word) in words.iter().enumerate() {
            let here = filter::slashes(*word);
            if here != 0 {
                (found, at) = (here, begin + 8 * i as u64);
            }
        }
        false
    });
    if found == 0 { 0 } else { skip + at + filter::last(found) + 1 }
}

/// The answer is a number that the verifier knows nothing of: it does not follow each sum of these on its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_leading(address: u64, left: u64) -> u64 {
    filter::leading(address, left, &Kernel { slot: 0 })
}
