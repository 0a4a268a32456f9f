//! Opens what takes privileges, for the thread that finds names: a process of its own, which does nothing else.
//!
//! opentop gives its privileges up once the probe is attached, and so parses nothing with them. What is left to open are
//! `/proc/PID/maps` of others' processes, and files as those see them. This process keeps the two capabilities that takes
//! (`CAP_SYS_PTRACE`, `CAP_DAC_READ_SEARCH`), opens what it is asked for, and hands the descriptor over. It gives out only what
//! a process has code from, as it reads in `/proc/PID/maps` itself, and perf maps: whoever takes opentop over gets no other
//! file by it. It holds no other descriptor, and ends when opentop does, however that ends.

use std::{
    fs::{File, read_link},
    io::{IoSlice, IoSliceMut, Read as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
    },
    unistd::{ForkResult, fork},
};

use super::maps;

/// Most bytes of a list of mappings that are read to find a file in it.
const MAPS_MOST: u64 = 16 << 20;

/// Longest question and answer, bytes: a path and a few more.
const LONGEST: usize = 4096 + 64;

/// The wish for `/proc/PID/maps`.
const MAPS: u8 = 1;
/// The wish for the program's path and whether the process sees the same files as we do.
const PROGRAM: u8 = 2;
/// The wish for a file, by its path as the process sees it.
const FILE: u8 = 3;

/// The way to that process; without one things are opened here, with whatever rights there are.
pub(super) struct Looker {
    socket: Option<OwnedFd>,
}

impl Looker {
    /// Starts the process. `confine` gives up, within it, all but what it needs; false ends it. To be called while there
    /// is one thread.
    pub(super) fn start(confine: impl FnOnce() -> bool) -> Self {
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let Ok((ours, theirs)) = pair else { return Self { socket: None } };
        // SAFETY: there is one thread, so the child may do what it likes; it never returns.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => serve(theirs.as_raw_fd(), confine),
            Ok(ForkResult::Parent { .. }) => Self { socket: Some(ours) },
            Err(_) => Self { socket: None },
        }
    }

    /// `/proc/PID/maps`, open.
    pub(super) fn maps(&self, pid: u32) -> Option<File> {
        match &self.socket {
            Some(_) => self.ask(MAPS, pid, b"")?.1.map(File::from),
            None => open(MAPS, pid, b"").map(File::from),
        }
    }

    /// The program's path, and whether the process has our root and our mounts.
    pub(super) fn program(&self, pid: u32) -> Option<(PathBuf, bool)> {
        let answer = match &self.socket {
            Some(_) => self.ask(PROGRAM, pid, b"")?.0,
            None => program(pid)?,
        };
        let (shares, path) = answer.split_first()?;
        Some((PathBuf::from(std::ffi::OsStr::from_bytes(path)), *shares != 0))
    }

    /// A file by its path as the process sees it, open.
    pub(super) fn file(&self, pid: u32, path: &[u8]) -> Option<File> {
        match &self.socket {
            Some(_) => self.ask(FILE, pid, path)?.1.map(File::from),
            None => open(FILE, pid, path).map(File::from),
        }
    }

    fn ask(&self, what: u8, pid: u32, path: &[u8]) -> Option<(Vec<u8>, Option<OwnedFd>)> {
        let socket = self.socket.as_ref()?.as_raw_fd();
        let mut question = vec![what];
        question.extend_from_slice(&pid.to_le_bytes());
        question.extend_from_slice(path);
        if question.len() > LONGEST {
            return None;
        }
        send(socket, &question, None)?;
        let (answer, descriptor) = receive(socket)?;
        // The first byte keeps an answer from being empty, which means the end.
        Some((answer.get(1..)?.to_vec(), descriptor))
    }
}

fn send(socket: RawFd, bytes: &[u8], descriptor: Option<RawFd>) -> Option<()> {
    let fds: Vec<RawFd> = descriptor.into_iter().collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let with = if fds.is_empty() { &[][..] } else { &rights };
    sendmsg::<()>(socket, &[IoSlice::new(bytes)], with, MsgFlags::MSG_NOSIGNAL, None).ok().map(drop)
}

fn receive(socket: RawFd) -> Option<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0; LONGEST];
    let mut room = nix::cmsg_space!(RawFd);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(socket, &mut parts, Some(&mut room), MsgFlags::MSG_CMSG_CLOEXEC).ok()?;
    let len = message.bytes;
    let mut descriptor = None;
    for control in message.cmsgs().ok()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: descriptors that this message has just made ours.
            descriptor = fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).next();
        }
    }
    bytes.truncate(len);
    (len > 0).then_some((bytes, descriptor))
}

/// The whole life of the process.
fn serve(socket: RawFd, confine: impl FnOnce() -> bool) -> ! {
    // SAFETY: system calls on descriptors and memory of this process, which has one thread. What the parent has open (the
    // probe, the terminal) must not stay open for as long as this lives.
    unsafe {
        if libc::dup2(socket, 0) < 0 || libc::syscall(libc::SYS_close_range, 1, u32::MAX, 0) < 0 {
            libc::_exit(1);
        }
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, c"opentop-looker".as_ptr());
    }
    let fine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        if confine() {
            while let Some((question, _)) = receive(0) {
                if answer(&question).is_none() {
                    break;
                }
            }
        }
    }));
    // SAFETY: ends this process alone, without what the parent would want done at its own end.
    unsafe { libc::_exit(i32::from(fine.is_err())) }
}

fn answer(question: &[u8]) -> Option<()> {
    let (what, rest) = question.split_first()?;
    let (pid, path) = rest.split_first_chunk()?;
    let pid = u32::from_le_bytes(*pid);
    match *what {
        PROGRAM => send(0, &[&[0], &program(pid).unwrap_or_default()[..]].concat(), None),
        what => {
            let opened = open(what, pid, path);
            send(0, &[0], opened.as_ref().map(std::os::fd::AsRawFd::as_raw_fd))
        }
    }
}

fn open(what: u8, pid: u32, path: &[u8]) -> Option<OwnedFd> {
    if what == MAPS {
        return File::open(format!("/proc/{pid}/maps")).ok().map(OwnedFd::from);
    }
    let perf_map = is_perf_map(path);
    if !perf_map && !has_code_from(pid, path) {
        return None;
    }
    let root = File::open(format!("/proc/{pid}/root")).ok()?;
    // Anybody may put a link where a perf map is looked for.
    let last = if perf_map { OFlag::O_NOFOLLOW } else { OFlag::empty() };
    // As the process would find it: its links lead where it is, not where we are. What is no file must not be waited for.
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | last)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = File::from(openat2(&root, Path::new(std::ffi::OsStr::from_bytes(path)), how).ok()?);
    file.metadata().ok()?.is_file().then(|| file.into())
}

/// `/tmp/perf-PID.map`, with whatever pid the process has in its own namespace.
fn is_perf_map(path: &[u8]) -> bool {
    let pid = path.strip_prefix(b"/tmp/perf-").and_then(|rest| rest.strip_suffix(b".map"));
    pid.is_some_and(|pid| !pid.is_empty() && pid.iter().all(u8::is_ascii_digit))
}

/// Whether the process has code from this file.
fn has_code_from(pid: u32, path: &[u8]) -> bool {
    let mut text = Vec::new();
    let read = File::open(format!("/proc/{pid}/maps")).and_then(|maps| maps.take(MAPS_MOST).read_to_end(&mut text));
    read.is_ok() && maps::parse(&text).iter().any(|mapping| mapping.is_file() && *mapping.path == *path)
}

/// Whether the process shares our root and mounts, and the path of its program.
fn program(pid: u32) -> Option<Vec<u8>> {
    let its = |what: &str| read_link(format!("/proc/{pid}/{what}")).ok();
    let program = its("exe")?;
    let shares = ["root", "ns/mnt"].iter().all(|what| {
        let own = read_link(Path::new("/proc/self").join(what)).ok();
        own.is_some() && own == its(what)
    });
    Some([&[u8::from(shares)], program.as_os_str().as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_given_out_but_code_and_perf_maps() {
        let own = std::process::id();
        let program = std::env::current_exe().unwrap();
        assert!(open(FILE, own, program.as_os_str().as_bytes()).is_some(), "code");
        assert!(open(FILE, own, b"/etc/passwd").is_none(), "not code");
        assert!(open(FILE, own, b"/tmp/perf-1/../../etc/passwd.map").is_none(), "not a perf map");
        let map = format!("/tmp/perf-{}.map", u32::MAX);
        let _ = std::fs::remove_file(&map);
        std::os::unix::fs::symlink("/etc/passwd", &map).unwrap();
        let linked = open(FILE, own, map.as_bytes());
        std::fs::remove_file(&map).unwrap();
        assert!(linked.is_none(), "a link");
        std::fs::write(&map, "1000 10 f\n").unwrap();
        let real = open(FILE, own, map.as_bytes());
        std::fs::remove_file(&map).unwrap();
        assert!(real.is_some(), "a perf map");
    }
}
