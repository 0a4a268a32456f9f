//! What is given up once the probe is attached: privileges, the way back to them, and every system call that showing
//! opens does not need.
//!
//! From here on bytes are read that anybody on the machine may have chosen: names, recordings, keys. Whoever finds a
//! fault in that gets what is left: the caller's own identity, no capability, no new program, no new probe.
//! To be called while there is one thread; the later ones inherit all of it (capset(2) is per thread). A command behind
//! `--` is forked before, and inherits none of it.

mod calls;

use caps::{CapSet, Capability, CapsHashSet};
use nix::{
    errno::Errno,
    sys::prctl,
    unistd::{AccessFlags, access, setgroups, setresgid, setresuid},
};

use super::user::Invoker;
use crate::error::Error;

/// What is kept all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// No capability.
    Nothing,
    /// `CAP_BPF`: before Linux 5.19 reading a map takes it where unprivileged bpf(2) is switched off.
    Bpf,
    /// Everything: `--keep-privileges`.
    All,
}

/// Becomes `invoker` for good, gives the capabilities up and lets a filter of system calls stand before whatever comes.
///
/// # Errors
/// When the kernel does not let something go. A kernel without seccomp filters is no error.
pub(super) fn enter(invoker: Option<&Invoker>, keep: Keep) -> Result<(), Error> {
    let kept = match keep {
        Keep::All => return Ok(()),
        Keep::Nothing => CapsHashSet::new(),
        Keep::Bpf => CapsHashSet::from([Capability::CAP_BPF]),
    };
    let refused = |what: &str, why: &dyn std::fmt::Display| {
        Error::failed(format!(
            "{what} failed: {why}. opentop does not go on with privileges it has no use for; --keep-privileges makes it"
        ))
    };
    if let Some(invoker) = invoker {
        let refused = |errno: Errno| refused(&format!("becoming {}, who called sudo,", invoker.name), &errno.desc());
        // Else they would go with root's identity.
        prctl::set_keepcaps(!kept.is_empty()).map_err(refused)?;
        setgroups(&invoker.groups).map_err(refused)?;
        setresgid(invoker.gid, invoker.gid, invoker.gid).map_err(refused)?;
        setresuid(invoker.uid, invoker.uid, invoker.uid).map_err(refused)?;
        prctl::set_keepcaps(false).map_err(refused)?;
    }
    give_up(&kept).map_err(|e| refused("giving capabilities up", &e))?;
    prctl::set_no_new_privs().map_err(|errno| refused("giving up the way to new privileges", &errno.desc()))?;
    // A kernel without filters, or a container that does not let any more be set: the rest holds without.
    let _ = calls::allow_only();
    Ok(())
}

/// Whether files can be made in `dir` by this user without a capability: as it will be behind [`enter`]. The kernel is
/// asked, by a thread that gives its own up and ends.
pub(super) fn may_write_without(dir: &std::path::Path) -> bool {
    let dir = dir.to_owned();
    let asked = std::thread::spawn(move || {
        // access(2) goes by the real user and what is permitted.
        give_up(&CapsHashSet::new()).is_err()
            || access(&dir, AccessFlags::W_OK | AccessFlags::X_OK) != Err(Errno::EACCES)
    });
    // What cannot be found out is tried.
    asked.join().unwrap_or(true)
}

/// Leaves a process that only opens what it is asked for with the capabilities that takes; whether that worked.
pub(super) fn leave_looking() -> bool {
    let looking = CapsHashSet::from([Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH]);
    // Whoever was given fewer to begin with has fewer, and finds fewer names.
    let held = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let kept: CapsHashSet = looking.intersection(&held).copied().collect();
    let given_up = give_up(&kept).is_ok() && prctl::set_no_new_privs().is_ok();
    let _ = calls::allow_only();
    given_up
}

/// Leaves a process that only has the kernel measure programs with the capability that takes, and with no system call that
/// could make use of it in another way; whether that worked.
pub(super) fn leave_measuring() -> bool {
    let held = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let kept: CapsHashSet = held.into_iter().filter(|held| *held == Capability::CAP_SYS_ADMIN).collect();
    give_up(&kept).is_ok() && prctl::set_no_new_privs().is_ok() && calls::allow_measuring().is_ok()
}

/// Gives up every capability of this thread but `kept`.
fn give_up(kept: &CapsHashSet) -> Result<(), caps::errors::CapsError> {
    // These two only say what a program to be executed could have. Not everybody may drop them; none will be executed.
    let _ = caps::clear(None, CapSet::Ambient);
    let _ = caps::clear(None, CapSet::Bounding);
    caps::clear(None, CapSet::Effective)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Permitted, kept)?;
    caps::set(None, CapSet::Effective, kept)
}

/// What has to be kept so that `works` works, which is tried in a thread of its own without any capability. `works` is
/// for the thread alone: capabilities are per thread.
pub(super) fn needed(works: impl FnOnce() -> bool + Send) -> Keep {
    let without = || give_up(&CapsHashSet::new()).is_ok() && works();
    let works = std::thread::scope(|scope| scope.spawn(without).join().unwrap_or(false));
    if works { Keep::Nothing } else { Keep::Bpf }
}
