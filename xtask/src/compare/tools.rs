//! The tools that are compared, and how each is asked for all it can tell.

use std::process::Command;

use super::fetch;

/// A tool.
pub struct Tool {
    /// By which its files are called.
    pub key: &'static str,
    /// As the table heads it.
    pub name: &'static str,
    /// Debian's package. opentop has none: it is this repository's.
    pub package: Option<&'static str>,
    /// Its program in the unpacked packages.
    pub program: Option<&'static str>,
    /// The command, as a person would type it.
    pub typed: &'static str,
    /// What it watches.
    pub scope: Scope,
}

/// What a tool watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole machine.
    System,
    /// The command behind it.
    Command,
}

/// What sysdig prints of an event (`*`: also of one that lacks some of it), and `read` reads: all that csysdig has columns for, and the arguments.
const SYSDIG_FIELDS: &str =
    "*%proc.pid\t%thread.tid\t%user.uid\t%proc.name\t%evt.type\t%evt.latency\t%evt.res\t%fd.name\t%evt.args";

/// The script of bpftrace's that is compared: a file beside it.
pub const SCRIPT: &str = "opensnoop.bt";

/// In the order of the table.
pub const TOOLS: [Tool; 6] = [
    Tool {
        key: "opentop",
        name: "opentop",
        package: None,
        program: None,
        typed: "opentop trace --attach kprobe --format json",
        scope: Scope::System,
    },
    Tool {
        key: "opensnoop",
        name: "opensnoop",
        package: Some("libbpf-tools"),
        program: Some("usr/sbin/opensnoop"),
        typed: "opensnoop -e -U",
        scope: Scope::System,
    },
    Tool {
        key: "bpftrace",
        name: "bpftrace opensnoop.bt",
        package: Some("bpftrace"),
        program: Some("usr/bin/bpftrace"),
        typed: "bpftrace opensnoop.bt",
        scope: Scope::System,
    },
    Tool {
        key: "fatrace",
        name: "fatrace",
        package: Some("fatrace"),
        program: Some("usr/sbin/fatrace"),
        // Of the current mount: what is not on a disk it leaves out otherwise, and the machine has no disk.
        typed: "fatrace --current-mount --filter O",
        scope: Scope::System,
    },
    Tool {
        key: "strace",
        name: "strace -f",
        package: Some("strace"),
        program: Some("usr/bin/strace"),
        typed: "strace -f -q -y -Y -T -s 5000 -e open,creat,openat,openat2,open_by_handle_at,execve,io_uring_enter",
        scope: Scope::Command,
    },
    Tool {
        key: "sysdig",
        name: "sysdig (csysdig)",
        package: Some("sysdig"),
        program: Some("usr/bin/sysdig"),
        // It knows no other events that open: of handles and io_uring its later releases do.
        typed: "sysdig -v --unbuffered evt.dir=< and evt.type in \
                (open,openat,openat2,creat,execve,execveat)",
        scope: Scope::System,
    },
];

impl Tool {
    /// The command in the machine.
    pub fn command(&self) -> Command {
        let mut words = self.typed.split(' ');
        let program = words.next().unwrap_or_default();
        let mut command = match self.program {
            Some(_) => fetch::command(program),
            None => Command::new(program),
        };
        if self.key == "sysdig" {
            command.args(["-p", SYSDIG_FIELDS]);
        }
        let script = format!("{}/bin/{SCRIPT}", fetch::PLACE);
        command.args(words.map(|word| if word == SCRIPT { script.as_str() } else { word }));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_the_loader_of_its_release_and_the_place_of_its_script() {
        let shown = |key: &str| {
            let tool = TOOLS.iter().find(|tool| tool.key == key).unwrap();
            crate::cmd::shown(&tool.command())
        };
        assert_eq!(shown("opentop"), "opentop trace --attach kprobe --format json");
        let bpftrace = shown("bpftrace");
        assert!(bpftrace.starts_with("/debian/lib/ld-linux-x86-64.so.2 --library-path /debian/lib "), "{bpftrace}");
        assert!(bpftrace.ends_with(" /debian/bin/bpftrace /debian/bin/opensnoop.bt"), "{bpftrace}");
        assert!(shown("sysdig").contains(" -p *%proc.pid\t%thread.tid"), "{}", shown("sysdig"));
    }
}
