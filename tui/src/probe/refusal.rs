//! Why the kernel does not take a program or a hook, in words.

use std::io;

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
    /// Its number, where no memory or no descriptor was left for it: that says nothing of what the kernel has.
    pub(super) short: Option<i32>,
    /// The end of the verifier's log, where it is the verifier who refused.
    pub(super) log: Option<String>,
}

impl Refusal {
    pub(super) fn other(why: String) -> Self {
        Self { why, denied: false, short: None, log: None }
    }

    pub(super) fn of_load(what: &str, error: &io::Error) -> Self {
        let why = format!("{what}: the kernel did not load the program ({})", in_words(error));
        Self { why, denied: is_denied(error), short: short_of(error), log: None }
    }

    pub(super) fn of_io(what: &str, error: &io::Error) -> Self {
        let why = format!("{what}: {}", in_words(error));
        Self { why, denied: is_denied(error), short: short_of(error), log: None }
    }

    pub(super) fn of(what: &str, error: &ProgramError) -> Self {
        let os = os_error(error);
        let mut why = match (error, &os) {
            (ProgramError::LoadError { .. }, Some(e)) => {
                format!("{what}: the kernel did not load the program ({})", in_words(e))
            }
            (_, Some(e)) => format!("{what}: {}", in_words(e)),
            (e, None) => format!("{what}: {}", escaped(e.to_string().as_bytes())),
        };
        let short = os.as_ref().and_then(short_of);
        let mut log = None;
        // A program that no descriptor was left for has a log as well, of a verifier that is content.
        if short.is_none()
            && let ProgramError::LoadError { verifier_log, .. } = error
            && let Some(reason) = verifier_reason(&verifier_log.to_string())
        {
            why.push_str(&format!("; the verifier says: {reason}"));
            log = Some(verifier_end(&verifier_log.to_string()));
        }
        // A program that the verifier refuses is refused to whoever loads it.
        let denied = log.is_none() && os.as_ref().is_some_and(is_denied);
        Self { why, denied, short, log }
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

fn is_denied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

/// The error's number, where it says that memory or descriptors have run out.
fn short_of(error: &io::Error) -> Option<i32> {
    error.raw_os_error().filter(|errno| [libc::ENOMEM, libc::EMFILE, libc::ENFILE].contains(errno))
}

/// What to do when something has run out: a sentence.
pub(super) fn relief(errno: i32) -> &'static str {
    match errno {
        libc::EMFILE => "`ulimit -n 1024` allows more, then try again.",
        _ => "Start opentop again when that is over.",
    }
}

/// Who refuses bpf(2), or a part of it, to one who has the capabilities: those that are missing were told before.
pub(super) fn forbidden() -> &'static str {
    if crate::privilege::filtered() {
        "the seccomp filter that stands here, as in a container, forbids bpf(2). Run opentop on the machine itself"
    } else {
        "operation not permitted"
    }
}

/// The operating system's error inside of aya's.
pub(super) fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    let mut source = Some(error);
    while let Some(e) = source {
        if let Some(io) = e.downcast_ref::<io::Error>()
            && let Some(code) = io.raw_os_error()
        {
            return Some(io::Error::from_raw_os_error(code));
        }
        source = e.source();
    }
    None
}

/// An error of aya's, which names what failed, with the operating system's, which says why. Escaped.
pub(super) fn with_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let what = escaped(error.to_string().as_bytes());
    match os_error(error) {
        Some(why) => {
            let relief = short_of(&why).map(|errno| format!(". {}", relief(errno)));
            format!("{what} ({}){}", in_words(&why), relief.unwrap_or_default())
        }
        None => what,
    }
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
    } else if let Some(errno) = refusals.iter().find_map(|(_, r)| r.short) {
        Error::failed(format!("the probe could not be attached ({}). {}", words(refusals), relief(errno)))
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
    fn what_has_run_out_is_no_defect_of_the_kernels_and_none_of_opentops() {
        let refusal = Refusal::of_load("sys_exit_openat", &io::Error::from_raw_os_error(libc::EMFILE));
        let none = Refusal::other("no kprobes".into());
        let error = refused(&[(Some(AttachKind::Kprobe), none), (Some(AttachKind::Tracepoint), refusal)]);
        assert_eq!(error.kind, Kind::Failed);
        assert!(
            error.message.ends_with("program (too many open files)). `ulimit -n 1024` allows more, then try again."),
            "{error}"
        );
    }

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
