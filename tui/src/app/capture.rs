//! `c`: the line in which the capture is typed. What is typed takes effect with Enter, in the kernel; until then, and
//! where the kernel cannot do it, the capture before stays.

use super::act::remember;
use super::prompt::{Prompt, Purpose};
use super::{App, Effect, Mode};
use crate::escape::escaped;
use crate::filter::{ParseError, capture, capture::CaptureProgram, lower};
use crate::session::capture_words;
use crate::source::{CaptureChange, Recapture};

/// Opens the line with the capture in force.
pub(super) fn open(app: &mut App) {
    if app.replay.is_some() || !app.settings.live {
        app.notice =
            Some("a recording's capture cannot be changed: what was not captured is not in it; / filters it".into());
    } else if app.live.ended {
        app.notice = Some("the capture has ended; / filters what it left".into());
    } else {
        let text = app.settings.capture.text.clone();
        app.mode = Mode::Prompt(Box::new(Prompt::new(Purpose::Capture, text.clone(), None)));
        typed(app, &text);
    }
}

/// Says what is wrong with what is typed, or what the kernel makes of it.
pub(super) fn typed(app: &mut App, text: &str) {
    let (compiled, command) = (compile(app, text), app.settings.capture.command.is_some());
    let Mode::Prompt(prompt) = &mut app.mode else { return };
    (prompt.error, prompt.note) = match compiled {
        Ok(program) if program.is_all() && command => {
            (None, "Enter: the kernel captures every open of the command, and counts it".into())
        }
        Ok(program) => (None, lower::explain(&program)),
        Err(error) => (Some((error.message, error.at)), String::new()),
    };
}

/// Puts what is typed in force; a line with an error stays open.
pub(super) fn keep(app: &mut App, text: &str, effects: &mut Vec<Effect>) {
    let Ok(program) = compile(app, text) else { return };
    app.mode = Mode::Normal;
    let text = text.trim().to_owned();
    let words = capture_words(app.settings.capture.command.as_deref(), &text);
    remember(app, text.clone());
    effects.push(Effect::Capture(Box::new(Recapture { program, text, words })));
}

/// The kernel answered.
pub(super) fn answered(app: &mut App, change: CaptureChange) {
    match change.refused {
        None => {
            // Whoever jumps in a recording passes many of them.
            if app.replay.as_ref().is_none_or(|replay| replay.position.playing) {
                app.notice = Some(format!("captured from now on: {}", escaped(change.words.as_bytes())));
            }
            app.session.capture = change.words;
            app.settings.capture.text = change.text;
        }
        Some(why) => app.notice = Some(format!("the capture is what it was: {why}")),
    }
}

fn compile(app: &App, text: &str) -> Result<CaptureProgram, ParseError> {
    // Here the display filter has a key, not an option.
    let here = |error: ParseError| ParseError { message: error.message.replace("-f", "/"), ..error };
    let filter = (app.settings.parse)(text)?;
    capture::compile(&filter).map_err(|error| here(error.into()))
}
