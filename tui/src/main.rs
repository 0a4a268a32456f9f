//! The `opentop` command: parse, choose a source and a front end, exit with its code.
fn main() {}
