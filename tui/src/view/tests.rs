use super::*;
use crate::app::tests::{S, app, batch, press};
use crate::app::{Msg, update};
use crate::event::RecordBuilder;
use crate::look::Colors;
use crate::source::{Counters, Input, Totals};
use probe_common::{ProcessCounts, ProcessKey};
use ratatui::layout::Rect;

/// A machine at work: a web server, a build, a shell that looks for its configuration, something hostile.
pub(crate) fn busy(columns: u16, rows: u16) -> App {
    let mut app = app(columns, rows);
    let users = vec![(0, Some("root".to_owned())), (33, Some("www-data".to_owned())), (1000, Some("maria".to_owned()))];
    update(&mut app, Msg::Users(users));
    let people: [(u32, &str, u32, u64, u64); 7] = [
        (812, "nginx", 33, 52_000, 40),
        (4711, "cc1plus", 1000, 310_000, 120_500),
        (4709, "ninja", 1000, 9_100, 0),
        (1, "systemd", 0, 1_204, 3),
        (2210, "node", 1000, 7_730, 7_001),
        (99_871, "evil\x1b[31m", 1000, 12, 12),
        (640, "日本語サーバ", 0, 88, 0),
    ];
    let reading = |second: u64| {
        let mut totals = Totals::default();
        let processes = people.iter().map(|(pid, comm, uid, opens, failed)| {
            let mut counts: ProcessCounts = bytemuck::Zeroable::zeroed();
            counts.opens = opens * second / 8;
            counts.failed = failed * second / 8;
            (counts.uid, counts.ppid, counts.last_ns) = (*uid, if *pid == 4711 { 4709 } else { 1 }, second * S);
            counts.exited = u32::from(*pid == 4709 && second > 6);
            (counts.histogram[10], counts.histogram[12]) = (counts.opens, counts.opens / 50);
            counts.latency_max_ns = 2_000_000;
            for (to, from) in counts.comm.iter_mut().take(15).zip(comm.bytes()) {
                *to = from;
            }
            totals.opens += counts.opens;
            totals.failed += counts.failed;
            (ProcessKey { start_ns: 1, tgid: *pid, reserved: 0 }, counts)
        });
        let processes = processes.collect();
        Msg::Input(Input::Counters(Box::new(Counters { at_ns: second * S, totals, processes, ..Counters::default() })))
    };
    for second in 1..=8 {
        update(&mut app, reading(second));
    }
    let opens = [
        RecordBuilder::new(812, "nginx", "/var/www/html/index.html"),
        RecordBuilder::new(4711, "cc1plus", "/usr/include/c++/12/bits/stl_algobase.h"),
        RecordBuilder::new(4711, "cc1plus", "../include/config.h").dir("/home/maria/src/project/build").errno(2),
        RecordBuilder::new(2210, "node", "/home/maria/app/node_modules/left-pad/package.json").errno(2),
        RecordBuilder::new(2210, "node", "/home/maria/app/secret.key").errno(13),
        RecordBuilder::new(99_871, "evil\x1b[31m", "/tmp/\x1b]0;gotcha\x07").errno(20),
        RecordBuilder::new(640, "日本語サーバ", "/srv/データ/設定ファイル.json"),
        RecordBuilder::new(4709, "ninja", "build.ninja").dir("/home/maria/src/project/build"),
        RecordBuilder::new(1, "systemd", "/sys/fs/cgroup/system.slice/nginx.service/memory.pressure"),
    ];
    let mut records = Vec::new();
    for i in 0..60u64 {
        let mut record = opens[i as usize % opens.len()].clone().at(8 * S + i * 12_345_678);
        record.header.duration_ns = 900 + i * i * 911;
        record.header.flags =
            if i % 5 == 0 { (libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC).cast_unsigned() } else { 0 };
        records.push(record);
    }
    update(&mut app, batch(&records));
    update(&mut app, reading(9));
    app
}

/// The screen as text, without the spaces at the ends of lines.
fn picture(app: &App) -> String {
    let mut buf = Buffer::empty(Rect::new(0, 0, app.size.0, app.size.1));
    draw(app, &mut buf);
    let mut out = String::new();
    for y in 0..app.size.1 {
        let mut line = String::new();
        let mut x = 0;
        while x < app.size.0 {
            let symbol = buf[(x, y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(text::width(symbol)).unwrap().max(1);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[test]
fn the_first_screen_at_its_sizes() {
    for (columns, rows) in [(80, 24), (120, 40), (200, 50)] {
        insta::assert_snapshot!(format!("live_{columns}x{rows}"), picture(&busy(columns, rows)));
    }
}

#[test]
fn the_other_views_at_their_sizes() {
    for (name, keys) in [
        ("files", "2"),
        ("failures", "3 Down"),
        ("latency", "4"),
        ("health", "5"),
        ("process", "Down Enter"),
        ("open", "Tab Up Up Enter"),
        ("menu", "Tab Up Up f"),
        ("tree", "t"),
        ("tree_folded", "t Z"),
        ("files_tree", "2 t Down Down Enter"),
        ("help", "?"),
        ("columns", "F2"),
    ] {
        for (columns, rows) in [(80, 24), (120, 40), (200, 50)] {
            let mut app = busy(columns, rows);
            press(&mut app, keys);
            insta::assert_snapshot!(format!("{name}_{columns}x{rows}"), picture(&app));
        }
    }
}

#[test]
fn a_screen_too_small_says_what_it_needs() {
    insta::assert_snapshot!("too_small_40x8", picture(&busy(40, 8)));
    for (columns, rows) in [(0, 0), (1, 1), (59, 12), (60, 11)] {
        picture(&busy(columns, rows));
    }
}

#[test]
fn the_help_shows_every_key() {
    let mut app = busy(120, 80);
    press(&mut app, "?");
    let whole = picture(&app);
    for binding in crate::app::keys::rows(false) {
        assert!(
            whole.contains(&binding.keys.join(" ")) && whole.contains(binding.help),
            "{whole}\nlacks {}",
            binding.help
        );
    }
    let mut app = busy(80, 24);
    press(&mut app, "?");
    for _ in 0..20 {
        assert!(!picture(&app).contains('…'), "something is cut: {}", picture(&app));
        press(&mut app, "Down Down Down Down Down");
    }
}

#[test]
fn the_filter_line_points_at_what_is_wrong() {
    let mut app = busy(80, 24);
    press(&mut app, "/ a ( (");
    insta::assert_snapshot!("filter_error_80x24", picture(&app));
}

#[test]
fn the_filter_line_offers_what_could_be_typed() {
    let mut app = busy(100, 30);
    press(&mut app, "/ p");
    assert!(picture(&app).contains("Tab: pid:  ppid:  path:"), "{}", picture(&app));
    press(&mut app, "a");
    assert!(picture(&app).contains("Tab: path:  "), "{}", picture(&app));
}

#[test]
fn ascii_borders_are_ascii() {
    let mut app = app(100, 30);
    app.settings.look.ascii = true;
    update(&mut app, batch(&[RecordBuilder::new(1, "sh", "/etc/passwd")]));
    for keys in ["1", "t", "2", "t", "3", "4", "5", "1 Enter", "Esc Tab Up Enter", "Esc / a (", "Esc ?"] {
        press(&mut app, keys);
        assert_eq!(picture(&app).chars().filter(|c| !c.is_ascii()).collect::<String>(), "", "{}", picture(&app));
    }
}

#[test]
fn keys_in_the_footer_never_touch_at_any_width() {
    for columns in 60..220 {
        let app = busy(columns, 24);
        let picture = picture(&app);
        let footer = picture.lines().last().unwrap();
        assert!(footer.ends_with(" q quit"), "{columns}: {footer}");
    }
}

#[test]
fn a_text_that_goes_on_below_says_so_on_its_border() {
    for keys in ["5", "Down Enter"] {
        let mut app = busy(80, 24);
        press(&mut app, keys);
        let thumbs = |app: &App| picture(app).lines().filter(|line| line.ends_with('┃')).count();
        assert!((1..20).contains(&thumbs(&app)), "{}", picture(&app));
        let above = picture(&app);
        press(&mut app, "Down Down Down Down Down Down Down Down Down Down Down Down Down Down Down Down");
        assert!(picture(&app).lines().rev().take(12).any(|line| line.ends_with('┃')), "{above}{}", picture(&app));
    }
}

#[test]
fn the_footer_has_only_keys_that_do_something_and_the_way_back_where_there_is_one() {
    let footer = |keys: &str| {
        let mut app = busy(160, 40);
        press(&mut app, keys);
        picture(&app).lines().last().unwrap().to_owned()
    };
    for (keys, has, lacks) in [
        ("1", &["sort", "tree", "pane", "inspect", "follow"][..], &["back"][..]),
        ("Enter", &["Esc back", "pane", "pause"], &["sort", "tree", "inspect"]),
        ("Tab Up Enter", &["Esc back", "inspect", "only"], &["sort", "pane", "follow"]),
        ("2", &["sort", "tree", "inspect"], &["pane", "follow", "back"]),
        ("3", &["sort", "inspect"], &["tree", "pane", "follow"]),
        ("4", &["pause", "filter"], &["sort", "inspect", "tree", "only", "pane"]),
        ("5", &["pause", "filter"], &["sort", "inspect", "tree", "only", "pane"]),
        ("Space", &["Esc back"], &[]),
        ("/ n Enter", &["Esc back"], &[]),
    ] {
        let footer = footer(keys);
        for word in has {
            assert!(footer.contains(word), "{keys}: {word} is missing: {footer}");
        }
        for word in lacks {
            assert!(!footer.contains(word), "{keys}: {word} does nothing: {footer}");
        }
    }
}

#[test]
fn what_a_process_misses_is_seen_on_its_page_without_scrolling_on_the_smallest_terminal() {
    let mut app = busy(80, 24);
    press(&mut app, "/");
    crate::app::tests::type_in(&mut app, "comm:node");
    press(&mut app, "Enter Enter");
    let picture = picture(&app);
    assert!(picture.contains("ENOENT") && picture.contains("Missed"), "{picture}");
}

#[test]
fn the_selected_row_is_one_bar_without_colour() {
    let mut app = busy(80, 24);
    app.settings.look.colors = Colors::None;
    press(&mut app, "Down Down");
    let mut buf = Buffer::empty(Rect::new(0, 0, 80, 24));
    draw(&app, &mut buf);
    let reversed = |x, y| {
        let modifier = buf[(x, y)].modifier;
        modifier.contains(ratatui::style::Modifier::REVERSED) && !modifier.contains(ratatui::style::Modifier::DIM)
    };
    let bars = (0..24).filter(|y| (1..78).all(|x| reversed(x, *y))).count();
    assert_eq!(bars, 1);
}
