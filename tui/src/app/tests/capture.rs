//! `c`: the line of the capture, and what becomes of it.

use super::*;
use crate::source::{CaptureChange, Recapture};

fn recaptures(effects: &[Effect]) -> Vec<&Recapture> {
    effects.iter().filter_map(|e| if let Effect::Capture(to) = e { Some(&**to) } else { None }).collect()
}

#[test]
fn what_is_typed_is_captured_with_enter_and_the_header_says_so_once_the_kernel_did_it() {
    let mut app = app(140, 30);
    assert_eq!(press(&mut app, "c"), []);
    assert!(screen(&app).contains("the kernel captures every open"), "{}", screen(&app));
    type_in(&mut app, "comm:sh failed");
    let line = screen(&app);
    assert!(line.contains(" capture ❯ comm:sh failed"), "{line}");
    assert!(line.contains("when an open begins: comm; when it returns: failure"), "{line}");
    let effects = press(&mut app, "Enter");
    let [to] = recaptures(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(
        (to.text.as_str(), to.words.as_str(), to.program.clauses.len()),
        ("comm:sh failed", "comm:sh failed", 1)
    );
    assert_eq!(app.session.capture, "all", "not before the kernel did it");
    let change = CaptureChange { text: to.text.clone(), words: to.words.clone(), ..CaptureChange::default() };
    update(&mut app, Msg::Input(Input::Capture(Box::new(change))));
    let head = screen(&app);
    assert!(head.contains("capture comm:sh failed"), "{head}");
    press(&mut app, "c");
    assert!(screen(&app).contains(" capture ❯ comm:sh failed"), "the line begins with what is in force");
}

#[test]
fn what_the_kernel_cannot_do_stays_in_the_line_and_the_capture_before_in_force() {
    let mut app = app(140, 30);
    press(&mut app, "c");
    type_in(&mut app, "uid:0 nginx");
    let line = screen(&app);
    assert!(line.contains("^^^^^") && line.contains("comm:nginx* works in a capture, nginx needs /"), "{line}");
    assert_eq!(recaptures(&press(&mut app, "Enter")), Vec::<&Recapture>::new());
    assert!(matches!(app.mode, Mode::Prompt(_)), "it stays open");
    press(&mut app, "Esc");
    assert!(matches!(app.mode, Mode::Normal));
    assert_eq!(app.session.capture, "all");
    let refused = CaptureChange { refused: Some("no memory".into()), ..CaptureChange::default() };
    update(&mut app, Msg::Input(Input::Capture(Box::new(refused))));
    assert_eq!(app.session.capture, "all");
    assert!(screen(&app).contains("the capture is what it was: no memory"));
}

#[test]
fn whatever_the_kernel_cannot_do_is_marked_under_what_was_typed_with_what_works_on_the_smallest_terminal() {
    let refusals = [
        ("nginx", "nginx", "comm:nginx*"),
        ("uid:0 path~^/etc", "path~^/etc", "path:/etc/**"),
        ("path:/etc/*/x.conf uid:0", "path:/etc/*/x.conf", "path:/etc/**"),
        ("comm:ng*nx failed", "comm:ng*nx", "comm:ng*"),
        ("failed mode:0644", "mode:0644", "flags:c"),
        ("name:foo", "name:foo", "path:/dir/**"),
        ("!fd:3", "fd:3", "!failed"),
    ];
    for (typed, wrong, nearest) in refusals {
        let mut app = app(80, 24);
        press(&mut app, "c");
        type_in(&mut app, typed);
        let picture = screen(&app);
        let lines: Vec<&str> = picture.lines().collect();
        let at = lines.iter().position(|line| line.contains(" capture ❯ ")).unwrap();
        let column = |line: &str, text: &str| line.split(text).next().unwrap().chars().count();
        assert_eq!(column(lines[at + 1], "^"), column(lines[at], wrong), "{picture}");
        assert_eq!(lines[at + 1].matches('^').count(), wrong.len(), "{picture}");
        assert!(lines[at + 1..].iter().any(|line| line.contains(&format!("{nearest} works"))), "{picture}");
    }
}

#[test]
fn a_command_stays_what_the_capture_is_confined_to() {
    let mut app = app(140, 30);
    app.settings.capture = CaptureText { text: "failed".into(), command: Some(Vec::new()) };
    press(&mut app, "c");
    type_in(&mut app, " uid:0");
    let effects = press(&mut app, "Enter");
    assert_eq!(recaptures(&effects)[0].words, "command, failed uid:0");
}

#[test]
fn a_recordings_capture_cannot_be_changed() {
    let mut app = app(140, 30);
    app.settings.live = false;
    press(&mut app, "c");
    assert!(matches!(app.mode, Mode::Normal));
    assert!(screen(&app).contains("a recording's capture cannot be changed"), "{}", screen(&app));
}

#[test]
fn lines_of_the_filter_and_of_the_capture_share_their_history() {
    let mut app = app(140, 30);
    press(&mut app, "/");
    type_in(&mut app, "comm:sh");
    press(&mut app, "Enter c Up");
    assert!(screen(&app).contains(" capture ❯ comm:sh"), "{}", screen(&app));
}
