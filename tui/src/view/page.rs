//! The page of a process: who it is, what it opens and misses, how long that takes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::text::{self, cut_path, errno_name, thousands};
use super::texts::{self, Column, halves, inside};
use super::theme::Theme;
use super::{frame, lines, open, stacks};
use crate::app::container::container;
use crate::app::page::ProcessPage;
use crate::app::{App, Pane};
use crate::escape::escaped;

/// Below this height, in one column, who a process is is told in fewer lines.
const TIGHT: u16 = 30;

/// Draws the page of a process.
pub(super) fn process(app: &App, page: &ProcessPage, theme: &Theme, outer: Rect, buf: &mut Buffer) {
    let model = app.model();
    let process = model.processes.by_key(&page.key);
    let name = process.map_or_else(String::new, |p| escaped(p.name()));
    let title = if app.pane == Pane::Processes { theme.accent() } else { theme.text() };
    let words = format!(" {} {name} ", page.key.tgid);
    let state = match process {
        None => (" retired ", theme.dim()),
        Some(p) if p.exited_ns.is_some() => (" exited ", theme.warn()),
        Some(_) => (" Esc goes back ", theme.dim()),
    };
    frame::titles(buf, outer, &[(&words, title)], &[state]);
    texts::draw(app, theme, &columns(app, page, theme, outer), outer, buf);
}

/// Its text.
pub(super) fn columns<'a>(app: &App, page: &ProcessPage, theme: &Theme, outer: Rect) -> Vec<Column<'a>> {
    let inner = inside(outer);
    if inner.width >= 96 {
        let (left, right) = halves(inner);
        let mut first = who(app, page, theme, usize::from(left.width), false);
        first.push(Line::default());
        first.extend(latency(app, page, theme, usize::from(left.width)));
        return vec![(left, first), (right, what(app, page, theme, usize::from(right.width)))];
    }
    // What it misses and opens comes before how long that takes.
    let columns = usize::from(inner.width);
    let mut all = who(app, page, theme, columns, inner.height < TIGHT);
    all.push(Line::default());
    all.extend(what(app, page, theme, columns));
    all.push(Line::default());
    all.extend(latency(app, page, theme, columns));
    vec![(inner, all)]
}

/// Who it is, how often and how fast it opens; `tight` where that would leave no room for what it opens.
fn who<'a>(app: &App, page: &ProcessPage, theme: &Theme, columns: usize, tight: bool) -> Vec<Line<'a>> {
    let model = app.model();
    let ascii = app.settings.look.ascii;
    let room = columns.saturating_sub(13);
    let mut out = Vec::new();
    let Some(process) = model.processes.by_key(&page.key) else {
        out.push(Line::styled("this process has retired from the table", theme.dim()));
        return out;
    };
    let line = |word: &str, value: String| lines::pair(theme, word, text::cut_end(&value, room), theme.text());
    let own = page.looked.family.first().filter(|facts| facts.tgid == page.key.tgid);
    out.push(line("user", format!("{} ({})", app.user(process.uid), process.uid)));
    if let Some(facts) = own {
        if !facts.command_line.is_empty() {
            let words: Vec<String> =
                facts.command_line.split(|b| *b == 0).filter(|a| !a.is_empty()).map(escaped).collect();
            out.extend(lines::paragraph(theme, "command", &words.join(" "), room, if tight { 1 } else { 3 }));
        }
        if !facts.exe.is_empty() {
            out.push(line("program", cut_path(&escaped(&facts.exe), room)));
        }
    }
    let parents: Vec<String> = page
        .looked
        .family
        .iter()
        .filter(|facts| facts.tgid != page.key.tgid)
        .map(|facts| format!("{} {}", name_of(facts), facts.tgid))
        .collect();
    let arrow = if ascii { " <- " } else { " ← " };
    let parents = if parents.is_empty() { process.ppid.to_string() } else { parents.join(arrow) };
    out.extend(lines::paragraph(theme, "parents", &parents, room, if tight { 1 } else { 2 }));
    if !page.looked.cgroup.is_empty() {
        if let Some(container) = container(&page.looked.cgroup) {
            out.push(line("container", container));
        }
        out.push(line("cgroup", cut_path(&escaped(&page.looked.cgroup), room)));
    } else if page.detail.cgroup_id != 0 {
        out.push(line("cgroup", format!("id {}", page.detail.cgroup_id)));
    }
    if page.looked.threads > 0 {
        out.push(line("threads", page.looked.threads.to_string()));
    }
    if let Some(at) = process.exited_ns {
        out.push(line("exited", text::time(&app.session, &app.settings.time_zone, at)));
    }
    out.push(line("last open", text::time(&app.session, &app.settings.time_zone, process.last_ns)));
    out.push(Line::default());
    let rate = format!("{} a second now", text::rate(process.rate.per_second()));
    out.push(lines::head(theme, &format!("{} opens", thousands(process.opens())), &rate));
    let values: Vec<f64> = page.rates.iter().copied().collect();
    out.extend(lines::chart(theme, &values, columns.saturating_sub(8), if tight { 2 } else { 4 }, ascii));
    out
}

/// How long its opens take.
fn latency<'a>(app: &App, page: &ProcessPage, theme: &Theme, columns: usize) -> Vec<Line<'a>> {
    let Some(process) = app.model().processes.by_key(&page.key) else { return Vec::new() };
    let ascii = app.settings.look.ascii;
    let mut out = Vec::new();
    out.push(lines::head(theme, "Latency", "the kernel's count"));
    let buckets = process.latency.buckets();
    let mean = process.latency_ns.checked_div(process.opens()).unwrap_or(0);
    out.push(lines::percentiles(theme, &buckets, process.latency_max_ns, mean));
    out.extend(lines::histogram(theme, &buckets, columns, ascii));
    out
}

fn name_of(facts: &crate::source::ProcessFacts) -> String {
    let name = facts.exe.rsplit(|b| *b == b'/').next().filter(|n| !n.is_empty());
    let first = facts.command_line.split(|b| *b == 0).next().unwrap_or_default();
    escaped(name.unwrap_or(first))
}

/// What it opens, and with what success.
fn what<'a>(app: &App, page: &ProcessPage, theme: &Theme, columns: usize) -> Vec<Line<'a>> {
    let model = app.model();
    let detail = &page.detail;
    let mut out = Vec::new();
    if let Some(process) = model.processes.by_key(&page.key) {
        let share = format!(
            "{} of {} opens, {}%",
            thousands(process.failed()),
            thousands(process.opens()),
            text::percent(process.failed_share())
        );
        out.push(lines::head(theme, "Failures", &share));
        let mut errnos = process.errnos.clone();
        errnos.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let max = errnos.first().map_or(1, |(_, count)| *count).max(1);
        for (errno, count) in errnos.iter().take(6) {
            out.push(Line::from(vec![
                Span::styled(format!("{:>9} ", text::count(*count)), theme.name()),
                Span::styled(format!("{:<13}", errno_name(*errno)), theme.warn()),
                Span::styled(
                    lines::bar(*count as f64 / max as f64, columns.saturating_sub(26).min(24), app.settings.look.ascii),
                    theme.warn(),
                ),
            ]));
        }
        let named: u64 = errnos.iter().map(|(_, count)| count).sum();
        let unnamed = process.failed().saturating_sub(named);
        if process.failed() == 0 {
            out.push(Line::styled("     none", theme.good()));
        } else if unnamed > 0 {
            // The kernel counts failures; which errno only the record tells.
            out.push(Line::styled(format!("{:>9} of which no record came", text::count(unnamed)), theme.dim()));
        }
        out.push(Line::default());
    }
    let stacks = stacks::process(app, &page.key, theme, columns);
    // Where there are none it is only said how to get them, which comes last.
    let (stacks, how) = if stacks.len() > 2 { (stacks, Vec::new()) } else { (Vec::new(), stacks) };
    out.extend(stacks);
    let kept = format!("of its last {} opens", thousands(detail.opens));
    if !detail.failures.is_empty() {
        out.push(lines::head(theme, "Missed", &kept));
        for (errno, path, count) in detail.failures.iter().take(8) {
            out.push(Line::from(vec![
                Span::styled(format!("{:>9} ", text::count(*count)), theme.name()),
                Span::styled(format!("{:<9}", errno_name(*errno)), theme.warn()),
                Span::styled(cut_path(&escaped(path), columns.saturating_sub(19)), theme.text()),
            ]));
        }
        out.push(Line::default());
    }
    out.push(lines::head(theme, "Files", &kept));
    for (path, opens, failed) in detail.files.iter().filter(|(_, opens, failed)| opens > failed).take(12) {
        let style = if *failed > 0 { theme.warn() } else { theme.text() };
        out.push(Line::from(vec![
            Span::styled(format!("{:>9} ", text::count(*opens)), theme.name()),
            Span::styled(cut_path(&escaped(path), columns.saturating_sub(10)), style),
        ]));
    }
    out.push(Line::default());
    out.push(lines::head(theme, "Flags", &kept));
    for (flags, count) in detail.flags.iter().take(4) {
        out.push(Line::from(vec![
            Span::styled(format!("{:>9} ", text::count(*count)), theme.name()),
            lines::cut(&open::flag_names(*flags), columns.saturating_sub(10), theme.text()),
        ]));
    }
    let routes: Vec<String> =
        detail.routes.iter().map(|(name, count)| format!("{name} {}", text::count(*count))).collect();
    out.push(Line::from(vec![
        Span::styled("      via ", theme.dim()),
        lines::cut(&routes.join(" · "), columns.saturating_sub(10), theme.text()),
    ]));
    out.push(Line::default());
    out.push(lines::head(theme, "Threads", &kept));
    for (tid, comm, count) in detail.threads.iter().take(8) {
        out.push(Line::from(vec![
            Span::styled(format!("{:>9} ", text::count(*count)), theme.name()),
            Span::styled(format!("{tid:<8}"), theme.dim()),
            Span::styled(escaped(comm), theme.text()),
        ]));
    }
    out.push(Line::default());
    out.extend(how);
    out
}
