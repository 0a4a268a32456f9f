//! What only x86-64 has: open and creat, and 32-bit system calls from a 64-bit process.

use std::arch::asm;
use std::io;

use crate::report::{Case, Report, cwd, join};
use crate::sys;

/// `exit(0)`: xor edi, edi; mov eax, 60; syscall.
pub const EXIT: &[u8] = &[0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
/// `EM_X86_64`
pub const MACHINE: u8 = 62;

pub fn open(name: *const libc::c_char, flags: i32, mode: u32) -> Option<i32> {
    // SAFETY: open reads the name; a bad pointer is answered with EFAULT.
    Some(sys::ret(unsafe { libc::syscall(libc::SYS_open, name, flags, mode) }))
}

pub fn creat(name: *const libc::c_char, mode: u32) -> Option<i32> {
    // SAFETY: as open.
    Some(sys::ret(unsafe { libc::syscall(libc::SYS_creat, name, mode) }))
}

pub fn compat(report: &Report) -> io::Result<()> {
    // A kernel without 32-bit calls ends the process that makes one: let that be a child.
    let (_, status) = sys::in_child(|| {
        int_0x80(20, [0; 4]); // getpid
    })?;
    let cases: [(&str, &'static str, u32); 4] = [
        ("32-bit open", "open", 5),
        ("32-bit creat", "creat", 8),
        ("32-bit openat", "openat", 295),
        ("32-bit openat2", "openat2", 437),
    ];
    if status != 0 {
        for (case, ..) in cases {
            report.skip(case, "this kernel has no 32-bit system calls");
        }
        return Ok(());
    }
    for (case, via, number) in cases {
        let path = join(&cwd()?, format!("compat-{via}").as_bytes());
        sys::make(&path)?;
        let name = low(&path)?;
        let mut told = Case::new(case, via, &path, &path);
        told.compat = true;
        let at_cwd = libc::AT_FDCWD as u32;
        told.ret = match via {
            "open" => int_0x80(number, [name, 0, 0, 0]),
            "creat" => {
                (told.flags, told.mode) = (Some(libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC), 0o604);
                int_0x80(number, [name, 0o604, 0, 0])
            }
            "openat" => {
                told.flags = Some(libc::O_RDWR);
                int_0x80(number, [at_cwd, name, libc::O_RDWR as u32, 0])
            }
            _ => {
                // flags O_WRONLY, no mode, no resolve.
                let how = low(&[&1_u64.to_le_bytes()[..], &[0; 16]].concat())?;
                told.flags = Some(libc::O_WRONLY);
                int_0x80(number, [at_cwd, name, how, 24])
            }
        };
        sys::close(told.ret);
        report.case(&told);
    }
    Ok(())
}

/// Memory below 4 GiB, which 32-bit system calls can name, filled with `bytes` and a NUL.
fn low(bytes: &[u8]) -> io::Result<u32> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    let at = sys::map(bytes.len() + 1, libc::PROT_READ | libc::PROT_WRITE, flags, -1)?;
    // SAFETY: the mapping is one byte longer than `bytes`, and zeroed.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
    u32::try_from(at as usize).map_err(io::Error::other)
}

/// A 32-bit system call from this 64-bit process. Where the kernel has none the process gets a signal.
fn int_0x80(number: u32, args: [u32; 4]) -> i32 {
    let mut value = u64::from(number);
    // SAFETY: the calls made this way read memory that `low` made. rbx belongs to LLVM and is put back; int 0x80
    // clobbers r8 to r11 on older kernels.
    unsafe {
        asm!(
            "xchg {first}, rbx",
            "int 0x80",
            "xchg {first}, rbx",
            first = inout(reg) u64::from(args[0]) => _,
            inout("rax") value,
            in("rcx") u64::from(args[1]),
            in("rdx") u64::from(args[2]),
            in("rsi") u64::from(args[3]),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    value as i32
}
