//! The licences of the crates that are linked into the program, which want to go where it goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cmd;

/// The text of every licence, each once, with the crates that come under it.
pub fn of_crates(source: &Path, triple: &str) -> Result<String> {
    let said =
        cmd::output(cmd::cargo().current_dir(source).args(["metadata", "--format-version", "1", "--locked"]).args([
            "--filter-platform",
            triple,
            "--manifest-path",
            "tui/Cargo.toml",
        ]))?;
    let metadata: Value = serde_json::from_str(&said)?;
    let by_id = |list: &Value| -> HashMap<String, Value> {
        let all = list.as_array().into_iter().flatten();
        all.filter_map(|one| Some((one["id"].as_str()?.to_owned(), one.clone()))).collect()
    };
    let (packages, nodes) = (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
    let mut to_do: Vec<String> =
        packages.iter().filter(|(_, package)| package["name"] == "opentop").map(|(id, _)| id.clone()).collect();
    ensure!(to_do.len() == 1, "cargo metadata names {} packages opentop", to_do.len());
    let mut linked = BTreeSet::new();
    while let Some(id) = to_do.pop() {
        let dependencies = nodes[&id]["deps"].as_array().into_iter().flatten();
        // Kind null is neither for building nor for tests. A procedural macro is not linked, but its licence does not hurt.
        let normal = dependencies.filter(|dep| {
            dep["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        });
        to_do
            .extend(normal.filter_map(|dep| dep["pkg"].as_str()).filter(|id| !linked.contains(*id)).map(str::to_owned));
        linked.insert(id);
    }

    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for id in linked {
        let package = &packages[&id];
        let word = |key: &str| package[key].as_str().unwrap_or_default();
        if package["source"].is_null() {
            continue;
        }
        let dir = Path::new(word("manifest_path")).parent().context("a manifest without a folder")?;
        let name = format!("{} {} ({})", word("name"), word("version"), word("license"));
        let mut found = false;
        for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?.flatten() {
            let file = entry.file_name().to_string_lossy().to_uppercase();
            let is_licence =
                ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"].iter().any(|p| file.starts_with(p));
            if is_licence && entry.path().is_file() {
                let text = String::from_utf8_lossy(&fs::read(entry.path())?).trim_end().to_owned();
                texts.entry(text).or_default().push(name.clone());
                found = true;
            }
        }
        if !found {
            texts
                .entry("(the crate has no licence file; its manifest names the licence)".into())
                .or_default()
                .push(name);
        }
    }
    let mut out = String::from("The crates that are linked into opentop, and their licences.\n");
    for (text, mut crates) in texts {
        crates.sort();
        crates.dedup();
        out.push_str(&format!("\n{}\n{}\n{}\n\n{text}\n", "=".repeat(78), crates.join("\n"), "=".repeat(78)));
    }
    Ok(out)
}
