//! What the benches share: a session without a kernel, and a dashboard on it.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each bench uses its own part of this")]

use opentop::{
    app::{App, CaptureText, Msg, Prefs, Settings, update},
    filter::Filter,
    look::{Colors, Look, ThemeName},
    model::Options,
    session::{AttachKind, Session},
};

pub fn session() -> Session {
    Session {
        attach: AttachKind::Kprobe,
        reason: "first choice".into(),
        kernel: "6.1.0".into(),
        hostname: "bench".into(),
        wall_offset_ns: 1_700_000_000_000_000_000,
        start_ns: 0,
        routes: Vec::new(),
        capture: "all".into(),
        ring_bytes: 8 << 20,
    }
}

/// As it starts, on a screen of 200×50.
pub fn app() -> App {
    let settings = Settings {
        capture: CaptureText::default(),
        prefs: Prefs::default(),
        model: Options::default(),
        look: Look { theme: ThemeName::Dark, colors: Colors::True, ascii: false },
        live: true,
        time_zone: jiff::tz::TimeZone::UTC,
        parse: Filter::parse,
        filter: None,
        stacks: false,
    };
    let mut app = App::new(session(), settings);
    update(&mut app, Msg::Resize(200, 50));
    app
}
