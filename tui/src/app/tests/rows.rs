//! Trees, tables and what the mouse does to their rows.

use super::*;

fn family() -> App {
    let mut app = app(100, 40);
    let record = |pid, ppid, path: &str| {
        let mut record = RecordBuilder::new(pid, if pid == 5 { "make" } else { "cc" }, path);
        (record.header.ppid, record.header.process_start_ns) = (ppid, u64::from(pid));
        record
    };
    let records = [
        record(5, 1, "/src/Makefile"),
        record(6, 5, "/usr/include/a.h"),
        record(7, 5, "/usr/include/sys/b.h").errno(2),
    ];
    update(&mut app, batch(&records));
    update(&mut app, Msg::Tick(S));
    app
}

fn click(app: &mut App, button: MouseButton, column: u16, row: u16) -> Vec<Effect> {
    let kind = MouseEventKind::Down(button);
    update(app, Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })).effects
}

/// Where a word stands on the screen.
fn find(app: &App, word: &str) -> (u16, u16) {
    let screen = screen(app);
    let (y, line) = screen.lines().enumerate().find(|(_, line)| line.contains(word)).unwrap_or_else(|| {
        panic!("no {word} on the screen:\n{screen}");
    });
    let x = line.split(word).next().unwrap().chars().count();
    (x.try_into().unwrap(), y.try_into().unwrap())
}

#[test]
fn a_tree_has_sums_and_is_folded_by_key_and_mouse() {
    let mut app = family();
    press(&mut app, "t");
    assert!(screen(&app).contains("├─cc") && screen(&app).contains("└─cc"), "{}", screen(&app));
    let row = |app: &App| screen(app).lines().find(|line| line.contains("make ")).unwrap().to_owned();
    assert!(row(&app).contains(" 3 ") && row(&app).contains("33.3"), "{}", row(&app));
    press(&mut app, "z");
    assert!(screen(&app).contains("▸ make") && !screen(&app).contains("─cc"), "{}", screen(&app));
    let (x, y) = find(&app, "▸ make");
    click(&mut app, MouseButton::Left, x, y);
    assert!(screen(&app).contains("▾ make") && screen(&app).contains("└─cc"), "{}", screen(&app));
    press(&mut app, "t");
    assert!(!screen(&app).contains("└─cc"));
}

#[test]
fn files_are_a_tree_whose_directories_open_and_shut() {
    let mut app = family();
    press(&mut app, "2 t");
    assert!(screen(&app).contains("▸ /usr/include/  2 paths"), "{}", screen(&app));
    press(&mut app, "Enter");
    assert!(screen(&app).contains("▾ /usr/include/") && screen(&app).contains("─a.h"), "{}", screen(&app));
    press(&mut app, "f d");
    assert_eq!(app.filter().map(|f| f.text().to_owned()).as_deref(), Some("path:/usr/include/**"));
    assert!(!screen(&app).contains("Makefile"), "{}", screen(&app));
    press(&mut app, "Z");
    assert!(!screen(&app).contains("─a.h"));
}

#[test]
fn files_and_failures_under_a_filter_are_those_of_what_passes_then_and_later() {
    let mut app = family();
    press(&mut app, "/");
    type_in(&mut app, "comm:cc");
    press(&mut app, "Enter 2");
    assert_eq!(app.files.total, 2);
    update(&mut app, batch(&[RecordBuilder::new(9, "cc", "/later"), RecordBuilder::new(9, "sh", "/other")]));
    press(&mut app, "3 2");
    assert_eq!(app.files.total, 3);
    assert!(screen(&app).contains("of 3 opens that match"), "{}", screen(&app));
    press(&mut app, "3");
    assert_eq!(app.failures.total, 1);
}

#[test]
fn a_right_click_filters_by_the_row_and_keys_in_the_footer_can_be_clicked() {
    let mut app = family();
    let (x, y) = find(&app, "/usr/include/a.h ");
    click(&mut app, MouseButton::Right, x, y);
    assert!(screen(&app).contains("Show only"), "{}", screen(&app));
    let (x, y) = find(&app, "x: hide");
    click(&mut app, MouseButton::Left, x, y);
    assert!(screen(&app).contains(" Hide "), "{}", screen(&app));
    let (x, y) = find(&app, "this name");
    click(&mut app, MouseButton::Left, x, y);
    assert_eq!(app.filter().map(|f| f.text().to_owned()).as_deref(), Some("!comm:cc"));
    app.notice = None;
    let (x, y) = find(&app, "quit");
    assert_eq!(click(&mut app, MouseButton::Left, x, y), [Effect::Quit]);
}

#[test]
fn heads_of_files_and_failures_sort_and_sort_back() {
    let mut app = family();
    press(&mut app, "2");
    let (x, y) = find(&app, "PATH");
    click(&mut app, MouseButton::Left, x, y);
    assert_eq!(app.file_sort, tables::FileSort::Path);
    assert_eq!(&*app.files.rows[0].path, b"/src/Makefile");
    click(&mut app, MouseButton::Left, x, y);
    assert_eq!(&*app.files.rows[0].path, b"/usr/include/sys/b.h");
    press(&mut app, "3");
    let (x, y) = find(&app, "NAME");
    click(&mut app, MouseButton::Left, x, y);
    assert_eq!(app.failure_sort, (tables::FailureSort::Name, false));
    press(&mut app, "I");
    assert_eq!(app.failure_sort, (tables::FailureSort::Name, true));
}

#[test]
fn what_was_found_nowhere_comes_first_by_its_head_and_by_key() {
    let mut app = app(120, 40);
    let open = |path: &str, errno| RecordBuilder::new(7, "sh", path).errno(errno);
    let mut records = vec![open("/a/found", 2), open("/a/found", 2), open("/a/missing", 2)];
    records.push(RecordBuilder::new(7, "sh", "/b/found"));
    update(&mut app, batch(&records));
    press(&mut app, "3");
    assert_eq!(&*app.failures.rows[0].name, b"found");
    let (x, y) = find(&app, "FOUND AT");
    click(&mut app, MouseButton::Left, x + 1, y);
    assert_eq!(&*app.failures.rows[0].name, b"missing");
    press(&mut app, ">");
    assert_eq!((app.failure_sort.0, &*app.failures.rows[0].name), (tables::FailureSort::Count, &b"found"[..]));
    press(&mut app, "<");
    assert_eq!(&*app.failures.rows[0].name, b"missing");
    assert!(screen(&app).contains("FOUND AT▲"), "{}", screen(&app));
}

#[test]
fn the_page_of_a_process_says_what_it_misses_and_asks_proc_again() {
    let mut app = family();
    press(&mut app, "/");
    type_in(&mut app, "pid:7");
    press(&mut app, "Enter Enter");
    assert!(
        screen(&app).contains("Missed") && screen(&app).contains("ENOENT   /usr/include/sys/b.h"),
        "{}",
        screen(&app)
    );
    let key = app.live.processes.by_pid(7).unwrap().key;
    assert_eq!(update(&mut app, Msg::Tick(2 * S)).effects, []);
    assert_eq!(update(&mut app, Msg::Tick(4 * S)).effects, [Effect::Look(key)]);
}

#[test]
fn the_sorting_keys_go_over_every_column_that_is_seen_and_no_other() {
    for (columns, filter) in [(80, false), (80, true), (120, false), (120, true), (200, true)] {
        let mut app = app(columns, 40);
        update(&mut app, opens(3));
        if filter {
            press(&mut app, "/ f Enter");
        }
        let heads = crate::view::hit::process_sorts(&app, layout::regions(&app).unwrap().processes.head);
        assert_eq!(heads.contains(&Column::Matched), filter, "{heads:?}");
        let mut seen = Vec::new();
        for _ in 0..heads.len() {
            press(&mut app, ">");
            let head = screen(&app).lines().nth(3).unwrap().to_owned();
            assert!(head.contains('▼') || head.contains('▲'), "sorted by what is not there: {head}");
            seen.push(app.processes.sort.column);
        }
        assert!(heads.iter().all(|column| seen.contains(column)), "{seen:?} of {heads:?}");
        press(&mut app, "<");
        assert_eq!(app.processes.sort.column, seen[seen.len() - 2]);
    }
}
