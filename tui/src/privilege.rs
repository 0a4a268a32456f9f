//! What the capture needs the right to do, what of it is missing, and how to get it, in words.
//!
//! Decisions only: the state is read once from /proc/self/status, nothing is changed here.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use crate::{
    error::{Error, Kind},
    escape::escaped,
};

/// A capability that matters here: its number and name as in capabilities(7), and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its bit in `CapEff`.
    pub bit: u8,
    /// Its name, small letters, as setcap takes it.
    pub name: &'static str,
    /// What opentop does with it.
    pub why: &'static str,
}

/// Loading programs and creating maps.
pub const BPF: Capability = Capability { bit: 39, name: "cap_bpf", why: "to load the probe" };
/// Attaching programs to what the whole machine does, and reading kernel memory in them.
pub const PERFMON: Capability = Capability { bit: 38, name: "cap_perfmon", why: "to attach the probe" };
/// Reading tracefs and kallsyms, which belong to root.
pub const DAC_READ_SEARCH: Capability =
    Capability { bit: 2, name: "cap_dac_read_search", why: "to read the ids of tracepoints" };
/// Includes the first two, and is what kernels before 5.8 asked for.
pub const SYS_ADMIN: Capability = Capability { bit: 21, name: "cap_sys_admin", why: "" };
/// Passes over file permissions in reading too.
const DAC_OVERRIDE: Capability = Capability { bit: 1, name: "cap_dac_override", why: "" };

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Those in effect for this process. None at all where /proc cannot be read.
    #[must_use]
    pub fn effective() -> Self {
        std::fs::read_to_string("/proc/self/status").ok().and_then(|text| Self::parse(&text)).unwrap_or_default()
    }

    /// Those in effect according to the text of a `/proc/PID/status`.
    #[must_use]
    pub fn parse(status: &str) -> Option<Self> {
        let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(hex.trim(), 16).ok().map(Self)
    }

    /// Whether `capability` is among them.
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        self.0 >> capability.bit & 1 == 1
    }

    /// What the capture needs and these do not have. `tracefs_readable`: whether the files of tracefs can be read
    /// without being root, as some distributions have it.
    #[must_use]
    pub fn missing(self, root: bool, tracefs_readable: bool) -> Vec<Capability> {
        let admin = self.has(SYS_ADMIN);
        let files = root || tracefs_readable || self.has(DAC_OVERRIDE);
        [(BPF, admin), (PERFMON, admin), (DAC_READ_SEARCH, files)]
            .into_iter()
            .filter(|(capability, otherwise)| !otherwise && !self.has(*capability))
            .map(|(capability, _)| capability)
            .collect()
    }
}

/// Whether a filter of system calls stands over this process, as it does in containers.
#[must_use]
pub fn filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]))
}

/// What this process lacks for a capture.
#[must_use]
pub fn missing_here() -> Vec<Capability> {
    let readable = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"]
        .iter()
        .any(|dir| std::fs::read_dir(dir).is_ok());
    Capabilities::effective().missing(nix::unistd::geteuid().is_root(), readable)
}

/// The refusal: what is missing and both ways out. `args` is the command line, the program's name first; `exe` is the
/// program's file.
#[must_use]
pub fn denied(missing: &[Capability], args: &[OsString], exe: Option<&Path>) -> Error {
    let missing = missing.iter().map(|c| format!("{} ({})", c.name.to_ascii_uppercase(), c.why));
    let message = format!(
        "not permitted: capturing opens takes privileges that are missing: {}\n\
         Either run it as root:\n    {}\n\
         or give the program just these privileges, once:\n    {}\n\
         What it shows can be seen without them, in a recording that comes with it:\n    {} -r sample",
        missing.collect::<Vec<_>>().join(", "),
        sudo(args, exe),
        setcap(exe),
        program(exe)
    );
    Error::new(Kind::Denied, message)
}

/// `sudo opentop …` with the arguments as they were typed.
#[must_use]
pub fn sudo(args: &[OsString], exe: Option<&Path>) -> String {
    let mut line = format!("sudo {}", program(exe));
    for arg in args.iter().skip(1) {
        line.push(' ');
        line.push_str(&quoted(arg));
    }
    line
}

/// How the program is called: by its name where that is found, sudo's secure_path included (which has nobody's
/// `~/.cargo/bin`), else by its file.
fn program(exe: Option<&Path>) -> String {
    const SECURE: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    match exe {
        Some(exe) if !exe.parent().is_some_and(|dir| SECURE.iter().any(|secure| dir == Path::new(secure))) => {
            quoted(exe.as_os_str())
        }
        _ => "opentop".into(),
    }
}

/// The `setcap` that lets the program capture without sudo.
#[must_use]
pub fn setcap(exe: Option<&Path>) -> String {
    let exe = exe.map_or_else(|| "\"$(command -v opentop)\"".into(), |exe| quoted(exe.as_os_str()));
    format!("sudo setcap {},{},{}=ep {exe}", BPF.name, PERFMON.name, DAC_READ_SEARCH.name)
}

/// `arg` so that a shell takes it for one word, and a terminal for text.
fn quoted(arg: &OsStr) -> String {
    let bytes = arg.as_encoded_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(b);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return escaped(bytes);
    }
    // Printable text without a quote or a backslash needs only quotes; the rest is spelt as bash's $'…' has it, which
    // is how the escaper writes it.
    match std::str::from_utf8(bytes) {
        Ok(text) if escaped(bytes) == text && !text.contains('\'') => format!("'{text}'"),
        _ => format!("$'{}'", escaped(bytes).replace('\'', "\\'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(of: &[Capability]) -> Capabilities {
        Capabilities(of.iter().map(|c| 1 << c.bit).sum())
    }

    #[test]
    fn the_kernels_words_for_capabilities_are_understood() {
        let status =
            "Name:\topentop\nCapPrm:\t0000000000000000\nCapEff:\t000000c000000004\nCapBnd:\t000001ffffffffff\n";
        assert_eq!(Capabilities::parse(status), Some(set(&[BPF, PERFMON, DAC_READ_SEARCH])));
        assert_eq!(Capabilities::parse("Name:\tx\n"), None);
    }

    #[test]
    fn what_setcap_gives_is_enough_and_each_of_it_is_needed() {
        assert!(set(&[BPF, PERFMON, DAC_READ_SEARCH]).missing(false, false).is_empty());
        assert_eq!(set(&[PERFMON, DAC_READ_SEARCH]).missing(false, false), [BPF]);
        assert_eq!(set(&[BPF, DAC_READ_SEARCH]).missing(false, false), [PERFMON]);
        assert_eq!(set(&[BPF, PERFMON]).missing(false, false), [DAC_READ_SEARCH]);
        assert!(set(&[BPF, PERFMON]).missing(false, true).is_empty());
        assert_eq!(set(&[]).missing(false, false), [BPF, PERFMON, DAC_READ_SEARCH]);
    }

    #[test]
    fn sys_admin_stands_for_bpf_and_perfmon() {
        assert!(set(&[SYS_ADMIN]).missing(true, false).is_empty());
        assert_eq!(set(&[SYS_ADMIN]).missing(false, false), [DAC_READ_SEARCH]);
    }

    #[test]
    fn root_without_capabilities_is_no_root() {
        assert_eq!(set(&[]).missing(true, true), [BPF, PERFMON]);
    }

    #[test]
    fn the_refusal_names_both_ways_out_with_the_actual_arguments() {
        let args = ["opentop", "trace", "-f", "comm:my server", "--", "it's", "a\x1b[31m"].map(OsString::from);
        let exe = Path::new("/home/u/.cargo/bin/opentop");
        let error = denied(&set(&[]).missing(false, false), &args, Some(exe));
        assert_eq!(error.kind, Kind::Denied);
        let message = error.message;
        assert!(message.contains("CAP_BPF (to load the probe), CAP_PERFMON"), "{message}");
        assert!(
            message.contains(r"sudo /home/u/.cargo/bin/opentop trace -f 'comm:my server' -- $'it\'s' $'a\x1b[31m'"),
            "{message}"
        );
        assert!(
            message.contains("sudo setcap cap_bpf,cap_perfmon,cap_dac_read_search=ep /home/u/.cargo/bin/opentop"),
            "{message}"
        );
        assert!(sudo(&args, Some(Path::new("/usr/bin/opentop"))).starts_with("sudo opentop trace"));
    }
}
