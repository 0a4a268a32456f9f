//! A moving picture of a cast for the README: one SVG, a strip of frames that is pushed past a window.
//!
//! Rows that frames have in common are in it once. Where pictures don't move (printed, or by the reader's wish) it shows
//! its best frame. Lines and bars are drawn as such: fonts differ in how they join them.

use std::collections::HashMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use avt::{Cell, Color, Pen};

/// Size of a cell.
const CELL: (f64, f64) = (8.4, 18.0);
/// Around the screen.
const MARGIN: f64 = 14.0;
/// Colours where the program sets none.
const PAPER: &str = "#0f1419";
const INK: &str = "#c8d0d8";
/// Time between two frames, s.
const STEP: f64 = 0.8;
/// How long the last one stays, s.
const LAST: f64 = 3.0;
/// The mark of the frame that stands where nothing moves.
const BEST: &str = "a build";

/// A frame: when it comes, and its rows by number.
struct Frame {
    at: f64,
    rows: Vec<usize>,
}

/// The picture of a cast.
pub(super) fn picture(cast: &str, size: (usize, usize)) -> Result<String> {
    let mut rows = Rows::default();
    let (frames, end, best) = frames(cast, size, &mut rows)?;
    let (width, height) = (size.0 as f64 * CELL.0 + 2.0 * MARGIN, size.1 as f64 * CELL.1 + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\">\n\
         <title>opentop: who opens what on a machine that builds a project, looks for a configuration, and polls</title>\n<style>\n\
         text{{font:14px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre}}\n\
         .b{{font-weight:bold}}.i{{font-style:italic}}\n#s{{transform:translateX({:.1}px)}}\n\
         @media (prefers-reduced-motion:no-preference){{#s{{animation:s {end:.1}s steps(1,end) infinite}}}}\n@keyframes s{{\n",
        -(best as f64) * width
    );
    for (n, frame) in frames.iter().enumerate() {
        let _ = writeln!(out, "{:.3}%{{transform:translateX({:.1}px)}}", frame.at / end * 100.0, -(n as f64) * width);
    }
    out.push_str("}\n");
    for (n, ink) in rows.inks.iter().enumerate() {
        let _ = write!(out, ".c{n}{{fill:{ink}}}");
    }
    let _ = writeln!(out, "\n</style>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\n<defs>");
    for (n, row) in rows.drawn.iter().enumerate() {
        let _ = writeln!(out, "<g id=\"r{n}\">{row}</g>");
    }
    let _ = writeln!(out, "</defs>\n<g id=\"s\">");
    for (n, frame) in frames.iter().enumerate() {
        let _ = write!(out, "<g transform=\"translate({:.1} {MARGIN})\">", n as f64 * width + MARGIN);
        for (y, row) in frame.rows.iter().enumerate().filter(|(_, row)| !rows.drawn[**row].is_empty()) {
            let _ = write!(out, "<use xlink:href=\"#r{row}\" y=\"{:.0}\"/>", y as f64 * CELL.1);
        }
        out.push_str("</g>\n");
    }
    out.push_str("</g>\n</svg>\n");
    Ok(out)
}

/// Plays the cast: its frames, how long it is, and which frame is the best.
fn frames(cast: &str, size: (usize, usize), rows: &mut Rows) -> Result<(Vec<Frame>, f64, usize)> {
    let mut screen = avt::Terminal::new(size.0, size.1).context("no screen of that size")?;
    let (mut frames, mut at, mut best, mut due): (Vec<Frame>, f64, usize, f64) = (Vec::new(), 0.0, 0, 0.0);
    for line in cast.lines().skip(1) {
        let (wait, code, data): (f64, String, String) = serde_json::from_str(line)?;
        // What was there until now is a frame, if it stood long enough.
        if at + wait >= due && at > 0.0 {
            let numbers = screen.screen().visible_lines().map(|line| rows.number(line.cells())).collect::<Vec<_>>();
            if frames.last().is_none_or(|last| last.rows != numbers) {
                frames.push(Frame { at: if frames.is_empty() { 0.0 } else { at }, rows: numbers });
            }
            due = (at + wait).max(due + STEP);
        }
        at += wait;
        match code.as_str() {
            "o" => {
                screen.feed([data.as_str()]);
            }
            "m" if data == BEST => best = frames.len(),
            _ => {}
        }
    }
    ensure!(!frames.is_empty(), "the cast shows nothing");
    let best = best.min(frames.len() - 1);
    Ok((frames, at + LAST, best))
}

/// Rows, each once.
#[derive(Default)]
struct Rows {
    numbers: HashMap<String, usize>,
    drawn: Vec<String>,
    /// The inks, by the number of their class.
    inks: Vec<String>,
}

impl Rows {
    fn number(&mut self, cells: &[Cell]) -> usize {
        let drawn = self.draw(cells);
        *self.numbers.entry(drawn).or_insert_with_key(|drawn| {
            self.drawn.push(drawn.clone());
            self.drawn.len() - 1
        })
    }

    /// A row of cells.
    fn draw(&mut self, cells: &[Cell]) -> String {
        let mut out = String::new();
        let colours: Vec<(String, Option<String>)> = cells.iter().map(|cell| colours(cell.pen())).collect();
        // Paper first, so that no letter loses its edge.
        let mut x = 0;
        while x < cells.len() {
            let same = (x..cells.len()).take_while(|at| colours[*at].1 == colours[x].1).count();
            if let Some(paper) = &colours[x].1 {
                rect(&mut out, x as f64 * CELL.0, 0.0, same as f64 * CELL.0, CELL.1, paper);
            }
            x += same;
        }
        x = 0;
        while x < cells.len() {
            let (cell, ink) = (&cells[x], &colours[x].0);
            if shape(&mut out, cell.char(), x, ink) || cell.char() == ' ' {
                x += 1;
                continue;
            }
            let goes_on = |at: &usize| {
                let next = &cells[*at];
                let blank = |at: usize| cells.get(at).is_none_or(|cell| cell.char() == ' ');
                !is_shape(next.char()) && next.pen() == cell.pen() && !(blank(*at) && blank(at + 1))
            };
            let count = 1 + (x + 1..cells.len()).take_while(goes_on).count();
            let run = &cells[x..x + count];
            let text: String = run.iter().filter(|cell| cell.width() > 0).map(Cell::char).collect();
            let text = text.trim_end();
            let columns: usize =
                run.iter().take(text.chars().count()).map(|cell| usize::from(cell.width().max(1))).sum();
            let class = self.class(ink, cell.pen());
            words(&mut out, text, x, columns, &class);
            x += count;
        }
        out
    }

    /// The class of text with that ink.
    fn class(&mut self, ink: &str, pen: &Pen) -> String {
        let number = self.inks.iter().position(|known| known == ink).unwrap_or_else(|| {
            self.inks.push(ink.to_owned());
            self.inks.len() - 1
        });
        let bold = if pen.is_bold() { " b" } else { "" };
        let italic = if pen.is_italic() { " i" } else { "" };
        format!("c{number}{bold}{italic}")
    }
}

fn words(out: &mut String, text: &str, x: usize, columns: usize, class: &str) {
    let (x, long) = (x as f64 * CELL.0, columns as f64 * CELL.0);
    let _ = write!(out, "<text x=\"{x:.1}\" y=\"13.5\" textLength=\"{long:.1}\" class=\"{class}\">");
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out.push_str("</text>");
}

fn rect(out: &mut String, x: f64, y: f64, width: f64, height: f64, ink: &str) {
    let _ = write!(out, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{ink}\"/>");
}

/// The arms of a line's character: left, right, up, down.
fn arms(c: char) -> Option<[bool; 4]> {
    let arms = match c {
        '─' | '━' | '╌' | '┄' => "lr",
        '│' | '┃' | '╎' | '┆' => "ud",
        '┌' | '╭' => "rd",
        '┐' | '╮' => "ld",
        '└' | '╰' => "ru",
        '┘' | '╯' => "lu",
        '├' => "rud",
        '┤' => "lud",
        '┬' => "lrd",
        '┴' => "lru",
        '┼' => "lrud",
        _ => return None,
    };
    Some(['l', 'r', 'u', 'd'].map(|arm| arms.contains(arm)))
}

fn is_shape(c: char) -> bool {
    arms(c).is_some() || ('\u{2581}'..='\u{258f}').contains(&c)
}

/// Draws a character that is a line or a bar; false for any other.
fn shape(out: &mut String, c: char, column: usize, ink: &str) -> bool {
    let (x, (width, height)) = (column as f64 * CELL.0, CELL);
    let eighths = |from: char| f64::from(u32::from(c) - u32::from(from));
    match c {
        '\u{2581}'..='\u{2588}' => {
            let tall = (eighths('\u{2581}') + 1.0) / 8.0 * height;
            rect(out, x, height - tall, width, tall, ink);
        }
        '\u{2589}'..='\u{258f}' => rect(out, x, 0.0, (7.0 - eighths('\u{2589}')) / 8.0 * width, height, ink),
        _ => {
            let Some([left, right, up, down]) = arms(c) else { return false };
            let thick = if matches!(c, '━' | '┃') { 2.4 } else { 1.0 };
            let (middle, centre) = (x + width / 2.0, height / 2.0);
            if left || right {
                let from = if left { x } else { middle - thick / 2.0 };
                let to = if right { x + width } else { middle + thick / 2.0 };
                rect(out, from, centre - thick / 2.0, to - from, thick, ink);
            }
            if up || down {
                let from = if up { 0.0 } else { centre };
                let to = if down { height } else { centre };
                rect(out, middle - thick / 2.0, from, thick, to - from, ink);
            }
        }
    }
    true
}

/// Ink, and paper where it is not the screen's.
fn colours(pen: &Pen) -> (String, Option<String>) {
    let ink = pen.foreground().map_or_else(|| INK.to_owned(), hex);
    let paper = pen.background().map(hex);
    match pen.is_inverse() {
        false => (ink, paper),
        true => (paper.unwrap_or_else(|| PAPER.to_owned()), Some(ink)),
    }
}

fn hex(colour: Color) -> String {
    const BASE: [u32; 16] = [
        0x0f1419, 0xe06c75, 0x98c379, 0xe5c07b, 0x61afef, 0xc678dd, 0x56b6c2, 0xabb2bf, 0x5c6370, 0xff7b86, 0xb5e890,
        0xffd68a, 0x7cc4ff, 0xdf8ffa, 0x6fd3de, 0xffffff,
    ];
    let value = match colour {
        Color::RGB(rgb) => u32::from(rgb.r) << 16 | u32::from(rgb.g) << 8 | u32::from(rgb.b),
        Color::Indexed(n @ 0..=15) => BASE[usize::from(n)],
        Color::Indexed(n @ 16..=231) => {
            let step = |n: u32| if n == 0 { 0 } else { 55 + 40 * n };
            let n = u32::from(n - 16);
            step(n / 36) << 16 | step(n / 6 % 6) << 8 | step(n % 6)
        }
        Color::Indexed(n) => (8 + 10 * u32::from(n - 232)) * 0x01_01_01,
    };
    format!("#{value:06x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cast_becomes_frames_whose_rows_are_drawn_once() {
        let cast = "{\"version\":3}\n[0.1, \"o\", \"\\u001b[31ma<b\\u001b[0m \\u2500\\u2588\"]\n[1.0, \"o\", \"\\r\\ntwo\"]\n[1.0, \"x\", \"0\"]\n";
        let svg = picture(cast, (10, 3)).unwrap();
        assert!(svg.contains(">a&lt;b</text>") && svg.contains("#e06c75") && svg.contains(">two</text>"), "{svg}");
        assert_eq!(svg.matches("a&lt;b").count(), 1, "{svg}");
        assert_eq!(svg.matches("translateX").count(), 3, "{svg}");
        assert!(!svg.contains(['─', '█']));
    }
}
