//! bpf(2) where aya has no call for it: a whole hash map in a few system calls instead of two for each entry.
//!
//! Numbers and layouts are those of linux/bpf.h.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// `union bpf_attr` of the batch commands, the largest that is used here.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

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

fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<()> {
    // SAFETY: `attr` is a prefix of union bpf_attr with the size given; the kernel takes the rest as zero. The pointers in
    // it are those of the callers below, which outlive the call and are as long as the map says.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads up to `keys.len()` entries of a hash map, from the beginning (`cursor` of `None`) or from where the last call
/// ended. The number of entries read comes back, and `None` as the cursor at the end of the map.
///
/// # Errors
/// Those of `BPF_MAP_LOOKUP_BATCH` (Linux 5.6).
pub(super) fn lookup_batch<K: bytemuck::Pod, V: bytemuck::Pod>(
    map: BorrowedFd<'_>,
    cursor: &mut Option<u64>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<usize> {
    let from = cursor.unwrap_or(0);
    // The cursor of a hash map is a u32 (the bucket); eight bytes are room enough.
    let mut next = 0u64;
    let mut attr = BatchAttr {
        in_batch: if cursor.is_some() { std::ptr::from_ref(&from) as u64 } else { 0 },
        out_batch: std::ptr::from_mut(&mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(keys.len().min(values.len())).unwrap_or(u32::MAX),
        map_fd: fd_number(map),
        ..BatchAttr::default()
    };
    match bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) {
        Ok(()) => *cursor = Some(next),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => *cursor = None,
        Err(error) => return Err(error),
    }
    Ok(attr.count as usize)
}

/// Takes an entry out of a hash map, in one step: what is counted into it before is in the value, what comes after makes
/// a new entry. `None` when there is no such entry.
///
/// # Errors
/// Those of `BPF_MAP_LOOKUP_AND_DELETE_ELEM`: EINVAL or ENOTSUPP before Linux 5.14.
pub(super) fn take<K: bytemuck::Pod, V: bytemuck::Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = V::zeroed();
    let mut attr = ElementAttr {
        map_fd: fd_number(map),
        key: std::ptr::from_ref(key) as u64,
        value: std::ptr::from_mut(&mut value) as u64,
        ..ElementAttr::default()
    };
    match bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut attr) {
        Ok(()) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
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
    match bpf(BPF_MAP_DELETE_ELEM, &mut attr) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}
