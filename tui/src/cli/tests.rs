use clap::CommandFactory as _;

use super::*;

fn typed(line: &str) -> Result<Cli, String> {
    let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    parse(&args).map_err(|e| e.to_string())
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn options_mean_the_same_in_the_dashboard_and_in_trace() {
    let dashboard = typed("opentop -p 1,2 -p 3 -x --duration 10s --attach fentry -- ls -l").unwrap().capture;
    let Some(Command::Trace(trace)) =
        typed("opentop trace -p 1,2 -p 3 -x --duration 10s --attach fentry -- ls -l").unwrap().command
    else {
        panic!("not trace")
    };
    for capture in [dashboard, trace.capture] {
        assert_eq!(capture.pids, [1, 2, 3]);
        assert!(capture.failed);
        assert_eq!(capture.duration, Some(Duration::from_secs(10)));
        assert_eq!(capture.attach.kind(), Some(AttachKind::Fentry));
        assert_eq!(capture.cmd, ["ls", "-l"]);
    }
}

#[test]
fn a_double_dash_wants_a_command() {
    for line in ["opentop --", "opentop trace --", "opentop trace -x --"] {
        let message = typed(line).unwrap_err();
        assert!(message.contains("no command after `--`"), "{message}");
    }
    assert_eq!(typed("opentop -- ls --").unwrap().capture.cmd, ["ls", "--"]);
}

#[test]
fn options_before_a_subcommand_are_refused_and_never_ignored() {
    assert!(typed("opentop -x trace").is_err());
}

#[test]
fn a_command_named_like_a_subcommand_can_be_run() {
    assert_eq!(typed("opentop -- trace").unwrap().capture.cmd, ["trace"]);
}
