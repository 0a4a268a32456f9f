//! The dashboard on a real pseudo-terminal: started, typed at, looked at.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::harness::{Bench, Used, end};
use super::tools::Who;
use crate::cmd;

pub const COLUMNS: u16 = 200;
pub const ROWS: u16 = 50;

/// opentop on a terminal of its own.
pub struct Screen {
    child: Child,
    keyboard: File,
    seen: Arc<Mutex<Seen>>,
    started: Instant,
}

struct Seen {
    bytes: u64,
    /// When the first byte came.
    first: Option<Instant>,
    /// The beginning of a character whose end is yet to come.
    rest: Vec<u8>,
    terminal: avt::Terminal,
    /// Whether the terminal is kept: that takes time, too.
    kept: bool,
}

impl Screen {
    /// Starts the dashboard, of one process.
    pub fn start(bench: &Bench, pid: u32, attach: Option<&str>) -> Result<Self> {
        let mut command = Who::Dashboard.command(bench, Some(pid), attach)?;
        command.env("HOME", &bench.work);
        Self::on(command, (COLUMNS, ROWS), &bench.work.join("said"))
    }

    /// Starts a command on a terminal of `size` columns and rows; what it says on stderr goes to the file `said`.
    pub fn on(mut command: Command, size: (u16, u16), said: &Path) -> Result<Self> {
        let winsize = nix::pty::Winsize { ws_row: size.1, ws_col: size.0, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(&winsize, None).context("there is no pseudo-terminal to be had")?;
        command.env("TERM", "xterm-256color").env("COLORTERM", "truecolor");
        command.stdin(pty.slave.try_clone()?).stdout(pty.slave.try_clone()?);
        command.stderr(File::create(said)?);
        // SAFETY: both calls are allowed between fork and exec; 0 is the terminal by then.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start `{}`", cmd::shown(&command)))?;
        drop((command, pty.slave));
        let terminal = avt::Terminal::new(size.0.into(), size.1.into()).context("no terminal of that size")?;
        let seen = Arc::new(Mutex::new(Seen { bytes: 0, first: None, rest: Vec::new(), terminal, kept: false }));
        let mut screen = File::from(pty.master.try_clone()?);
        let to = Arc::clone(&seen);
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read) = screen.read(&mut buffer) {
                if read == 0 {
                    return;
                }
                to.lock().unwrap_or_else(PoisonError::into_inner).take(&buffer[..read]);
            }
        });
        Ok(Self { child, keyboard: pty.master.into(), seen, started })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its first picture with opens: ms from the start.
    pub fn ready(&self) -> Result<f64> {
        while self.started.elapsed() < Duration::from_secs(20) {
            if let Some(first) = self.seen().first {
                return Ok((first - self.started).as_secs_f64() * 1000.0);
            }
            thread::sleep(Duration::from_micros(500));
        }
        anyhow::bail!("the dashboard drew nothing")
    }

    /// Types a key, and waits until the screen has `text`: ms. From here on the terminal is kept.
    pub fn key(&mut self, key: &[u8], text: &str) -> Result<f64> {
        let typed = Instant::now();
        self.keyboard.write_all(key)?;
        while typed.elapsed() < Duration::from_secs(5) {
            if self.has(text) {
                return Ok(typed.elapsed().as_secs_f64() * 1000.0);
            }
            thread::sleep(Duration::from_micros(200));
        }
        anyhow::bail!("{} was never seen", text)
    }

    /// Whether a line of the screen has it, once the terminal is kept.
    pub fn has(&self, text: &str) -> bool {
        self.seen().terminal.screen().visible_lines().any(|line| line.text().contains(text))
    }

    /// Bytes that came to the terminal so far.
    pub fn bytes(&self) -> u64 {
        self.seen().bytes
    }

    /// Keeps the terminal from here on.
    pub fn keep(&self) {
        self.seen().kept = true;
    }

    /// Waits for its own end, which must be a good one.
    pub fn wait(&mut self, limit: Duration) -> Result<()> {
        while self.started.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "it ended with {status}");
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        anyhow::bail!("it did not end within {} s", limit.as_secs())
    }

    /// Ends it.
    pub fn end(self, cpu_before: f64) -> Result<Used> {
        end(self.child.id(), cpu_before)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.first.get_or_insert_with(Instant::now);
        if !self.kept {
            return;
        }
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = String::from_utf8_lossy(&self.rest[..whole]).into_owned();
        self.terminal.feed([text.as_str()]);
        self.rest.drain(..whole);
    }
}
