//! Opens for the capture filter: below one folder for each kind of condition, some that a capture with
//! `xtask::captures::expression` must let through and some that it must not. Says which it must, one path a line.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::sys::{self, OpenHow};

/// What must be captured.
#[derive(Default)]
struct Wanted(String);

impl Wanted {
    fn path(&mut self, path: &Path) {
        self.0.push_str(&path.to_string_lossy());
        self.0.push('\n');
    }
}

pub fn run(told: &Path, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let dir = dir.canonicalize()?;
    for name in ["flags", "comm", "user", "err", "via", "rel/sub", "dur", "tree"] {
        fs::create_dir_all(dir.join(name))?;
    }
    let mut wanted = Wanted::default();
    sys::set_comm(b"truth");

    let name = made(&dir, "flags/file")?;
    wanted.path(&name);
    open(&name, libc::O_WRONLY);
    open(&name, libc::O_RDONLY);

    let name = made(&dir, "comm/file")?;
    wanted.path(&name);
    open(&name, 0);
    sys::set_comm(b"other");
    open(&name, 0);
    sys::set_comm(b"truth");

    let name = made(&dir, "user/file")?;
    open(&name, 0);
    let (_, status) = sys::in_child(|| {
        // SAFETY: takes a number.
        if unsafe { libc::setuid(1000) } == 0 {
            open(&name, 0);
        } else {
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(1) };
        }
    })?;
    if status == 0 {
        wanted.path(&name);
    }

    let (name, missing) = (made(&dir, "err/file")?, dir.join("err/missing"));
    wanted.path(&missing);
    open(&name, 0);
    open(&missing, 0);
    open(&name.join("below"), 0);

    let name = made(&dir, "via/file")?;
    open(&name, 0);
    let path = c(&name);
    let ret = sys::openat2(libc::AT_FDCWD, path.as_ptr(), &OpenHow::default());
    sys::close(ret);
    if ret >= 0 {
        wanted.path(&name);
    }

    relative(&dir, &mut wanted)?;

    let fifo = dir.join("dur/fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU)?;
    wanted.path(&fifo);
    thread::scope(|scope| {
        scope.spawn(|| open(&fifo, libc::O_RDONLY));
        // The reader waits for this one, which waits for nobody.
        thread::sleep(Duration::from_millis(500));
        open(&fifo, libc::O_WRONLY);
    });

    let name = made(&dir, "tree/file")?;
    wanted.path(&name);
    sys::in_child(|| open(&name, 0))?;

    // The folder stays: going through it would open it.
    fs::write(told, wanted.0)
}

/// Names that mean nothing without their directory.
fn relative(dir: &Path, wanted: &mut Wanted) -> io::Result<()> {
    let here = dir.join("rel");
    let file = made(dir, "rel/file")?;
    std::env::set_current_dir(here.join("sub"))?;
    for name in ["../file", "./../../rel/file", "../sub/../missing"] {
        open(Path::new(name), 0);
    }
    // The last one fails, and the capture wants none that does.
    for _ in 0..2 {
        wanted.path(&file);
    }
    // Longer than what the probe keeps beside a thread.
    let long = "d".repeat(200);
    fs::create_dir(here.join(&long))?;
    let deep = format!("{long}/{}", "f".repeat(200));
    sys::make(here.join(&deep).as_os_str().as_bytes())?;
    std::env::set_current_dir(&here)?;
    open(Path::new(&deep), 0);
    wanted.path(&here.join(&deep));
    std::env::set_current_dir(dir.join("err"))?;
    open(Path::new("file"), 0);
    Ok(())
}

/// A new file, made without opening it.
fn made(dir: &Path, name: &str) -> io::Result<std::path::PathBuf> {
    let path = dir.join(name);
    sys::make(path.as_os_str().as_bytes())?;
    Ok(path)
}

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

fn open(path: &Path, flags: i32) {
    sys::close(sys::openat(libc::AT_FDCWD, c(path).as_ptr(), flags, 0));
}
