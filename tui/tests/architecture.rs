//! The invariants of ARCHITECTURE.md that the source tree itself can be asked for.
//!
//! Only text is looked at: comments and test modules are taken out first, so that a rule may be spoken of and a test may
//! break it. What text cannot tell (that decoding never panics, that nothing is lost uncounted) is tested elsewhere;
//! ARCHITECTURE.md says where.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A source file without comments and tests.
struct Source {
    /// From the top of the workspace.
    path: String,
    code: String,
}

impl Source {
    /// The lines that hold one of `words`.
    fn lines_with<'a>(&'a self, words: &'a [&str]) -> impl Iterator<Item = String> + 'a {
        let found = self.code.lines().filter(|line| words.iter().any(|word| line.contains(word)));
        found.map(|line| format!("{}: {}", self.path, line.trim()))
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every source file below `dirs`, which are told from the top of the workspace.
fn sources(dirs: &[&str]) -> Vec<Source> {
    let top = workspace();
    let mut files = Vec::new();
    let mut dirs: Vec<PathBuf> = dirs.iter().map(|dir| top.join(dir)).collect();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            // A module of tests, as a file or as a folder.
            let tests = path.file_stem().is_some_and(|stem| stem == "tests");
            if path.is_dir() && !tests {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !tests {
                let code = without_comments_and_tests(&fs::read_to_string(&path).unwrap());
                files.push(Source { path: path.strip_prefix(&top).unwrap().display().to_string(), code });
            }
        }
    }
    assert!(!files.is_empty());
    files
}

/// Leaves the lines of code in front of the file's tests.
fn without_comments_and_tests(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn none(what: &str, found: impl Iterator<Item = String>) {
    let found: Vec<String> = found.collect();
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn only_probe_names_aya() {
    let all = sources(&["tui/src", "xtask/src", "probe-common/src"]);
    let outside = all.iter().filter(|source| !source.path.starts_with("tui/src/probe/"));
    none(
        "aya outside of tui/src/probe",
        outside.flat_map(|source| source.lines_with(&["aya::", "aya_log", "use aya"])),
    );
    let inside = all.iter().any(|source| source.path.starts_with("tui/src/probe/") && source.code.contains("aya::"));
    assert!(inside, "nothing names aya any more: this test looks in the wrong place");
}

#[test]
fn model_state_and_view_read_no_clock() {
    let clocks = ["Instant::now", "SystemTime::now", "clock_gettime", "Timestamp::now", "Zoned::now", "boot_ns()"];
    let pure = sources(&["tui/src/model", "tui/src/app", "tui/src/view", "tui/src/headless", "tui/src/filter"]);
    none("a clock is read", pure.iter().flat_map(|source| source.lines_with(&clocks)));
}

#[test]
fn model_state_and_view_do_no_input_or_output() {
    let effects = [
        "std::fs",
        "fs::",
        "File::",
        "io::stdin",
        "stdout",
        "stderr",
        "std::net",
        "std::process",
        "std::env::",
        "thread::",
        "tokio",
        "nix::unistd",
        "nix::fcntl",
        "nix::sys",
        "nix::time",
    ];
    let pure = sources(&["tui/src/model", "tui/src/app", "tui/src/view"]);
    none("input or output", pure.iter().flat_map(|source| source.lines_with(&effects)));
}

#[test]
fn the_view_gets_the_state_by_shared_reference_only() {
    let view = sources(&["tui/src/view"]);
    none(
        "the view can change the state",
        view.iter().flat_map(|source| source.lines_with(&["&mut App", "&mut Model", "RefCell", "Cell<", "Mutex"])),
    );
}

#[test]
fn nothing_but_what_runs_it_names_the_view_and_the_state_asks_it_only_what_is_where() {
    let all = sources(&["tui/src"]);
    let below = all.iter().filter(|source| {
        let at = source.path.trim_start_matches("tui/src/");
        !["view/", "run/"].iter().any(|dir| at.starts_with(dir))
    });
    let named = below.flat_map(|source| source.lines_with(&["view::", "crate::view"]));
    none(
        "the view is named",
        named.filter(|line| !line.contains("tui/src/app/") || !line.contains("use crate::view::hit;")),
    );
}

#[test]
fn no_queue_is_unbounded() {
    let all = sources(&["tui/src"]);
    let found = all.iter().flat_map(|source| source.lines_with(&["unbounded", "channel()", "channel::<"]));
    none("an unbounded queue", found);
}

#[test]
fn lines_for_people_go_through_one_writer_that_checks_for_errors() {
    // print! and eprintln! panic when the reader is gone; clippy denies them, unless somebody allows them again.
    let all = sources(&["tui/src"]);
    none("printing that panics", all.iter().flat_map(|source| source.lines_with(&["println!", "print!", "eprint"])));
}

#[test]
fn every_thread_and_task_has_a_place_where_a_test_has_a_fault() {
    let tests = fs::read_to_string(workspace().join("tui/tests/panics.rs")).unwrap();
    // Threads whose answer is waited for where they are started, before there is a terminal or once it is given back.
    let waited_for = ["tui/src/probe/", "tui/src/run/sandbox/"];
    let starts = [".spawn(", "spawn_blocking("];
    let (mut without, mut untested, mut all) = (Vec::new(), Vec::new(), 0);
    for source in sources(&["tui/src"]) {
        let started = source.lines_with(&starts).count();
        let points: Vec<&str> =
            source.code.split("fault::point(\"").skip(1).map(|p| p.split('"').next().unwrap()).collect();
        all += points.len();
        untested
            .extend(points.iter().filter(|point| !tests.contains(&format!("\"{point}\""))).map(|p| (*p).to_owned()));
        if points.len() < started && !waited_for.iter().any(|dir| source.path.starts_with(dir)) {
            without.push(format!("{}: {started} started, {} places", source.path, points.len()));
        }
    }
    assert!(all >= 14, "{all} places: this test looks in the wrong place");
    none("threads without `fault::point`", without.into_iter());
    none("places that tui/tests/panics.rs does not try", untested.into_iter());
}

#[test]
fn the_list_of_unsafe_code_is_whole() {
    let document = fs::read_to_string(workspace().join("SECURITY.md")).unwrap();
    let told = document.split("\n## Unsafe code\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let is_word =
        |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| *w == "unsafe").count();
    let mut found = Vec::new();
    for source in sources(&["tui/src", "probe-common/src"]) {
        let count: usize = source.code.lines().map(is_word).sum();
        if count > 0 {
            found.push(format!("| `{}` | {count} |", source.path.trim_start_matches("tui/src/")));
        }
    }
    let listed = told.lines().filter(|line| line.starts_with("| `") && line.contains(".rs"));
    let wrong = listed.filter(|line| !found.iter().any(|found| line.starts_with(found.as_str()))).map(str::to_owned);
    none("lines of SECURITY.md that the sources do not bear out", wrong);
    let untold = found.iter().filter(|found| !told.contains(found.as_str())).cloned();
    none("unsafe code that SECURITY.md does not list", untold);
}

#[test]
fn comments_and_tests_are_not_taken_for_code() {
    let text = "//! aya::\nfn f() {} // aya::\n\n#[cfg(test)]\nmod tests {\n    use aya::Ebpf;\n}\n";
    assert_eq!(without_comments_and_tests(text), "fn f() {}");
    assert_eq!(without_comments_and_tests("use aya::Ebpf;\n"), "use aya::Ebpf;");
}

#[test]
fn the_map_names_every_module() {
    let map = fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    let named = |name: &str| map.contains(&format!("`{name}`"));
    let library = fs::read_to_string(workspace().join("tui/src/lib.rs")).unwrap();
    let modules = library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    none("modules that the map does not name", modules.filter(|name| !named(name)).map(str::to_owned));
    for dir in ["probe-ebpf/src", "xtask/src"] {
        let files = fs::read_dir(workspace().join(dir)).unwrap().map(|entry| entry.unwrap().file_name());
        let files = files.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".rs"));
        // The first files of xtask hold nothing to find.
        let missing = files.filter(|name| !named(name) && !["main.rs", "cmd.rs"].contains(&name.as_str()));
        none("files that the map does not name", missing.map(|name| format!("{dir}/{name}")));
    }
}
