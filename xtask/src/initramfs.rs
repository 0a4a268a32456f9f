//! The root of a virtual machine: a cpio archive ("newc", Documentation/driver-api/early-userspace/buffer-format.rst)
//! of busybox, the programs under test and the libraries they load, and an init.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cmd;

/// An archive being written.
#[derive(Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    /// Paths written, without the leading slash.
    written: BTreeSet<String>,
}

impl Initramfs {
    /// Adds a file; its parents are made.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        if self.parents(path) {
            self.entry(path, 0o100_000 | mode, content);
        }
    }

    /// Adds a folder.
    pub fn dir(&mut self, path: &str, mode: u32) {
        if self.parents(path) {
            self.entry(path, 0o040_000 | mode, b"");
        }
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, to: &str) {
        if self.parents(path) {
            self.entry(path, 0o120_777, to.as_bytes());
        }
    }

    /// Adds a program under `path`, and the libraries it loads where it looks for them.
    pub fn program(&mut self, path: &str, from: &Path) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, 0o755, &content);
        for library in libraries(from) {
            let content = fs::read(&library).with_context(|| format!("cannot read {}", library.display()))?;
            self.file(&library.to_string_lossy(), 0o755, &content);
        }
        Ok(())
    }

    /// Adds a file or a whole folder of this machine in the same place; what its links point to stands for them.
    pub fn tree(&mut self, path: &Path) -> Result<()> {
        let failed = || format!("cannot read {}", path.display());
        if !path.is_dir() {
            let content = fs::read(path).with_context(failed)?;
            self.file(&path.to_string_lossy(), 0o644, &content);
            return Ok(());
        }
        let mut names: Vec<PathBuf> =
            fs::read_dir(path).with_context(failed)?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
        names.sort();
        names.iter().filter(|name| name.exists()).try_for_each(|name| self.tree(name))
    }

    /// The archive, ended.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.bytes
    }

    /// Makes the folders above `path`. Whether `path` itself is yet to be written.
    fn parents(&mut self, path: &str) -> bool {
        let path = path.trim_start_matches('/');
        for (slash, _) in path.match_indices('/') {
            if self.written.insert(path[..slash].to_owned()) {
                self.entry(&path[..slash], 0o040_755, b"");
            }
        }
        self.written.insert(path.to_owned())
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        let path = path.trim_start_matches('/');
        let inode = self.written.len();
        let (size, name) = (content.len(), path.len() + 1);
        // magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check.
        let head = format!(
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}{name:08x}{0:08x}",
            0, 1
        );
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The libraries a program loads, the loader among them. None for a static one.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = cmd::output(Command::new("ldd").arg(program)).unwrap_or_default();
    listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_lists_what_was_put_in() {
        let mut archive = Initramfs::default();
        archive.file("/a/b/file", 0o644, b"content");
        archive.file("/a/b/file", 0o644, b"a second one of that name is left out");
        archive.link("/a/link", "b/file");
        archive.dir("/proc", 0o755);
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let names: Vec<_> = ["a", "a/b", "a/b/file", "a/link", "proc", "TRAILER!!!"]
            .into_iter()
            .map(|name| bytes.windows(name.len() + 2).position(|window| window == format!("0{name}\0").as_bytes()))
            .collect();
        assert!(names.iter().all(Option::is_some) && names.is_sorted(), "{names:?}");
        assert_eq!(bytes.windows(7).filter(|window| window == b"content").count(), 1);
    }
}
