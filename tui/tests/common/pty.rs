//! The real binary in a pseudo-terminal, with an emulator that shows what a person would see.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd, FromRawFd as _, IntoRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use nix::{
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::{
        signal::Signal,
        stat::Mode,
        termios::{Termios, tcgetattr},
    },
};

use super::PATIENCE;

/// A program in a terminal of its own.
pub struct Pty {
    pub child: Child,
    keys: File,
    /// Kept open: its modes are looked at before, during and after.
    terminal: OwnedFd,
    before: Termios,
    shared: Arc<(Mutex<Seen>, Condvar)>,
    reading: Arc<AtomicU8>,
    reader: Option<JoinHandle<()>>,
}

/// What the other side of the terminal does: reads, waits, is gone.
const READS: u8 = 0;
const WAITS: u8 = 1;
const GONE: u8 = 2;

/// Both ends of a pseudo-terminal. No program that another test starts meanwhile inherits them, or it would keep the
/// terminal open.
struct Pair {
    master: OwnedFd,
    slave: OwnedFd,
}

impl Pair {
    fn open() -> Self {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = open(ptsname_r(&master).unwrap().as_str(), flags, Mode::empty()).unwrap();
        // SAFETY: the descriptor is taken over from what owned it.
        let master = unsafe { OwnedFd::from_raw_fd(master.into_raw_fd()) };
        Self { master, slave }
    }
}

fn set_size(terminal: &impl AsRawFd, cols: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a winsize.
    assert_eq!(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }, 0);
}

/// What came out of it.
struct Seen {
    emulator: avt::Terminal,
    /// Every byte, for what an emulator does not show.
    bytes: Vec<u8>,
    /// The beginning of a character whose end has not come yet.
    partial: Vec<u8>,
}

impl Pty {
    /// Starts `command` in a terminal of `cols` × `rows`, as its controlling terminal.
    pub fn start(command: &mut Command, cols: u16, rows: u16) -> Self {
        command.env("COLORTERM", "truecolor").env("LANG", "C.UTF-8");
        Self::start_as_it_is(command, cols, rows)
    }

    /// The same without a word about colours and language in its environment.
    pub fn start_as_it_is(command: &mut Command, cols: u16, rows: u16) -> Self {
        super::signals_as_usual();
        let pty = Pair::open();
        set_size(&pty.master, cols, rows);
        let before = tcgetattr(&pty.slave).unwrap();
        let stream = || Stdio::from(pty.slave.try_clone().unwrap());
        command.stdin(stream()).stdout(stream()).stderr(stream());
        command.env("TERM", "xterm-256color");
        let setup = || {
            nix::unistd::setsid()?;
            // SAFETY: stdin is the terminal by now; TIOCSCTTY takes an integer.
            if unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        };
        // SAFETY: `setup` makes two system calls and nothing else.
        let child = unsafe { command.pre_exec(setup) }.spawn().unwrap();
        let shared = Arc::new((
            Mutex::new(Seen {
                emulator: avt::Terminal::new(cols.into(), rows.into()).unwrap(),
                bytes: Vec::new(),
                partial: Vec::new(),
            }),
            Condvar::new(),
        ));
        let (out, to) = (File::from(pty.master.try_clone().unwrap()), Arc::clone(&shared));
        let reading = Arc::<AtomicU8>::default();
        let state = Arc::clone(&reading);
        let reader = Some(std::thread::spawn(move || read(out, &to, &state)));
        Self { child, keys: File::from(pty.master), terminal: pty.slave, before, shared, reading, reader }
    }

    /// Stops reading what the program writes, until [`Pty::read_on`].
    pub fn stop_reading(&self) {
        self.reading.store(WAITS, Ordering::SeqCst);
    }

    /// Reads again.
    pub fn read_on(&self) {
        self.reading.store(READS, Ordering::SeqCst);
    }

    /// Closes the terminal, as a window that is closed and a connection that breaks do.
    pub fn hang_up(&mut self) {
        self.reading.store(GONE, Ordering::SeqCst);
        self.reader.take().unwrap().join().unwrap();
        self.keys = File::open("/dev/null").unwrap();
    }

    /// Types `keys`.
    pub fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Types `keys`, and waits until the program has read them: an Escape that it reads together with the key behind it is
    /// that key with Alt.
    pub fn keys_alone(&mut self, keys: &str) {
        self.keys(keys);
        super::wait_until("the keys are read", || {
            let mut unread: libc::c_int = 0;
            // SAFETY: FIONREAD writes an integer.
            assert_eq!(unsafe { libc::ioctl(self.terminal.as_raw_fd(), libc::FIONREAD, &raw mut unread) }, 0);
            (unread == 0).then_some(())
        });
    }

    /// The program's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        self.signal_number(signal as i32);
    }

    /// The same for those that only have a number.
    pub fn signal_number(&self, signal: i32) {
        // SAFETY: a system call without pointers.
        assert_eq!(unsafe { libc::kill(self.child.id().cast_signed(), signal) }, 0);
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, cols: u16, rows: u16) {
        self.shared.0.lock().unwrap().emulator.resize(cols.into(), rows.into());
        set_size(&self.keys, cols, rows);
    }

    /// The screen as a person sees it, a line a row.
    pub fn screen(&self) -> String {
        text(&self.shared.0.lock().unwrap().emulator)
    }

    /// Every byte that was written to the terminal.
    pub fn bytes(&self) -> Vec<u8> {
        self.shared.0.lock().unwrap().bytes.clone()
    }

    /// Waits until the screen satisfies `shows`, and returns it.
    pub fn wait_for(&mut self, what: &str, mut shows: impl FnMut(&str) -> bool) -> String {
        let start = Instant::now();
        let mut seen = self.shared.0.lock().unwrap();
        loop {
            let screen = text(&seen.emulator);
            if shows(&screen) {
                return screen;
            }
            assert!(start.elapsed() < PATIENCE, "never on the screen: {what}; the screen was:\n{screen}");
            if let Some(status) = self.child.try_wait().unwrap() {
                // What it wrote last may still be on its way, and whoever reads it may wait for a processor.
                let (again, timeout) = self.shared.1.wait_timeout(seen, std::time::Duration::from_secs(5)).unwrap();
                seen = again;
                assert!(
                    !timeout.timed_out(),
                    "ended ({status}) before the screen showed: {what}; the screen was:\n{screen}"
                );
                continue;
            }
            seen = self.shared.1.wait_timeout(seen, std::time::Duration::from_millis(100)).unwrap().0;
        }
    }

    /// Waits for the program's end.
    pub fn wait(&mut self) -> ExitStatus {
        super::wait_until("the end of the program", || self.child.try_wait().unwrap())
    }

    /// Asserts that the terminal is as it was before the program: modes byte for byte, normal screen, cursor shown,
    /// nothing reported (mouse, paste, focus).
    pub fn assert_restored(&self) {
        let after = tcgetattr(self.terminal.as_fd()).unwrap();
        let flags = |t: &Termios| {
            let raw: libc::termios = t.clone().into();
            (raw.c_iflag, raw.c_oflag, raw.c_cflag, raw.c_lflag, raw.c_cc, raw.c_ispeed, raw.c_ospeed)
        };
        assert_eq!(flags(&self.before), flags(&after), "the terminal's modes");
        self.assert_screen_left();
    }

    /// Asserts that every mode of the screen that was switched on is switched off again.
    pub fn assert_screen_left(&self) {
        // The last bytes may still be on their way through the pseudo-terminal.
        super::wait_until("every mode of the screen is switched off again", || {
            let bytes = self.bytes();
            // Alternate screen, cursor (inverted), mouse reports, bracketed paste, focus events, synchronized output.
            [
                ("1049", 'h'),
                ("25", 'l'),
                ("1000", 'h'),
                ("1002", 'h'),
                ("1003", 'h'),
                ("1006", 'h'),
                ("2004", 'h'),
                ("1004", 'h'),
                ("2026", 'h'),
            ]
            .iter()
            .all(|(mode, changed)| last_setting(&bytes, mode).is_none_or(|setting| setting != *changed))
            .then_some(())
        });
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How DEC private mode `mode` was set last: `h` (set), `l` (reset); `None` when it never was.
fn last_setting(bytes: &[u8], mode: &str) -> Option<char> {
    let text = String::from_utf8_lossy(bytes);
    let mut last = None;
    for sequence in text.split("\x1b[?").skip(1) {
        let Some(end) = sequence.find(|c: char| !(c.is_ascii_digit() || c == ';')) else { continue };
        let (numbers, rest) = sequence.split_at(end);
        if numbers.split(';').any(|n| n == mode) {
            last = rest.chars().next().filter(|c| matches!(c, 'h' | 'l')).or(last);
        }
    }
    last
}

fn text(emulator: &avt::Terminal) -> String {
    let lines = emulator.screen().visible_lines();
    lines.map(|line| line.text().trim_end().to_owned() + "\n").collect()
}

fn read(mut out: File, to: &(Mutex<Seen>, Condvar), state: &AtomicU8) {
    let mut buffer = [0; 65_536];
    loop {
        let mut ready = [PollFd::new(out.as_fd(), PollFlags::POLLIN)];
        match state.load(Ordering::SeqCst) {
            GONE => return,
            WAITS => {
                std::thread::sleep(std::time::Duration::from_millis(10));
                continue;
            }
            _ if poll(&mut ready, PollTimeout::from(20u16)) == Ok(0) => continue,
            _ => {}
        }
        let Ok(count @ 1..) = out.read(&mut buffer) else { return };
        let mut seen = to.0.lock().unwrap();
        seen.bytes.extend_from_slice(&buffer[..count]);
        let mut whole = std::mem::take(&mut seen.partial);
        whole.extend_from_slice(&buffer[..count]);
        let valid = match std::str::from_utf8(&whole) {
            // Cut inside a character: the rest comes with the next read.
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            _ => whole.len(),
        };
        seen.partial = whole.split_off(valid);
        seen.emulator.feed([String::from_utf8_lossy(&whole).as_ref()]);
        to.1.notify_all();
    }
}
