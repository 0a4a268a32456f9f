//! The user who called sudo: files are written and commands are run as that user, not as root.
//!
//! Not here: which privileges the capture needs (`privilege`).

use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getegid, geteuid, getgroups, getuid, setegid, seteuid, setgroups};

use crate::error::Error;

/// Whoever called sudo.
#[derive(Clone, Debug)]
pub(crate) struct Invoker {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// All groups of the user, the first one included.
    pub(crate) groups: Vec<Gid>,
    /// Login name; the number where there is none.
    pub(crate) name: String,
    /// Home directory, where it is known.
    pub(crate) home: Option<PathBuf>,
}

/// The user who called sudo; `None` when opentop runs as its caller already.
pub(crate) fn invoker() -> Option<Invoker> {
    // Whoever is not root has nothing to give back, and may have written anything into the environment.
    if !geteuid().is_root() || !getuid().is_root() {
        return None;
    }
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let uid = Uid::from_raw(number("SUDO_UID").filter(|uid| *uid != u32::MAX)?);
    if uid.is_root() {
        return None;
    }
    let user = User::from_uid(uid).ok().flatten();
    let gid =
        number("SUDO_GID").filter(|gid| *gid != u32::MAX).map(Gid::from_raw).or(user.as_ref().map(|user| user.gid))?;
    let mut groups = user
        .as_ref()
        .and_then(|user| std::ffi::CString::new(user.name.as_str()).ok())
        .and_then(|name| nix::unistd::getgrouplist(&name, gid).ok())
        .unwrap_or_default();
    if !groups.contains(&gid) {
        groups.push(gid);
    }
    Some(Invoker {
        uid,
        gid,
        groups,
        name: user.as_ref().map_or_else(|| uid.to_string(), |user| user.name.clone()),
        home: user.map(|user| user.dir),
    })
}

/// Does `what` with the rights of `invoker`, then takes the own ones back. The C library changes the identity of every
/// thread: to be called before others do what takes root's.
///
/// # Errors
/// When the kernel refuses the change of identity.
pub(crate) fn as_invoker<T>(invoker: Option<&Invoker>, what: impl FnOnce() -> T) -> Result<T, Error> {
    let Some(invoker) = invoker else { return Ok(what()) };
    let refused = |errno: nix::errno::Errno| {
        Error::failed(format!("acting as {}, who called sudo, failed: {}", invoker.name, errno.desc()))
    };
    let _back = Back { gid: getegid(), groups: getgroups().map_err(refused)? };
    setgroups(&invoker.groups).map_err(refused)?;
    setegid(invoker.gid).map_err(refused)?;
    seteuid(invoker.uid).map_err(refused)?;
    Ok(what())
}

/// Gives root its identity back.
struct Back {
    gid: Gid,
    groups: Vec<Gid>,
}

impl Drop for Back {
    fn drop(&mut self) {
        // The saved uid is root's. Should a step fail all the same, less power is left, never more.
        let _ = seteuid(Uid::from_raw(0));
        let _ = setegid(self.gid);
        let _ = setgroups(&self.groups);
    }
}
