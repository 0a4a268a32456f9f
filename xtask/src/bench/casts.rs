//! Casts of a minute of the dashboard, live: by each asciinema that is here and by `--cast`, of a busy machine and of an
//! idle one. How large they are is what a person has to upload.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::figures::Figures;
use super::harness::Bench;
use super::screen::Screen;
use crate::cmd;

/// The size of asciinema's own examples.
const SIZE: (u16, u16) = (100, 34);

/// Makes them all at once: the minute is the same for all.
pub fn main(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let seconds = if bench.plan.quick { 5 } else { 60 };
    let films = asciinemas();
    for major in [" 2.", " 3."] {
        if !films.iter().any(|(_, version)| version.contains(major)) {
            figures.missing("casts", &format!("there is no asciinema{major}x here"));
        }
    }
    for (name, what) in [("busy", "something like a build, processes without end"), ("idle", "a shell that waits")] {
        let part = &format!("a cast of {seconds} s at {}×{}, of {what}", SIZE.0, SIZE.1);
        let command = match name {
            "busy" => bench.load_command("compile --count 100000000 --jobs 2"),
            _ => {
                let mut sleep = Command::new("sleep");
                sleep.arg("1000");
                sleep
            }
        };
        let mut load = Watched::start(command)?;
        let made = films_of(bench, load.id(), name, seconds, &films);
        load.end()?;
        for (who, bytes, opens) in made? {
            figures.add(part, &who, "size", "KB", &[bytes as f64 / 1000.0]);
            figures.add(part, &who, "opens meanwhile", "", &[opens as f64]);
        }
    }
    Ok(())
}

/// A cast by each: who made it, its bytes, and the opens that opentop counted.
fn films_of(
    bench: &Bench,
    pid: u32,
    name: &str,
    seconds: u64,
    films: &[(PathBuf, String)],
) -> Result<Vec<(String, u64, u64)>> {
    let opentop = bench.programs.opentop.display();
    let keys = format!("wait {seconds}s; key q");
    let mut running = Vec::new();
    let makers = films.iter().map(|(path, version)| (version.clone(), Some(path)));
    for (number, (who, film)) in makers.chain([("opentop --cast".to_owned(), None)]).enumerate() {
        let work = bench.work.join(format!("cast-{name}-{number}"));
        fs::create_dir_all(&work)?;
        let (to, said) = (work.join("made.cast"), work.join("said"));
        let mut command = match film {
            Some(film) => {
                let mut command = Command::new(film);
                let line = format!("exec '{opentop}' -p {pid} --keys '{keys}' 2>'{}'", said.display());
                command.args(["rec", "-q", "-c", &line]).arg(&to).env("ASCIINEMA_CONFIG_HOME", &work);
                command
            }
            None => {
                let mut command = Command::new(&bench.programs.opentop);
                command.args(["-p", &pid.to_string(), "--keys", &keys, "--cast"]).arg(&to);
                command
            }
        };
        command.env("XDG_CONFIG_HOME", &work);
        let stderr = if film.is_some() { work.join("asciinema-said") } else { said.clone() };
        running.push((who, Screen::on(command, SIZE, &stderr)?, to, said));
    }
    let mut made = Vec::new();
    for (who, mut screen, to, said) in running {
        screen.wait(Duration::from_secs(seconds + 30)).with_context(|| format!("a cast by {who}"))?;
        let said = fs::read_to_string(&said).unwrap_or_default();
        let account =
            said.lines().find(|line| line.contains(" opens = ")).with_context(|| format!("it said {said}"))?;
        let opens = account.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0);
        made.push((who, fs::metadata(&to)?.len(), opens));
    }
    Ok(made)
}

/// What is watched: ended with all its children, which it shares a process group with.
struct Watched(std::process::Child);

impl Watched {
    fn start(command: Command) -> Result<Self> {
        let mut command = super::harness::apart(command);
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("cannot start `{}`", cmd::shown(&command)))?))
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    fn end(&mut self) -> Result<()> {
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.0.id())?);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.0.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "the load does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// The asciinemas of this machine, and the one that CI builds, with what they call themselves.
fn asciinemas() -> Vec<(PathBuf, String)> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let own: &Path = &cmd::target_dir().join("asciinema/bin/asciinema");
    let mut found: Vec<(PathBuf, String)> = Vec::new();
    for path in std::env::split_paths(&paths).map(|dir| dir.join("asciinema")).chain([own.to_path_buf()]) {
        let Ok(out) = Command::new(&path).arg("--version").output() else { continue };
        let version = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        if out.status.success() && !found.iter().any(|(_, known)| *known == version) {
            found.push((path, version));
        }
    }
    found
}
