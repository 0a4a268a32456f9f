//! What does not change during a session: where its opens come from and what that can see.

use std::fmt;

/// How the probe hangs in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AttachKind {
    /// kprobe and kretprobe on `do_sys_openat2`: the reference.
    Kprobe,
    /// fentry and fexit on the same functions.
    Fentry,
    /// The system call tracepoints.
    Tracepoint,
}

impl AttachKind {
    /// The word for it on the command line and on the screen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kprobe => "kprobe",
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
        }
    }
}

impl fmt::Display for AttachKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a program of the probe costs the kernel's verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    /// Its name in the probe.
    pub name: String,
    /// Instructions after the kernel's rewriting; `None` where it does not tell.
    pub instructions: Option<u32>,
    /// Instructions that the verifier looked at on all paths, its "complexity" (since Linux 5.16): at a million it gives up.
    pub verified: Option<u32>,
}

/// One way into the kernel's open, and whether this session sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteState {
    /// "open", "openat", "openat2", "creat", "compat" (32-bit), "`io_uring`", "exec", "handle".
    pub name: &'static str,
    /// `None` when it is live, else why it is blind.
    pub blind: Option<String>,
}

/// A session's unchanging facts, from the probe or from a recording's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// How the probe is attached.
    pub attach: AttachKind,
    /// Why that way: "first choice", or what each earlier choice failed with.
    pub reason: String,
    /// `uname -r` of the machine the opens come from.
    pub kernel: String,
    /// Its host name.
    pub hostname: String,
    /// Wall clock minus boot clock, ns: add it to a boot time for ns since 1970.
    pub wall_offset_ns: i64,
    /// When the capture began, boot clock, ns.
    pub start_ns: u64,
    /// Every route, live or blind.
    pub routes: Vec<RouteState>,
    /// The capture in words: "all", or the expression.
    pub capture: String,
    /// Size of the ring, bytes.
    pub ring_bytes: u32,
}

impl Session {
    /// ns since 1970 of a boot time.
    #[must_use]
    pub fn wall_ns(&self, boot_ns: u64) -> i128 {
        i128::from(boot_ns) + i128::from(self.wall_offset_ns)
    }

    /// How far into the session a boot time is, as `00:01:02`.
    #[must_use]
    pub fn clock(&self, boot_ns: u64) -> String {
        clock(boot_ns.saturating_sub(self.start_ns) / 1_000_000_000)
    }
}

/// Hours, minutes and seconds: `00:01:02`.
#[must_use]
pub fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A capture in words: an expression, and whether it is confined to a command, and to which processes beside it.
#[must_use]
pub fn capture_words(command: Option<&[u32]>, expression: &str) -> String {
    let confined = match command {
        None => String::new(),
        Some([]) => "command".to_owned(),
        Some(pids) => {
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            format!("command and pid:{}", pids.join(","))
        }
    };
    match (confined.is_empty(), expression.is_empty()) {
        (true, true) => "all".to_owned(),
        (true, false) => expression.to_owned(),
        (false, true) => confined,
        (false, false) => format!("{confined}, {expression}"),
    }
}
