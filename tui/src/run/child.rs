//! The command behind `--`: forked before the probe hangs in the kernel, and held back until it follows it, so that
//! not one of its opens is missed and none of the preparation is seen.
//!
//! Why fork and not `std::process::Command`: that one returns only once the child has called exec, and the child must
//! not do so before the probe knows its pid. Between fork and exec the child makes nothing but direct system calls on
//! memory that was prepared before (no allocation, no lock, no look-up of users or groups), which is sound whatever
//! other threads there are; that there are none yet makes it doubly so.

use std::{
    ffi::{CString, OsStr, OsString, c_char, c_int},
    io::{ErrorKind, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
    ptr,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::{AccessFlags, ForkResult, Pid, eaccess, fork},
};
use tokio::sync::mpsc;

use super::{
    End,
    user::{Invoker, as_invoker},
};
use crate::{
    error::{Error, Kind, in_words},
    escape::{Escaped, escaped},
};

/// Where the command's standard streams go.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// stdin; inherited where there is none.
    pub(super) input: Option<OwnedFd>,
    /// stdout and stderr; where there is none both go to opentop's stderr, so that opentop's stdout stays parseable.
    pub(super) output: Option<OwnedFd>,
}

/// A command that is forked and has not started yet. Dropped, it never starts.
#[derive(Debug)]
pub(super) struct Held {
    pid: Pid,
    name: String,
    go: std::io::PipeWriter,
    failed: std::io::PipeReader,
}

/// A command that runs, or has ended and is not reaped yet: until then its pid is nobody else's.
#[derive(Debug)]
pub(super) struct Running {
    pid: Pid,
    ended: bool,
}

/// Forks `cmd` and holds it back. `mask` is the signal mask it gets.
///
/// # Errors
/// When it is not found (127), cannot be executed (126), or cannot be forked.
pub(super) fn hold(cmd: &[OsString], invoker: Option<&Invoker>, streams: Streams, mask: SigSet) -> Result<Held, Error> {
    let Some(name) = cmd.first() else {
        return Err(Error::new(Kind::Usage, "there is no command to run"));
    };
    let path = std::env::var_os("PATH");
    let program = as_invoker(invoker, || resolve(name, path.as_deref()))??;
    let image = Image::new(&program, cmd, invoker)?;
    let broken = |e: std::io::Error| Error::failed(format!("making a pipe failed: {}", in_words(&e)));
    let (wait, go) = std::io::pipe().map_err(broken)?;
    let (failed, report) = std::io::pipe().map_err(broken)?;
    // An inherited "ignore" would make the kernel throw the exit status away.
    default_sigchld();
    let tables = image.tables();
    // SAFETY: the child calls only `become_command`, which makes async-signal-safe calls and never returns.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            let pipes = [wait.as_raw_fd(), go.as_raw_fd(), report.as_raw_fd()];
            become_command(&image, &tables, &streams, &mask, pipes)
        }
        Ok(ForkResult::Parent { child }) => Ok(Held { pid: child, name: escaped(name.as_bytes()), go, failed }),
        Err(errno) => {
            Err(Error::failed(format!("starting {} failed: {}", Escaped(name.as_bytes()), errno.desc().to_lowercase())))
        }
    }
}

impl Held {
    /// The process that will be the command.
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Lets it start. Its end goes to `ends`.
    pub(super) fn start(mut self, ends: mpsc::Sender<End>) -> Result<Running, Error> {
        let name = &self.name;
        self.go
            .write_all(b"!")
            .map_err(|e| Error::failed(format!("{name} was killed before it could start ({})", e.kind())))?;
        // Nothing comes when exec succeeds: it closes the pipe.
        let mut errno = [0; 4];
        match self.failed.read_exact(&mut errno) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {}
            Err(e) => return Err(Error::failed(format!("starting {name} failed: {}", in_words(&e)))),
            Ok(()) => {
                let _ = waitpid(self.pid, None);
                return Err(cannot_execute(name, Errno::from_raw(i32::from_ne_bytes(errno))));
            }
        }
        let pid = self.pid;
        let wait = move || {
            super::fault::point("command");
            // It stays unreaped (WNOWAIT): no signal that is passed on can reach another process of the same pid.
            while let Err(Errno::EINTR) = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {}
            let _ = ends.blocking_send(End::Command);
        };
        std::thread::Builder::new().name("command".into()).spawn(wait).map_err(|e| {
            Error::failed(format!("starting the thread that waits for {name} failed: {}", in_words(&e)))
        })?;
        Ok(Running { pid, ended: false })
    }
}

impl Running {
    /// Passes a signal on to it; whether that was allowed: it may have become another user.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        // It may have ended already: then there is nobody to tell.
        kill(self.pid, signal) != Err(Errno::EPERM)
    }

    /// Reaps it after [`End::Command`]: its exit status, 128 + N when signal N killed it.
    pub(super) fn reap(&mut self) -> u8 {
        self.ended = true;
        let code = match waitpid(self.pid, None) {
            Ok(WaitStatus::Exited(_, code)) => code,
            Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
            _ => 1,
        };
        u8::try_from(code & 0xff).unwrap_or(1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // opentop ends first (--duration, q): as with perf and bpftrace, the command it started ends with it.
        if !self.ended && !self.signal(Signal::SIGTERM) {
            super::say("the command runs as another user by now and goes on: it could not be told to end");
        }
    }
}

/// Everything that exec needs, in the form in which it needs it.
struct Image {
    program: CString,
    argv: Vec<CString>,
    /// `/bin/sh PROGRAM ARGS…`, for a script without `#!`, which shells run so.
    shell_argv: Vec<CString>,
    env: Vec<CString>,
    identity: Option<(libc::uid_t, libc::gid_t, Vec<libc::gid_t>)>,
}

impl Image {
    fn new(program: &Path, cmd: &[OsString], invoker: Option<&Invoker>) -> Result<Self, Error> {
        let c = |bytes: &[u8]| {
            // The kernel handed us the arguments and the environment as C strings.
            CString::new(bytes).map_err(|_| Error::new(Kind::Usage, "an argument contains a NUL byte"))
        };
        let argv = cmd.iter().map(|arg| c(arg.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        let program = c(program.as_os_str().as_bytes())?;
        let mut shell_argv = vec![c(b"/bin/sh")?, program.clone()];
        shell_argv.extend(argv.iter().skip(1).cloned());
        Ok(Self {
            program,
            argv,
            shell_argv,
            env: environment(std::env::vars_os(), invoker).iter().map(|v| c(v.as_bytes())).collect::<Result<_, _>>()?,
            identity: invoker
                .map(|i| (i.uid.as_raw(), i.gid.as_raw(), i.groups.iter().map(|gid| gid.as_raw()).collect())),
        })
    }
}

/// The tables of pointers that execve takes: made before the fork, as they allocate. They point into an [`Image`].
struct Tables {
    argv: Vec<*const c_char>,
    shell_argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
}

impl Image {
    fn tables(&self) -> Tables {
        let table = |strings: &[CString]| strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Tables { argv: table(&self.argv), shell_argv: table(&self.shell_argv), env: table(&self.env) }
    }
}

/// The command's environment, `NAME=value`: opentop's own, with what names the user set to `invoker`.
fn environment(own: impl Iterator<Item = (OsString, OsString)>, invoker: Option<&Invoker>) -> Vec<OsString> {
    let mut all: Vec<(OsString, OsString)> = own.collect();
    if let Some(user) = invoker {
        let home = user.home.clone().unwrap_or_else(|| PathBuf::from("/"));
        for (name, value) in
            [("HOME", home.into_os_string()), ("USER", (&user.name).into()), ("LOGNAME", (&user.name).into())]
        {
            all.retain(|(existing, _)| existing != name);
            all.push((name.into(), value));
        }
    }
    let join = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        name
    };
    all.into_iter().map(join).collect()
}

/// Finds the program of a command as a shell does.
fn resolve(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Error> {
    let shown = Escaped(name.as_bytes());
    if name.as_bytes().contains(&b'/') {
        return check(Path::new(name)).map_err(|errno| cannot_execute(&shown.to_string(), errno));
    }
    let path = path.unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    let mut refused = None;
    for dir in path.as_bytes().split(|b| *b == b':').filter(|_| !name.is_empty()) {
        // An empty entry is the working directory (POSIX).
        let dir = if dir.is_empty() { b"." } else { dir };
        let mut candidate = OsString::from_vec(dir.to_vec());
        candidate.push("/");
        candidate.push(name);
        match check(Path::new(&candidate)) {
            Ok(program) => return Ok(program),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            // A directory that may not be searched.
            Err(_) if !Path::new(&candidate).exists() => {}
            // Shells look on and come back to this if nothing better turns up.
            Err(errno) => refused = refused.or(Some((candidate, errno))),
        }
    }
    match refused {
        Some((candidate, errno)) => Err(cannot_execute(&escaped(candidate.as_bytes()), errno)),
        None => Err(Error::new(
            Kind::NotFound,
            format!(
                "command not found: {shown} is in no directory of PATH ({}); \
                 give its full path (sudo may have replaced PATH)",
                Escaped(path.as_bytes())
            ),
        )),
    }
}

/// Whether `program` is a file that may be executed.
fn check(program: &Path) -> Result<PathBuf, Errno> {
    let is_file = std::fs::metadata(program).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::ENOENT)))?;
    if !is_file.is_file() {
        return Err(Errno::EISDIR);
    }
    eaccess(program, AccessFlags::X_OK)?;
    Ok(program.to_path_buf())
}

fn cannot_execute(shown: &str, errno: Errno) -> Error {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => Error::new(
            Kind::NotFound,
            format!(
                "cannot run {shown}: {}; check its path, and the interpreter it names",
                errno.desc().to_lowercase()
            ),
        ),
        Errno::EISDIR => Error::new(Kind::NotExecutable, format!("cannot run {shown}: it is not a program file")),
        Errno::EACCES => Error::new(
            Kind::NotExecutable,
            format!("cannot run {shown}: permission denied; `chmod +x` makes a file executable"),
        ),
        Errno::ENOEXEC => {
            Error::new(Kind::NotExecutable, format!("cannot run {shown}: it is no program for this machine"))
        }
        other => Error::new(Kind::NotExecutable, format!("cannot run {shown}: {}", other.desc().to_lowercase())),
    }
}

fn default_sigchld() {
    // SAFETY: SIG_DFL is a valid disposition, and no handler of ours is replaced: there is none.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// The child, from fork to exec. `[wait, go, report]` are its ends of the pipes.
///
/// Only async-signal-safe calls, no allocation, no return.
fn become_command(
    image: &Image,
    tables: &Tables,
    streams: &Streams,
    mask: &SigSet,
    [wait, go, report]: [RawFd; 3],
) -> ! {
    let input = streams.input.as_ref().map(|fd| fd.as_raw_fd());
    let output = streams.output.as_ref().map_or(libc::STDERR_FILENO, |fd| fd.as_raw_fd());
    let both = streams.output.is_some();
    // SAFETY: direct system calls with descriptors that were open at the fork and pointers to live memory.
    unsafe {
        // Its own copy of the writing end would keep the pipe open for ever.
        libc::close(go);
        // Rust ignores SIGPIPE; the command must not.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let ok = input.is_none_or(|fd| libc::dup2(fd, libc::STDIN_FILENO) >= 0)
            && libc::dup2(output, libc::STDOUT_FILENO) >= 0
            && (!both || libc::dup2(output, libc::STDERR_FILENO) >= 0)
            && match &image.identity {
                None => true,
                Some((uid, gid, groups)) => {
                    libc::setgroups(groups.len(), groups.as_ptr()) == 0
                        && libc::setgid(*gid) == 0
                        && libc::setuid(*uid) == 0
                }
            };
        if !ok {
            give_up(report);
        }
        let mut byte = 0_u8;
        loop {
            match libc::read(wait, (&raw mut byte).cast(), 1) {
                1 => break,
                -1 if *libc::__errno_location() == libc::EINTR => {}
                // opentop could not attach, or is gone.
                _ => libc::_exit(0),
            }
        }
        // Only now: a signal to the group must not kill what has not started.
        libc::sigprocmask(libc::SIG_SETMASK, mask.as_ref(), ptr::null_mut());
        libc::execve(image.program.as_ptr(), tables.argv.as_ptr(), tables.env.as_ptr());
        if *libc::__errno_location() == libc::ENOEXEC {
            libc::execve(c"/bin/sh".as_ptr(), tables.shell_argv.as_ptr(), tables.env.as_ptr());
        }
        give_up(report)
    }
}

/// Reports errno and ends the child.
///
/// # Safety
/// To be called in the forked child only.
unsafe fn give_up(report: c_int) -> ! {
    // SAFETY: errno is thread-local and valid; write takes 4 bytes of live memory; _exit runs nothing of the parent's.
    unsafe {
        let errno = (*libc::__errno_location()).to_ne_bytes();
        libc::write(report, errno.as_ptr().cast(), errno.len());
        libc::_exit(127)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("sh"), "not executable").unwrap();
        let path = format!("{}:/nonexistent:/bin", dir.path().display());
        assert_eq!(resolve("sh".as_ref(), Some(path.as_ref())).unwrap(), Path::new("/bin/sh"));
        assert_eq!(resolve("/bin/sh".as_ref(), None).unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn what_cannot_run_has_the_exit_codes_of_a_shell() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("data"), "x").unwrap();
        let kind = |name: &str| resolve(name.as_ref(), Some(dir.path().as_os_str())).unwrap_err().kind;
        assert_eq!(kind("nosuch"), Kind::NotFound);
        assert_eq!(kind("data"), Kind::NotExecutable);
        assert_eq!(kind(""), Kind::NotFound);
        assert_eq!(kind("/nonexistent/program"), Kind::NotFound);
        assert_eq!(kind("/etc"), Kind::NotExecutable);
    }

    #[test]
    fn under_sudo_the_command_has_the_home_of_its_user() {
        let own = [("HOME", "/root"), ("USER", "root"), ("LANG", "C")].map(|(n, v)| (n.into(), v.into()));
        let user = Invoker {
            uid: 1000.into(),
            gid: 1000.into(),
            groups: vec![],
            name: "ann".into(),
            home: Some("/home/ann".into()),
        };
        let env = environment(own.clone().into_iter(), Some(&user));
        assert_eq!(env, ["LANG=C", "HOME=/home/ann", "USER=ann", "LOGNAME=ann"]);
        assert_eq!(environment(own.into_iter(), None), ["HOME=/root", "USER=root", "LANG=C"]);
    }
}
