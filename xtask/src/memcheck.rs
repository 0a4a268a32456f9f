//! `cargo xtask memcheck`: the unsafe code under valgrind's memcheck. It is system calls, and memory shared with the kernel,
//! neither of which Miri can run; memcheck knows bpf(2) and its like, and tells of bytes handed to the kernel that nobody
//! wrote, and of memory read beyond its end.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::cmd;

/// The modules with unsafe code, and what takes bytes apart for them, as filters of the library's tests.
const MODULES: [&str; 6] = ["probe::", "run::", "symbols::", "source::", "event", "recording::window"];

/// Tests that are no use under valgrind: the process's code is valgrind's then, and its memory has another layout.
const WITHOUT: [&str; 2] = [
    "symbols::looker::tests::no_file_is_given_out_but_code_and_perf_maps",
    "probe::load::tests::the_loader_does_not_read_the_kernels_types",
];

pub fn main() -> Result<ExitCode> {
    let valgrind = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    anyhow::ensure!(valgrind.is_ok_and(|s| s.success()), "valgrind is missing: apt-get install valgrind");
    let mut build = cmd::cargo();
    build.args(["test", "--package", "opentop", "--lib", "--no-run", "--message-format", "json"]);
    let built = build.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    anyhow::ensure!(built.status.success(), "the tests cannot be built");
    let tests = executable(&String::from_utf8_lossy(&built.stdout)).context("cargo names no test program")?;
    let mut build = cmd::cargo();
    anyhow::ensure!(build.args(["build", "--package", "opentop"]).status()?.success(), "opentop cannot be built");

    let work = tempfile::tempdir()?;
    let suppressions = work.path().join("suppressions");
    fs::write(&suppressions, SUPPRESSED)?;
    let mut run = memcheck(&suppressions);
    run.arg(tests).args(MODULES).args(["--test-threads", "1"]);
    for test in WITHOUT {
        run.args(["--skip", test]);
    }
    let output = run.stdin(Stdio::null()).output().context("cannot start valgrind")?;
    let told = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(
        output.status.success(),
        "the tests of the library under valgrind: {}\n{told}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    print!(
        "{}",
        told.lines().filter(|line| line.starts_with("test result")).map(|l| format!("{l}\n")).collect::<String>()
    );

    let recording = work.path().join("memcheck.otop");
    let program = cmd::root().join("target/debug/opentop");
    // A start, a command behind it, stacks and a recording: everything that is shared with the kernel. Without its list of
    // system calls, of which valgrind's own are not.
    let mut live = memcheck(&suppressions);
    live.arg(&program).args(["trace", "--keep-privileges", "--stacks", "-w"]).arg(&recording);
    live.args(["--", "sh", "-c", "read x </etc/passwd; cat /nonexistent 2>/dev/null; true"]);
    let output = live.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        // The command's own status: the last of it succeeds.
        Some(0) => {
            let replayed = memcheck(&suppressions).arg(&program).args(["summary", "-r"]).arg(&recording).output()?;
            anyhow::ensure!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
            let size = fs::metadata(&recording)?.len();
            println!("a capture, and its recording of {size} bytes replayed: no error of memory");
        }
        Some(69 | 77) => eprintln!("SKIPPED memcheck of a capture: {}", said.trim()),
        _ => anyhow::bail!("a capture under valgrind: {}\n{said}", output.status),
    }
    Ok(ExitCode::SUCCESS)
}

/// What valgrind takes for an error and is none: mount(2) looks at no type when it only changes how mounts propagate, and
/// bpf(2) gives the first key for a key that is null.
const SUPPRESSED: &str = "{
   mount
   Memcheck:Param
   mount(type)
   fun:mount
}
{
   first-key
   Memcheck:Param
   bpf(attr->key)
   fun:syscall
   fun:*bpf*
   fun:*next_key*
}
";

fn memcheck(suppressions: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--error-exitcode=99", "--num-callers=20"]);
    command.arg(format!("--suppressions={}", suppressions.display()));
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

/// The test program among cargo's messages.
fn executable(messages: &str) -> Option<String> {
    messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(message["executable"].as_str()?.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_program_is_the_last_that_cargo_names() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n{\"executable\":\"/t/deps/opentop-1\"}\n{\"reason\":\"build-finished\"}\nnoise\n";
        assert_eq!(executable(messages).as_deref(), Some("/t/deps/opentop-1"));
        assert_eq!(executable(""), None);
    }
}
