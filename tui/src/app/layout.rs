//! Where the regions of the screen are, at a given size: the view draws by it, and the mouse and the paging keys
//! are understood by it.

use ratatui::layout::Rect;

use super::focus::Focus;
use super::{App, Layout, Mode, Pane, Tab};

/// Smallest size with a useful screen.
pub const MIN_WIDTH: u16 = 60;
/// See [`MIN_WIDTH`].
pub const MIN_HEIGHT: u16 = 12;

/// Below this height a page has the body for itself.
const PAGE_ALONE: u16 = 34;

/// From this width on the panes stand side by side.
const SIDE_BY_SIDE: u16 = 170;

/// From this width on they do so when asked to.
const SIDE_LEAST: u16 = 100;

/// Share of the failures' list beside the places, percent, until the splitter is moved.
const FAILURES: u16 = 62;

/// A framed list: border, column heads, rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListArea {
    /// With its border.
    pub outer: Rect,
    /// The column heads.
    pub head: Rect,
    /// The rows.
    pub rows: Rect,
}

impl ListArea {
    fn new(outer: Rect, bottom_border: bool) -> Self {
        let inner = Rect {
            x: outer.x.saturating_add(1),
            y: outer.y.saturating_add(1),
            width: outer.width.saturating_sub(2),
            height: outer.height.saturating_sub(1 + u16::from(bottom_border)),
        };
        // A column of air before the border.
        let head = Rect { height: inner.height.min(1), width: inner.width.saturating_sub(1), ..inner };
        let rows = Rect { y: inner.y + head.height, height: inner.height - head.height, ..head };
        Self { outer, head, rows }
    }
}

/// How the body is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// Processes above opens.
    Stacked,
    /// Processes left of opens.
    SideBySide,
}

/// The regions. Those that do not fit are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regions {
    /// The whole screen.
    pub screen: Rect,
    /// One line.
    pub header: Rect,
    /// One line.
    pub tabs: Rect,
    /// Between tabs and footer.
    pub body: Rect,
    /// The process table.
    pub processes: ListArea,
    /// The list of opens.
    pub opens: ListArea,
    /// The one list of a view that has only one.
    pub single: ListArea,
    /// How the two stand.
    pub arrangement: Arrangement,
    /// The line to type in, and what is said about it below: two lines, when it is there.
    pub prompt: Rect,
    /// Where a replay is: one line, when there is one.
    pub scrub: Rect,
    /// One line.
    pub footer: Rect,
}

/// The regions of the screen as it is.
#[must_use]
pub fn regions(app: &App) -> Option<Regions> {
    let (width, height) = app.size;
    if width < MIN_WIDTH || height < MIN_HEIGHT {
        return None;
    }
    let screen = Rect::new(0, 0, width, height);
    let line = |y| Rect::new(0, y, width, 1);
    let prompt = if matches!(app.mode, Mode::Prompt(_)) { 2 } else { 0 };
    let scrub = u16::from(app.replay.is_some());
    let body = Rect::new(0, 2, width, height - 3 - prompt - scrub);
    let side = match app.settings.prefs.layout {
        Layout::Auto => width >= SIDE_BY_SIDE,
        // Half a pane of less shows nothing.
        Layout::Side => width >= SIDE_LEAST,
        Layout::Stacked => false,
    };
    let arrangement = if side && app.page.is_none() { Arrangement::SideBySide } else { Arrangement::Stacked };
    let (processes, opens) = match arrangement {
        Arrangement::Stacked => {
            // The frames share a line. Either pane keeps its border, heads and a row.
            let first = top_height(app, body.height);
            let top = Rect { height: first, ..body };
            let bottom = Rect { y: body.y + first, height: body.height - first, ..body };
            (ListArea::new(top, false), ListArea::new(bottom, true))
        }
        Arrangement::SideBySide => {
            // What was looked for has more columns than the places that were tried.
            let percent = if app.tab == Tab::Failures && !app.split_moved { FAILURES } else { app.split };
            let first = share(body.width, percent, 30);
            // The frames share a column.
            let left = Rect { width: first, ..body };
            let right = Rect { x: first - 1, width: body.width - first + 1, ..body };
            (ListArea::new(left, true), ListArea::new(right, true))
        }
    };
    Some(Regions {
        screen,
        header: line(0),
        tabs: line(1),
        body,
        processes,
        opens,
        single: ListArea::new(body, true),
        arrangement,
        prompt: Rect::new(0, height - 1 - scrub - prompt, width, prompt),
        scrub: Rect::new(0, height - 1 - scrub, width, scrub),
        footer: line(height - 1),
    })
}

impl Regions {
    /// The rows of what has the keys.
    #[must_use]
    pub fn rows_of(&self, focus: Focus) -> Rect {
        match focus {
            Focus::Processes | Focus::Failures => self.processes.rows,
            Focus::Opens => self.opens.rows,
            Focus::Files | Focus::Text => self.single.rows,
        }
    }

    /// The list of a pane.
    #[must_use]
    pub fn list(&self, pane: Pane) -> ListArea {
        match pane {
            Pane::Processes => self.processes,
            Pane::Opens => self.opens,
        }
    }
}

/// Height of the upper pane. Until the splitter is moved it takes no more than there is to show.
fn top_height(app: &App, body: u16) -> u16 {
    let page = app.page.is_some();
    let first = share(body, if page { 70 } else { app.split }, 4);
    if page {
        // A page needs room; the list of its opens comes when there is enough.
        return if body < PAGE_ALONE { body } else { first };
    }
    if app.split_moved || app.tab != Tab::Live {
        return first;
    }
    let needed = u16::try_from(app.processes.most).unwrap_or(u16::MAX).saturating_add(2);
    first.min(needed.max(6))
}

/// `percent` of `all`, with at least `least` for either side.
fn share(all: u16, percent: u16, least: u16) -> u16 {
    let part = u32::from(all) * u32::from(percent) / 100;
    let part = u16::try_from(part).unwrap_or(all);
    part.min(all.saturating_sub(least)).max(least.min(all / 2))
}
