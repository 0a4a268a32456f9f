//! docs/keys.md and docs/configuration.md say what the program does. With `OPENTOP_WRITE_DOCS=1` this writes them.

#![allow(clippy::unwrap_used, reason = "test code: a panic is the report")]

use std::fmt::Write as _;
use std::path::PathBuf;

use opentop::app::columns::COLUMNS;
use opentop::app::keys::{BINDINGS, Group, PROMPT_KEYS};
use opentop::config::{SETTINGS, default_text};
use opentop::view::help::MOUSE;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

fn keys() -> String {
    let mut out = String::from(
        "# Keys\n\nThis is the table that the program runs by: the help (`?`) shows the same. Each can be bound anew \
         under `[keys]` of the [configuration](configuration.md), by the name in the last column.\n",
    );
    for group in Group::ALL {
        let _ = write!(out, "\n## {}\n\n| key | what it does | name |\n|---|---|---|\n", group.title());
        for binding in BINDINGS.iter().filter(|b| b.group == group) {
            let keys: Vec<String> = binding.keys.iter().map(|k| format!("`{}`", k.replace('|', "\\|"))).collect();
            let _ = writeln!(out, "| {} | {} | `{}` |", keys.join(" "), binding.help, binding.name());
        }
    }
    out.push_str("\n## While typing a filter or a search\n\n| key | what it does |\n|---|---|\n");
    for (key, word) in PROMPT_KEYS {
        let _ = writeln!(out, "| `{key}` | {word} |");
    }
    out.push_str("\n## The mouse\n\n| where | what it does |\n|---|---|\n");
    for (word, help) in MOUSE {
        let _ = writeln!(out, "| {word} | {help} |");
    }
    out.push_str("\n`--no-mouse` leaves the mouse to the terminal.\n");
    out
}

fn configuration() -> String {
    let mut out = String::from(
        "# Configuration\n\nOne TOML file, `$XDG_CONFIG_HOME/opentop/config.toml`, else \
         `~/.config/opentop/config.toml`. Under sudo it is the one in the home of the user who called sudo, read with \
         that user's rights. The command line beats the file. Nothing in the file stops the start: a setting, value, \
         column or key that is not understood is named on stderr with its line and the nearest right word, and the \
         rest holds.\n\n`opentop config` prints the file with every default, commented out:\n\n```sh\nmkdir -p \
         ~/.config/opentop && opentop config > ~/.config/opentop/config.toml\n```\n\n```toml\n",
    );
    out.push_str(&default_text("~/.config/opentop/config.toml"));
    out.push_str("```\n\n## Columns\n\n| name | head | what it is |\n|---|---|---|\n");
    for column in &COLUMNS {
        let _ = writeln!(out, "| `{}` | {} | {} |", column.name, column.head, column.help);
    }
    out.push_str(
        "\n## Keys\n\nA key given to an action under `[keys]` is taken from whatever has it by default. When two \
         actions of the file want the same key it stays with the first, and that is told; so is an action that has \
         lost its last key to others. There is always a way out: an action `quit` without a key has `Ctrl-c`. The \
         names are in [keys](keys.md).\n",
    );
    out
}

fn holds(name: &str, text: &str) {
    if std::env::var_os("OPENTOP_WRITE_DOCS").is_some() {
        std::fs::write(file(name), text).unwrap();
    }
    let written = std::fs::read_to_string(file(name)).unwrap_or_default();
    assert!(
        written == text,
        "docs/{name} is not what the program does: OPENTOP_WRITE_DOCS=1 cargo test -p opentop --test docs_of_keys"
    );
}

#[test]
fn the_page_of_keys_is_the_table_of_keys() {
    holds("keys.md", &keys());
}

#[test]
fn the_page_of_the_configuration_has_every_setting_and_its_default() {
    let text = configuration();
    for setting in SETTINGS {
        assert!(text.contains(setting), "{setting}");
    }
    holds("configuration.md", &text);
}
