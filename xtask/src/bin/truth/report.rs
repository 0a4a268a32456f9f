//! What was opened, by whom and with what result: the truth that a trace is held against.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::escape::escaped;
use crate::sys;

/// One open.
#[derive(Clone)]
pub struct Case {
    /// What it shows.
    pub case: String,
    pub via: &'static str,
    pub pid: i32,
    /// `None` where the kernel chooses a thread of its own.
    pub tid: Option<i32>,
    pub ppid: i32,
    pub uid: u32,
    pub comm: Vec<u8>,
    /// As passed; `None` where it can't be read.
    pub name: Option<Vec<u8>>,
    /// Absolute; `None` where it can't be known.
    pub path: Option<Vec<u8>>,
    /// As passed; `None` where the kernel makes them up.
    pub flags: Option<i32>,
    pub resolve: u64,
    pub mode: u32,
    /// A descriptor or −errno.
    pub ret: i32,
    /// A success has no descriptor.
    pub no_fd: bool,
    pub compat: bool,
    /// The directory that the name is relative to is deleted.
    pub deleted: bool,
    /// The name is longer than a path may be.
    pub truncated: bool,
}

impl Case {
    /// An open by the calling thread of `name` as the absolute path `path`.
    pub fn new(case: &str, via: &'static str, name: &[u8], path: &[u8]) -> Self {
        // SAFETY: these take nothing and cannot fail.
        let (pid, ppid, uid) = unsafe { (libc::getpid(), libc::getppid(), libc::getuid()) };
        Self {
            case: case.to_owned(),
            via,
            pid,
            tid: Some(sys::gettid()),
            ppid,
            uid,
            comm: sys::comm(),
            name: Some(name.to_vec()),
            path: Some(path.to_vec()),
            flags: Some(0),
            resolve: 0,
            mode: 0,
            ret: 0,
            no_fd: false,
            compat: false,
            deleted: false,
            truncated: false,
        }
    }

    fn json(&self) -> Value {
        json!({
            "case": self.case, "via": self.via, "pid": self.pid, "tid": self.tid, "ppid": self.ppid, "uid": self.uid,
            "comm": escaped(&self.comm), "name": self.name.as_deref().map(escaped), "path": self.path.as_deref().map(escaped),
            "flags": self.flags, "resolve": self.resolve, "mode": self.mode, "ret": self.ret, "no_fd": self.no_fd,
            "arch": std::env::consts::ARCH, "compat": self.compat, "deleted": self.deleted, "truncated": self.truncated,
        })
    }
}

/// Where the truth is written, one JSON object a line. Opened before the first case, so that it is no case itself.
pub struct Report(Mutex<File>);

impl Report {
    pub fn new(file: File) -> Self {
        Self(Mutex::new(file))
    }

    pub fn case(&self, case: &Case) {
        self.line(&case.json());
    }

    /// A case that this machine can't do.
    pub fn skip(&self, case: &str, reason: impl ToString) {
        self.line(&json!({ "case": case, "skipped": reason.to_string() }));
    }

    fn line(&self, value: &Value) {
        // One write per line: children that share the file append whole lines.
        let line = format!("{value}\n");
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            eprintln!("truth: cannot write the truth: {error}");
        }
    }
}

/// A name as the kernel takes it. Names made here have no NUL.
pub fn c(name: &[u8]) -> CString {
    CString::new(name).unwrap_or_default()
}

/// `dir` and `name`, joined.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    [dir, b"/", name].concat()
}

/// The working directory's absolute path.
pub fn cwd() -> io::Result<Vec<u8>> {
    Ok(std::env::current_dir()?.into_os_string().into_vec())
}

/// Bytes as a path for std.
pub fn os(path: &[u8]) -> &OsStr {
    OsStr::from_bytes(path)
}
