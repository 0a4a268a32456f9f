//! The probe's maps by name, and what is said when one cannot be had or written.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::{
    Ebpf,
    maps::{Map, MapError},
};

use super::refusal::with_cause;
use crate::error::{Error, in_words};

pub(super) fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or_else(|| broken(name))
}

/// A descriptor of a map, for what aya has no call for.
pub(super) fn map_fd(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd, Error> {
    let (Map::HashMap(data) | Map::StackTraceMap(data)) = take_map(ebpf, name)? else { return Err(broken(name)) };
    let cloned = data.fd().as_fd().try_clone_to_owned();
    cloned.map_err(|e| Error::failed(format!("a descriptor could not be duplicated: {}", in_words(&e))))
}

pub(super) fn broken(name: &str) -> Error {
    Error::failed(format!(
        "the embedded probe has no usable map {name}: this opentop is not built right, build it again with cargo xtask probe"
    ))
}

pub(super) fn map_error(what: &str, error: &MapError) -> Error {
    Error::failed(format!("{what} could not be written to the kernel: {}", with_cause(error)))
}
