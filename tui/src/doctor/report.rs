//! The doctor's judgement as text for people and as JSON for machines.

use std::fmt::Write as _;

use super::{
    Facts,
    checks::{Check, State, checks, verdict},
};
use crate::{headless::json::push_string, session::AttachKind};

/// The report as text.
#[must_use]
pub fn text(facts: &Facts) -> String {
    let mut out = format!("opentop {}\n\n", env!("CARGO_PKG_VERSION"));
    for check in checks(facts) {
        let _ = writeln!(out, "{:<9}{:<21}{}", word(check.state), check.name, check.found);
        if check.state != State::Ok {
            let _ = writeln!(out, "{:9}why it matters: {}", "", check.why);
        }
        if let Some(step) = &check.mend {
            let _ = writeln!(out, "{:9}what mends it:  {step}", "");
        }
    }
    out.push('\n');
    for (kind, trial) in &facts.trials {
        let Ok(routes) = trial else { continue };
        let _ = writeln!(out, "With --attach {kind}:");
        for route in routes {
            match &route.blind {
                None => {
                    let _ = writeln!(out, "  live   {}", route.name);
                }
                Some(why) => {
                    let _ = writeln!(out, "  blind  {}: {why}", route.name);
                }
            }
        }
    }
    match verdict(facts) {
        Ok(kind) => {
            let _ = writeln!(out, "\nopentop can run here: --attach auto takes {kind}.");
        }
        Err(error) => {
            let _ = writeln!(out, "\nopentop cannot run here: {error}");
        }
    }
    out
}

/// The report as one JSON object.
#[must_use]
pub fn json(facts: &Facts) -> String {
    let checks: Vec<String> = checks(facts).iter().map(check_json).collect();
    let trials = facts.trials.iter().map(|(kind, trial)| {
        let routes = trial.iter().flatten().map(|route| match &route.blind {
            None => format!("{{\"route\":{},\"live\":true}}", string(route.name)),
            Some(why) => format!("{{\"route\":{},\"live\":false,\"why\":{}}}", string(route.name), string(why)),
        });
        let routes: Vec<String> = routes.collect();
        match trial {
            Ok(_) => format!(
                "{{\"attach\":{},\"ok\":true,\"routes\":[{}],\"programs\":[{}]}}",
                string(kind.name()),
                routes.join(","),
                programs_json(facts, *kind)
            ),
            Err(e) => format!("{{\"attach\":{},\"ok\":false,\"why\":{}}}", string(kind.name()), string(&e.message)),
        }
    });
    let trials: Vec<String> = trials.collect();
    let (can_run, attach) = match verdict(facts) {
        Ok(kind) => (true, string(kind.name())),
        Err(_) => (false, "null".into()),
    };
    format!(
        "{{\"opentop\":{},\"can_run\":{can_run},\"attach\":{attach},\"checks\":[{}],\"trials\":[{}]}}\n",
        string(env!("CARGO_PKG_VERSION")),
        checks.join(","),
        trials.join(",")
    )
}

/// What the kernel's verifier made of the programs.
fn programs_json(facts: &Facts, kind: AttachKind) -> String {
    let number = |n: Option<u32>| n.map_or_else(|| "null".into(), |n| n.to_string());
    let costs = facts.programs.iter().filter(|(of, _)| *of == kind).flat_map(|(_, costs)| costs);
    let programs: Vec<String> = costs
        .map(|cost| {
            format!(
                "{{\"name\":{},\"instructions\":{},\"verified\":{}}}",
                string(&cost.name),
                number(cost.instructions),
                number(cost.verified)
            )
        })
        .collect();
    programs.join(",")
}

fn check_json(check: &Check) -> String {
    let mend = check.mend.as_deref().map_or_else(|| "null".into(), string);
    format!(
        "{{\"name\":{},\"state\":{},\"found\":{},\"why\":{},\"mend\":{mend}}}",
        string(check.name),
        string(word(check.state)),
        string(&check.found),
        string(check.why)
    )
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Limited => "limited",
        State::Missing => "missing",
    }
}

/// A JSON string of escaped text. Messages of several lines become one.
fn string(text: &str) -> String {
    let mut out = Vec::new();
    push_string(&mut out, &text.lines().map(str::trim).collect::<Vec<_>>().join(" "));
    // Written from text with ASCII around and in it.
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::{Error, Kind},
        session::{AttachKind, ProgramCost, RouteState},
    };

    fn facts() -> Facts {
        let blind = RouteState { name: "io_uring", blind: Some("no tracepoint \"here\"".into()) };
        Facts {
            trials: vec![
                (AttachKind::Kprobe, Err(Error::new(Kind::Unsupported, "this kernel has no kprobes"))),
                (AttachKind::Tracepoint, Ok(vec![RouteState { name: "openat", blind: None }, blind])),
            ],
            programs: vec![(
                AttachKind::Tracepoint,
                vec![ProgramCost { name: "t_ret".into(), instructions: Some(300), verified: Some(1234) }],
            )],
            ..Facts::default()
        }
    }

    #[test]
    fn people_read_what_is_live_and_what_is_blind() {
        let text = text(&facts());
        for line in [
            "missing  kprobe               this kernel has no kprobes\n",
            "With --attach tracepoint:\n  live   openat\n  blind  io_uring: no tracepoint \"here\"\n",
            "opentop can run here: --attach auto takes tracepoint.\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}");
        }
    }

    #[test]
    fn machines_read_the_same() {
        let json: serde_json::Value = serde_json::from_str(&json(&facts())).unwrap();
        assert_eq!(json["can_run"], true);
        assert_eq!(json["attach"], "tracepoint");
        assert_eq!(json["trials"][0]["why"], "this kernel has no kprobes");
        assert_eq!(json["trials"][1]["routes"][1]["why"], "no tracepoint \"here\"");
        assert_eq!(json["checks"][0]["name"], "kernel");
        assert_eq!(json["trials"][1]["programs"][0]["verified"], 1234);
    }
}
