//! The view Health: every loss, every route live or blind, how full everything is, and what opentop itself costs.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::text::{self, thousands};
use super::texts::{self, Column, halves, inside};
use super::theme::Theme;
use super::{frame, lines};
use crate::app::App;
use crate::app::layout::ListArea;
use crate::escape::escaped;
use crate::source::Class;

/// The classes of losses, what they are headed with and what that means.
const LOSSES: [(Class, &str, &str); 5] = [
    (Class::Lost, "Lost", "counted, but not in the lists"),
    (Class::Marked, "Incomplete", "in the lists, but marked"),
    (Class::Told, "Told", "among these, or counted elsewhere"),
    (Class::Unseen, "Not captured", "perhaps in no count: nobody knows how many"),
    (Class::Stack, "Stacks", ""),
];

/// From when on a measurement is not of now, ns.
const OLD_NS: u64 = 3_000_000_000;

/// Draws it.
pub(super) fn draw(app: &App, theme: &Theme, at: ListArea, buf: &mut Buffer) {
    frame::around(buf, at.outer, theme.faint(), app.settings.look.ascii);
    let lost = app.live.lost();
    let unfollowed = app.live.missing().of(Class::Unseen).any(|loss| loss.count > 0);
    let verdict = match (lost, unfollowed) {
        (0, false) => (" nothing is lost ", theme.good()),
        (0, true) => (" processes are not followed ", theme.bad()),
        _ => (" opens are being lost ", theme.bad()),
    };
    frame::titles(buf, at.outer, &[(" Health ", theme.accent())], &[verdict]);
    texts::draw(app, theme, &columns(app, theme, at.outer), at.outer, buf);
}

/// Its text.
pub(super) fn columns<'a>(app: &App, theme: &Theme, outer: Rect) -> Vec<Column<'a>> {
    let inner = inside(outer);
    if inner.width >= 110 {
        let (left, right) = halves(inner);
        let mut first = losses(app, theme, false);
        first.push(Line::default());
        first.extend(full(app, theme, usize::from(left.width)));
        let mut second = itself(app, theme, usize::from(right.width));
        second.push(Line::default());
        second.extend(probe(app, theme, usize::from(right.width)));
        return vec![(left, first), (right, second)];
    }
    let columns = usize::from(inner.width);
    let mut all = losses(app, theme, true);
    for more in [itself(app, theme, columns), full(app, theme, columns), probe(app, theme, columns)] {
        all.push(Line::default());
        all.extend(more);
    }
    vec![(inner, all)]
}

/// The account and every loss; `brief`: a class of which there is none has one line.
fn losses<'a>(app: &App, theme: &Theme, brief: bool) -> Vec<Line<'a>> {
    let model = &app.live;
    let missing = model.missing();
    let mut out = vec![
        lines::head(theme, "The account", "every open that was captured"),
        sum(theme, model.opens(), "opens"),
        sum(theme, model.shown, "shown"),
        sum(theme, model.filtered, "filtered by the display filter"),
        sum(theme, model.lost(), "lost"),
    ];
    let mut after_brief = false;
    for (class, head, words) in LOSSES {
        // Where no stacks are taken none can be missing.
        let taken = app.settings.stacks || !app.stacked.is_empty() || !model.stacks.is_empty();
        let none = missing.of(class).all(|loss| loss.count == 0);
        if class == Class::Stack && !taken && none {
            continue;
        }
        if !(brief && none && after_brief) {
            out.push(Line::default());
        }
        after_brief = brief && none;
        let stacks;
        let words = if class == Class::Stack {
            stacks = stacks_of(app);
            &stacks
        } else {
            words
        };
        if after_brief {
            out.push(Line::from(vec![
                Span::styled(format!("{head:<13}"), theme.accent()),
                Span::styled("none  ", theme.good()),
                Span::styled(words.to_owned(), theme.dim()),
            ]));
            continue;
        }
        out.push(lines::head(theme, head, words));
        let bad = matches!(class, Class::Lost | Class::Unseen);
        out.extend(missing.of(class).map(|row| loss(theme, row.count, row.short, bad)));
    }
    out
}

fn stacks_of(app: &App) -> String {
    match (app.replay.is_some(), app.settings.stacks, app.stacked.len()) {
        (true, ..) => "as recorded".into(),
        (_, true, _) => "of every open".into(),
        (_, _, 1) => "of one process".into(),
        (_, _, n) => format!("of {} processes", thousands(n as u64)),
    }
}

fn sum<'a>(theme: &Theme, count: u64, what: &'a str) -> Line<'a> {
    Line::from(vec![Span::styled(format!("{:>13}  ", thousands(count)), theme.name()), Span::styled(what, theme.dim())])
}

fn loss<'a>(theme: &Theme, count: u64, what: &'a str, bad: bool) -> Line<'a> {
    let style = match (count, bad) {
        (0, _) => theme.good(),
        (_, true) => theme.bad(),
        (_, false) => theme.warn(),
    };
    Line::from(vec![Span::styled(format!("{:>13}  ", thousands(count)), style), Span::styled(what, theme.dim())])
}

fn probe<'a>(app: &App, theme: &Theme, columns: usize) -> Vec<Line<'a>> {
    let session = &app.session;
    let ascii = app.settings.look.ascii;
    let mut out = vec![
        lines::head(theme, "The probe", ""),
        lines::pair(theme, "attached", session.attach.to_string(), theme.name()),
        lines::pair(theme, "kernel", escaped(session.kernel.as_bytes()), theme.text()),
        lines::pair(theme, "host", escaped(session.hostname.as_bytes()), theme.text()),
        lines::pair(
            theme,
            "capture",
            text::cut_end(&escaped(session.capture.as_bytes()), columns.saturating_sub(13)),
            theme.text(),
        ),
    ];
    for (row, words) in
        lines::wrap(&escaped(session.reason.as_bytes()), columns.saturating_sub(13)).into_iter().enumerate()
    {
        out.push(lines::pair(theme, if row == 0 { "because" } else { "" }, words, theme.dim()));
    }
    out.push(Line::default());
    out.push(lines::head(theme, "Routes", "ways to open a file"));
    for route in &session.routes {
        let (mark, style, why) = match &route.blind {
            None => (if ascii { "*" } else { "●" }, theme.good(), "live".to_owned()),
            Some(why) => (if ascii { "o" } else { "○" }, theme.bad(), format!("blind: {}", escaped(why.as_bytes()))),
        };
        for (row, words) in lines::wrap(&why, columns.saturating_sub(13)).into_iter().enumerate() {
            let (mark, name) = if row == 0 { (mark, route.name) } else { (" ", "") };
            out.push(Line::from(vec![
                Span::styled(format!("{mark} "), style),
                Span::styled(format!("{name:<11}"), theme.text()),
                Span::styled(words, if route.blind.is_none() { theme.dim() } else { theme.warn() }),
            ]));
        }
    }
    if let Some(stats) = &app.recording {
        out.push(Line::default());
        out.push(lines::head(theme, "The recording", "-w"));
        let written = format!("{} opens, {} bytes", thousands(stats.records), thousands(stats.bytes));
        out.push(lines::pair(theme, "written", written, theme.text()));
        let style = if stats.dropped == 0 { theme.good() } else { theme.bad() };
        out.push(lines::pair(theme, "missing", format!("{} opens", thousands(stats.dropped)), style));
        let (state, style) =
            if stats.failing { ("writing fails, and is tried again", theme.bad()) } else { ("goes on", theme.good()) };
        out.push(lines::pair(theme, "state", state.to_owned(), style));
        let error = stats.error.as_deref().unwrap_or_default();
        for words in lines::wrap(error, columns.saturating_sub(13)).into_iter().filter(|words| !words.is_empty()) {
            out.push(lines::pair(theme, "", words, theme.warn()));
        }
    }
    out
}

fn full<'a>(app: &App, theme: &Theme, columns: usize) -> Vec<Line<'a>> {
    let (session, model, ascii) = (&app.session, &app.live, app.settings.look.ascii);
    let mut out = vec![lines::head(theme, "How full", "")];
    let history = &model.history;
    let limits = model.options.history;
    let gauges = [
        ("ring now", model.ring_used, u64::from(session.ring_bytes)),
        ("ring at most", model.ring_used_max, u64::from(session.ring_bytes)),
        ("opens kept", history.len() as u64, limits.events as u64),
        ("their bytes", history.byte_len() as u64, limits.bytes as u64),
        ("processes", model.processes.len() as u64, crate::model::processes::MAX_PROCESSES as u64),
    ];
    let room = columns.saturating_sub(42).clamp(4, 30);
    for (word, used, all) in gauges {
        let share = if all == 0 { 0.0 } else { used as f64 / all as f64 };
        let bar = lines::bar(share, room, ascii);
        let gap = room.saturating_sub(text::width(&bar));
        out.push(Line::from(vec![
            Span::styled(format!("{word:<13}"), theme.dim()),
            // Only a full ring is bad: the others let go of the oldest.
            Span::styled(bar, if word.starts_with("ring") { theme.heat(share) } else { theme.calm(share) }),
            Span::styled(if ascii { ".".repeat(gap) } else { "·".repeat(gap) }, theme.faint()),
            Span::styled(format!(" {:>4}%", text::percent(share)), theme.text()),
            Span::styled(format!("  {} of {}", text::short(used as f64), text::short(all as f64)), theme.dim()),
        ]));
    }
    out
}

fn itself<'a>(app: &App, theme: &Theme, columns: usize) -> Vec<Line<'a>> {
    let model = &app.live;
    let mut out = vec![lines::head(theme, "opentop itself", "")];
    let seconds = app.elapsed_s().max(1);
    let share = app.own.cpu_ns as f64 / 1e9 / seconds as f64;
    out.push(lines::pair(theme, "CPU", format!("{}% of a core on average", text::percent(share)), theme.text()));
    let per = app.own.cpu_ns.checked_div(model.opens()).unwrap_or(0);
    out.push(lines::pair(theme, "per open", format!("{} of user space's time", text::duration(per)), theme.text()));
    out.push(lines::pair(theme, "memory", format!("{}B at most", text::short(app.own.memory as f64)), theme.text()));
    for (row, words) in lines::wrap(&probe_cost(app), columns.saturating_sub(13)).into_iter().enumerate() {
        out.push(lines::pair(theme, if row == 0 { "probe" } else { "" }, words, theme.text()));
    }
    out
}

/// What the probe costs, in words.
fn probe_cost(app: &App) -> String {
    if !app.settings.live {
        return "its cost is not in a recording".to_owned();
    }
    let unknown = app.cost_unknown.as_ref().map(|why| escaped(why.as_bytes()));
    let measured = app.cost.map(|(first, last)| {
        let (ns, opens) = (last.ns.saturating_sub(first.ns), last.opens.saturating_sub(first.opens));
        (ns, opens, last.at_ns.saturating_sub(first.at_ns))
    });
    let Some((ns, opens, passed)) = measured.filter(|(_, opens, passed)| *opens > 0 && *passed > 0) else {
        return unknown.unwrap_or_else(|| "being measured; no open yet".to_owned());
    };
    let ago = app.cost.map_or(0, |(_, last)| app.live.now_ns.saturating_sub(last.at_ns));
    // Of readings that come each second the last is not worth a word.
    let when = if ago < OLD_NS { String::new() } else { format!(", {} ago", text::duration(ago)) };
    let cost = format!(
        "{} at each open of this machine, {}% of a core, measured for {}{when}",
        text::duration(ns / opens),
        text::percent(ns as f64 / passed as f64),
        text::duration(passed)
    );
    unknown.map_or(cost.clone(), |why| format!("{cost}; {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::app::{Msg, update};
    use crate::source::{Losses, ProbeCost};
    use crate::view::tests::busy;

    #[test]
    fn a_figure_of_what_the_probe_costs_says_how_long_it_was_measured_and_how_long_ago() {
        let mut app = crate::app::tests::app(120, 40);
        let mut read = |at_s: u64, opens: u64| {
            let cost = ProbeCost { at_ns: at_s * 1_000_000_000, ns: opens * 900, runs: opens * 2, opens };
            update(&mut app, Msg::Tick(cost.at_ns));
            update(&mut app, Msg::Cost(Ok(cost)));
            probe_cost(&app)
        };
        assert_eq!(read(10, 0), "being measured; no open yet");
        for at in 11..12 {
            read(at, at * 100);
        }
        assert_eq!(read(12, 2000), "900ns at each open of this machine, <0.1% of a core, measured for 2.0s");
        // Another measurement, of which nothing is known yet: what was measured before stands.
        assert!(read(72, 2000).ends_with("measured for 2.0s, 60s ago"));
        assert!(read(73, 2010).ends_with("measured for 1.0s"));
        update(&mut app, Msg::Cost(Err("the kernel does not".into())));
        assert!(probe_cost(&app).ends_with("measured for 1.0s; the kernel does not"));
    }

    #[test]
    fn the_rows_under_lost_add_up_to_what_the_account_and_the_header_call_lost() {
        let app = std::cell::RefCell::new(busy(120, 40));
        let look = app.borrow().settings.look;
        let theme = Theme::new(look.theme, look.colors);
        let lists = (prop::array::uniform17(0..1_u64 << 40), 0..1_u64 << 40);
        proptest!(|((list, undecodable) in lists)| {
            let mut app = app.borrow_mut();
            (app.live.totals.losses, app.live.undecodable) = (Losses::from_list(list), undecodable);
            for brief in [false, true] {
                let rows: Vec<String> = losses(&app, &theme, brief).iter().map(ToString::to_string).collect();
                let mut under_lost = rows.iter().skip_while(|row| !row.starts_with("Lost"));
                if under_lost.next().unwrap().contains(" none ") {
                    prop_assert_eq!(app.live.lost(), 0);
                    continue;
                }
                let counts = under_lost.take_while(|row| !row.is_empty()).map(|row| {
                    row.split_whitespace().next().unwrap().replace(',', "").parse::<u64>().unwrap()
                });
                prop_assert_eq!(counts.sum::<u64>(), app.live.lost(), "{}", rows.join("\n"));
            }
        });
    }
}
