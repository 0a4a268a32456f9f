//! Names and directories: from the kernel's own copy, or from user memory where the kernel made none.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use probe_common::{DIR_DEPTH, DIR_MAX, NAME_MAX, RecordHeader, loss, marks};

use crate::{
    config::{self, setting},
    count::lost,
    maps::{COMPONENT, INFLIGHT, INLINE_DIR, INLINE_NAME, InFlight, LONG, Long, NAMED_INLINE, NAMED_LONG, ZEROS},
    process::{self, read},
};

/// `AT_FDCWD` of fcntl.h.
const AT_FDCWD: i32 = -100;
/// `RESOLVE_IN_ROOT` of linux/openat2.h: an absolute name begins at the dirfd, too.
const RESOLVE_IN_ROOT: u32 = 0x10;

/// Where a name is.
#[derive(Clone, Copy)]
pub enum Name {
    /// In the kernel: what the open uses.
    Kernel(u64),
    /// In user memory: what the process showed, perhaps changed since.
    User(u64),
}

impl Name {
    /// Copies it to `to` with its NUL; the length with the NUL, negative where it cannot be read.
    ///
    /// # Safety
    /// `to` has room for `len` bytes.
    #[inline(always)]
    unsafe fn copy(self, to: *mut u8, len: u32) -> i64 {
        // SAFETY: the helpers check the source; the destination is the caller's promise, which the verifier checks again.
        unsafe {
            match self {
                Self::Kernel(from) => bpf_probe_read_kernel_str(to.cast(), len, from as *const _),
                Self::User(from) => bpf_probe_read_user_str(to.cast(), len, from as *const _),
            }
        }
    }

    /// The same name from its `n`-th byte on.
    #[inline(always)]
    fn behind(self, n: u64) -> Self {
        match self {
            Self::Kernel(from) => Self::Kernel(from + n),
            Self::User(from) => Self::User(from + n),
        }
    }
}

/// `struct path`: a dentry and the mount it is reached by.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Path {
    mnt: u64,
    dentry: u64,
}

/// A walk up to the root, between two calls of [`climb`].
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Walk {
    root: Path,
    at: Path,
    /// The top of the mount that `at` is on.
    mnt_root: u64,
    /// Whether the directory is no longer in the dentry hash: it is deleted, unless it is a root.
    unhashed: u64,
}

/// `d_parent` and, right behind it, `d_name`: one read a component.
#[derive(Clone, Copy)]
#[repr(C)]
struct Dentry {
    parent: u64,
    hash_len: u64,
    name: u64,
}

/// Puts the name, and for a relative one its directory, into the entry, or into [`LONG`] if it is long.
#[inline(always)]
pub fn fill(entry: &mut InFlight, pid_tgid: u64, name: Name) {
    if let Name::User(_) = name {
        entry.header.marks |= marks::NAME_FROM_USER;
    }
    // SAFETY: `bytes` is longer than INLINE_NAME.
    let len = unsafe { name.copy(entry.bytes.as_mut_ptr(), INLINE_NAME as u32) };
    if len < 0 {
        entry.header.marks |= marks::NAME_UNREADABLE;
        entry.named = NAMED_INLINE;
        return;
    }
    // The helper cuts silently: a full buffer may hold all or a part.
    if len < INLINE_NAME as i64 {
        // The empty string has length 1 with its NUL, and from user memory 0 before 7.0.
        let name_len = if len > 0 { (len as usize - 1) & (INLINE_NAME - 1) } else { 0 };
        entry.header.name_len = name_len as u16;
        let first = if name_len == 0 { 0 } else { entry.bytes[0] };
        if !needs_dir(&entry.header, first) {
            entry.named = NAMED_INLINE;
            return;
        }
        if walk_inline(pid_tgid, process::task()) != 0 {
            entry.named = NAMED_INLINE;
            return;
        }
    }
    fill_long(entry, pid_tgid, name);
}

/// [`fill`] for what does not fit the entry.
#[inline(always)]
fn fill_long(entry: &mut InFlight, pid_tgid: u64, name: Name) {
    entry.named = NAMED_INLINE;
    let long = match long(pid_tgid) {
        Some(long) => long,
        None => {
            lost(loss::LONG_FULL, 1);
            // What is in the entry is the beginning of the name, and no directory.
            if entry.header.name_len == 0 {
                entry.header.name_len = INLINE_NAME as u16 - 1;
                entry.header.marks |= marks::NAME_TRUNCATED;
                entry.cut = len_behind(entry, name);
            } else {
                entry.header.marks |= marks::HAS_DIR | marks::DIR_TRUNCATED;
                entry.header.dir_len = 0;
            }
            return;
        }
    };
    // SAFETY: `bytes` is longer than NAME_MAX + 1.
    let len = unsafe { name.copy(long.bytes.as_mut_ptr(), NAME_MAX as u32 + 1) };
    if len <= 0 {
        entry.header.marks |= marks::NAME_UNREADABLE;
        entry.header.name_len = 0;
        return;
    }
    if len > NAME_MAX as i64 {
        // The kernel's copy is never longer than this, user memory may be (ENAMETOOLONG).
        if let Name::User(from) = name {
            let mut next = 0u8;
            // SAFETY: one byte on the stack.
            let read = unsafe {
                aya_ebpf::helpers::generated::bpf_probe_read_user(
                    (&raw mut next).cast(),
                    1,
                    (from + NAME_MAX as u64) as *const _,
                )
            };
            if read != 0 || next != 0 {
                // Too long for the kernel as well. It does not look how long it is, and nor do we.
                entry.header.marks |= marks::NAME_TRUNCATED;
                entry.cut = 0;
            }
        }
    }
    entry.named = NAMED_LONG;
    let name_len = (len as usize - 1) & NAME_MAX;
    entry.header.name_len = name_len as u16;
    if needs_dir(&entry.header, long.bytes[0]) {
        if walk_long(pid_tgid, process::task()) == 0 {
            entry.header.marks |= marks::DIR_TRUNCATED;
        }
    }
}

/// Bytes of a name behind those that fit the entry, whose unused end is what they are read into.
#[inline(always)]
fn len_behind(entry: &mut InFlight, name: Name) -> u64 {
    const PIECE: u64 = INLINE_NAME as u64 - 1;
    let mut behind = 0;
    for piece in 1..=NAME_MAX as u64 / PIECE {
        // SAFETY: INLINE_DIR + COMPONENT bytes are behind the name's.
        let len =
            unsafe { name.behind(piece * PIECE).copy(entry.bytes.as_mut_ptr().add(INLINE_NAME), INLINE_NAME as u32) };
        if len <= 0 {
            break;
        }
        behind += len as u64 - 1;
        if len < INLINE_NAME as i64 {
            break;
        }
    }
    behind
}

/// Room for a long record of this thread.
#[inline(always)]
fn long(pid_tgid: u64) -> Option<&'static mut Long> {
    let long = match LONG.get_ptr_mut(pid_tgid) {
        Some(long) => long,
        None => {
            let zeros = ZEROS.get(0)?;
            LONG.insert(pid_tgid, &zeros.long, 0).ok()?;
            LONG.get_ptr_mut(pid_tgid)?
        }
    };
    // SAFETY: a value of LONG that only this thread uses.
    Some(unsafe { &mut *long })
}

#[inline(always)]
fn needs_dir(header: &RecordHeader, first: u8) -> bool {
    config::btf() && (first != b'/' || header.resolve & RESOLVE_IN_ROOT != 0)
}

/// The path of an open descriptor of `task`.
#[inline(always)]
fn descriptor(task: u64, fd: i32) -> Option<Path> {
    let files: u64 = read(task + u64::from(setting!(offsets.task_files)))?;
    let table: u64 = read(files + u64::from(setting!(offsets.files_fdt)))?;
    let max: u32 = read(table + u64::from(setting!(offsets.fdt_max_fds)))?;
    if fd < 0 || fd as u32 >= max {
        return None;
    }
    let array: u64 = read(table + u64::from(setting!(offsets.fdt_fd)))?;
    let file: u64 = read(array + u64::from(fd as u32) * 8)?;
    if file == 0 {
        return None;
    }
    read(file + u64::from(setting!(offsets.file_path)))
}

/// Puts the path of an opened descriptor into the entry, as its directory.
#[inline(always)]
pub fn fill_from_descriptor(entry: &mut InFlight, pid_tgid: u64, fd: i32) {
    entry.named = NAMED_INLINE;
    if !config::btf() {
        return;
    }
    entry.header.dirfd = fd;
    if walk_inline(pid_tgid, process::task()) != 0 {
        entry.header.marks |= marks::DIR_IS_FILE;
    } else {
        entry.header.marks |= marks::DIR_IS_FILE | marks::DIR_TRUNCATED;
    }
}

/// Puts the directory behind the name in the thread's [`InFlight`]; 0 when it does not fit.
///
/// A function of its own for the verifier, which checks it once instead of anew for every path to every call, and so takes
/// plain numbers only and finds the entry again. So are the few steps of [`climb`] that it repeats: checked as one loop of
/// [`DIR_DEPTH`] they take the verifier twelve times as long, which everybody waits for at the start.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_inline(pid_tgid: u64, task: u64) -> u32 {
    let Some(entry) = INFLIGHT.get_ptr_mut(pid_tgid) else { return 1 };
    // SAFETY: a value of INFLIGHT that only this thread uses.
    if !begin(unsafe { &mut *entry }, task) {
        return 1;
    }
    for _ in 0..DIR_DEPTH / STEPS {
        match climb_inline(pid_tgid) {
            GO_ON => {}
            end => return u32::from(end == TOP),
        }
    }
    0
}

/// Puts the directory behind the name in the thread's [`Long`]; 0 when it does not fit.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_long(pid_tgid: u64, task: u64) -> u32 {
    let Some(entry) = INFLIGHT.get_ptr_mut(pid_tgid) else { return 1 };
    // SAFETY: a value of INFLIGHT that only this thread uses.
    if !begin(unsafe { &mut *entry }, task) {
        return 1;
    }
    for _ in 0..DIR_DEPTH / STEPS {
        match climb_long(pid_tgid) {
            GO_ON => {}
            end => return u32::from(end == TOP),
        }
    }
    0
}

/// Some steps of [`walk_inline`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn climb_inline(pid_tgid: u64) -> u32 {
    let Some(entry) = INFLIGHT.get_ptr_mut(pid_tgid) else { return CUT };
    // SAFETY: a value of INFLIGHT that only this thread uses. name_len < INLINE_NAME, and INLINE_DIR + COMPONENT bytes
    // are behind it.
    unsafe {
        let name_len = usize::from((*entry).header.name_len) & (INLINE_NAME - 1);
        let out = (&raw mut (*entry).bytes).cast::<u8>().add(name_len);
        climb::<INLINE_DIR>(&mut (*entry).header, &mut (*entry).walk, out)
    }
}

/// Some steps of [`walk_long`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn climb_long(pid_tgid: u64) -> u32 {
    let Some(entry) = INFLIGHT.get_ptr_mut(pid_tgid) else { return CUT };
    let Some(long) = LONG.get_ptr_mut(pid_tgid) else { return CUT };
    // SAFETY: values of INFLIGHT and LONG that only this thread uses. name_len <= NAME_MAX, and DIR_MAX + COMPONENT bytes
    // are behind it.
    unsafe {
        let name_len = usize::from((*entry).header.name_len) & NAME_MAX;
        let out = (&raw mut (*long).bytes).cast::<u8>().add(name_len);
        climb::<DIR_MAX>(&mut (*entry).header, &mut (*entry).walk, out)
    }
}

/// Steps that are checked, and done, in one piece. Divides [`DIR_DEPTH`].
const STEPS: u32 = 8;

/// What [`climb`] says: there is more to climb.
const GO_ON: u32 = 0;
/// The top is reached.
const TOP: u32 = 1;
/// What is there is the lower end of the directory.
const CUT: u32 = 2;

/// Finds the directory that an open is relative to. False when it cannot be read: then there is none.
#[inline(always)]
fn begin(entry: &mut InFlight, task: u64) -> bool {
    let header = &mut entry.header;
    header.dir_len = 0;
    let Some(fs) = read::<u64>(task + u64::from(setting!(offsets.task_fs))) else { return false };
    let Some(root) = read::<Path>(fs + u64::from(setting!(offsets.fs_root))) else { return false };
    let start = if header.dirfd == AT_FDCWD {
        read::<Path>(fs + u64::from(setting!(offsets.fs_pwd)))
    } else {
        descriptor(task, header.dirfd)
    };
    let Some(at) = start else { return false };
    // d_unlinked(): not in the hash, and not a root. IS_ROOT is asked where the parent is known.
    let hashed = read::<u64>(at.dentry + u64::from(setting!(offsets.dentry_hash_pprev))).unwrap_or(1);
    let Some(mnt_root) = read::<u64>(at.mnt + u64::from(setting!(offsets.vfsmount_root))) else { return false };
    header.marks |= marks::HAS_DIR;
    entry.walk = Walk { root, at, mnt_root, unhashed: u64::from(hashed == 0) };
    true
}

/// Climbs towards the process's root, writing each component and a `/`. `CAP` is a power of two.
///
/// The same as the kernel's prepend_path() (fs/d_path.c), without its locks: a rename at the same moment
/// may give the one or the other name of a component, as it may for getcwd.
///
/// # Safety
/// `out` has room for `CAP` + [`COMPONENT`] bytes.
#[inline(always)]
unsafe fn climb<const CAP: usize>(header: &mut RecordHeader, walk: &mut Walk, out: *mut u8) -> u32 {
    let Walk { root, mut at, mut mnt_root, mut unhashed } = *walk;
    for _ in 0..STEPS {
        if at.dentry == root.dentry && at.mnt == root.mnt {
            return TOP;
        }
        let Some(dentry) = read::<Dentry>(at.dentry + u64::from(setting!(offsets.dentry_parent))) else { return CUT };
        if unhashed != 0 && dentry.parent != at.dentry {
            header.marks |= marks::DIR_DELETED;
        }
        // Of the first one only.
        unhashed = 0;
        if at.dentry == mnt_root || dentry.parent == at.dentry {
            // The top of a mount: go on from where it is mounted.
            let mount = at.mnt - u64::from(setting!(offsets.mount_mnt));
            let Some(parent) = read::<u64>(mount + u64::from(setting!(offsets.mount_parent))) else { return CUT };
            if parent == mount || at.dentry != mnt_root {
                // The top of everything, and the process's root was not on the way (or a detached mount).
                header.marks |= marks::DIR_UNREACHABLE;
                return TOP;
            }
            let Some(point) = read::<u64>(mount + u64::from(setting!(offsets.mount_mountpoint))) else { return CUT };
            at = Path { mnt: parent + u64::from(setting!(offsets.mount_mnt)), dentry: point };
            let Some(next) = read::<u64>(at.mnt + u64::from(setting!(offsets.vfsmount_root))) else { return CUT };
            mnt_root = next;
            continue;
        }
        // Read back from the map each time: in a register the verifier would track its lowest value, which is another
        // one for every way here, and never see that it has been here before.
        // SAFETY: a field of the header.
        let len = usize::from(unsafe { read_volatile(&raw const header.dir_len) });
        if len >= CAP {
            return CUT;
        }
        let at_len = len & (CAP - 1);
        // SAFETY: at_len < CAP, and COMPONENT bytes are behind it.
        let n = unsafe { bpf_probe_read_kernel_str(out.add(at_len).cast(), COMPONENT as u32, dentry.name as *const _) };
        if n <= 0 || n > COMPONENT as i64 {
            return CUT;
        }
        // The NUL's place takes the separator.
        let end = at_len + (n as usize - 1 & (COMPONENT - 1));
        // SAFETY: end < CAP + COMPONENT.
        unsafe { *out.add(end) = b'/' };
        // SAFETY: as above.
        unsafe { write_volatile(&raw mut header.dir_len, end as u16 + 1) };
        at.dentry = dentry.parent;
    }
    *walk = Walk { root, at, mnt_root, unhashed };
    GO_ON
}
