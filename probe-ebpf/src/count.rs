//! Counting: losses per CPU, opens per process. Look up, then add in place; nothing is read back.

use core::arch::asm;

use probe_common::{COMM_LEN, HISTOGRAM_BUCKETS, ProcessCounts, ProcessKey, RecordHeader, loss, marks};

use crate::{
    emit::drop_long,
    maps::{INFLIGHT, InFlight, LOSSES, OTHERS, PROCESSES, ZEROS},
};

/// Adds to a counter of a map that other CPUs (or, where fentry programs can be preempted, other tasks) add to as well.
///
/// # Safety
/// `counter` points to an aligned `u64` of a map's value.
#[inline(always)]
pub unsafe fn add(counter: *mut u64, n: u64) {
    // core has no fetch_add for BPF, which cannot compare and swap on older kernels; BPF_XADD it has always had.
    // SAFETY: the caller's.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) n, options(nostack)) };
}

/// Counts a loss.
#[inline(always)]
pub fn lost(slot: u32, n: u64) {
    if let Some(counter) = LOSSES.get_ptr_mut(slot) {
        // SAFETY: a value of LOSSES.
        unsafe { add(counter, n) };
    }
}

/// The bucket of a duration, see [`HISTOGRAM_BUCKETS`]: BPF has no instruction for the leading zeros.
#[inline(always)]
fn bucket(duration_ns: u64) -> usize {
    let mut rest = if duration_ns > u32::MAX as u64 { u32::MAX } else { duration_ns as u32 };
    let mut log = 0;
    if rest >= 1 << 16 {
        rest >>= 16;
        log += 16;
    }
    if rest >= 1 << 8 {
        rest >>= 8;
        log += 8;
    }
    if rest >= 1 << 4 {
        rest >>= 4;
        log += 4;
    }
    if rest >= 1 << 2 {
        rest >>= 2;
        log += 2;
    }
    if rest >= 2 {
        log += 1;
    }
    log & (HISTOGRAM_BUCKETS - 1)
}

/// Counts one open that returned. The row to which a lost record is to be counted comes back.
#[inline(always)]
pub fn open(entry: &InFlight, now_ns: u64) -> Option<*mut ProcessCounts> {
    let header = &entry.header;
    let row = row(header)?;
    // SAFETY: a value of PROCESSES or OTHERS, which stays readable until the program ends even if it is deleted.
    unsafe {
        add(&raw mut (*row).histogram[bucket(header.duration_ns)], 1);
        add(&raw mut (*row).latency_ns, header.duration_ns);
        if header.duration_ns > (*row).latency_max_ns {
            (*row).latency_max_ns = header.duration_ns;
        }
        if header.ret < 0 {
            add(&raw mut (*row).failed, 1);
        }
        (*row).last_ns = now_ns;
        // A thread's name says less than its process's: the leader's wins.
        if header.tid == header.tgid || (*row).comm[0] == 0 {
            copy_comm(&raw mut (*row).comm, &raw const header.comm);
        }
    }
    Some(row)
}

/// Copies a thread's name. As an array it would be copied byte by byte.
///
/// # Safety
/// Both are valid, at a multiple of 4, as in [`ProcessCounts`] and [`RecordHeader`].
#[inline(always)]
unsafe fn copy_comm(to: *mut [u8; COMM_LEN], from: *const [u8; COMM_LEN]) {
    let (to, from) = (to.cast::<u32>(), from.cast::<u32>());
    // SAFETY: the caller's. Volatile, or it becomes a call of memmove.
    unsafe {
        to.write_volatile(from.read_volatile());
        to.add(1).write_volatile(from.add(1).read_volatile());
        to.add(2).write_volatile(from.add(2).read_volatile());
        to.add(3).write_volatile(from.add(3).read_volatile());
    }
}

/// Counts one open of which only the return was seen.
#[inline(always)]
pub fn unseen(header: &RecordHeader) -> Option<*mut ProcessCounts> {
    let row = row(header)?;
    // SAFETY: as in `open`.
    unsafe {
        add(&raw mut (*row).opens, 1);
        if header.ret < 0 {
            add(&raw mut (*row).failed, 1);
        }
        (*row).last_ns = header.start_ns;
        if (*row).comm[0] == 0 {
            copy_comm(&raw mut (*row).comm, &raw const header.comm);
        }
    }
    Some(row)
}

/// Counts an open whose return was not seen, by what its thread's entry has of it: it is lost, with its record.
///
/// A function of its own, for the reason that those of [`crate::filter`] are.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_unreturned(pid_tgid: u64) -> u32 {
    lost(loss::NO_RETURN, 1);
    let Some(entry) = INFLIGHT.get_ptr_mut(pid_tgid) else { return 0 };
    // SAFETY: a value of INFLIGHT that only this thread uses.
    let entry = unsafe { &mut *entry };
    drop_long(entry, pid_tgid);
    let mut name = 0;
    if entry.named != 0 {
        name = u64::from(entry.header.name_len);
        if entry.header.marks & marks::NAME_TRUNCATED != 0 {
            name += entry.cut;
        }
        lost(loss::NAME_BYTES, name);
    }
    if let Some(row) = row(&entry.header) {
        // SAFETY: as in `open`.
        unsafe {
            add(&raw mut (*row).opens, 1);
            add(&raw mut (*row).lost, 1);
            add(&raw mut (*row).name_bytes_lost, name);
            (*row).last_ns = entry.header.start_ns;
            if (*row).comm[0] == 0 {
                copy_comm(&raw mut (*row).comm, &raw const entry.header.comm);
            }
        }
    }
    0
}

/// The row of a process, made at its first open; the row of all others when the table is full.
#[inline(always)]
fn row(header: &RecordHeader) -> Option<*mut ProcessCounts> {
    let key = &ProcessKey { start_ns: header.process_start_ns, tgid: header.tgid, reserved: 0 };
    if let Some(row) = PROCESSES.get_ptr_mut(key) {
        return Some(row);
    }
    let zeros = ZEROS.get(0)?;
    // Another CPU may be first: what matters is that the row is there afterwards.
    let _ = PROCESSES.insert(key, &zeros.counts, u64::from(aya_ebpf::bindings::BPF_NOEXIST));
    match PROCESSES.get_ptr_mut(key) {
        Some(row) => {
            // SAFETY: a value of PROCESSES.
            unsafe {
                (*row).uid = header.uid;
                (*row).ppid = header.ppid;
            }
            Some(row)
        }
        None => {
            lost(loss::PROCESS_TABLE_FULL, 1);
            OTHERS.get_ptr_mut(0)
        }
    }
}
