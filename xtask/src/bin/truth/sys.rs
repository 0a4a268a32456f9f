//! The system calls by which a file can be opened, made directly: what the C library would make of them is not
//! what is to be tested. Each returns what the kernel did: a descriptor, or −errno.

use std::ffi::CString;
use std::io;

/// `struct open_how` of openat2(2).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct OpenHow {
    pub flags: u64,
    pub mode: u64,
    pub resolve: u64,
}

/// A result as the kernel gave it.
pub fn ret(value: libc::c_long) -> i32 {
    if value == -1 { -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) } else { value as i32 }
}

pub fn openat(dirfd: i32, name: *const libc::c_char, flags: i32, mode: u32) -> i32 {
    // SAFETY: openat reads the name; a bad pointer is answered with EFAULT.
    ret(unsafe { libc::syscall(libc::SYS_openat, dirfd, name, flags, mode) })
}

pub fn openat2(dirfd: i32, name: *const libc::c_char, how: &OpenHow) -> i32 {
    // SAFETY: as openat; `how` has the size that is given.
    ret(unsafe { libc::syscall(libc::SYS_openat2, dirfd, name, how, size_of::<OpenHow>()) })
}

/// Makes an empty file without opening it: an open of the same name would be mistaken for the case's.
pub fn make(name: &[u8]) -> io::Result<()> {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: mknod reads the name.
    if unsafe { libc::mknod(name.as_ptr(), libc::S_IFREG | 0o644, 0) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

pub fn gettid() -> i32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::gettid() }
}

/// Names the calling thread, with bytes that a terminal may obey.
pub fn set_comm(comm: &[u8]) {
    let comm = CString::new(comm).unwrap_or_default();
    // SAFETY: PR_SET_NAME reads at most 16 bytes up to the NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, comm.as_ptr()) };
}

/// The name of the calling thread.
pub fn comm() -> Vec<u8> {
    let mut name = [0_u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name.iter().copied().take_while(|byte| *byte != 0).collect()
}

/// Anonymous or file memory from mmap(2), never unmapped.
pub fn map(len: usize, protection: i32, flags: i32, fd: i32) -> io::Result<*mut u8> {
    // SAFETY: a fresh mapping of the kernel's choice overlaps nothing.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast()) }
}

/// Forks; the child does `work` and ends. Its pid and how it ended.
///
/// Call it only while this process has one thread.
pub fn in_child(work: impl FnOnce()) -> io::Result<(i32, i32)> {
    // SAFETY: there is one thread, so the child's memory is in a state that it can go on with.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            work();
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(0) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: writes the status of a child of ours.
            unsafe { libc::waitpid(pid, &raw mut status, 0) };
            Ok((pid, status))
        }
    }
}

/// Closes a descriptor; a result that is none is passed over.
pub fn close(fd: i32) {
    if fd >= 0 {
        // SAFETY: closes a descriptor that its owner gives up.
        unsafe { libc::close(fd) };
    }
}
