//! Names that a filter resolves once, when it is parsed: users and cgroups. The tests and a replay bring their own.

use std::os::unix::fs::MetadataExt;

use rustc_hash::FxHashMap;

/// What knows users and cgroups.
pub trait Names {
    /// The uid of a user.
    fn uid(&self, user: &str) -> Option<u32>;
    /// Users there are, for "did you mean". Need not be complete.
    fn users(&self) -> Vec<String>;
    /// The cgroup v2 id of a path such as `/system.slice/ssh.service`.
    fn cgroup(&self, path: &str) -> Option<u64>;
}

/// This machine's user database and cgroup file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// The users that a recording names. Its cgroups have no names.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a>(pub &'a FxHashMap<u32, String>);

impl Names for Recorded<'_> {
    fn uid(&self, user: &str) -> Option<u32> {
        let known = self.0.iter().find(|(_, name)| name.as_str() == user).map(|(uid, _)| *uid);
        // Root is root everywhere.
        known.or_else(|| (user == "root").then_some(0))
    }

    fn users(&self) -> Vec<String> {
        self.0.values().cloned().collect()
    }

    fn cgroup(&self, _path: &str) -> Option<u64> {
        None
    }
}

impl Names for System {
    fn uid(&self, user: &str) -> Option<u32> {
        nix::unistd::User::from_name(user).ok().flatten().map(|user| user.uid.as_raw())
    }

    fn users(&self) -> Vec<String> {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        passwd.lines().filter_map(|line| line.split(':').next()).map(str::to_owned).collect()
    }

    fn cgroup(&self, path: &str) -> Option<u64> {
        // The id of a cgroup v2 is the inode of its directory (`cgroup_id()` in `kernel/cgroup/cgroup.c`). With the
        // hybrid layout the v2 tree is one level further down.
        ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().find_map(|root| {
            let root = std::path::Path::new(root);
            root.join("cgroup.controllers").exists().then_some(())?;
            let dir = std::fs::metadata(root.join(path.trim_start_matches('/'))).ok()?;
            dir.is_dir().then_some(dir.ino())
        })
    }
}
