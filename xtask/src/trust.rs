//! What only a machine of its own can show: privileges on each kernel, clearing up after SIGKILL, capabilities on a file
//! without sudo, processors that come and go, clocks that jump. By kprobe, as part of `cargo xtask test`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::truth::Verdict;

/// Opens under way while a processor comes and goes.
const OPENS: u64 = 20_000;

/// How often it goes or comes.
const CHANGES: u64 = 10;

/// The lines of a thread's status that say what it holds.
const HELD: &str = "grep -hE \"^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Seccomp):\" /proc/$PPID/task/*/status";

/// setcap, which the machine is to have; where it is.
pub fn setcap() -> Option<PathBuf> {
    ["/usr/sbin/setcap", "/sbin/setcap"].into_iter().map(PathBuf::from).find(|path| path.exists())
}

/// For every kernel.
pub fn privileges() -> String {
    format!("opentop trace --attach kprobe -f nothing -- sh -c '{HELD}' >/dev/null 2>/out/held\n")
}

/// For one kernel.
pub fn faults() -> String {
    let every = OPENS / CHANGES;
    format!(
        "events=/sys/kernel/tracing/kprobe_events
opentop trace --attach kprobe -o /dev/null -- sh -c 'echo >/tmp/up; exec sleep 1000' 2>/dev/null &
for i in $(seq 300); do [ -e /tmp/up ] && break; sleep 0.1; done
wc -l <$events >/out/before
kill -9 $!
for i in 1 2 3 4 5 6 7 8 9 10; do [ -n \"$(cat $events)\" ] || break; sleep 0.5; done
cat $events >/out/after
cp /bin/opentop /tmp/opentop
setcap cap_bpf,cap_perfmon,cap_dac_read_search=ep /tmp/opentop
su user -c \"/tmp/opentop trace -f nothing -- sh -c 'id -u; {held}'\" >/dev/null 2>/out/setcap.auto
echo 2 >/proc/sys/kernel/perf_event_paranoid
su user -c \"/tmp/opentop trace --attach kprobe -f nothing -- sh -c 'id -u; {held}'\" >/dev/null 2>/out/setcap.kprobe
online=/sys/devices/system/cpu/cpu1/online
count() {{
    opentop summary --attach kprobe -o /dev/null -- sh -c \"i=0; while [ \\$i -lt $1 ]; do : </dev/null; i=\\$((i+1)); \\
        [ \\$((i % {every})) = 0 ] && echo \\$((i / {every} % 2)) >$online; done; echo 1 >$online\" 2>$2
}}
count 0 /out/still
count {OPENS} /out/hotplug
opentop trace --attach kprobe --format json -o /out/clock.events -w /out/clock.otop -- sh -c \\
    ': </etc/passwd; date -s \"2031-01-01 00:00:00\"; : </etc/group; date -s \"2020-01-01 00:00:00\"; : </etc/hostname' 2>/out/clock
opentop trace -r /out/clock.otop --format json >/out/clock.replay 2>/dev/null
",
        // Within double quotes.
        held = HELD.replace('"', "\\\"").replace('$', "\\$"),
    )
}

/// What came of [`privileges`].
pub fn judge_privileges(dir: &Path, kernel: &str) -> Verdict {
    let judged = read(dir, "held").and_then(|held| powerless(&held, kernel == "5.10"));
    verdict(judged)
}

/// What came of [`faults`], by name.
pub fn judge_faults(dir: &Path) -> BTreeMap<String, Verdict> {
    type Judge = fn(&Path) -> Result<()>;
    let cases: [(&str, Judge); 4] =
        [("SIGKILL", killed), ("setcap", by_setcap), ("processors come and go", hotplug), ("clocks jump", clock)];
    cases.into_iter().map(|(name, judge)| (name.to_owned(), verdict(judge(dir)))).collect()
}

fn verdict(judged: Result<()>) -> Verdict {
    match judged {
        Ok(()) => Verdict::Passed,
        Err(error) => Verdict::Failed(vec![format!("{error:#}")]),
    }
}

fn read(dir: &Path, name: &str) -> Result<String> {
    fs::read_to_string(dir.join(name)).with_context(|| format!("nothing was left in {name}"))
}

/// That no thread holds anything. Before Linux 5.19 reading a map takes `CAP_BPF`.
fn powerless(status: &str, bpf: bool) -> Result<()> {
    const BPF: u64 = 1 << 39;
    let mut capabilities = 0;
    for line in status.lines() {
        let Some((field, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match field {
            "NoNewPrivs" => anyhow::ensure!(value == "1", "{line}"),
            "Seccomp" => anyhow::ensure!(value == "2", "{line}"),
            "CapInh" | "CapPrm" | "CapEff" | "CapAmb" => {
                let held = u64::from_str_radix(value, 16).with_context(|| line.to_owned())?;
                anyhow::ensure!(held == 0 || bpf && held == BPF, "{line}");
                capabilities += 1;
            }
            _ => {}
        }
    }
    anyhow::ensure!(capabilities >= 12, "fewer than three threads were seen: {status}");
    Ok(())
}

fn killed(dir: &Path) -> Result<()> {
    let before: u32 = read(dir, "before")?.trim().parse().context("no count of events")?;
    anyhow::ensure!(before > 0, "there was nothing to clear up");
    let after = read(dir, "after")?;
    anyhow::ensure!(after.is_empty(), "left in kprobe_events: {after}");
    Ok(())
}

fn by_setcap(dir: &Path) -> Result<()> {
    // Debian's kernels let perf_event_open(2), and so kprobes, to CAP_SYS_ADMIN alone while perf_event_paranoid is 3.
    for name in ["setcap.auto", "setcap.kprobe"] {
        let said = read(dir, name)?;
        anyhow::ensure!(said.lines().any(|line| line == "1000"), "it did not run as the user: {said}");
        powerless(&said, false)?;
        account(&said)?;
    }
    Ok(())
}

/// The opens of an account that adds up.
fn account(stderr: &str) -> Result<u64> {
    let line = stderr.lines().last().context("nothing was said")?;
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [opens, shown, filtered, lost] = numbers[..] else { anyhow::bail!("no account: {stderr}") };
    anyhow::ensure!(opens == shown + filtered + lost, "the account does not add up: {stderr}");
    Ok(opens)
}

fn hotplug(dir: &Path) -> Result<()> {
    let still = account(&read(dir, "still")?)?;
    let said = read(dir, "hotplug")?;
    let opens = account(&said)?;
    // Each change is an open, too.
    let wanted = still + OPENS + CHANGES;
    anyhow::ensure!(opens == wanted, "{opens} opens, not {wanted}: {said}");
    Ok(())
}

fn clock(dir: &Path) -> Result<()> {
    account(&read(dir, "clock")?)?;
    let (events, replay) = (read(dir, "clock.events")?, read(dir, "clock.replay")?);
    anyhow::ensure!(events == replay, "the replay tells other times");
    let mut seen = 0;
    for line in events.lines() {
        let open: serde_json::Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let took = open["duration_ns"].as_u64().with_context(|| line.to_owned())?;
        anyhow::ensure!(took < 10_000_000_000, "an open of {took} ns: {line}");
        seen += ["/etc/passwd", "/etc/group", "/etc/hostname"].iter().filter(|path| open["path"] == **path).count();
    }
    anyhow::ensure!(seen == 3, "{seen} of the three opens between the jumps");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_are_shell() {
        for script in [privileges(), faults()] {
            let checked = std::process::Command::new("sh").args(["-n", "-c", &script]).status().unwrap();
            assert!(checked.success(), "{script}");
            if std::env::var_os("OPENTOP_SHOW").is_some() {
                println!("{script}");
            }
        }
    }

    #[test]
    fn a_thread_that_holds_something_is_noticed() {
        let thread = |eff: &str, seccomp: u32| {
            format!("CapInh:\t0\nCapPrm:\t0\nCapEff:\t{eff}\nCapAmb:\t0\nNoNewPrivs:\t1\nSeccomp:\t{seccomp}\n")
        };
        let all = thread("0000000000000000", 2).repeat(3);
        assert!(powerless(&all, false).is_ok());
        let bpf = all.clone() + &thread("0000008000000000", 2);
        assert!(powerless(&bpf, false).is_err() && powerless(&bpf, true).is_ok());
        assert!(powerless(&(all.clone() + &thread("4", 2)), true).is_err());
        assert!(powerless(&(all + &thread("0", 0)), false).is_err());
        assert!(powerless("", false).is_err());
    }
}
