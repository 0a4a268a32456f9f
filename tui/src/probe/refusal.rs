//! Why the kernel does not take a program or a hook, in words.

use aya::programs::ProgramError;

use crate::{
    error::{Error, Kind, in_words},
    escape::escaped,
    session::AttachKind,
};

/// Why something could not be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// In words.
    pub(super) why: String,
    /// EPERM or EACCES: perhaps for want of privileges.
    pub(super) denied: bool,
    /// The end of the verifier's log, where it is the verifier who refused.
    pub(super) log: Option<String>,
}

impl Refusal {
    pub(super) fn other(why: String) -> Self {
        Self { why, denied: false, log: None }
    }

    pub(super) fn of_load(what: &str, error: &std::io::Error) -> Self {
        let denied = matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES));
        Self { why: format!("{what}: the kernel did not load the program ({})", in_words(error)), denied, log: None }
    }

    pub(super) fn of(what: &str, error: &ProgramError) -> Self {
        let os = os_error(error);
        let denied = os.as_ref().is_some_and(|e| matches!(e.raw_os_error(), Some(libc::EPERM | libc::EACCES)));
        let mut why = match (error, &os) {
            (ProgramError::LoadError { .. }, Some(e)) => {
                format!("{what}: the kernel did not load the program ({})", in_words(e))
            }
            (_, Some(e)) => format!("{what}: {}", in_words(e)),
            (e, None) => format!("{what}: {}", escaped(e.to_string().as_bytes())),
        };
        let mut log = None;
        if let ProgramError::LoadError { verifier_log, .. } = error
            && let Some(reason) = verifier_reason(&verifier_log.to_string())
        {
            why.push_str(&format!("; the verifier says: {reason}"));
            log = Some(verifier_end(&verifier_log.to_string()));
        }
        // A program that the verifier refuses is refused to whoever loads it.
        Self { why, denied: denied && log.is_none(), log }
    }
}

/// Lines of a verifier log that a report needs: what it looked at last, and why that will not do.
const LOG_LINES: usize = 16;

/// The end of a verifier log, escaped, each line by itself.
fn verifier_end(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let end = lines.len().saturating_sub(LOG_LINES);
    let end = lines.get(end..).unwrap_or_default();
    end.iter().map(|line| format!("    {}\n", escaped(line.trim_end().as_bytes()))).collect()
}

/// The line of a verifier log that says what is wrong: the last but its statistics.
fn verifier_reason(log: &str) -> Option<String> {
    let line = log.lines().rev().find(|l| {
        let l = l.trim();
        !l.is_empty()
            && !l.starts_with("processed ")
            && !l.starts_with("verification time")
            && !l.starts_with("stack depth")
    })?;
    Some(escaped(line.trim().as_bytes()))
}

/// The operating system's error inside of aya's.
fn os_error(error: &ProgramError) -> Option<std::io::Error> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = source {
        if let Some(io) = e.downcast_ref::<std::io::Error>()
            && let Some(code) = io.raw_os_error()
        {
            return Some(std::io::Error::from_raw_os_error(code));
        }
        source = e.source();
    }
    None
}

pub(super) fn words(refusals: &[(Option<AttachKind>, Refusal)]) -> String {
    let parts: Vec<String> = refusals
        .iter()
        .map(|(kind, r)| match kind {
            Some(kind) => format!("not {kind}: {}", r.why),
            None => r.why.clone(),
        })
        .collect();
    parts.join("; ")
}

pub(super) fn refused(refusals: &[(Option<AttachKind>, Refusal)]) -> Error {
    if let Some(log) = refusals.iter().find_map(|(_, r)| r.log.as_deref()) {
        return rejected(&words(refusals), log);
    }
    if refusals.iter().all(|(_, r)| r.denied) {
        Error::new(Kind::Denied, format!("the probe may not be attached ({})", words(refusals)))
    } else {
        Error::new(
            Kind::Unsupported,
            format!(
                "the probe cannot be attached to this kernel ({}). `opentop doctor` tells what the kernel has and what mends it.",
                words(refusals)
            ),
        )
    }
}

/// The verifier took no program of a build that was tested on other kernels: nothing that its user could mend.
fn rejected(words: &str, log: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!(
            "the probe cannot be attached to this kernel ({words}).\n\
             This is a defect of opentop, not of your machine: please report it at {}/issues with the output of `opentop doctor --format json` \
             and with the end of the verifier's log:\n{}\n\
             Meanwhile another way may work: --attach kprobe, fentry or tracepoint.",
            env!("CARGO_PKG_REPOSITORY"),
            log.trim_end()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_reason_is_its_last_words() {
        let log = "0: R1=ctx\n5: (85) call bpf_probe_read#4\nR2 min value is negative\nprocessed 6 insns\n\n";
        assert_eq!(verifier_reason(log).as_deref(), Some("R2 min value is negative"));
        assert_eq!(verifier_reason("processed 6 insns\n"), None);
        let long: String = (0..100).map(|n| format!("{n}: R1=\x1b[31m\n")).collect();
        let end = verifier_end(&(long + log));
        assert_eq!(end.lines().count(), LOG_LINES);
        assert!(end.ends_with("    R2 min value is negative\n    processed 6 insns\n"), "{end}");
        assert!(!end.contains('\x1b'), "{end:?}");
    }
}
