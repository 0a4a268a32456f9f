//! Drawing on a terminal, with one write per frame. What is on it is known from what was written; colours are what the
//! theme says, whatever the environment does to other libraries.

use std::io::{self, Write};

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

/// Nothing of a half-drawn frame is seen between these two (DEC private mode 2026; others ignore it).
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

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
