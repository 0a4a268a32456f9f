//! Text on cells: numbers in few columns, names cut to fit, one place to put them.

use jiff::{Timestamp, tz::TimeZone};
use ratatui::buffer::Buffer;
use ratatui::style::Style;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::event::Event;
pub use crate::numbers::thousands;
use crate::session::Session;
pub use crate::session::clock;

/// Columns of a text.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// Writes `text` in at most `columns` columns at `x`; gives the column behind it.
pub fn put(buf: &mut Buffer, x: u16, y: u16, columns: u16, text: &str, style: Style) -> u16 {
    if columns == 0 || !buf.area().contains((x, y).into()) {
        return x;
    }
    buf.set_stringn(x, y, text, usize::from(columns), style).0
}

/// Writes `text`, cut with an ellipsis where it is longer than `columns`.
pub fn put_cut(buf: &mut Buffer, x: u16, y: u16, columns: u16, text: &str, style: Style) -> u16 {
    put(buf, x, y, columns, &cut_end(text, usize::from(columns)), style)
}

/// Writes `text` against the right end of `columns` columns; what does not fit is cut at its end.
pub fn put_right(buf: &mut Buffer, x: u16, y: u16, columns: u16, text: &str, style: Style) {
    let text = cut_end(text, usize::from(columns));
    let free = columns.saturating_sub(u16::try_from(width(&text)).unwrap_or(columns));
    put(buf, x + free, y, columns - free, &text, style);
}

/// The beginning of `text` in at most `columns` columns.
#[must_use]
pub fn cut_end(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += width(grapheme);
        if used + 1 > columns {
            break;
        }
        out.push_str(grapheme);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// A path in at most `columns` columns: its end names the file, so the middle goes. The first component stays where
/// there is room for it.
#[must_use]
pub fn cut_path(path: &str, columns: usize) -> String {
    if width(path) <= columns {
        return path.to_owned();
    }
    let root = path.get(1..).and_then(|rest| rest.find('/')).map_or(0, |slash| slash + 2);
    let head = path.get(..root).filter(|head| path.starts_with('/') && width(head) * 3 <= columns).unwrap_or_default();
    let tail = end_of(path, columns.saturating_sub(width(head) + 1));
    // A component that is cut in two says little: rather begin at the next one, if enough is behind it.
    match tail.find('/') {
        Some(slash) if slash * 2 <= tail.len() => format!("{head}…{}", tail.get(slash..).unwrap_or(tail)),
        _ if columns == 0 => String::new(),
        _ => format!("…{}", end_of(path, columns - 1)),
    }
}

/// The end of `text` in at most `columns` columns.
fn end_of(text: &str, columns: usize) -> &str {
    let mut start = text.len();
    let mut used = 0;
    for (at, grapheme) in text.grapheme_indices(true).rev() {
        used += width(grapheme);
        if used > columns {
            break;
        }
        start = at;
    }
    text.get(start..).unwrap_or_default()
}

/// Writes a path: directory in one style, file in another.
pub fn put_path(buf: &mut Buffer, x: u16, y: u16, columns: u16, path: &str, dir: Style, file: Style) {
    let path = cut_path(path, usize::from(columns));
    // The slash at the end of a directory's own path belongs to its name.
    let slash = path.trim_end_matches('/').rfind('/').map_or(0, |slash| slash + 1);
    let (directory, name) = path.split_at(slash);
    let behind = put(buf, x, y, columns, directory, dir);
    put(buf, behind, y, columns.saturating_sub(behind - x), name, file);
}

/// A number in at most seven columns: all digits while they fit.
#[must_use]
pub fn count(n: u64) -> String {
    match n {
        0..=9_999_999 => n.to_string(),
        _ => short(n as f64),
    }
}

/// A number in at most five columns: `999`, `12.4k`, `1.2M`.
#[must_use]
pub fn short(n: f64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let mut n = n.max(0.0);
    let mut unit = 0;
    while n >= 999.5 && unit + 1 < UNITS.len() {
        n /= 1000.0;
        unit += 1;
    }
    let suffix = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 || n >= 99.95 { format!("{n:.0}{suffix}") } else { format!("{n:.1}{suffix}") }
}

/// Per second, in at most six columns.
#[must_use]
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 0.05 => "0".into(),
        r if r < 99.95 => format!("{r:.1}"),
        r if r < 9999.5 => format!("{r:.0}"),
        r => short(r),
    }
}

/// A duration in at most six columns: `812ns`, `1.2µs`, `15ms`, `2.1s`.
#[must_use]
pub fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        u64::MAX => return ">2.1s".into(),
        0..=999 => return format!("{ns}ns"),
        1_000..=999_499 => (ns as f64 / 1e3, "µs"),
        999_500..=999_499_999 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    if value < 9.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// A share 0 to 1 as a percentage in at most four columns, without the sign. Never rounded to none or to all.
#[must_use]
pub fn percent(share: f64) -> String {
    let p = share * 100.0;
    match p {
        p if p <= 0.0 => "0".into(),
        p if p < 0.1 => "<0.1".into(),
        p if p < 99.95 => format!("{p:.1}"),
        p if p < 100.0 => "99.9".into(),
        _ => "100".into(),
    }
}

/// The time of day of a boot time, to the millisecond.
#[must_use]
pub fn time(session: &Session, zone: &TimeZone, boot_ns: u64) -> String {
    let Ok(stamp) = Timestamp::from_nanosecond(session.wall_ns(boot_ns)) else { return "?".into() };
    let time = zone.to_datetime(stamp).time();
    format!("{:02}:{:02}:{:02}.{:03}", time.hour(), time.minute(), time.second(), time.millisecond())
}

/// What came of an open: the descriptor or the errno's name.
#[must_use]
pub fn result(event: &Event<'_>) -> String {
    match (event.errno(), event.fd()) {
        (Some(errno), _) => errno_name(errno),
        (_, Some(fd)) => fd.to_string(),
        _ if event.has(probe_common::marks::NO_FD) => "ok".into(),
        _ => "?".into(),
    }
}

/// The name of an errno, or its number.
#[must_use]
pub fn errno_name(errno: i32) -> String {
    crate::errno::name(errno).map_or_else(|| errno.to_string(), str::to_owned)
}

/// Flags in a few letters: `r`, `w` or `rw`, then one letter each of those that have one.
#[must_use]
pub fn flags(flags: u32) -> String {
    let mut out = Vec::new();
    crate::flags::push_letters(&mut out, flags);
    crate::escape::escaped(&out)
}

/// Values as bars of one row, as high as their share of `max`.
#[must_use]
pub fn spark(values: impl Iterator<Item = f64>, max: f64, ascii: bool) -> Vec<(char, f64)> {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];
    let bars = if ascii { ASCII } else { BARS };
    values
        .map(|value| {
            let share = if max > 0.0 { (value / max).clamp(0.0, 1.0) } else { 0.0 };
            let bar = if value <= 0.0 { ' ' } else { bars.get((share * 7.99) as usize).copied().unwrap_or(' ') };
            (bar, share)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cut_path_keeps_the_file_and_where_it_hangs() {
        assert_eq!(cut_path("/etc/passwd", 20), "/etc/passwd");
        assert_eq!(cut_path("/usr/lib/python3/dist-packages/foo/bar.py", 24), "/usr/…/foo/bar.py");
        assert_eq!(cut_path("/usr/lib/x86_64-linux-gnu/libcrypto.so.3", 20), "…-gnu/libcrypto.so.3");
        assert_eq!(cut_path("/averyveryverylongname", 10), "…ylongname");
        assert_eq!(cut_path("/x/y", 0), "");
    }

    #[test]
    fn numbers_are_short_and_never_say_none_for_some() {
        assert_eq!((count(9_999_999), count(12_345_678)), ("9999999".into(), "12.3M".into()));
        assert_eq!((rate(0.0), rate(3.21), rate(12_400.0)), ("0".into(), "3.2".into(), "12.4k".into()));
        assert_eq!(
            (percent(0.0), percent(0.00001), percent(0.9999), percent(1.0)),
            ("0".into(), "<0.1".into(), "99.9".into(), "100".into())
        );
        assert_eq!(
            (duration(812), duration(1_234), duration(15_000_000)),
            ("812ns".into(), "1.2µs".into(), "15ms".into())
        );
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(short(999_960.0), "1.0M");
    }

    proptest! {
        #[test]
        fn cut_text_fits(text in any::<String>(), columns in 0usize..60) {
            let text = crate::escape::escaped(text.as_bytes());
            prop_assert!(width(&cut_path(&text, columns)) <= columns);
            prop_assert!(width(&cut_end(&text, columns)) <= columns);
        }
    }
}
