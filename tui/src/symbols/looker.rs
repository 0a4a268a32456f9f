//! Opens what takes privileges, for the thread that finds names: a process of its own, which does nothing else.
//!
//! opentop gives its privileges up once the probe is attached, and so parses nothing with them. What is left to open are
//! `/proc/PID/maps` of others' processes, and files as those see them. This process keeps the two capabilities that takes
//! (`CAP_SYS_PTRACE`, `CAP_DAC_READ_SEARCH`), opens what it is asked for, and hands the descriptor over. It reads none of it,
//! holds no other descriptor, and ends when opentop does, however that ends.

use std::{
    fs::{File, read_link},
    io::{IoSlice, IoSliceMut},
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
    let root = File::open(format!("/proc/{pid}/root")).ok()?;
    // As the process would find it: its links lead where it is, not where we are. What is no file must not be waited for.
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = File::from(openat2(&root, Path::new(std::ffi::OsStr::from_bytes(path)), how).ok()?);
    file.metadata().ok()?.is_file().then(|| file.into())
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
