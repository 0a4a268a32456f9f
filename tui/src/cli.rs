//! The command line: the one clap tree from which parsing, `--help`, the man page and the completions come.
//!
//! It says what a person may ask for and turns words into values. It decides nothing and opens nothing;
//! what the values mean is in `run`.

mod generate;
mod parse;
pub mod values;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::{
    headless::{Format, TraceFormat, summary::SortKey},
    recording::Rotate,
    session::AttachKind,
};
pub use generate::{completions, files, man};
pub use parse::{parse, print_stop};
use values::RingSize;

const EXAMPLES: &str = "\
Examples:
  sudo opentop                                  every open on this machine, live
  sudo opentop -- ./server --port 80            what one program opens, from its first open on
  sudo opentop trace -x -p 4711                 one line for each open of process 4711 that failed
  sudo opentop trace --format json -- make | jq -r .path | sort -u
                                                what the build read and wrote

Exit codes:
  0 done · 1 failed while running · 2 wrong usage · 69 this kernel can't · 77 not permitted
  With a command: its exit status, 128 + N when signal N killed it, 126 or 127 when it could not be started.";

const TRACE_EXAMPLES: &str = "\
Examples:
  sudo opentop trace -x -- nginx -t             why can't nginx find its config
  sudo opentop trace --duration 10s --format csv -o opens.csv
  sudo opentop trace --format json -u www-data | jq -r .path
  opentop trace -r session.otop --format parquet -o opens.parquet
                                                a recording, for DuckDB and its like

The last line of stderr is the account: opens = shown + filtered + lost.";

const SUMMARY_EXAMPLES: &str = "\
Examples:
  sudo opentop summary --duration 10s           who opens most, on this machine
  sudo opentop summary --sort failed -- make    what the build looks for in vain
  sudo opentop summary --format json --top 5 -o opens.json -- ./job

Ctrl-C ends it too, and the table comes all the same. The last line of stderr is the account.";

/// `opentop` as typed.
#[derive(Debug, Parser)]
#[command(
    name = "opentop",
    version,
    about = "Shows every file that every process opens, live",
    long_about = "Shows every file that every process opens, live: who opens what, how often, how fast, and what fails.\n\n\
        Without a subcommand it is a full-screen dashboard; with its output going to a file or a pipe it is `opentop trace`.",
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub struct Cli {
    /// What to do instead of the dashboard.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to show, of the dashboard.
    #[command(flatten)]
    pub display: DisplayArgs,
    /// The cast of the dashboard.
    #[command(flatten)]
    pub cast: CastArgs,
    /// What to capture, of the dashboard.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// How the dashboard looks.
    #[command(flatten)]
    pub look: LookArgs,
}

/// How the dashboard looks.
#[derive(Args, Clone, Debug)]
pub struct LookArgs {
    /// Colours of the dashboard; T goes through them
    #[arg(long, value_enum, value_name = "THEME", help_heading = "Display")]
    pub theme: Option<crate::look::ThemeName>,

    /// How processes and opens stand: side by side, or stacked
    #[arg(long, value_enum, value_name = "LAYOUT", help_heading = "Display")]
    pub layout: Option<crate::app::Layout>,

    /// How many opens to keep for looking back at: 1 to 10000000
    #[arg(long, value_name = "N", value_parser = values::history, help_heading = "Display")]
    pub history: Option<usize>,

    /// How often rates and the order of rows are brought up to date: 100ms to 60s
    #[arg(long, value_name = "TIME", value_parser = values::interval, help_heading = "Display")]
    pub interval: Option<Duration>,

    /// No colours, as with NO_COLOR in the environment
    #[arg(long, help_heading = "Display")]
    pub no_color: bool,

    /// Borders and bars of the dashboard in ASCII only
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, help_heading = "Display")]
    pub ascii: Option<bool>,

    /// Leave the mouse to the terminal, for selecting text
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, help_heading = "Display")]
    pub no_mouse: Option<bool>,
}

/// The dashboard as a film, and by a script.
#[derive(Args, Clone, Debug, Default)]
pub struct CastArgs {
    /// Write the dashboard as an asciicast v3, for `asciinema play`; never what is typed.
    ///
    /// Works without a terminal, too. With -r, and with --keys or no terminal, the cast is made as fast as the machine
    /// can, by the recording's own time: the same recording and script give the same bytes. What there is of the file
    /// plays, whenever opentop ends. Under sudo it belongs to the user who called sudo.
    #[arg(long, value_name = "FILE", help_heading = "Cast", value_hint = ValueHint::FilePath)]
    pub cast: Option<PathBuf>,

    /// Size of the cast, columns and rows [default: the terminal's, else 100x34]; keeps the dashboard off the terminal
    #[arg(long, value_name = "WxH", value_parser = values::screen_size, requires = "cast", help_heading = "Cast")]
    pub cast_size: Option<(u16, u16)>,

    /// Drive the dashboard by a script, as in 'wait 1s; type /; type comm:make; key Enter; wait 2s; key q'.
    ///
    /// Steps, separated by semicolons: wait TIME, type TEXT, key NAME (Enter, Esc, F4, Ctrl-r, ...), mark LABEL
    /// (a marker in the cast), resize WxH. A semicolon to be typed is written `\;`. The dashboard ends with the script.
    #[arg(long, value_name = "SCRIPT", help_heading = "Cast")]
    pub keys: Option<String>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One line for each open: text, JSON, CSV, or a row of Parquet
    #[command(after_help = TRACE_EXAMPLES)]
    Trace(Box<TraceArgs>),
    /// The exact table of processes when the capture ends: opens, failures, latency, most opened paths
    #[command(after_help = SUMMARY_EXAMPLES)]
    Summary(Box<SummaryArgs>),
    /// What this kernel and these privileges allow, and the exact command for what they don't
    #[command(after_help = "Exit codes: 0 opentop can run here · 69 this kernel can't · 77 not permitted")]
    Doctor {
        /// The report's format
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: ReportFormat,
    },
    /// Write the configuration with every default and where it belongs to stdout
    #[command(after_help = "Example:\n  mkdir -p ~/.config/opentop && opentop config > ~/.config/opentop/config.toml")]
    Config,
    /// Write completions for a shell to stdout
    #[command(after_help = "Example:\n  opentop completions bash > ~/.local/share/bash-completion/completions/opentop")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write a manual page to stdout, for `man -l`
    #[command(after_help = "Examples:\n  opentop man | man -l -\n  opentop man trace | man -l -")]
    Man {
        /// The page of a subcommand instead of that of opentop
        #[arg(value_parser = generate::SUBCOMMANDS)]
        command: Option<String>,
    },
}

/// `opentop summary` as typed.
#[derive(Args, Clone, Debug, Default)]
pub struct SummaryArgs {
    /// The table's format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Output")]
    pub format: Format,

    /// Write to this file instead of stdout; under sudo it belongs to the user who called sudo
    #[arg(short, long, value_name = "FILE", help_heading = "Output", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,

    /// What the table is sorted by
    #[arg(long, value_enum, default_value_t, value_name = "COLUMN", help_heading = "Output")]
    pub sort: SortKey,

    /// Show only so many processes; the others share a row
    #[arg(long, value_name = "N", value_parser = values::top, help_heading = "Output")]
    pub top: Option<usize>,

    /// What to show.
    #[command(flatten)]
    pub display: DisplayArgs,

    /// What to capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// `doctor --format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object
    Json,
}

/// What of the capture to show.
#[derive(Args, Clone, Debug, Default)]
pub struct DisplayArgs {
    /// Show only opens that match, as in 'comm:nginx err:ENOENT' or 'path:/etc/** !pid:1'; the rest is counted
    #[arg(short, long, value_name = "EXPR", help_heading = "Display")]
    pub filter: Option<String>,
}

/// What to capture: the same in every mode.
#[derive(Args, Clone, Debug, Default)]
pub struct CaptureArgs {
    /// Capture only opens that match, decided in the kernel: 'comm:nginx failed', 'path:/etc/** flags:w'; the rest is not
    /// even counted
    #[arg(short, long, value_name = "EXPR", help_heading = "Capture")]
    pub capture: Option<String>,

    /// Capture only these processes and their descendants; repeat it or separate them with commas
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',', value_parser = values::pid, help_heading = "Capture")]
    pub pids: Vec<u32>,

    /// Capture only opens by this user, a name or a number
    #[arg(short, long = "user", value_name = "USER", value_parser = values::user, help_heading = "Capture", value_hint = ValueHint::Username)]
    pub uid: Option<u32>,

    /// Capture only opens that failed
    #[arg(short = 'x', long, help_heading = "Capture")]
    pub failed: bool,

    /// Take the user's and the kernel's stack of every open, with names: who in the program, by which way.
    ///
    /// Frames are found by frame pointers: code without them (-fomit-frame-pointer) gives short stacks. Names come from
    /// the program's symbols, its debug info where there is, and /tmp/perf-PID.map of just-in-time compilers. In the
    /// dashboard S takes the stacks of one process. With -r, shows those that were recorded.
    #[arg(long, help_heading = "Capture")]
    pub stacks: bool,

    /// End after this long: 10s, 500ms, 2m, 1h30m; a bare number is seconds
    #[arg(long, value_name = "TIME", value_parser = values::duration, help_heading = "Capture")]
    pub duration: Option<Duration>,

    /// How to hang into the kernel; auto takes the first that works
    #[arg(long, value_name = "KIND", value_enum, default_value_t, help_heading = "Probe")]
    pub attach: Attach,

    /// Size of the ring between kernel and opentop: 64K, 8M; rounded up to a power of two
    #[arg(long, value_name = "SIZE", value_parser = values::ring_size, help_heading = "Probe")]
    pub ring_size: Option<RingSize>,

    /// Rows of the kernel's table of processes: for tests of what happens when it is full
    #[arg(long, value_name = "N", hide = true)]
    pub process_rows: Option<std::num::NonZeroU32>,

    /// Rows of the kernel's table of captured processes: for tests of what happens when it is full
    #[arg(long, value_name = "N", hide = true)]
    pub scope_rows: Option<std::num::NonZeroU32>,

    /// Write the probe's own log lines, on what it could not see or hand over, to this file; free when not given
    #[arg(long, value_name = "FILE", help_heading = "Probe", value_hint = ValueHint::FilePath)]
    pub probe_log: Option<PathBuf>,

    /// How much the probe logs
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t, requires = "probe_log", help_heading = "Probe")]
    pub probe_log_level: LogLevel,

    /// Keep the privileges that are given up once the probe is attached, and use every system call; for debugging
    #[arg(long, help_heading = "Probe")]
    pub keep_privileges: bool,

    /// The recording to read or to write.
    #[command(flatten)]
    pub recording: RecordingArgs,

    /// Run this command and capture it and its descendants, from its first open until it ends.
    ///
    /// Its stdout goes to stderr. Under sudo it runs as the user who called sudo. opentop ends when it ends, with
    /// its exit status; when opentop ends first (--duration, q), the command gets a SIGTERM.
    #[arg(last = true, value_name = "CMD", help_heading = "Command", value_hint = ValueHint::CommandWithArguments)]
    pub cmd: Vec<OsString>,
}

/// A recording instead of the kernel, or beside what is shown.
#[derive(Args, Clone, Debug, Default)]
pub struct RecordingArgs {
    /// Replay this recording instead of capturing: needs no root, on any machine; - is stdin, `sample` comes with opentop
    #[arg(short, long, value_name = "FILE", help_heading = "Recording", value_hint = ValueHint::FilePath,
        conflicts_with_all = ["write", "capture", "pids", "uid", "failed", "duration", "attach", "ring_size", "probe_log", "cmd"])]
    pub read: Option<PathBuf>,

    /// Record all that is captured to this file, for -r; under sudo it belongs to the user who called sudo
    #[arg(short, long, value_name = "FILE", help_heading = "Recording", value_hint = ValueHint::FilePath)]
    pub write: Option<PathBuf>,

    /// With -w: replace the file if it exists
    #[arg(long, requires = "write", help_heading = "Recording")]
    pub overwrite: bool,

    /// With -w: go on in a new numbered file after a size (64M, 2G) or a time (10m, 1h)
    #[arg(long, value_name = "SIZE|TIME", requires = "write", help_heading = "Recording")]
    pub rotate: Option<Rotate>,
}

/// `opentop trace` as typed.
#[derive(Args, Clone, Debug, Default)]
pub struct TraceArgs {
    /// Lines for people or programs, or a Parquet file
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Output")]
    pub format: TraceFormat,

    /// Write to this file instead of stdout; under sudo it belongs to the user who called sudo
    #[arg(short, long, value_name = "FILE", help_heading = "Output", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,

    /// What to show.
    #[command(flatten)]
    pub display: DisplayArgs,

    /// What to capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// `--attach`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// The first of the others that works here
    #[default]
    Auto,
    /// kprobe and kretprobe: every way of opening, kernels with kprobes
    Kprobe,
    /// fentry and fexit: every way of opening, kernels with BPF trampolines
    Fentry,
    /// System call tracepoints: nearly every kernel, but no `io_uring`
    Tracepoint,
}

/// `--probe-log-level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What should never happen
    Error,
    /// Opens that were lost or cannot be paired, by thread
    Warn,
    /// The same as warn, so far
    Info,
    /// Every open that is incomplete as well: its name unreadable, its entry not seen, the ring full
    #[default]
    Debug,
    /// The same as debug, so far
    Trace,
}

impl From<LogLevel> for log::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

impl Attach {
    /// The one kind that was asked for; `None` for auto.
    #[must_use]
    pub fn kind(self) -> Option<AttachKind> {
        match self {
            Self::Auto => None,
            Self::Kprobe => Some(AttachKind::Kprobe),
            Self::Fentry => Some(AttachKind::Fentry),
            Self::Tracepoint => Some(AttachKind::Tracepoint),
        }
    }
}

#[cfg(test)]
mod tests;
