//! `cargo xtask assets`: writes what ships beside the program and is made of its command line, manual pages and
//! completions, and the test snapshots of `--help`.

use anyhow::Result;

use crate::cmd;

pub fn main() -> Result<()> {
    // The test that fails when they are stale knows how to write them.
    cmd::run(
        cmd::cargo()
            .args(["test", "--quiet", "--package", "opentop", "--test", "generated"])
            .env("OPENTOP_UPDATE_ASSETS", "1")
            .env("INSTA_UPDATE", "always"),
    )
}
