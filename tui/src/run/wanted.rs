//! What the command line asks to be captured: `-c` and its short forms, and the command behind `--`.

use crate::{
    cli::CaptureArgs,
    error::{Error, Kind},
    filter::{
        Filter,
        capture::{self, CaptureProgram},
    },
    session,
};

/// A capture, as the probe takes it and as a person reads it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Processes that everything is confined to whatever the expression says, beside the command; `None` without a
    /// command.
    pub scope: Option<Vec<u32>>,
    /// What the kernel decides by.
    pub program: CaptureProgram,
    /// The same as a person would write it, the short forms included; empty for all.
    pub text: String,
    /// For the header: with the command.
    pub words: String,
}

impl Wanted {
    /// What these arguments ask for.
    ///
    /// # Errors
    /// When the expression cannot be understood, or the kernel cannot do it.
    pub fn new(args: &CaptureArgs) -> Result<Self, Error> {
        let typed = args.capture.as_deref().unwrap_or_default().trim();
        compiled(typed)?;
        let command = !args.cmd.is_empty();
        let mut parts = Vec::new();
        if !args.pids.is_empty() && !command {
            let pids: Vec<String> = args.pids.iter().map(u32::to_string).collect();
            parts.push(format!("pid:{}", pids.join(",")));
        }
        if let Some(uid) = args.uid {
            parts.push(format!("uid:{uid}"));
        }
        if args.failed {
            parts.push("failed".into());
        }
        // Alone it stays as it was typed.
        match typed {
            "" => {}
            typed if typed.contains('|') && !parts.is_empty() => parts.push(format!("({typed})")),
            typed => parts.push(typed.into()),
        }
        let text = parts.join(" ");
        let program = compiled(&text)?;
        let words = session::capture_words(command.then_some(args.pids.as_slice()), &text);
        Ok(Self { scope: command.then(|| args.pids.clone()), program, text, words })
    }
}

fn compiled(text: &str) -> Result<CaptureProgram, Error> {
    let wrong = |what, error: crate::filter::ParseError| {
        Error::new(Kind::Usage, format!("--capture cannot be {what}:\n{}", error.pointing(text)))
    };
    let filter = Filter::parse(text).map_err(|e| wrong("understood", e))?;
    capture::compile(&filter).map_err(|e| wrong("done by the kernel", e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(args: CaptureArgs) -> Result<Wanted, String> {
        Wanted::new(&args).map_err(|e| e.message)
    }

    #[test]
    fn short_forms_and_the_expression_must_all_hold() {
        let args = CaptureArgs {
            pids: vec![1, 2],
            uid: Some(0),
            failed: true,
            capture: Some("comm:a | comm:b".into()),
            ..CaptureArgs::default()
        };
        let all = wanted(args.clone()).unwrap();
        assert_eq!(all.text, "pid:1,2 uid:0 failed (comm:a | comm:b)");
        assert_eq!((all.words.as_str(), all.program.clauses.len(), all.scope), (all.text.as_str(), 4, None));
        let command = wanted(CaptureArgs { cmd: vec!["ls".into()], pids: vec![7], ..args }).unwrap();
        assert_eq!(command.scope, Some(vec![7]));
        assert_eq!(command.words, "command and pid:7, uid:0 failed (comm:a | comm:b)");
        assert_eq!(wanted(CaptureArgs::default()).unwrap().words, "all");
    }

    #[test]
    fn what_the_kernel_cannot_do_is_refused_under_a_caret() {
        let error =
            wanted(CaptureArgs { capture: Some("uid:0 path:*.conf".into()), ..CaptureArgs::default() }).unwrap_err();
        assert!(
            error.contains("--capture cannot be done by the kernel:\n  uid:0 path:*.conf\n        ^^^^^^^^^^^\n"),
            "{error}"
        );
        assert!(error.contains("-f"), "{error}");
        let error = wanted(CaptureArgs { capture: Some("comm:(".into()), ..CaptureArgs::default() }).unwrap_err();
        assert!(error.contains("cannot be understood"), "{error}");
    }
}
