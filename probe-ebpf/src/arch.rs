//! What differs between the architectures of the kernel: numbers of system calls, the mark of a 32-bit one, and the bits
//! of an open's flags. The layout of `pt_regs` is aya's, chosen by the same `bpf_target_arch`; offsets come from BTF.

use probe_common::route;

pub use this::{COMPAT, flags};

/// The numbers of the system calls that open by name.
struct Calls {
    open: u32,
    creat: u32,
    openat: u32,
    openat2: u32,
}

/// No such call.
#[cfg(bpf_target_arch = "aarch64")]
const NONE: u32 = u32::MAX;

/// By which system call an open came, as a route.
#[inline(always)]
pub fn route(nr: u32, compat: bool) -> u8 {
    // Bit 30 is x32's, and nobody else's.
    if compat { this::COMPAT_CALLS.route(nr) } else { this::NATIVE_CALLS.route(nr & !(1 << 30)) }
}

impl Calls {
    #[inline(always)]
    fn route(&self, nr: u32) -> u8 {
        match nr {
            nr if nr == self.openat => route::OPENAT,
            nr if nr == self.open => route::OPEN,
            nr if nr == self.creat => route::CREAT,
            nr if nr == self.openat2 => route::OPENAT2,
            _ => route::SYSCALL,
        }
    }
}

#[cfg(bpf_target_arch = "x86_64")]
mod this {
    use super::Calls;

    /// `TS_COMPAT` of `thread_info.status` (arch/x86/include/asm/thread_info.h): int 0x80 and sysenter, also from a 64-bit
    /// program.
    pub const COMPAT: u32 = 1 << 1;
    /// arch/x86/entry/syscalls/syscall_64.tbl
    pub const NATIVE_CALLS: Calls = Calls { open: 2, creat: 85, openat: 257, openat2: 437 };
    /// arch/x86/entry/syscalls/syscall_32.tbl
    pub const COMPAT_CALLS: Calls = Calls { open: 5, creat: 8, openat: 295, openat2: 437 };

    /// The flags of an open as a record has them: those of asm-generic/fcntl.h, which this architecture uses.
    #[inline(always)]
    pub fn flags(flags: u32) -> u32 {
        flags
    }
}

#[cfg(bpf_target_arch = "aarch64")]
mod this {
    use super::{Calls, NONE};

    /// `TIF_32BIT` of `thread_info.flags` (arch/arm64/include/asm/thread_info.h): an AArch32 program.
    pub const COMPAT: u32 = 1 << 22;
    /// include/uapi/asm-generic/unistd.h
    pub const NATIVE_CALLS: Calls = Calls { open: NONE, creat: NONE, openat: 56, openat2: 437 };
    /// arch/arm64/include/asm/unistd32.h
    pub const COMPAT_CALLS: Calls = Calls { open: 5, creat: 8, openat: 322, openat2: 437 };

    /// arch/arm64/include/uapi/asm/fcntl.h has the four bits from `O_DIRECTORY` to `O_LARGEFILE` in another order than
    /// asm-generic/fcntl.h, by which a record, a filter and a recording read on another machine go. So has AArch32.
    #[inline(always)]
    pub fn flags(flags: u32) -> u32 {
        // O_DIRECTORY and O_NOFOLLOW, then O_DIRECT and O_LARGEFILE: two bits up, two bits down.
        (flags & !0o740_000) | ((flags & 0o140_000) << 2) | ((flags & 0o600_000) >> 2)
    }
}
