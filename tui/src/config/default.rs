//! The configuration as a file with every default, commented out: what `opentop config` prints.

use std::fmt::Write as _;

use clap::ValueEnum;

use crate::app::Layout;
use crate::app::columns::COLUMNS;
use crate::app::keys::BINDINGS;
use crate::look::ThemeName;

/// The commented default; `path` is where it belongs, escaped.
#[must_use]
pub fn default_text(path: &str) -> String {
    let mut out = String::new();
    let names = |names: &[String]| names.join(", ");
    let variants = |v: Vec<Option<clap::builder::PossibleValue>>| -> Vec<String> {
        v.into_iter().flatten().map(|v| v.get_name().to_owned()).collect()
    };
    let themes = variants(ThemeName::value_variants().iter().map(ValueEnum::to_possible_value).collect());
    let layouts = variants(Layout::value_variants().iter().map(ValueEnum::to_possible_value).collect());
    let quoted: Vec<String> = COLUMNS.iter().map(|c| format!("\"{}\"", c.name)).collect();
    let defaults = crate::model::Options::default();
    let mut put = |comment: &str, setting: &str| {
        for line in comment.lines() {
            let _ = writeln!(out, "{}", format!("## {line}").trim_end());
        }
        let _ = writeln!(out, "# {setting}\n");
    };
    put(
        &format!(
            "The configuration of opentop. It belongs to\n{path}\n\
             Take the # away from what you change. The command line beats this file.\n\n\
             Colours: {}. The key T goes through them.",
            names(&themes)
        ),
        "theme = \"dark\"",
    );
    put(&format!("How processes and opens stand: {}.", names(&layouts)), "layout = \"auto\"");
    put(
        "Columns of the process table, from the left; path always comes last. F2 chooses them for the session.",
        &format!("columns = [{}]", quoted.join(", ")),
    );
    put(
        "Opens kept for looking back at. A hundred thousand take up to 32 MiB.",
        &format!("history = {}", defaults.history.events),
    );
    put("How often rates and the order of rows are brought up to date: 100ms to 60s.", "interval = \"1s\"");
    put("Filter at the start, in the filter language; -f takes its place.", "filter = \"\"");
    put("Whether the mouse is used; if not, it selects text of the terminal.", "mouse = true");
    put("Borders and bars in ASCII only.", "ascii = false");
    out.push_str(
        "## Keys: what to do = [keys]. A key given here is taken from what has it otherwise; [] takes them all.\n",
    );
    out.push_str("## Keys are written like q, Q, Space, Ctrl-x, Alt-x, F5, PgUp, Shift-Tab.\n# [keys]\n");
    for binding in BINDINGS {
        let keys: Vec<String> = binding.keys.iter().map(|k| format!("{k:?}")).collect();
        let _ = writeln!(out, "# {} = [{}]  ## {}", binding.name(), keys.join(", "), binding.help);
    }
    out
}
