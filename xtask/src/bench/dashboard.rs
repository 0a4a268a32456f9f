//! What the dashboard costs while it is flooded and while nothing happens, and how long a key takes to be seen.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::figures::Figures;
use super::harness::{Bench, Tool, apart, cpu};
use super::screen::{COLUMNS, ROWS, Screen};
use super::tools::Who;

/// From a key to the screen, with a loop at full speed that is watched.
pub fn flooded(bench: &Bench, figures: &mut Figures) -> Result<()> {
    const PART: &str = "the dashboard on a terminal of 200×50, flooded by a loop at full speed";
    let (count, seconds) = if bench.plan.quick { (6, 3) } else { (100, 15) };
    let mut load = bench.load(&format!("open --cpu 0 --warm --seconds {seconds}"))?;
    let mut screen = Screen::start(bench, load.pid(), None)?;
    screen.keep();
    screen.ready()?;
    load.go();
    thread::sleep(Duration::from_millis(500));
    let (before, began, bytes) = (cpu(screen.pid()), Instant::now(), screen.bytes());
    let mut times = Vec::new();
    for n in 0..count {
        times.push(match n % 2 {
            0 => screen.key(b"5", "The account")?,
            _ => screen.key(b"1", "LAST PATH")?,
        });
        thread::sleep(Duration::from_millis(97));
    }
    let took = began.elapsed().as_secs_f64();
    let (busy, written) = (cpu(screen.pid()) - before, screen.bytes() - bytes);
    let done = load.done()?;
    screen.end(0.0)?;
    let rate = done.opens as f64 / done.seconds;
    times.sort_by(f64::total_cmp);
    figures.add(PART, "opentop", "opens a second", "", &[rate]);
    figures.add(PART, "opentop", "from a key to the screen", "ms", &times);
    figures.add(PART, "opentop", "from a key to the screen, p99", "ms", &[times[(times.len() * 99).div_ceil(100) - 1]]);
    figures.add(PART, "opentop", "processor for a million opens", "s", &[1e6 * busy / (rate * took)]);
    figures.add(PART, "opentop", "written to the terminal", "KiB/s", &[written as f64 / took / 1024.0]);
    Ok(())
}

/// From Enter on a new capture until the screen has an open that the capture before did not want: the kernel's filter is
/// written anew, an open passes it, its record is read and drawn. The loop's opens succeed, and failures are captured first.
pub fn changed(bench: &Bench, figures: &mut Figures) -> Result<()> {
    const PART: &str = "a change of capture while a loop at full speed runs";
    let mut times = Vec::new();
    for _ in 0..bench.plan.rounds.max(5) {
        let mut load = bench.load("open --cpu 0 --warm --seconds 3")?;
        let mut command = Who::Dashboard.command(bench, Some(load.pid()), None)?;
        command.args(["-c", "failed"]).env("HOME", &bench.work);
        let mut screen = Screen::on(command, (COLUMNS, ROWS), &bench.work.join("said"))?;
        screen.keep();
        screen.ready()?;
        load.go();
        let name = bench.path();
        let name = name.to_str().context("the folder's name is no text")?;
        // What is there by now would be seen whatever is typed.
        thread::sleep(Duration::from_millis(300));
        ensure!(!screen.has(name), "an open is on the screen that the capture does not want");
        screen.key(b"c\x15", "capture \u{276f}")?;
        screen.key(b"!failed", "!failed")?;
        thread::sleep(Duration::from_millis(100));
        times.push(screen.key(b"\r", name)?);
        load.done()?;
        screen.end(0.0)?;
    }
    figures.add(PART, "opentop", "from Enter to an open of the new capture on the screen", "ms", &times);
    Ok(())
}

/// What it costs while nothing happens.
pub fn idle(bench: &Bench, figures: &mut Figures) -> Result<()> {
    const PART: &str = "while nothing is opened";
    let seconds = if bench.plan.quick { 2 } else { 10 };
    let mut command = Command::new("sleep");
    let mut sleeper = command.arg("100").stdin(Stdio::null()).spawn()?;
    let measured = (|| {
        let screen = Screen::start(bench, sleeper.id(), None)?;
        screen.ready()?;
        thread::sleep(Duration::from_secs(2));
        let (before, bytes, began) = (cpu(screen.pid()), screen.bytes(), Instant::now());
        thread::sleep(Duration::from_secs(seconds));
        let took = began.elapsed().as_secs_f64();
        let (busy, written) = (cpu(screen.pid()) - before, screen.bytes() - bytes);
        screen.end(0.0)?;
        ensure!(before > 0.0, "its processor time is not to be had");
        figures.add(PART, "opentop", "of a processor", "%", &[100.0 * busy / took]);
        figures.add(PART, "opentop", "written to the terminal", "bytes/s", &[written as f64 / took]);
        let command = Who::Trace.command(bench, Some(sleeper.id()), None)?;
        let trace = Tool::start(apart(command), &bench.work, false)?;
        thread::sleep(Duration::from_secs(2));
        let (before, began) = (cpu(trace.pid()), Instant::now());
        thread::sleep(Duration::from_secs(seconds));
        let busy = cpu(trace.pid()) - before;
        let took = began.elapsed().as_secs_f64();
        trace.end(0.0)?;
        figures.add(PART, "opentop trace", "of a processor", "%", &[100.0 * busy / took]);
        Ok(())
    })();
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    measured
}
