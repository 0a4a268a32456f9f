//! The terminal: taken over, drawn on with one write per frame, and given back on every way out.
//!
//! Nothing is ever asked of the terminal: an answer might never come, or come between keys. What is on it is known
//! from what was written. Colours are what the theme says, whatever the environment does to other libraries.

use std::io::{self, Write};
use std::os::fd::{AsFd as _, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

use super::modes;

/// Nothing of a half-drawn frame is seen between these two (DEC private mode 2026; others ignore it).
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

/// Alternate screen, cursor hidden, everything erased.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[0m\x1b[2J";
/// Buttons, drags and the wheel, in SGR coordinates.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1002h\x1b[?1006h";
/// Mouse off, bracketed paste off, focus events off, attributes off, cursor shown, the first screen again.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[?1006l\x1b[?1002l\x1b[?1000l\x1b[?2004l\x1b[?1004l\x1b[0m\x1b[?25h\x1b[?1049l";

/// Draws buffers on anything that bytes can be written to: a terminal, an asciicast, a test.
#[derive(Debug)]
pub struct Screen<W: Write> {
    to: W,
    shown: Buffer,
    next: Buffer,
    out: Vec<u8>,
    erase: bool,
}

impl<W: Write> Screen<W> {
    /// A screen of so many columns and rows, whose first frame erases what is there.
    pub fn new(to: W, columns: u16, rows: u16) -> Self {
        let area = Rect::new(0, 0, columns, rows);
        Self {
            to,
            shown: Buffer::empty(area),
            next: Buffer::empty(area),
            out: Vec::with_capacity(16 * 1024),
            erase: true,
        }
    }

    /// Another size: the next frame is drawn anew.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        let area = Rect::new(0, 0, columns, rows);
        self.shown = Buffer::empty(area);
        self.next = Buffer::empty(area);
        self.erase = true;
    }

    /// The next frame is drawn anew: something else may have written to the terminal.
    pub fn repaint(&mut self) {
        self.shown.reset();
        self.erase = true;
    }

    /// What it writes to.
    pub fn writer(&mut self) -> &mut W {
        &mut self.to
    }

    /// Draws one frame: `draw` fills an empty buffer, and what differs from the frame before is written, all at once.
    /// Where nothing differs nothing is written. Gives the bytes written.
    ///
    /// # Errors
    /// When writing fails.
    pub fn frame(&mut self, draw: impl FnOnce(&mut Buffer)) -> io::Result<usize> {
        self.next.reset();
        draw(&mut self.next);
        self.out.clear();
        self.out.extend_from_slice(BEGIN);
        if self.erase {
            self.out.extend_from_slice(b"\x1b[0m\x1b[2J");
        }
        let start = self.out.len();
        encode(&mut self.out, self.shown.diff(&self.next));
        if self.out.len() == start && !self.erase {
            return Ok(0);
        }
        self.erase = false;
        self.out.extend_from_slice(END);
        self.to.write_all(&self.out)?;
        self.to.flush()?;
        std::mem::swap(&mut self.shown, &mut self.next);
        Ok(self.out.len())
    }
}

/// Writes cells as a terminal understands them: moves only where they do not follow each other, attributes only
/// where they change.
fn encode(out: &mut Vec<u8>, cells: Vec<(u16, u16, &Cell)>) {
    let mut pen: Option<(Color, Color, Modifier)> = None;
    let mut at = None;
    for (x, y, cell) in &cells {
        if at != Some((*x, *y)) {
            sequence(out, format_args!("\x1b[{};{}H", y + 1, x + 1));
        }
        let style = (cell.fg, cell.bg, cell.modifier);
        if pen != Some(style) {
            attributes(out, style);
            pen = Some(style);
        }
        out.extend_from_slice(cell.symbol().as_bytes());
        let width = u16::try_from(unicode_width::UnicodeWidthStr::width(cell.symbol())).unwrap_or(1).max(1);
        // Terminals disagree on the width of what is not plain: there the next cell is moved to.
        at = cell.symbol().is_ascii().then(|| (x + width, *y));
        if at.is_none() && width == 1 && cell.symbol().chars().all(|c| matches!(c, '─'..='▟' | '…')) {
            at = Some((x + 1, *y));
        }
    }
    if pen.is_some() {
        out.extend_from_slice(b"\x1b[0m");
    }
}

fn sequence(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(what);
}

fn attributes(out: &mut Vec<u8>, (fg, bg, modifier): (Color, Color, Modifier)) {
    out.extend_from_slice(b"\x1b[0");
    const CODES: [(Modifier, &[u8]); 6] = [
        (Modifier::BOLD, b";1"),
        (Modifier::DIM, b";2"),
        (Modifier::ITALIC, b";3"),
        (Modifier::UNDERLINED, b";4"),
        (Modifier::REVERSED, b";7"),
        (Modifier::CROSSED_OUT, b";9"),
    ];
    for (bit, code) in CODES {
        if modifier.contains(bit) {
            out.extend_from_slice(code);
        }
    }
    color(out, fg, 30);
    color(out, bg, 40);
    out.push(b'm');
}

/// Appends the code of a colour; `base` is 30 for the foreground, 40 for the background.
fn color(out: &mut Vec<u8>, color: Color, base: u8) {
    let named = |n: u8| if n < 8 { base + n } else { base + 60 + n - 8 };
    let code = match color {
        Color::Reset => return,
        Color::Rgb(r, g, b) => return sequence(out, format_args!(";{};2;{r};{g};{b}", base + 8)),
        Color::Indexed(i) => return sequence(out, format_args!(";{};5;{i}", base + 8)),
        Color::Black => named(0),
        Color::Red => named(1),
        Color::Green => named(2),
        Color::Yellow => named(3),
        Color::Blue => named(4),
        Color::Magenta => named(5),
        Color::Cyan => named(6),
        Color::Gray => named(7),
        Color::DarkGray => named(8),
        Color::LightRed => named(9),
        Color::LightGreen => named(10),
        Color::LightYellow => named(11),
        Color::LightBlue => named(12),
        Color::LightMagenta => named(13),
        Color::LightCyan => named(14),
        Color::White => named(15),
    };
    sequence(out, format_args!(";{code}"));
}

/// Standard output without a buffer or a lock: a frame is one write, and the terminal can be given back while another
/// thread hangs in a write that nobody reads.
#[derive(Clone, Copy, Debug)]
pub struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            // In this order: whoever gives the terminal back looks at the two in the other.
            // SAFETY: a system call without a pointer.
            WRITER.store(unsafe { libc::gettid() }, Ordering::SeqCst);
            // Given back, or read by nobody: what is drawn now is for no one.
            let for_no_one = !TAKEN.load(Ordering::SeqCst) || super::signals::output_is_given_up();
            let written = if for_no_one { Ok(bytes.len()) } else { nix::unistd::write(io::stdout(), bytes) };
            WRITER.store(0, Ordering::SeqCst);
            match written {
                Err(Errno::EINTR) => {}
                // Whoever shares the descriptor may have made it non-blocking.
                Err(Errno::EAGAIN) => {
                    let stdout = io::stdout();
                    let _ = poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(100u16));
                }
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the terminal is ours now: what whoever gives it back in haste must know.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The thread that writes a frame, 0 for none: what leaves the screen must come after it.
static WRITER: AtomicI32 = AtomicI32::new(0);

/// The terminal, taken over; dropping it gives it back.
#[derive(Debug)]
pub struct Taken {
    mouse: bool,
}

impl Taken {
    /// Takes the terminal: raw mode, the alternate screen, the mouse if wanted.
    ///
    /// # Errors
    /// When standard input or output is no terminal.
    pub fn new(mouse: bool) -> io::Result<Self> {
        let taken = Self { mouse };
        taken.take()?;
        Ok(taken)
    }

    fn take(&self) -> io::Result<()> {
        modes::raw()?;
        TAKEN.store(true, Ordering::SeqCst);
        let mut out = Output;
        out.write_all(ENTER)?;
        if self.mouse {
            out.write_all(MOUSE_ON)?;
        }
        Ok(())
    }

    /// Gives the terminal to the shell and stops this process, as Ctrl-Z does elsewhere; returns when it is
    /// continued, with the terminal taken again.
    ///
    /// # Errors
    /// When the terminal cannot be taken again.
    pub fn suspend(&self) -> io::Result<()> {
        give_back();
        // To the whole group: a command that we started stops with us.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(0), nix::sys::signal::Signal::SIGSTOP)?;
        self.take()
    }

    /// Takes the terminal once more after a SIGCONT: whoever sent a SIGSTOP left no time to give it back, and the shell has
    /// made it its own meanwhile.
    ///
    /// # Errors
    /// When the terminal cannot be taken.
    pub fn again(&self) -> io::Result<()> {
        self.take()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was. Safe to call again, and from a panic.
pub fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // First what never waits. A terminal that is gone cannot be given back: nothing is left to do about an error here.
    modes::back();
    if super::signals::output_is_given_up() {
        leave_without_waiting();
        return;
    }
    wait_for_the_frame(false);
    let stdout = io::stdout();
    let mut rest = LEAVE;
    while !rest.is_empty() {
        match nix::unistd::write(&stdout, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) if !super::signals::output_is_given_up() => {}
            Err(_) => return,
        }
    }
}

/// The same in a handler of signals: nothing but system calls, and none that waits.
pub(super) fn give_back_from_a_handler() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        modes::back();
        leave_without_waiting();
    }
}

/// Leaves the screen though nobody may be reading.
fn leave_without_waiting() {
    wait_for_the_frame(true);
    // What nobody has read is thrown away: the following would have to wait behind it, and a pseudo-terminal drops what is
    // queued when its session ends.
    // SAFETY: a system call without a pointer.
    unsafe { libc::tcflush(libc::STDOUT_FILENO, libc::TCOFLUSH) };
    write_if_there_is_room(libc::STDOUT_FILENO, LEAVE);
}

/// Waits for a moment until the frame that another thread writes is written, or was broken off where `interrupt`: while it
/// hangs in its write the kernel lets nobody else write.
fn wait_for_the_frame(interrupt: bool) {
    for _ in 0..100 {
        let writer = WRITER.load(Ordering::SeqCst);
        // SAFETY: system calls without pointers. A handler of signals has interrupted its own thread's write already.
        unsafe {
            if writer == 0 || writer == libc::gettid() {
                return;
            }
            if interrupt {
                libc::syscall(libc::SYS_tgkill, libc::getpid(), writer, super::signals::NUDGE as libc::c_int);
            }
            libc::usleep(1000);
        }
    }
}

/// Writes where that needs no waiting; whether it did. For handlers of signals as well.
pub(super) fn write_if_there_is_room(fd: RawFd, bytes: &[u8]) -> bool {
    let mut room = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd and bytes that live for the calls.
    unsafe {
        libc::poll(&raw mut room, 1, 100) == 1
            && room.revents & libc::POLLOUT != 0
            && libc::write(fd, bytes.as_ptr().cast(), bytes.len()) >= 0
    }
}

/// Columns and rows of the terminal.
#[must_use]
pub fn size() -> (u16, u16) {
    crossterm::terminal::window_size().map_or((80, 24), |size| (size.columns, size.rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::style::Style;

    /// Counts the writes.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_frame_is_one_write_and_a_frame_without_change_is_none() {
        let mut screen = Screen::new(Writes::default(), 80, 24);
        for text in ["one", "two", "two", "three"] {
            screen
                .frame(|buf| {
                    for y in 0..24 {
                        buf.set_string(0, y, text, Style::new().fg(Color::Rgb(1, 2, 3)));
                    }
                })
                .unwrap();
        }
        let writes = &screen.writer().0;
        assert_eq!(writes.len(), 3);
        for write in writes {
            assert!(write.starts_with(BEGIN) && write.ends_with(END));
        }
    }

    #[test]
    fn a_terminal_that_is_sent_the_frames_shows_the_buffer() {
        let mut screen = Screen::new(Vec::new(), 40, 4);
        let mut terminal = avt::Terminal::new(40, 4).unwrap();
        for (x, text) in [(0, "plain"), (3, "日本語 wide 🎉 ok"), (1, "│ … ▃▅ größe"), (20, "")] {
            screen.writer().clear();
            screen
                .frame(|buf| {
                    buf.set_string(x, 1, text, Style::new().fg(Color::Red).add_modifier(Modifier::BOLD));
                })
                .unwrap();
            terminal.feed(String::from_utf8(screen.writer().clone()).unwrap().as_str());
            let line = terminal.screen().visible_lines().nth(1).map(|line| line.text()).unwrap();
            assert_eq!(line.trim_end(), format!("{}{text}", " ".repeat(x.into())).trim_end());
        }
    }

    #[test]
    fn reset_colours_write_no_colour() {
        let mut screen = Screen::new(Vec::new(), 10, 1);
        screen
            .frame(|buf| {
                buf.set_string(0, 0, "ab", Style::new().add_modifier(Modifier::REVERSED));
            })
            .unwrap();
        let written = String::from_utf8(screen.writer().clone()).unwrap();
        assert!(written.contains("\x1b[0;7mab"), "{written:?}");
        assert!(!written.contains("[3") && !written.contains(";3"), "{written:?}");
    }
}
