//! Holds a trace with `-c` against what it should have captured: exactly that, and no open besides counted.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::truth::Verdict;

/// A condition of each kind, each for a folder of its own below `dir`; `truth --captures` has opens for each.
pub fn expression(dir: &str) -> String {
    [
        format!("path:{dir}/flags/** flags:w"),
        format!("dir:{dir}/comm comm:tru*"),
        format!("dir:{dir}/user uid:1000"),
        format!("path:{dir}/err/** err:ENOENT"),
        format!("dir:{dir}/via via:openat2"),
        format!("dir:{dir}/rel !failed !comm:sh"),
        format!("path:{dir}/dur/fifo dur>250ms"),
        format!("path:{dir}/tree/file pid:1 tid>1 ppid>0 cgroup:/"),
    ]
    .join(" | ")
}

/// Every folder by its name, with its verdict.
pub fn judge(events: &str, wanted: &str, stderr: &str) -> Result<BTreeMap<String, Verdict>> {
    let folder = |path: &str| {
        ["flags", "comm", "user", "err", "via", "rel", "dur", "tree"]
            .into_iter()
            .find(|folder| path.contains(&format!("/{folder}/")))
            .unwrap_or("elsewhere")
    };
    let mut all: BTreeMap<&str, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for path in wanted.lines() {
        all.entry(folder(path)).or_default().0.push(path.to_owned());
    }
    let mut shown = 0;
    for line in events.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("not a JSON line: {line}"))?;
        // As opentop folds it, not as the kernel walks it.
        let path = event["path"].as_str().unwrap_or_default().to_owned();
        all.entry(folder(&path)).or_default().1.push(path);
        shown += 1;
    }
    let mut verdicts = BTreeMap::new();
    for (folder, (mut should, mut is)) in all {
        should.sort();
        is.sort();
        let verdict = if should == is {
            Verdict::Passed
        } else {
            Verdict::Failed(vec![format!("captured: {is:?}"), format!("should be: {should:?}")])
        };
        verdicts.insert(format!("capture by {folder}"), verdict);
    }
    let account = format!("opentop: {shown} opens = {shown} shown + 0 filtered + 0 lost");
    let counted = stderr.lines().last() == Some(account.as_str()) && !stderr.contains("not seen");
    let verdict = if counted { Verdict::Passed } else { Verdict::Failed(vec![stderr.trim().to_owned()]) };
    verdicts.insert("capture: nothing else is counted".into(), verdict);
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_too_much_is_found() {
        let account = "opentop: 1 opens = 1 shown + 0 filtered + 0 lost\n";
        let event = r#"{"path":"/d/err/missing"}"#;
        let all = |events, wanted, stderr| judge(events, wanted, stderr).unwrap();
        assert!(all(event, "/d/err/missing\n", account).values().all(|v| *v == Verdict::Passed));
        assert!(matches!(all(event, "", account)["capture by err"], Verdict::Failed(_)));
        assert!(matches!(all(event, "/d/err/missing\n/d/dur/fifo\n", account)["capture by dur"], Verdict::Failed(_)));
        let more = "opentop: 2 opens = 1 shown + 0 filtered + 1 lost\n";
        assert!(matches!(all(event, "/d/err/missing\n", more)["capture: nothing else is counted"], Verdict::Failed(_)));
    }
}
