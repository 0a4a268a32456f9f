//! What the kernel's bpf(2) can do, as aya found out by trial, held against what every kernel with a ring buffer can.
//!
//! aya tries once in a process, and takes any error for a no, that of a kernel which was short of memory just then, too. It
//! would go on without the types of the probe's functions, and the verifier then does not take each function by itself but
//! walks into it at each call: for half a minute, to its limit of a million instructions, and the probe is "too large".

use std::io;

use super::{
    refusal::{forbidden, relief},
    sys,
};
use crate::error::{Error, Kind, in_words};

/// Runs `work` while aya finds out.
pub(super) fn found_beside<R>(work: impl FnOnce() -> R) -> R {
    std::thread::scope(|scope| {
        scope.spawn(aya::features);
        work()
    })
}

/// Asserts that nothing was found to be missing which the probe cannot do without. If it was, it is tried once more here,
/// for the cause.
///
/// # Errors
/// The cause. aya does not try again, so that this process cannot load the probe any more, though the kernel takes it now.
pub(super) fn suffice() -> Result<(), Error> {
    let features = aya::features();
    if !features.btf().is_some_and(|btf| btf.btf_func() && btf.btf_func_global()) {
        return Err(missing("BPF_BTF_LOAD", "types of functions", sys::try_function_types()));
    }
    if !features.bpf_global_data() {
        return Err(missing("BPF_PROG_LOAD", "global data", sys::try_global_data()));
    }
    Ok(())
}

/// Why `what` was found missing, of which trying it by `call` came to this.
fn missing(call: &str, what: &str, tried: io::Result<()>) -> Error {
    let refused = format!("the kernel refused {what} to the probe (bpf(2), {call})");
    let Err(error) = tried else {
        return Error::failed(format!(
            "{refused}, and a moment later it takes them: it may have been short of memory, or opentop of descriptors \
             (`ulimit -n 1024` allows more). Start opentop again."
        ));
    };
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Error::new(Kind::Denied, format!("{refused}: {}", forbidden())),
        Some(libc::ENOSYS) => {
            Error::new(Kind::Unsupported, format!("{refused}: it is built without that call (CONFIG_BPF_SYSCALL)"))
        }
        Some(libc::EINVAL | libc::E2BIG) => {
            Error::new(Kind::Unsupported, format!("{refused}: it does not know them. Linux does since 5.6"))
        }
        errno => Error::failed(format!("{refused}: {}. {}", in_words(&error), relief(errno.unwrap_or_default()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_by_its_cause() {
        let told = |errno| missing("BPF_BTF_LOAD", "types of functions", Err(io::Error::from_raw_os_error(errno)));
        assert_eq!(told(libc::EPERM).kind, Kind::Denied);
        assert_eq!((told(libc::ENOSYS).kind, told(libc::EINVAL).kind), (Kind::Unsupported, Kind::Unsupported));
        let short = told(libc::ENOMEM);
        assert_eq!(short.kind, Kind::Failed);
        assert!(short.message.contains("BPF_BTF_LOAD): out of memory. "), "{short}");
        let over = missing("BPF_BTF_LOAD", "types of functions", Ok(()));
        assert!(over.kind == Kind::Failed && over.message.contains("a moment later"), "{over}");
    }
}
