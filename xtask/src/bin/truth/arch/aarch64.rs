//! What only arm64 has: no open and no creat, and 32-bit system calls by 32-bit programs alone.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;

use crate::report::{Case, Report, c, cwd, join};
use crate::sys;

/// `exit(0)`: mov x0, #0; mov x8, #93; svc #0.
pub const EXIT: &[u8] = &[0x00, 0x00, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];
/// `EM_AARCH64`
pub const MACHINE: u8 = 183;

pub fn open(_name: *const libc::c_char, _flags: i32, _mode: u32) -> Option<i32> {
    None
}

pub fn creat(_name: *const libc::c_char, _mode: u32) -> Option<i32> {
    None
}

/// Numbers from arch/arm/tools/syscall.tbl.
pub fn compat(report: &Report) -> io::Result<()> {
    let (read, write) = (libc::O_RDWR, libc::O_WRONLY);
    let created = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
    let cases: [(&str, &'static str, u32, i32, u32); 4] = [
        ("32-bit open", "open", 5, 0, 0),
        ("32-bit creat", "creat", 8, created, 0o604),
        ("32-bit openat", "openat", 322, read, 0),
        ("32-bit openat2", "openat2", 437, write, 0),
    ];
    let here = cwd()?;
    for (case, via, number, flags, mode) in cases {
        let path = join(&here, format!("compat-{via}").as_bytes());
        sys::make(&path)?;
        // Its name is the name of the thread, too.
        let program = format!("arm32-{via}");
        fs::write(&program, program_for(via, number, &path))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let file = c(program.as_bytes());
        let args = [file.as_ptr(), std::ptr::null()];
        let mut told = Case::new(case, via, &path, &path);
        told.ppid = told.pid;
        let (pid, status) = sys::in_child(|| {
            // SAFETY: a program, arguments and an environment that end with a null.
            unsafe { libc::execve(file.as_ptr(), args.as_ptr(), args[1..].as_ptr()) };
            // SAFETY: ends the child.
            unsafe { libc::_exit(255) };
        })?;
        if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) == 255 {
            report.skip(case, "this kernel or this processor runs no 32-bit programs");
            continue;
        }
        (told.pid, told.tid, told.comm) = (pid, Some(pid), program.into_bytes());
        (told.flags, told.mode, told.compat, told.ret) = (Some(flags), mode, true, libc::WEXITSTATUS(status));
        report.case(&told);
    }
    Ok(())
}

/// A 32-bit program that makes one system call and ends with its result as exit status.
fn program_for(via: &str, number: u32, path: &[u8]) -> Vec<u8> {
    const BASE: u32 = 0x40_0000;
    const HEADERS: u32 = 84;
    // Eight instructions and five words, then `struct open_how` and the name.
    let how_at = BASE + HEADERS + 4 * 13;
    let name_at = how_at + 24;
    let at_cwd = libc::AT_FDCWD as u32;
    let args = match via {
        "open" => [name_at, 0, 0, 0],
        "creat" => [name_at, 0o604, 0, 0],
        "openat" => [at_cwd, name_at, libc::O_RDWR as u32, 0],
        _ => [at_cwd, name_at, how_at, 24],
    };
    let words: [u32; 13] = [
        // ldr r0, r1, r2, r3 and r7 from the words below: each lies 32 bytes behind its instruction, 24 behind its pc.
        0xe59f_0018,
        0xe59f_1018,
        0xe59f_2018,
        0xe59f_3018,
        0xe59f_7018,
        // svc #0; mov r7, #1 (exit); svc #0.
        0xef00_0000,
        0xe3a0_7001,
        0xef00_0000,
        args[0],
        args[1],
        args[2],
        args[3],
        number,
    ];
    let size = HEADERS + 4 * 13 + 24 + path.len() as u32 + 1;
    // ELFCLASS32, ELFDATA2LSB; ET_EXEC, EM_ARM, version; entry, program headers, section headers; EABI 5.
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2, 0, 40, 0, 1, 0, 0, 0]);
    for value in [BASE + HEADERS, 52, 0, 0x0500_0000] {
        elf.extend(value.to_le_bytes());
    }
    for value in [52_u16, 32, 1, 40, 0, 0] {
        elf.extend(value.to_le_bytes());
    }
    // PT_LOAD: offset, addresses, sizes, readable and executable, alignment.
    for value in [1, 0, BASE, BASE, size, size, 5, 0x1_0000] {
        elf.extend(value.to_le_bytes());
    }
    for word in words {
        elf.extend(word.to_le_bytes());
    }
    for value in [libc::O_WRONLY as u64, 0, 0] {
        elf.extend(value.to_le_bytes());
    }
    elf.extend(path);
    elf.push(0);
    elf
}
