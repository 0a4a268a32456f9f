//! Contributor commands: `cargo xtask probe|run|test|vm|bench`.
fn main() {}
