//! Casts, whoever made them: read, played, and looked over.

use std::path::{Path, PathBuf};
use std::process::Command;

use opentop::{
    event::RecordBuilder,
    recording::{Options, Recorder},
    session::Session,
    source::{Batch, Counters},
};

use super::recorded;

pub const S: u64 = 1_000_000_000;
pub const SECONDS: u64 = 30;

pub fn session() -> Session {
    recorded::session(S, 1_700_000_000 * S as i64)
}

/// Ten opens a second, half of them by `make`; opens of `late` come after 20 s.
pub fn record(path: &Path) {
    let session = session();
    let mut recorder = Recorder::create(path, &Options::default(), &session).unwrap();
    let mut counters = Counters::default();
    for second in 0..SECONDS {
        let mut batch = Batch::default();
        for n in 0..10 {
            let (pid, comm) = if n % 2 == 0 { (70, "make") } else { (71, "cc1") };
            let name = if second < 20 { format!("early-{n}") } else { format!("late-{n}") };
            batch.push(&RecordBuilder::new(pid, comm, name).dir("/src").at((second + 1) * S + n * 1000).build());
        }
        recorder.offer(&batch);
        counters.at_ns = (second + 1) * S + S / 2;
        counters.totals.opens += 10;
        recorder.offer_counters(&counters);
    }
    recorder.finish().unwrap();
}

/// The header and the events.
pub fn read(path: &Path) -> (serde_json::Value, Vec<(f64, String, String)>) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let header = serde_json::from_str(lines.next().unwrap()).unwrap();
    (header, lines.map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// What a player shows at the end.
pub fn last_screen(events: &[(f64, String, String)], (cols, rows): (usize, usize)) -> String {
    let mut emulator = avt::Terminal::new(cols, rows).unwrap();
    for (_, code, data) in events {
        match code.as_str() {
            "o" => {
                emulator.feed([data.as_str()]);
            }
            "r" => {
                let (cols, rows) = data.split_once('x').unwrap();
                emulator.resize(cols.parse().unwrap(), rows.parse().unwrap());
            }
            _ => {}
        }
    }
    emulator.screen().visible_lines().map(|line| line.text().trim_end().to_owned() + "\n").collect()
}

/// No questions to the terminal, and nothing of the mouse.
pub fn quiet(text: &str) {
    let queries = [
        "\x1b[c",
        "\x1b[>c",
        "\x1b[0c",
        "\x1b[5n",
        "\x1b[6n",
        "\x1b[?6n",
        "\x1b[18t",
        "\x1b[14t",
        "\x1bP",
        "\x1b[?u",
        "\x1b]10;?",
        "\x1b]11;?",
    ];
    for query in queries {
        assert!(!text.contains(query), "{query:?} asks the terminal");
    }
    // What the mouse would have sent: ESC [ < or ESC [ M.
    assert!(!text.contains("\x1b[<") && !text.contains("\x1b[M"), "mouse bytes");
}

/// Every asciinema there is, by version: the distribution's, and the one that CI builds.
pub fn asciinemas() -> Vec<(PathBuf, String)> {
    let target = Path::new(env!("CARGO_BIN_EXE_opentop")).ancestors().nth(2).unwrap();
    let own = target.join("asciinema/bin/asciinema");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&paths).map(|dir| dir.join("asciinema")).chain([own]);
    let mut found: Vec<(PathBuf, String)> = Vec::new();
    for path in all {
        let Ok(out) = Command::new(&path).arg("--version").output() else { continue };
        let version = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        if out.status.success() && !found.iter().any(|(_, known)| *known == version) {
            found.push((path, version));
        }
    }
    found
}
