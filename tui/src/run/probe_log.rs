//! `--probe-log`: the probe's own log lines, into a file and never onto the terminal.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex},
};

use super::{output, user::Invoker};
use crate::{error::Error, escape::Escaped};

/// The file of `--probe-log`. Clones write to the same file.
#[derive(Clone, Debug)]
pub(super) struct ProbeLog {
    level: log::Level,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    file: File,
    name: String,
    /// The first write that failed; nothing is written after it.
    failed: Option<String>,
}

impl ProbeLog {
    /// Creates the file, with the rights of the user who called sudo.
    pub(super) fn create(path: &Path, level: log::Level, invoker: Option<&Invoker>) -> Result<Self, Error> {
        let file = output::create(path, invoker)?;
        let name = Escaped(path.as_os_str().as_encoded_bytes()).to_string();
        Ok(Self { level, shared: Arc::new(Mutex::new(Shared { file, name, failed: None })) })
    }

    /// What went wrong, for the end of the session: a log that is cut short must not pass for a whole one.
    pub(super) fn complaint(&self) -> Option<String> {
        let shared = self.shared.lock().ok()?;
        shared.failed.as_ref().map(|why| format!("the probe's log {} is not complete: {why}", shared.name))
    }
}

impl log::Log for ProbeLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let Ok(mut shared) = self.shared.lock() else { return };
        if shared.failed.is_some() {
            return;
        }
        let message = record.args().to_string();
        // The level says how much it matters, the boot clock is that of the records.
        let boot = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
            .map_or_else(|_| "?".into(), |t| format!("{}.{:09}", t.tv_sec(), t.tv_nsec()));
        let line = format!("{boot} {:<5} {}\n", record.level(), Escaped(message.trim_end().as_bytes()));
        if let Err(e) = shared.file.write_all(line.as_bytes()) {
            shared.failed = Some(output::in_words(&e));
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Log as _;

    fn record(log: &ProbeLog, level: log::Level, text: &str) {
        log.log(&log::Record::builder().level(level).args(format_args!("{text}")).build());
    }

    #[test]
    fn lines_down_to_the_level_are_written_escaped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("probe.log");
        let log = ProbeLog::create(&path, log::Level::Info, None).unwrap();
        record(&log, log::Level::Info, "open of \x1b[31m");
        record(&log, log::Level::Debug, "too fine");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with(" INFO  open of \\x1b[31m\n"), "{text:?}");
        assert_eq!(text.lines().count(), 1);
        assert_eq!(log.complaint(), None);
    }

    #[test]
    fn a_full_disk_is_said_at_the_end() {
        let log = ProbeLog::create(Path::new("/dev/full"), log::Level::Info, None).unwrap();
        record(&log, log::Level::Error, "x");
        assert!(log.complaint().unwrap().contains("/dev/full is not complete: no space left"));
    }
}
