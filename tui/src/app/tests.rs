use super::*;
use crate::event::RecordBuilder;
use crate::model::Options;
use crate::model::order::{Column, Sort};
use crate::source::{Batch, Counters, Totals};
use crossterm::event::{KeyCode, KeyModifiers, MouseButton, MouseEventKind};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

mod capture;
mod rows;

pub(crate) const S: u64 = 1_000_000_000;

/// A dashboard of a session that began a minute before the first second of the opens.
pub(crate) fn app(columns: u16, rows: u16) -> App {
    let session = Session {
        attach: crate::session::AttachKind::Kprobe,
        reason: "first choice".into(),
        kernel: "6.1.0-18-cloud-amd64".into(),
        hostname: "host".into(),
        wall_offset_ns: 1_700_000_000_000_000_000,
        start_ns: 0,
        routes: Vec::new(),
        capture: "all".into(),
        ring_bytes: 1 << 20,
    };
    let settings = Settings {
        capture: CaptureText::default(),
        prefs: Prefs::default(),
        model: Options::default(),
        look: crate::look::Look {
            theme: crate::look::ThemeName::Dark,
            colors: crate::look::Colors::True,
            ascii: false,
        },
        live: true,
        time_zone: jiff::tz::TimeZone::UTC,
        parse: crate::filter::Filter::parse,
        filter: None,
        stacks: false,
    };
    let mut app = App::new(session, settings);
    update(&mut app, Msg::Resize(columns, rows));
    app
}

pub(crate) fn batch(records: &[RecordBuilder]) -> Msg {
    let mut batch = Batch::default();
    for record in records {
        batch.push(&record.build());
    }
    Msg::Input(Input::Batch(batch))
}

pub(crate) fn press(app: &mut App, keys: &str) -> Vec<Effect> {
    keys.split(' ')
        .flat_map(|key| {
            let (code, modifiers) = match key {
                "Esc" => (KeyCode::Esc, KeyModifiers::NONE),
                "Enter" => (KeyCode::Enter, KeyModifiers::NONE),
                "Space" => (KeyCode::Char(' '), KeyModifiers::NONE),
                "Tab" => (KeyCode::Tab, KeyModifiers::NONE),
                "Up" => (KeyCode::Up, KeyModifiers::NONE),
                "Down" => (KeyCode::Down, KeyModifiers::NONE),
                "F2" => (KeyCode::F(2), KeyModifiers::NONE),
                "F10" => (KeyCode::F(10), KeyModifiers::NONE),
                "Ctrl-c" => (KeyCode::Char('c'), KeyModifiers::CONTROL),
                "Ctrl-r" => (KeyCode::Char('r'), KeyModifiers::CONTROL),
                _ => (KeyCode::Char(key.chars().next().unwrap()), KeyModifiers::NONE),
            };
            update(app, Msg::Key(KeyEvent::new(code, modifiers))).effects
        })
        .collect()
}

pub(crate) fn type_in(app: &mut App, text: &str) {
    for c in text.chars() {
        update(app, Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
    }
}

fn opens(n: usize) -> Msg {
    batch(&(0..n).map(|i| RecordBuilder::new(7, "sh", format!("/f{i}"))).collect::<Vec<_>>())
}

fn screen(app: &App) -> String {
    let mut buf = Buffer::empty(Rect::new(0, 0, app.size.0, app.size.1));
    crate::view::draw(app, &mut buf);
    buf.content()
        .chunks(app.size.0.max(1).into())
        .map(|row| row.iter().map(|c| c.symbol()).collect::<String>() + "\n")
        .collect()
}

#[test]
fn a_pause_freezes_the_picture_and_counts_what_comes_meanwhile() {
    let mut app = app(100, 30);
    update(&mut app, opens(3));
    press(&mut app, "Space");
    let before = screen(&app);
    assert!(before.contains("paused +0"), "{before}");
    update(&mut app, opens(5));
    let during = screen(&app);
    assert!(during.contains("paused +5"), "{during}");
    assert_eq!(app.model().history.len(), 3);
    assert_eq!(during.lines().skip(2).collect::<Vec<_>>(), before.lines().skip(2).collect::<Vec<_>>());
    press(&mut app, "p");
    assert_eq!(app.model().history.len(), 8);
    assert!(screen(&app).contains("live"));
}

#[test]
fn a_column_is_hidden_and_shown_again() {
    let mut app = app(120, 30);
    update(&mut app, opens(3));
    assert!(screen(&app).contains("USER"));
    update(&mut app, Msg::Key(KeyEvent::new(KeyCode::F(2), KeyModifiers::NONE)));
    press(&mut app, "Down Space Esc");
    assert!(!screen(&app).contains("USER"), "{}", screen(&app));
    update(&mut app, Msg::Key(KeyEvent::new(KeyCode::F(2), KeyModifiers::NONE)));
    press(&mut app, "Down Space Esc");
    assert!(screen(&app).contains("USER"));
}

#[test]
fn a_list_is_written_whole_and_without_raw_bytes() {
    let mut app = app(100, 30);
    update(&mut app, opens(100));
    update(&mut app, batch(&[RecordBuilder::new(8, "a\x1b[2J", "/evil\x1b]0;x\x07")]));
    for (tab, list, rows) in [("1", "processes", 3), ("1 Tab", "opens", 101), ("2", "files", 102)] {
        press(&mut app, tab);
        let effects = press(&mut app, "o");
        let [Effect::Save(name, text)] = effects.as_slice() else { panic!("{effects:?}") };
        let text = String::from_utf8(text.clone()).unwrap();
        assert_eq!(*name, list);
        assert!(text.lines().count() >= rows, "{list}: {text}");
        assert!(!text.contains('\x1b') && !text.contains('\x07'));
    }
}

#[test]
fn the_list_follows_until_one_looks_up_and_then_stays_on_its_row() {
    let mut app = app(100, 30);
    update(&mut app, opens(100));
    assert!(screen(&app).contains("following"));
    press(&mut app, "Tab Up Up");
    assert_eq!(app.opens.selected, Some(98));
    let offset = app.opens.offset;
    update(&mut app, opens(1000));
    assert_eq!((app.opens.selected, app.opens.offset), (Some(98), offset));
    assert!(screen(&app).contains("1,001 newer below"));
    press(&mut app, "F");
    assert_eq!(app.opens.selected, None);
    assert!(screen(&app).contains("following"));
}

#[test]
fn the_row_stays_even_while_older_ones_are_let_go() {
    let mut app = app(100, 30);
    app.live = Model::new(Options {
        history: crate::model::history::Limits { events: 200, bytes: 1 << 20 },
        ..Options::default()
    });
    update(&mut app, opens(200));
    press(&mut app, "Tab Up Up");
    let row = app.opens.cursor.unwrap() - app.opens.offset;
    update(&mut app, opens(50));
    assert_eq!((app.opens.selected, app.opens.cursor.unwrap() - app.opens.offset), (Some(198), row));
}

#[test]
fn a_filter_works_while_it_is_typed() {
    let mut app = app(100, 30);
    update(&mut app, opens(20));
    press(&mut app, "/");
    type_in(&mut app, "f1");
    // f1 and f10 to f19.
    assert_eq!(app.model().listing.len(&app.model().history), 11);
    assert!(screen(&app).contains("11 of 20"));
    press(&mut app, "Enter");
    assert!(matches!(app.mode, Mode::Normal));
    assert!(screen(&app).contains("filter f1"));
}

#[test]
fn a_bad_filter_says_where_and_the_last_good_one_stays() {
    let mut app = app(100, 30);
    update(&mut app, opens(20));
    press(&mut app, "/");
    type_in(&mut app, "f1 ((");
    let Mode::Prompt(prompt) = &app.mode else { panic!("the line is gone") };
    assert!(prompt.error.is_some());
    assert!(app.filter().is_some());
    assert!(screen(&app).contains('^'));
    press(&mut app, "Enter");
    assert!(matches!(app.mode, Mode::Prompt(_)), "a line with an error stays to be mended");
}

#[test]
fn esc_backs_out_of_the_line_and_of_what_it_did() {
    let mut app = app(100, 30);
    update(&mut app, opens(20));
    press(&mut app, "/");
    type_in(&mut app, "f1");
    press(&mut app, "Esc");
    assert!(app.filter().is_none());
    assert_eq!(app.model().listing.len(&app.model().history), 20);
    press(&mut app, "/ 1 Enter Tab Up Esc");
    assert!(app.opens.selected.is_none() && app.filter().is_some(), "first the selection");
    press(&mut app, "Esc");
    assert!(app.filter().is_none(), "then the filter");
}

#[test]
fn a_typed_letter_is_text_in_a_line_and_quits_elsewhere() {
    let mut app = app(100, 30);
    press(&mut app, "/");
    assert_eq!(press(&mut app, "q"), []);
    assert_eq!(press(&mut app, "Ctrl-c"), [Effect::Quit]);
    press(&mut app, "Esc");
    assert_eq!(press(&mut app, "q"), [Effect::Quit]);
    assert_eq!(press(&mut app, "F10"), [Effect::Quit]);
}

#[test]
fn the_selected_process_stays_selected_when_others_pass_it() {
    let mut app = app(100, 30);
    let opens = |pid, n: usize| batch(&vec![RecordBuilder::new(pid, "x", "/f"); n]);
    let read = |at_ns| Msg::Input(Input::Counters(Box::new(Counters { at_ns, ..Counters::default() })));
    update(&mut app, read(S));
    for pid in 1..=5 {
        update(&mut app, opens(pid, 100 - pid as usize));
    }
    update(&mut app, read(2 * S));
    press(&mut app, "Down Down");
    assert_eq!(app.processes.selected.map(|key| key.tgid), Some(3));
    update(&mut app, opens(5, 10_000));
    update(&mut app, read(3 * S));
    assert_eq!((app.processes.selected.map(|key| key.tgid), app.processes.cursor), (Some(3), 3));
}

#[test]
fn enter_looks_at_a_process_and_esc_brings_everything_back() {
    let mut app = app(100, 40);
    let read = |at_ns| Msg::Input(Input::Counters(Box::new(Counters { at_ns, ..Counters::default() })));
    update(&mut app, read(S));
    update(&mut app, batch(&[RecordBuilder::new(7, "sh", "/a"), RecordBuilder::new(8, "cc", "/b").errno(2)]));
    update(&mut app, read(2 * S));
    press(&mut app, "/ a Enter");
    let effects = press(&mut app, "Enter");
    assert_eq!(effects, [Effect::Look(ProcessKey { start_ns: 1, tgid: 7, reserved: 0 })]);
    assert_eq!(app.filter().map(|f| f.text().to_owned()).as_deref(), Some("pid:7"));
    assert!(screen(&app).contains("7 sh"));
    press(&mut app, "Esc");
    assert!(app.page.is_none());
    assert_eq!(app.filter().map(|f| f.text().to_owned()).as_deref(), Some("a"));
}

#[test]
fn what_is_chosen_of_a_row_is_added_to_the_filter_in_words() {
    let mut app = app(100, 40);
    update(&mut app, batch(&[RecordBuilder::new(7, "sh", "/etc/x y").errno(2), RecordBuilder::new(8, "cc", "/b")]));
    press(&mut app, "Tab Up Up f f");
    assert_eq!(app.filter().map(|f| f.text().to_owned()).as_deref(), Some("path:\"/etc/x y\""));
    assert_eq!(app.model().listing.len(&app.model().history), 1);
    press(&mut app, "Ctrl-r Up Up x p");
    assert_eq!(app.filter().map(|f| f.text().to_owned()).as_deref(), Some("!pid:7"));
    assert_eq!(app.model().listing.len(&app.model().history), 1);
}

#[test]
fn tab_completes_a_field_and_goes_on_to_the_next() {
    let mut app = app(100, 40);
    press(&mut app, "/");
    type_in(&mut app, "pa");
    press(&mut app, "Tab");
    let Mode::Prompt(prompt) = &app.mode else { panic!("no line") };
    assert_eq!(prompt.text, "path:");
}

#[test]
fn the_account_adds_up() {
    let mut app = app(100, 30);
    press(&mut app, "/");
    type_in(&mut app, "f1");
    update(&mut app, opens(20));
    let mut totals = Totals { opens: 25, ..Totals::default() };
    totals.losses.ring_full = 5;
    update(&mut app, Msg::Input(Input::Counters(Box::new(Counters { at_ns: S, totals, ..Counters::default() }))));
    assert_eq!((app.live.opens(), app.live.shown, app.live.filtered, app.live.lost()), (25, 11, 9, 5));
}

#[test]
fn a_click_on_a_head_sorts_and_a_second_one_turns_it_round() {
    let mut app = app(100, 30);
    let head = layout::regions(&app).unwrap().processes.head;
    let click = |app: &mut App, x, y| {
        let mouse = MouseEvent {
            kind: MouseEventKind::Down(MouseButton::Left),
            column: x,
            row: y,
            modifiers: KeyModifiers::NONE,
        };
        update(app, Msg::Mouse(mouse));
    };
    click(&mut app, head.x + 5, head.y);
    assert_eq!(app.processes.sort, Sort { column: Column::Pid, reversed: false });
    click(&mut app, head.x + 5, head.y);
    assert_eq!(app.processes.sort, Sort { column: Column::Pid, reversed: true });
}

/// Anything that can happen to a dashboard.
fn anything() -> impl Strategy<Value = Msg> {
    let keys = keys::BINDINGS.iter().flat_map(|b| b.keys.iter().copied()).collect::<Vec<_>>();
    let key = proptest::sample::select(keys).prop_map(|text| {
        let (text, modifiers) = match text.strip_prefix("Ctrl-") {
            Some(rest) => (rest, KeyModifiers::CONTROL),
            None => (text, KeyModifiers::NONE),
        };
        let code = match text {
            "Space" => KeyCode::Char(' '),
            "Esc" => KeyCode::Esc,
            "Tab" => KeyCode::Tab,
            "Shift-Tab" => KeyCode::BackTab,
            "Backspace" => KeyCode::Backspace,
            "Up" => KeyCode::Up,
            "Down" => KeyCode::Down,
            "PgUp" => KeyCode::PageUp,
            "PgDn" => KeyCode::PageDown,
            "Home" => KeyCode::Home,
            "End" => KeyCode::End,
            "Enter" => KeyCode::Enter,
            _ if text.len() > 1 && text.starts_with('F') => KeyCode::F(text[1..].parse().unwrap()),
            _ => KeyCode::Char(text.chars().next().unwrap()),
        };
        Msg::Key(KeyEvent::new(code, modifiers))
    });
    let typed = any::<char>().prop_map(|c| Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
    let enter = Just(Msg::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE)));
    let size = (0u16..300, 0u16..100).prop_map(|(w, h)| Msg::Resize(w, h));
    let record = (
        1u32..20,
        proptest::collection::vec(any::<u8>(), 0..300),
        any::<[u8; 16]>(),
        -200i32..200,
        any::<u16>(),
        any::<u64>(),
    );
    let opens = proptest::collection::vec(record, 0..50).prop_map(|records| {
        let build = |(pid, name, comm, ret, marks, start)| {
            let mut record = RecordBuilder::new(pid, "", name);
            (record.header.ppid, record.header.process_start_ns) = (pid / 2, u64::from(pid));
            record.header.comm = comm;
            record.header.ret = ret;
            record.header.marks = marks;
            record.header.start_ns = start;
            record
        };
        batch(&records.into_iter().map(build).collect::<Vec<_>>())
    });
    let tick = any::<u64>().prop_map(Msg::Tick);
    let counters = (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(at_ns, opens, failed)| {
        let totals = Totals { opens: opens >> 1, failed: failed >> 1, ..Totals::default() };
        let mut counts: probe_common::ProcessCounts = bytemuck::Zeroable::zeroed();
        (counts.opens, counts.failed, counts.exited) = (opens >> 20, failed >> 21, (failed & 1) as u32);
        let key = ProcessKey { start_ns: 1, tgid: (opens % 20) as u32, reserved: 0 };
        Msg::Input(Input::Counters(Box::new(Counters {
            at_ns,
            totals,
            processes: vec![(key, counts)],
            ..Counters::default()
        })))
    });
    let mouse = (0u16..300, 0u16..100, 0u8..6).prop_map(|(column, row, kind)| {
        let kind = match kind {
            0 => MouseEventKind::ScrollUp,
            1 => MouseEventKind::ScrollDown,
            2 => MouseEventKind::Drag(MouseButton::Left),
            3 => MouseEventKind::Down(MouseButton::Right),
            _ => MouseEventKind::Down(MouseButton::Left),
        };
        Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
    });
    let other = prop_oneof![Just(Msg::Input(Input::End)), Just(Msg::Input(Input::Restart))];
    prop_oneof![8 => key, 3 => typed, 2 => enter, 2 => size, 4 => opens, 2 => tick, 2 => counters, 3 => mouse, 1 => other]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_nothing_panics_and_no_control_byte_becomes_a_cell(
        messages in proptest::collection::vec(anything(), 1..60),
    ) {
        let mut app = app(80, 24);
        for message in messages {
            update(&mut app, message);
            let mut buf = Buffer::empty(Rect::new(0, 0, app.size.0, app.size.1));
            crate::view::draw(&app, &mut buf);
            for cell in buf.content() {
                prop_assert!(!cell.symbol().chars().any(char::is_control), "{:?}", cell.symbol());
            }
        }
        prop_assert!(app.live.opens() >= app.live.shown + app.live.filtered);
    }
}
