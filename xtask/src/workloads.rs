//! What the matrix does beside the truth: workloads whose counts and stacks are known, and a kernel without its types.
//!
//! Judged from what opentop wrote, with nothing of its code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cmd;
use crate::truth::Verdict;

/// Opens of the program with known functions: by read_config(), and by write_log(), which fail.
const READS: u64 = 3000;
const WRITES: u64 = 2000;

/// Loops at a time, more than the machine has processors, and what each opens: tasks lose the processor within the probe.
const LOOPS: u64 = 6;
const OPENS: u64 = 8000;

/// Processes that come and go.
const PROCESSES: u64 = 150;

/// The way to attach by which counts are taken.
const COUNTED: &str = "kprobe";

/// Builds the program with known functions, with frame pointers.
pub fn stacked() -> Result<PathBuf> {
    let source = cmd::root().join("xtask/src/stacked/stacked.c");
    let out = cmd::target_dir().join("stacked");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-g", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-o"]).arg(&out).arg(source);
    cmd::run(&mut cc)
        .context("a C compiler builds the program whose stacks are known: apt-get install gcc libc6-dev")?;
    Ok(out)
}

/// What is done in the machine, by one way to attach.
pub fn script(kind: &str) -> String {
    let summary = format!("opentop summary --attach {kind} --format json");
    let mut script = format!(
        "{summary} --stacks --ring-size 64K -o /out/{kind}.stacks -- stacked {READS} {WRITES} 2>/out/{kind}.stacks.err\n"
    );
    for (name, loops, opens) in [("one", 1, 0), ("many", LOOPS, OPENS)] {
        script.push_str(&format!(
            "{summary} -o /out/{kind}.{name} -- sh -c 'for i in $(seq {loops}); do stacked {opens} 0 & done; wait' \
             2>/out/{kind}.{name}.err\n"
        ));
    }
    // How opens are counted is the same for all; a machine that is emulated takes its time.
    if kind == COUNTED {
        // Few pids, so that they are used again; few rows, so that most processes do not fit. Without its types the kernel
        // does not tell who descends from whom: there all is captured, for a while.
        script.push_str(&format!(
            "cat >/tmp/churn <<'END'\n\
             i=0; while [ $i -lt {PROCESSES} ]; do sh -c ': </etc/hostname'; i=$((i+1)); done\n\
             END\n\
             echo 400 >/proc/sys/kernel/pid_max\n\
             {summary} -o /out/{kind}.churn -- sh /tmp/churn 2>/out/{kind}.churn.err\n\
             {summary} --process-rows 16 -o /out/{kind}.few -- sh /tmp/churn 2>/out/{kind}.few.err\n\
             echo 32768 >/proc/sys/kernel/pid_max\n\
             : >/tmp/empty; mount --bind /tmp/empty /sys/kernel/btf/vmlinux\n\
             (cd /tmp; : >name-without-types; while :; do cat name-without-types /etc/hostname; sleep 1; done) >/dev/null &\n\
             opentop trace --attach {kind} --format json --duration 4s -o /out/{kind}.untyped 2>/out/{kind}.untyped.err\n\
             kill $!\n\
             umount /sys/kernel/btf/vmlinux\n"
        ));
    }
    script
}

/// Every check by name.
pub fn judge(dir: &Path, kind: &str) -> BTreeMap<String, Verdict> {
    let mut checks = vec![
        ("stacks have the names of the functions, and exact counts", stacks(dir, kind)),
        ("no open is counted twice where tasks are preempted within the probe", crowded(dir, kind)),
    ];
    if kind == COUNTED {
        checks.push(("a pid that is used again is another process", churn(dir, kind)));
        checks.push(("counts are exact with a table of few rows", few_rows(dir, kind)));
        checks.push(("without the kernel's types a relative name is shown as such", untyped(dir, kind)));
    }
    let verdict = |result: Result<()>| match result {
        Ok(()) => Verdict::Passed,
        Err(error) => Verdict::Failed(vec![format!("{error:#}")]),
    };
    checks.into_iter().map(|(name, result)| (name.to_owned(), verdict(result))).collect()
}

fn summary(dir: &Path, kind: &str, what: &str) -> Result<(Value, String)> {
    let text = fs::read_to_string(dir.join(format!("{kind}.{what}")));
    let stderr = fs::read_to_string(dir.join(format!("{kind}.{what}.err")))?;
    let json = text.context("no summary").and_then(|text| Ok(serde_json::from_str(&text)?));
    Ok((json.with_context(|| stderr.trim().to_owned())?, stderr))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(u64::MAX)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The functions of a stack, innermost first.
fn functions(stack: &Value) -> Vec<&str> {
    list(stack).iter().filter_map(|frame| frame.as_str()?.split(['+', ' ']).next()).collect()
}

fn stacks(dir: &Path, kind: &str) -> Result<()> {
    let (json, stderr) = summary(dir, kind, "stacks")?;
    let process = list(&json["processes"]).iter().find(|process| process["comm"] == "stacked");
    let process = process.with_context(|| format!("no process stacked: {json}"))?;
    let stacks = list(&process["stacks"]);
    // What a return knows of an open whose entry the kernel skipped has no stack; see `Trace::strict`.
    let unseen = if kind == "kprobe" { 0 } else { json["losses"]["no_entry"].as_u64().unwrap_or(0) };
    for (wanted, opens, failed) in [
        (&["open_by_syscall", "read_config", "main"][..], READS, 0),
        (&["open_by_syscall", "rotate", "write_log", "main"], WRITES, WRITES),
    ] {
        let found = stacks.iter().find(|stack| functions(&stack["user"]).starts_with(wanted));
        let found = found.with_context(|| format!("no stack {wanted:?}: {process}; {stderr}"))?;
        let counted = (number(&found["opens"]), number(&found["failed"]));
        let whole =
            counted.0 <= opens && counted.0 + unseen >= opens && counted.1 == if failed == 0 { 0 } else { counted.0 };
        ensure!(whole, "{wanted:?} counted {counted:?}, not {:?}, {unseen} told as unseen: {process}", (opens, failed));
        let kernel = functions(&found["kernel"]);
        let own = |name: &&&str| ["bpf", "kprobe", "ftrace", "perf"].iter().any(|word| name.contains(word));
        ensure!(!kernel.iter().any(|name| own(&name)), "the probe is in the kernel's stack: {kernel:?}");
        if kind != "tracepoint" {
            // From 7.x on the way through a trampoline leaves out the function that it hangs on.
            let first = kernel.first().copied().unwrap_or_default();
            let starts = first == "do_sys_openat2" || kind == "fentry" && first == "__x64_sys_openat";
            ensure!(starts, "the kernel's stack begins otherwise: {kernel:?}");
            ensure!(kernel.iter().any(|name| name.contains("do_syscall_64")), "no system call in {kernel:?}");
        }
    }
    let told: u64 = stacks.iter().map(|stack| number(&stack["opens"])).sum();
    let all = number(&process["opens"]);
    let rest = number(&process["stacks_rest"]);
    ensure!(told + rest == all && rest <= unseen, "{rest} opens without a stack, {unseen} told as unseen: {process}");
    Ok(())
}

/// Opens of more loops than there are processors: in the rows is what there was, and the total is their sum.
fn crowded(dir: &Path, kind: &str) -> Result<()> {
    let loops = |what: &str| -> Result<(Vec<u64>, Value, String)> {
        let (json, stderr) = summary(dir, kind, what)?;
        let rows = list(&json["processes"]);
        let all: u64 = rows.iter().map(|process| number(&process["opens"])).sum();
        ensure!(all == number(&json["totals"]["opens"]), "{all} in rows are not the total: {json}");
        ensure!(!stderr.contains("unexplained"), "the account does not add up: {stderr}");
        let opens = rows.iter().filter(|process| process["comm"] == "stacked").map(|process| number(&process["opens"]));
        Ok((opens.collect(), json, stderr))
    };
    // What a loop opens before it is one.
    let (one, json, _) = loops("one")?;
    let [start] = one[..] else { anyhow::bail!("{} loops: {json}", one.len()) };
    let (many, json, stderr) = loops("many")?;
    ensure!(many.len() as u64 == LOOPS, "{} loops: {json}", many.len());
    let there_were = start + OPENS;
    ensure!(many.iter().all(|opens| *opens <= there_were), "more than {there_were} of a loop: {many:?}; {stderr}");
    let missing = LOOPS * there_were - many.iter().sum::<u64>();
    let missed = if kind == "kprobe" { 0 } else { json["losses"]["missed"].as_u64().unwrap_or(0) };
    ensure!(missing <= missed, "{missing} opens of {LOOPS} × {there_were} are in no count: {many:?}; {stderr}");
    Ok(())
}

/// All opens of a summary: what its rows and the others add up to, which must be all.
fn added_up(json: &Value) -> Result<u64> {
    let rows: u64 = list(&json["processes"]).iter().map(|process| number(&process["opens"])).sum();
    let others = json.get("others").map_or(0, |others| number(&others["opens"]));
    let all = number(&json["totals"]["opens"]);
    ensure!(rows + others == all, "{rows} in rows and {others} in others are not {all}");
    let path = list(&json["paths"]).iter().find(|path| path["path"] == "/etc/hostname");
    let path = path.with_context(|| format!("/etc/hostname is not among the paths: {}", json["paths"]))?;
    ensure!(number(&path["opens"]) == PROCESSES, "/etc/hostname was opened {} times", path["opens"]);
    Ok(all)
}

fn churn(dir: &Path, kind: &str) -> Result<()> {
    let (json, _) = summary(dir, kind, "churn")?;
    added_up(&json)?;
    let pids: Vec<u64> = list(&json["processes"]).iter().map(|process| number(&process["pid"])).collect();
    let different: BTreeSet<u64> = pids.iter().copied().collect();
    ensure!(pids.len() as u64 == PROCESSES + 1, "{} processes, not {}", pids.len(), PROCESSES + 1);
    ensure!(different.len() < pids.len(), "no pid was used again: {different:?}");
    Ok(())
}

fn few_rows(dir: &Path, kind: &str) -> Result<()> {
    let (json, stderr) = summary(dir, kind, "few")?;
    let (all, usual) = (added_up(&json)?, added_up(&summary(dir, kind, "churn")?.0)?);
    ensure!(all == usual, "{all} opens with few rows, {usual} with many");
    ensure!(number(&json["losses"]["process_table_full"]) > 0, "every process had a row: {json}");
    ensure!(stderr.contains("table of processes full"), "nothing is said of it: {stderr}");
    Ok(())
}

fn untyped(dir: &Path, kind: &str) -> Result<()> {
    let events = fs::read_to_string(dir.join(format!("{kind}.untyped")));
    let stderr = fs::read_to_string(dir.join(format!("{kind}.untyped.err")))?;
    let events = events.with_context(|| stderr.clone())?;
    let find = |path: &str| -> Result<Value> {
        let mut events = events.lines().map(serde_json::from_str::<Value>).filter_map(|event| event.ok());
        let found = events.find(|event| event["path"] == path && event["comm"] == "cat");
        found.with_context(|| format!("no open of {path} by cat; {stderr}"))
    };
    let relative = find("name-without-types")?;
    ensure!(relative["relative"] == true && relative["fd"].is_number(), "{relative}");
    let absolute = find("/etc/hostname")?;
    ensure!(absolute.get("relative").is_none(), "{absolute}");
    Ok(())
}
