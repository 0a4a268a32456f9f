//! Where the configuration file lies, and reading it.

use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use super::say;
use super::user::{Invoker, as_invoker};
use crate::cli::LookArgs;
use crate::config::{Config, default_text, parse};
use crate::error::{Error, in_words};
use crate::escape::escaped;

/// Longest file that is read, bytes.
const LONGEST: u64 = 1 << 20;

/// The file: under sudo the one of the user who called it. `None` where no home is known.
fn path(invoker: Option<&Invoker>) -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = match invoker {
        // What sudo leaves of the environment is root's.
        Some(invoker) => invoker.home.as_ref()?.join(".config"),
        // The XDG base directory specification: a path that is not absolute is to be ignored.
        None => absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?,
    };
    Some(base.join("opentop").join("config.toml"))
}

fn name(invoker: Option<&Invoker>) -> String {
    path(invoker)
        .map_or_else(|| "$XDG_CONFIG_HOME/opentop/config.toml".to_owned(), |path| escaped(path.as_os_str().as_bytes()))
}

/// The text of `opentop config`.
#[must_use]
pub fn text() -> String {
    default_text(&name(super::user::invoker().as_ref()))
}

/// Reads the file and says on stderr what is wrong with it; gives what it says, and the first complaint.
pub(super) fn read(invoker: Option<&Invoker>) -> Result<(Config, Option<String>), Error> {
    let Some(path) = path(invoker) else { return Ok((Config::default(), None)) };
    let read = || -> std::io::Result<Vec<u8>> {
        // Whatever lies there: it must not make the start wait.
        let file = std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&path)?;
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let name = name(invoker);
    let bytes = match as_invoker(invoker, read)? {
        Ok(bytes) => bytes,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            return Ok((Config::default(), None));
        }
        Err(e) => {
            let complaint = format!("{name}: cannot be read ({}); the defaults hold", in_words(&e));
            say(&complaint);
            return Ok((Config::default(), Some(complaint)));
        }
    };
    let Ok(text) = String::from_utf8(bytes) else {
        let complaint = format!("{name}: is not UTF-8; the defaults hold");
        say(&complaint);
        return Ok((Config::default(), Some(complaint)));
    };
    let (config, complaints) = parse(&text);
    let said: Vec<String> = complaints.iter().map(|c| format!("{name}:{}: {}", c.line, c.message)).collect();
    said.iter().for_each(|complaint| say(complaint));
    Ok((config, said.into_iter().next()))
}

/// What the file says where the command line says nothing.
pub(super) fn merge(look: &LookArgs, config: &Config) -> LookArgs {
    LookArgs {
        theme: look.theme.or(config.theme),
        layout: look.layout.or(config.layout),
        history: look.history.or(config.history),
        interval: look.interval.or(config.interval),
        no_color: look.no_color,
        ascii: look.ascii.or(config.ascii),
        no_mouse: look.no_mouse.or(config.mouse.map(|mouse| !mouse)),
    }
}

/// How the model is bounded, as asked for.
pub(super) fn model(look: &LookArgs) -> crate::model::Options {
    let mut options = crate::model::Options::default();
    if let Some(events) = look.history {
        let limits = &mut options.history;
        // As many bytes for each as there are by default.
        let bytes = (limits.bytes / limits.events.max(1) + 1).saturating_mul(events);
        (limits.events, limits.bytes) = (events, bytes.max(limits.bytes));
    }
    if let Some(interval) = look.interval {
        options.interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(options.interval_ns);
    }
    options
}
