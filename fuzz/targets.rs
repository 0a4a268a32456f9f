//! What is fuzzed: each takes any bytes and must neither panic nor hang nor contradict itself.
//!
//! The same functions are run by cargo-fuzz (`fuzz_targets/`) without end and by `tui/tests/fuzz.rs` for a moment.

use opentop::{
    config, escape,
    event::Event,
    filter::Filter,
    headless::{Format, Writer},
    recording::{Item, Reader, keys},
    session::{AttachKind, Session},
    source::replay::Player,
};

/// A target: the folder of its corpus, and what is done with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 6] = [
    ("decode", decode),
    ("recording", recording),
    ("filter", filter),
    ("configuration", configuration),
    ("keys", key_script),
    ("escape", escaper),
];

fn session() -> Session {
    Session {
        attach: AttachKind::Kprobe,
        reason: String::new(),
        kernel: "6.1.0".into(),
        hostname: "fuzz".into(),
        wall_offset_ns: 1_700_000_000_000_000_000,
        start_ns: 0,
        routes: Vec::new(),
        capture: "all".into(),
        ring_bytes: 1 << 20,
    }
}

/// A record of the ring: an event or an error; an event prints in every format, as text that no terminal obeys.
pub fn decode(bytes: &[u8]) {
    let Ok(event) = Event::decode(bytes) else { return };
    for format in [Format::Text, Format::Json, Format::Csv] {
        let mut out = Vec::new();
        Writer::new(format, &session()).event(&mut out, &event);
        let text = std::str::from_utf8(&out).expect("lines are text");
        assert!(text.ends_with('\n'), "a line ends");
        let line = text.trim_end_matches(['\n', '\r']);
        assert!(line.chars().all(|c| !c.is_control()), "one line, without controls: {line:?}");
    }
}

/// A recording: it opens or is refused; what it holds comes to an end, forwards and by its index.
pub fn recording(bytes: &[u8]) {
    let Ok(mut reader) = Reader::from_bytes(bytes.to_vec(), "fuzz") else { return };
    let mut items = 0;
    while let Ok(Some(item)) = reader.next_item() {
        if let Item::Damage(damage) = &item {
            let _ = damage.to_string();
        }
        items += 1;
        assert!(items <= bytes.len() + 16, "more items than bytes");
    }
    let Ok(reader) = Reader::from_bytes(bytes.to_vec(), "fuzz") else { return };
    let mut player = Player::new(reader);
    let mut inputs = 0;
    while let Ok(Some(_)) = player.next_input(u64::MAX, 4096) {
        inputs += 1;
        assert!(inputs <= 64 * (bytes.len() + 16), "more inputs than a recording of that length can hold");
    }
    let _ = player.report().to_string();
}

/// A filter: it parses or is pointed at; one that parsed prints the same again, and can be asked.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Filter::parse(text) {
        Ok(filter) => {
            assert_eq!(filter.text(), text);
            let record = include_bytes!("corpus/decode/openat");
            let event = Event::decode(record).expect("the corpus holds a record");
            let _ = filter.matches(&event);
        }
        Err(error) => {
            let shown = error.pointing(text);
            assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        }
    }
}

/// A configuration: whatever it says, the rest is defaults, and complaints are text.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (_, complaints) = config::parse(text);
    for complaint in complaints {
        assert!(complaint.message.chars().all(|c| !c.is_control()), "{:?}", complaint.message);
    }
}

/// A script of keys: it becomes a timeline or is pointed at.
pub fn key_script(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match keys::parse(text) {
        Ok(steps) => drop(keys::timeline(steps)),
        Err(error) => {
            let shown = error.pointing(text);
            assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        }
    }
}

/// The escaper: reversible, and without anything a terminal obeys.
pub fn escaper(bytes: &[u8]) {
    let text = escape::escaped(bytes);
    assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
    assert_eq!(escape::unescape(&text).as_deref(), Some(bytes));
}
