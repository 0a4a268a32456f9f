//! What differs between the architectures of the kernel: numbers of system calls, the mark of a 32-bit one, and the bits
//! of an open's flags. The layout of `pt_regs` is aya's, chosen by the same `bpf_target_arch`; offsets come from BTF.

pub use this::{COMPAT, compat_route, flags, native_route};

#[cfg(bpf_target_arch = "x86_64")]
mod this {
    use probe_common::route;

    /// `TS_COMPAT` of `thread_info.status` (arch/x86/include/asm/thread_info.h): int 0x80 and sysenter, also from a 64-bit
    /// program.
    pub const COMPAT: u32 = 1 << 1;

    /// The flags of an open as a record has them: those of asm-generic/fcntl.h, which this architecture uses.
    #[inline(always)]
    pub fn flags(flags: u32) -> u32 {
        flags
    }

    /// From arch/x86/entry/syscalls/syscall_64.tbl; bit 30 is x32.
    #[inline(always)]
    pub fn native_route(nr: u32) -> u8 {
        match nr & !(1 << 30) {
            2 => route::OPEN,
            85 => route::CREAT,
            257 => route::OPENAT,
            437 => route::OPENAT2,
            _ => route::SYSCALL,
        }
    }

    /// From arch/x86/entry/syscalls/syscall_32.tbl.
    #[inline(always)]
    pub fn compat_route(nr: u32) -> u8 {
        match nr {
            5 => route::OPEN,
            8 => route::CREAT,
            295 => route::OPENAT,
            437 => route::OPENAT2,
            _ => route::SYSCALL,
        }
    }
}

#[cfg(bpf_target_arch = "aarch64")]
mod this {
    use probe_common::route;

    /// `TIF_32BIT` of `thread_info.flags` (arch/arm64/include/asm/thread_info.h): an AArch32 program.
    pub const COMPAT: u32 = 1 << 22;

    /// arch/arm64/include/uapi/asm/fcntl.h has the four bits from `O_DIRECTORY` to `O_LARGEFILE` in another order than
    /// asm-generic/fcntl.h, by which a record, a filter and a recording read on another machine go. So has AArch32.
    #[inline(always)]
    pub fn flags(flags: u32) -> u32 {
        // O_DIRECTORY and O_NOFOLLOW, then O_DIRECT and O_LARGEFILE: two bits up, two bits down.
        (flags & !0o740_000) | ((flags & 0o140_000) << 2) | ((flags & 0o600_000) >> 2)
    }

    /// From include/uapi/asm-generic/unistd.h, which has neither open nor creat.
    #[inline(always)]
    pub fn native_route(nr: u32) -> u8 {
        match nr {
            56 => route::OPENAT,
            437 => route::OPENAT2,
            _ => route::SYSCALL,
        }
    }

    /// From arch/arm64/include/asm/unistd32.h.
    #[inline(always)]
    pub fn compat_route(nr: u32) -> u8 {
        match nr {
            5 => route::OPEN,
            8 => route::CREAT,
            322 => route::OPENAT,
            437 => route::OPENAT2,
            _ => route::SYSCALL,
        }
    }
}
