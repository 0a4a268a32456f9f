//! The least of io_uring that opens a file: one ring, one entry at a time, no library.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys;

/// `IORING_OP_OPENAT` and `IORING_OP_OPENAT2`.
pub const OPENAT: u8 = 18;
pub const OPENAT2: u8 = 28;
/// `IOSQE_ASYNC`: done by a worker thread of the kernel, never inline.
pub const ASYNC: u8 = 1 << 4;

#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    /// head, tail, ring_mask, ring_entries, flags, dropped, array, resv1, user_addr (2)
    sq: [u32; 10],
    /// head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1, user_addr (2)
    cq: [u32; 10],
}

/// `struct io_uring_sqe`, with the names that opening uses.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Entry {
    pub opcode: u8,
    pub flags: u8,
    pub ioprio: u16,
    pub dirfd: i32,
    /// Address of `struct open_how` for [`OPENAT2`].
    pub how: u64,
    pub name: u64,
    /// Mode for [`OPENAT`], the size of `struct open_how` for [`OPENAT2`].
    pub len: u32,
    pub open_flags: u32,
    pub user_data: u64,
    pub rest: [u64; 3],
}

/// A ring.
pub struct Ring {
    fd: i32,
    submission: *mut u8,
    completion: *mut u8,
    entries: *mut Entry,
    params: Params,
}

impl Ring {
    /// Makes a ring, or says why the kernel has none.
    pub fn new() -> io::Result<Self> {
        let mut params = Params::default();
        // SAFETY: io_uring_setup writes one `Params`.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, &raw mut params) } as i32;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let area = |offset: i64, len: u32| {
            let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
            // SAFETY: a fresh mapping of the ring's descriptor.
            let at = unsafe { libc::mmap(ptr::null_mut(), len as usize, protection, flags, fd, offset) };
            if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast::<u8>()) }
        };
        Ok(Self {
            fd,
            submission: area(0, params.sq[6] + params.sq_entries * 4)?,
            completion: area(0x800_0000, params.cq[5] + params.cq_entries * 16)?,
            entries: area(0x1000_0000, params.sq_entries * size_of::<Entry>() as u32)?.cast(),
            params,
        })
    }

    /// Submits one entry and waits for its result.
    pub fn submit(&mut self, entry: Entry) -> io::Result<i32> {
        // SAFETY: the offsets are those the kernel gave for these mappings; one entry is in flight at a time, so
        // slot 0 of each array is free.
        unsafe {
            let tail = &*self.submission.add(self.params.sq[1] as usize).cast::<AtomicU32>();
            let mask = *self.submission.add(self.params.sq[2] as usize).cast::<u32>();
            let at = tail.load(Ordering::Relaxed);
            let slot = (at & mask) as usize;
            *self.entries.add(slot) = entry;
            *self.submission.add(self.params.sq[6] as usize).cast::<u32>().add(slot) = slot as u32;
            tail.store(at.wrapping_add(1), Ordering::Release);
            loop {
                if libc::syscall(libc::SYS_io_uring_enter, self.fd, 1, 1, 1, ptr::null::<u8>(), 0) >= 0 {
                    break;
                }
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            let head = &*self.completion.add(self.params.cq[0] as usize).cast::<AtomicU32>();
            let ring_tail = &*self.completion.add(self.params.cq[1] as usize).cast::<AtomicU32>();
            let mask = *self.completion.add(self.params.cq[2] as usize).cast::<u32>();
            let at = head.load(Ordering::Relaxed);
            if at == ring_tail.load(Ordering::Acquire) {
                return Err(io::Error::other("no completion"));
            }
            // struct io_uring_cqe: user_data u64, res s32, flags u32.
            let result = *self.completion.add(self.params.cq[5] as usize + 16 * (at & mask) as usize + 8).cast::<i32>();
            head.store(at.wrapping_add(1), Ordering::Release);
            Ok(result)
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        sys::close(self.fd);
    }
}
