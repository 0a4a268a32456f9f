//! The dashboard on a real pseudo-terminal: what it costs while it is flooded and while nothing happens, and how long a
//! key takes to be seen.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::figures::Figures;
use super::harness::{Bench, Used, cpu, end};
use super::tools::Who;
use crate::cmd;

const COLUMNS: u16 = 200;
const ROWS: u16 = 50;

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
            if self.seen().terminal.screen().visible_lines().any(|line| line.text().contains(text)) {
                return Ok(typed.elapsed().as_secs_f64() * 1000.0);
            }
            thread::sleep(Duration::from_micros(200));
        }
        anyhow::bail!("{} was never seen", text)
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

/// From a key to the screen, with a loop at full speed that is watched.
pub fn flooded(bench: &Bench, figures: &mut Figures) -> Result<()> {
    const PART: &str = "the dashboard on a terminal of 200×50, flooded by a loop at full speed";
    let (count, seconds) = if bench.plan.quick { (6, 3) } else { (40, 15) };
    let mut load = bench.load(&format!("open --cpu 0 --warm --seconds {seconds}"))?;
    let mut screen = Screen::start(bench, load.pid(), None)?;
    screen.keep();
    screen.ready()?;
    load.go();
    thread::sleep(Duration::from_millis(500));
    let (before, began, bytes) = (cpu(screen.pid()), Instant::now(), screen.bytes());
    let mut times = Vec::new();
    for n in 0..count {
        times.push(match n % 2 {
            0 => screen.key(b"5", "The account")?,
            _ => screen.key(b"1", "LAST PATH")?,
        });
        thread::sleep(Duration::from_millis(137));
    }
    let took = began.elapsed().as_secs_f64();
    let (busy, written) = (cpu(screen.pid()) - before, screen.bytes() - bytes);
    let done = load.done()?;
    screen.end(0.0)?;
    let rate = done.opens as f64 / done.seconds;
    times.sort_by(f64::total_cmp);
    figures.add(PART, "opentop", "opens a second", "", &[rate]);
    figures.add(PART, "opentop", "from a key to the screen", "ms", &times);
    figures.add(PART, "opentop", "from a key to the screen, p99", "ms", &[times[(times.len() * 99).div_ceil(100) - 1]]);
    figures.add(PART, "opentop", "processor for a million opens", "s", &[1e6 * busy / (rate * took)]);
    figures.add(PART, "opentop", "written to the terminal", "KiB/s", &[written as f64 / took / 1024.0]);
    Ok(())
}

/// What it costs while nothing happens.
pub fn idle(bench: &Bench, figures: &mut Figures) -> Result<()> {
    const PART: &str = "while nothing is opened";
    let seconds = if bench.plan.quick { 2 } else { 10 };
    let mut command = std::process::Command::new("sleep");
    let mut sleeper = command.arg("100").stdin(Stdio::null()).spawn()?;
    let measured = (|| {
        let screen = Screen::start(bench, sleeper.id(), None)?;
        screen.ready()?;
        thread::sleep(Duration::from_secs(2));
        let (before, bytes, began) = (cpu(screen.pid()), screen.bytes(), Instant::now());
        thread::sleep(Duration::from_secs(seconds));
        let took = began.elapsed().as_secs_f64();
        let (busy, written) = (cpu(screen.pid()) - before, screen.bytes() - bytes);
        screen.end(0.0)?;
        ensure!(before > 0.0, "its processor time is not to be had");
        figures.add(PART, "opentop", "of a processor", "%", &[100.0 * busy / took]);
        figures.add(PART, "opentop", "written to the terminal", "bytes/s", &[written as f64 / took]);
        Ok(())
    })();
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    measured
}
