//! The way of a record into the ring.

use core::ptr::addr_of;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::bpf_ringbuf_output,
};
use probe_common::{RecordHeader, stage};

use crate::{
    config::{self, setting},
    maps::{EVENTS, INLINE_NAME, InFlight, LONG, NAMED_LONG, WAKE},
};

/// Sends the record that the entry holds.
#[inline(always)]
pub fn emit(entry: &InFlight) -> bool {
    let name = entry.header.name_len as u64 & (INLINE_NAME as u64 - 1);
    let dir = entry.header.dir_len as u64 & 0x1ff;
    // SAFETY: header and bytes lie behind each other, and 255 + 511 bytes are within `bytes`.
    unsafe { output(addr_of!(entry.header).cast(), size_of::<RecordHeader>() as u64 + name + dir) }
}

/// Sends the record whose name is in [`LONG`].
#[inline(always)]
pub fn emit_long(entry: &mut InFlight, pid_tgid: u64) -> bool {
    let Some(long) = LONG.get_ptr_mut(pid_tgid) else { return false };
    let name = entry.header.name_len as u64 & 0xfff;
    let mut dir = entry.header.dir_len as u64 & 0x1fff;
    if dir > 0x1000 + 0xff {
        dir = 0x1000 + 0xff;
    }
    // SAFETY: a value of LONG that only this thread uses; header and bytes lie behind each other, and 4,095 + 4,351
    // bytes are within `bytes`.
    let sent = unsafe {
        (*long).header = entry.header;
        output(addr_of!((*long).header).cast(), size_of::<RecordHeader>() as u64 + name + dir)
    };
    let _ = LONG.remove(pid_tgid);
    sent
}

/// Forgets a long name whose record is not wanted.
#[inline(always)]
pub fn drop_long(entry: &mut InFlight, pid_tgid: u64) {
    if entry.named == NAMED_LONG {
        let _ = LONG.remove(pid_tgid);
    }
}

/// Copies a record into the ring; false when it has no room.
///
/// A wakeup costs more than all the rest of an open, so there is none while the reader is busy: it polls then.
/// Before it sleeps it says so in [`WAKE`], and the first record wakes it. In a small ring a quarter full wakes it too.
///
/// # Safety
/// `data` points to `len` bytes.
#[inline(always)]
pub unsafe fn output(data: *const u8, len: u64) -> bool {
    if !config::does(stage::RING) {
        return true;
    }
    let mut flags = u64::from(BPF_RB_NO_WAKEUP);
    if setting!(stage) == stage::WHOLE
        && let Some(wake) = WAKE.get_ptr_mut(0)
    {
        // SAFETY: a value of WAKE. Two CPUs may both find it set and wake twice: that costs, it does not hurt.
        if unsafe { core::ptr::read_volatile(wake) } != 0 {
            // SAFETY: the same.
            unsafe { core::ptr::write_volatile(wake, 0) };
            flags = u64::from(BPF_RB_FORCE_WAKEUP);
        }
    }
    let enough = setting!(wake_bytes);
    if enough != 0 && EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) > u64::from(enough) {
        flags = u64::from(BPF_RB_FORCE_WAKEUP);
    }
    // SAFETY: the helper takes the map's address, which the loader puts here; the bytes are the caller's promise.
    unsafe { bpf_ringbuf_output(addr_of!(EVENTS) as *mut _, data as *mut _, len, flags) == 0 }
}
