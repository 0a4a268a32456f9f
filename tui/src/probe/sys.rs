//! bpf(2) where aya has no call for it. Numbers and layouts are those of linux/bpf.h.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;

/// `union bpf_attr` of the element commands.
#[repr(C)]
#[derive(Default)]
struct ElementAttr {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn fd_number(map: BorrowedFd<'_>) -> u32 {
    // An open descriptor is never negative.
    u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX)
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a prefix of union bpf_attr with the size given; the kernel takes the rest as zero. The pointers in
    // it are those of the callers below, which outlive the call and are as long as the map, or the attribute itself, says.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// [`bpf`] of a command that gives a new descriptor.
fn made<T>(command: libc::c_long, attr: &mut T) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(bpf(command, attr)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us; nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The key behind `key` in a hash map, the first for `None`; `None` at the end. If `key` is gone meanwhile it begins anew.
///
/// One entry after the other, not a batch: while a batch is read the kernel runs no probe on that CPU
/// (`bpf_disable_instrumentation`), and a reader that is preempted within it leaves the CPU without for a whole time slice.
///
/// # Errors
/// Those of `BPF_MAP_GET_NEXT_KEY`.
pub(super) fn next_key<K: bytemuck::Pod>(map: BorrowedFd<'_>, key: Option<&K>) -> io::Result<Option<K>> {
    let mut next = K::zeroed();
    let mut attr = ElementAttr {
        map_fd: fd_number(map),
        key: key.map_or(0, |key| std::ptr::from_ref(key) as u64),
        value: std::ptr::from_mut(&mut next) as u64,
        ..ElementAttr::default()
    };
    found(bpf(BPF_MAP_GET_NEXT_KEY, &mut attr)).map(|found| found.then_some(next))
}

/// An entry of a hash map; `None` when there is no such entry.
///
/// # Errors
/// Those of `BPF_MAP_LOOKUP_ELEM`.
pub(super) fn lookup<K: bytemuck::Pod, V: bytemuck::Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    element(BPF_MAP_LOOKUP_ELEM, map, key)
}

/// [`lookup`] of a value that is longer than a type has a name for; false when there is no such entry.
///
/// # Errors
/// Those of `BPF_MAP_LOOKUP_ELEM`.
pub(super) fn lookup_into<K: bytemuck::Pod>(map: BorrowedFd<'_>, key: &K, value: &mut [u64]) -> io::Result<bool> {
    let mut attr = ElementAttr {
        map_fd: fd_number(map),
        key: std::ptr::from_ref(key) as u64,
        value: value.as_mut_ptr() as u64,
        ..ElementAttr::default()
    };
    found(bpf(BPF_MAP_LOOKUP_ELEM, &mut attr))
}

/// Takes an entry out of a hash map, in one step: what is counted into it before is in the value, what comes after makes
/// a new entry. `None` when there is no such entry.
///
/// # Errors
/// Those of `BPF_MAP_LOOKUP_AND_DELETE_ELEM`: EINVAL or ENOTSUPP before Linux 5.14.
pub(super) fn take<K: bytemuck::Pod, V: bytemuck::Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    element(BPF_MAP_LOOKUP_AND_DELETE_ELEM, map, key)
}

fn element<K: bytemuck::Pod, V: bytemuck::Pod>(
    command: libc::c_long,
    map: BorrowedFd<'_>,
    key: &K,
) -> io::Result<Option<V>> {
    let mut value = V::zeroed();
    let mut attr = ElementAttr {
        map_fd: fd_number(map),
        key: std::ptr::from_ref(key) as u64,
        value: std::ptr::from_mut(&mut value) as u64,
        ..ElementAttr::default()
    };
    found(bpf(command, &mut attr)).map(|found| found.then_some(value))
}

/// ENOENT is an answer, not an error.
fn found(result: io::Result<libc::c_long>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes an entry of a hash map; one that is not there is no error.
///
/// # Errors
/// Those of `BPF_MAP_DELETE_ELEM`.
pub(super) fn delete<K: bytemuck::Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut attr =
        ElementAttr { map_fd: fd_number(map), key: std::ptr::from_ref(key) as u64, ..ElementAttr::default() };
    found(bpf(BPF_MAP_DELETE_ELEM, &mut attr)).map(drop)
}

const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// The beginning of `struct bpf_prog_info`, up to the last field that is wanted here.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    before: [u64; 24],
    run_time_ns: u64,
    run_cnt: u64,
    recursion_misses: u64,
}

/// `union bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoAttr {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// How often the kernel skipped a program because another was running on the CPU (`recursion_misses`, Linux 5.12); 0 from
/// a kernel that does not count it.
///
/// # Errors
/// Those of `BPF_OBJ_GET_INFO_BY_FD`.
pub(super) fn misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    info(program).map(|info| info.recursion_misses)
}

/// How long a program ran, ns, and how often, while [`enable_stats`] was in force.
///
/// # Errors
/// Those of `BPF_OBJ_GET_INFO_BY_FD`.
pub(super) fn run_time(program: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    info(program).map(|info| (info.run_time_ns, info.run_cnt))
}

fn info(program: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    let mut info = ProgramInfo::default();
    let mut attr = InfoAttr {
        fd: fd_number(program),
        info_len: u32::try_from(size_of::<ProgramInfo>()).unwrap_or(0),
        info: std::ptr::from_mut(&mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

const BPF_PROG_LOAD: libc::c_long = 5;

/// `union bpf_attr` of `BPF_PROG_LOAD`, up to the last field that is wanted here.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    program_type: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log: [u32; 4],
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
    btf_fd: u32,
    /// `func_info_rec_size` to `line_info_rec_size`.
    records: [u32; 5],
    line_records_at: u64,
    line_count: u32,
    attach_btf_id: u32,
}

/// Whether the kernel loads an fentry program for a function of its BTF: an empty one, thrown away at once.
///
/// # Errors
/// Those of `BPF_PROG_LOAD`.
pub(super) fn try_fentry(function: u32) -> io::Result<()> {
    // r0 = 0; exit
    let code: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];
    let mut attr = LoadAttr {
        // BPF_PROG_TYPE_TRACING
        program_type: 26,
        instructions: 2,
        code: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        // BPF_TRACE_FENTRY
        expected_attach_type: 24,
        attach_btf_id: function,
        ..LoadAttr::default()
    };
    made(BPF_PROG_LOAD, &mut attr).map(drop)
}

const BPF_BTF_LOAD: libc::c_long = 18;

/// `union bpf_attr` of `BPF_BTF_LOAD`.
#[repr(C)]
#[derive(Default)]
struct BtfAttr {
    types: u64,
    log: u64,
    bytes: u32,
    log_bytes: u32,
    log_level: u32,
}

/// Whether the kernel takes the type of a global function: `int f(void)`, thrown away at once.
///
/// # Errors
/// Those of `BPF_BTF_LOAD`: EINVAL before Linux 5.6.
pub(super) fn try_function_types() -> io::Result<()> {
    // `struct btf_header` of linux/btf.h, three types, and the strings "", "int" and "f".
    let types: [u32; 18] = [
        // Magic number and version; its length; the types' place and length; the strings'.
        u32::from_ne_bytes(if cfg!(target_endian = "little") { [0x9f, 0xeb, 1, 0] } else { [0xeb, 0x9f, 1, 0] }),
        24,
        0,
        40,
        40,
        8,
        // 1: BTF_KIND_INT "int" of four bytes, signed, 32 bits.
        1,
        1 << 24,
        4,
        1 << 24 | 32,
        // 2: BTF_KIND_FUNC_PROTO without parameters that gives type 1.
        0,
        13 << 24,
        1,
        // 3: BTF_KIND_FUNC "f", BTF_FUNC_GLOBAL, of type 2.
        5,
        12 << 24 | 1,
        2,
        u32::from_ne_bytes(*b"\0int"),
        u32::from_ne_bytes(*b"\0f\0\0"),
    ];
    let bytes = u32::try_from(size_of_val(&types)).unwrap_or(0);
    let mut attr = BtfAttr { types: types.as_ptr() as u64, bytes, ..BtfAttr::default() };
    made(BPF_BTF_LOAD, &mut attr).map(drop)
}

const BPF_MAP_CREATE: libc::c_long = 0;

/// `union bpf_attr` of `BPF_MAP_CREATE`, up to `btf_vmlinux_value_type_id`: valgrind looks at what is behind the fields that
/// are wanted here, too.
#[repr(C)]
#[derive(Default)]
struct MapAttr {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    rest: [u32; 12],
}

/// Whether the kernel loads a program that writes to global data: a map of one value, and a program that is thrown away at once.
///
/// # Errors
/// Those of `BPF_MAP_CREATE` and `BPF_PROG_LOAD`: EINVAL before Linux 5.2.
pub(super) fn try_global_data() -> io::Result<()> {
    // BPF_MAP_TYPE_ARRAY
    let mut attr = MapAttr { kind: 2, key_bytes: 4, value_bytes: 8, entries: 1, ..MapAttr::default() };
    let map = made(BPF_MAP_CREATE, &mut attr)?;
    // r1 = the map's value (BPF_PSEUDO_MAP_VALUE), in two; *(u64 *)(r1 + 0) = 0; r0 = 0; exit
    let value = 0x2118 | u64::from(fd_number(map.as_fd())) << 32;
    let code: [u64; 5] = [value, 0, 0x017a, 0x00b7, 0x0095];
    let mut attr = LoadAttr {
        // BPF_PROG_TYPE_SOCKET_FILTER
        program_type: 1,
        instructions: 5,
        code: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..LoadAttr::default()
    };
    made(BPF_PROG_LOAD, &mut attr).map(drop)
}

const BPF_ENABLE_STATS: libc::c_long = 32;

/// `union bpf_attr` of `BPF_ENABLE_STATS`.
#[repr(C)]
struct StatsAttr {
    /// `BPF_STATS_RUN_TIME` is 0.
    kind: u32,
}

/// Has the kernel measure how long programs run, for as long as the descriptor is open.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, EINVAL before Linux 5.8.
pub(super) fn enable_stats() -> io::Result<OwnedFd> {
    made(BPF_ENABLE_STATS, &mut StatsAttr { kind: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_of_a_program_lies_where_linux_bpf_h_has_it() {
        assert_eq!(std::mem::offset_of!(ProgramInfo, run_time_ns), 192);
        assert_eq!(std::mem::offset_of!(ProgramInfo, run_cnt), 200);
        assert_eq!(std::mem::offset_of!(ProgramInfo, recursion_misses), 208);
    }

    #[test]
    fn what_every_supported_kernel_can_is_taken_where_anything_may_be_loaded() {
        // Without the right to it every trial ends with EPERM, and says nothing.
        for tried in [try_function_types(), try_global_data()] {
            assert!(tried.as_ref().err().is_none_or(|e| e.raw_os_error() == Some(libc::EPERM)), "{tried:?}");
        }
    }

    #[test]
    fn attach_btf_id_lies_where_linux_bpf_h_has_it() {
        assert_eq!(std::mem::offset_of!(LoadAttr, expected_attach_type), 68);
        assert_eq!(std::mem::offset_of!(LoadAttr, attach_btf_id), 108);
    }
}
