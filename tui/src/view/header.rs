//! The first line: how opentop looks at this kernel, whether it runs, how much happens, what is missing.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::text::{self, put, width};
use super::theme::Theme;
use crate::app::App;
use crate::escape::escaped;

/// A piece of the line.
type Piece = (String, Style);

/// Draws it.
pub(super) fn draw(app: &App, theme: &Theme, area: Rect, buf: &mut Buffer) {
    buf.set_style(area, theme.bar());
    let full = [vec![(" opentop".to_owned(), theme.accent())], from(app, theme, true), state(app, theme)];
    let short = [vec![(" opentop".to_owned(), theme.accent())], from(app, theme, false), state(app, theme)];
    let [wide, narrow] = [(12, " │ "), (6, "  ")];
    let lines = [
        line(&full, app, theme, wide),
        line(&short, app, theme, wide),
        line(&short, app, theme, narrow),
        line(&[spaced(from(app, theme, false)), state(app, theme)], app, theme, narrow),
        line(&[spaced(state(app, theme))], app, theme, narrow),
    ];
    let room = usize::from(area.width);
    let columns = |line: &[Piece]| line.iter().map(|(text, _)| width(text)).sum::<usize>();
    let Some(chosen) = lines.iter().find(|l| columns(l) < room).or(lines.last()) else { return };
    let mut x = area.x;
    for (text, style) in chosen {
        x = put(buf, x, area.y, area.right().saturating_sub(x), text, *style);
    }
    let filters = filters(app, theme, usize::from(area.width));
    if fits_here(app, area, theme) {
        right(buf, area, &filters);
    }
}

fn spaced(mut pieces: Vec<Piece>) -> Vec<Piece> {
    if let Some((first, _)) = pieces.first_mut() {
        first.insert(0, ' ');
    }
    pieces
}

/// Whether there is room in this line for what is captured and shown; else the line below has it.
pub(super) fn fits_here(app: &App, area: Rect, theme: &Theme) -> bool {
    let groups = [vec![(" opentop".to_owned(), theme.accent())], from(app, theme, true), state(app, theme)];
    let line = line(&groups, app, theme, (12, " │ "));
    let columns = |line: &[Piece]| line.iter().map(|(text, _)| width(text)).sum::<usize>();
    columns(&line) + columns(&filters(app, theme, usize::from(area.width))) + 3 <= usize::from(area.width)
}

/// Writes pieces against the right end of a line.
pub(super) fn right(buf: &mut Buffer, area: Rect, pieces: &[Piece]) {
    let columns: usize = pieces.iter().map(|(text, _)| width(text)).sum();
    let mut x = area.right().saturating_sub(u16::try_from(columns).unwrap_or(u16::MAX)).max(area.x);
    for (text, style) in pieces {
        x = put(buf, x, area.y, area.right().saturating_sub(x), text, *style);
    }
}

/// What is captured and what of it is shown, in at most so many columns: where there is not enough room the capture
/// gives way, which is known from the command line, then the filter is cut.
pub(super) fn filters(app: &App, theme: &Theme, room: usize) -> Vec<Piece> {
    let capture = text::cut_end(&escaped(app.session.capture.as_bytes()), 40);
    let captured = [("capture ".to_owned(), theme.dim()), (capture, theme.text())];
    let columns = |pieces: &[Piece]| pieces.iter().map(|(text, _)| width(text)).sum::<usize>();
    let Some(filter) = app.filter() else {
        return if columns(&captured) < room { end(captured.into(), theme) } else { Vec::new() };
    };
    let filter = escaped(filter.text().as_bytes());
    let bold = theme.warn().add_modifier(Modifier::BOLD);
    let narrow = [("filter ".to_owned(), theme.dim()), (text::cut_end(&filter, 60), bold)];
    if columns(&captured) + 3 + columns(&narrow) < room {
        let between = [(" · ".to_owned(), theme.dim())];
        return end(captured.into_iter().chain(between).chain(narrow).collect(), theme);
    }
    let filter = text::cut_end(&filter, room.saturating_sub(8).min(60));
    end(vec![("filter ".to_owned(), theme.dim()), (filter, bold)], theme)
}

fn end(mut pieces: Vec<Piece>, theme: &Theme) -> Vec<Piece> {
    pieces.push((" ".to_owned(), theme.text()));
    pieces
}

fn line(groups: &[Vec<Piece>], app: &App, theme: &Theme, (bars, separator): (usize, &str)) -> Vec<Piece> {
    let mut out = Vec::new();
    for group in groups.iter().cloned().chain([rate(app, theme, bars), failed(app, theme), lost(app, theme)]) {
        if !out.is_empty() {
            out.push((separator.to_owned(), theme.faint()));
        }
        out.extend(group);
    }
    out
}

fn from(app: &App, theme: &Theme, full: bool) -> Vec<Piece> {
    let kernel = escaped(app.session.kernel.as_bytes());
    let kernel =
        if full { text::cut_end(&kernel, 24) } else { kernel.split('-').next().unwrap_or_default().to_owned() };
    vec![(format!("{} ", app.session.attach), theme.text()), (text::cut_end(&kernel, 24), theme.dim())]
}

fn state(app: &App, theme: &Theme) -> Vec<Piece> {
    let ascii = app.settings.look.ascii;
    let elapsed = (text::clock(app.elapsed_s()), theme.text());
    if let Some(at) = app.replay.as_ref().map(|replay| replay.position) {
        let mark = match (at.ended, at.playing, ascii) {
            (true, _, false) => ("■ ended ", theme.dim()),
            (true, _, true) => ("* ended ", theme.dim()),
            (_, true, false) => ("▶ replay ", theme.good()),
            (_, true, true) => ("> replay ", theme.good()),
            (_, false, false) => ("❚❚ replay ", theme.warn()),
            (_, false, true) => ("|| replay ", theme.warn()),
        };
        let clock = |ns: u64| text::clock(ns.saturating_sub(at.start_ns) / 1_000_000_000);
        let mut pieces = vec![(mark.0.to_owned(), mark.1), (clock(at.at_ns), theme.text())];
        if let Some(end) = at.end_ns {
            pieces.push((format!("/{}", clock(end)), theme.dim()));
        }
        if (at.speed - 1.0).abs() > 0.01 {
            pieces.push((format!(" {}{:.1}", if ascii { "x" } else { "×" }, at.speed), theme.accent()));
        }
        return pieces;
    }
    let mut pieces = match (app.meanwhile(), app.live.ended) {
        (Some(meanwhile), _) => vec![
            (
                if ascii { "|| paused ".to_owned() } else { "❚❚ paused ".to_owned() },
                theme.warn().add_modifier(Modifier::BOLD),
            ),
            (format!("+{}", text::short(meanwhile as f64)), theme.text()),
        ],
        (None, true) => vec![(if ascii { "* ended ".to_owned() } else { "■ ended ".to_owned() }, theme.dim()), elapsed],
        (None, false) => {
            let word = if app.settings.live { "live" } else { "replay" };
            vec![(if ascii { format!("* {word} ") } else { format!("● {word} ") }, theme.good()), elapsed]
        }
    };
    pieces.extend(recording(app, theme));
    pieces
}

/// Whether it is recorded, how much, and how much not.
fn recording(app: &App, theme: &Theme) -> Vec<Piece> {
    let Some(stats) = &app.recording else { return Vec::new() };
    let bad = theme.bad().add_modifier(Modifier::BOLD);
    match (stats.failing, stats.dropped) {
        (true, _) => vec![(" rec FAILS".to_owned(), bad)],
        (false, 0) => vec![(format!(" rec {}B", text::short(stats.bytes as f64)), theme.dim())],
        (false, missing) => vec![(format!(" rec -{}", text::count(missing)), bad)],
    }
}

fn rate(app: &App, theme: &Theme, bars: usize) -> Vec<Piece> {
    let model = app.model();
    let number = format!("{} ", text::short(model.rate.per_second()));
    let mut pieces = vec![(number, theme.name().add_modifier(Modifier::BOLD)), ("opens/s ".to_owned(), theme.dim())];
    let skip = model.rates.len().saturating_sub(bars);
    let max = model.rates.iter().skip(skip).copied().fold(0.0, f64::max);
    for _ in model.rates.len()..bars {
        pieces.push((" ".to_owned(), theme.text()));
    }
    for (bar, share) in text::spark(model.rates.iter().skip(skip).copied(), max, app.settings.look.ascii) {
        pieces.push((bar.to_string(), theme.calm(share)));
    }
    pieces
}

fn failed(app: &App, theme: &Theme) -> Vec<Piece> {
    let model = app.model();
    let share = if model.opens() == 0 { 0.0 } else { model.failed() as f64 / model.opens() as f64 };
    let style = if share > 0.5 {
        theme.bad()
    } else if share > 0.0 {
        theme.warn()
    } else {
        theme.text()
    };
    vec![(format!("{:>4}%", text::percent(share)), style), (" failed".to_owned(), theme.dim())]
}

fn lost(app: &App, theme: &Theme) -> Vec<Piece> {
    // Losses are never frozen: what is being missed now is what matters.
    let lost = app.live.lost();
    let (number, word) =
        if lost == 0 { (theme.text(), theme.dim()) } else { (theme.bad().add_modifier(Modifier::BOLD), theme.bad()) };
    vec![(text::count(lost), number), (" lost".to_owned(), word)]
}
