//! The table: kept as assets/compare.json, and written between marks in README.md and README.zh-CN.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::judge::{Cell, How, Left, ROWS};
use super::read;
use super::tools::TOOLS;
use crate::{kernels, truth};

/// A language of the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

const READMES: [(Language, &str); 2] = [(Language::English, "README.md"), (Language::Chinese, "README.zh-CN.md")];

/// Where the table stands in each of them.
const BEGIN: &str = "<!-- compare: written by cargo xtask compare --write -->";
const END: &str = "<!-- compare: end -->";

/// What was measured.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The kernel of the virtual machine.
    kernel: String,
    tools: Vec<Column>,
    rows: Vec<Line>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Column {
    name: String,
    version: String,
    command: String,
    /// Why it was not measured, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    what: String,
    /// One for each tool.
    cells: Vec<Cell>,
}

impl Table {
    /// Of what the tools left in a folder.
    pub fn of(dir: &Path) -> Result<Self> {
        let versions = fs::read_to_string(dir.join("versions.json")).context("no run of `compare --keep` is there")?;
        let versions: BTreeMap<String, String> = serde_json::from_str(&versions)?;
        let mut rows: Vec<Line> = ROWS.iter().map(|row| Line { what: row.key.into(), cells: Vec::new() }).collect();
        let mut tools = Vec::new();
        for tool in &TOOLS {
            let error = fs::read_to_string(dir.join(format!("{}.error", tool.key))).ok();
            let left = error.is_none().then(|| left(dir, tool.key)).transpose()?;
            for (line, row) in rows.iter_mut().zip(&ROWS) {
                let unmeasured = Cell { of: 0, got: 0, how: How::Unmeasured };
                line.cells.push(left.as_ref().map_or(unmeasured, |left| row.cell(left)));
            }
            // 0.26.0+ds-1 is Debian's first package of 0.26.0.
            let upstream = |version: &String| version.split(['+', '-']).next().unwrap_or_default().to_owned();
            let version = match tool.package {
                None => env!("CARGO_PKG_VERSION").into(),
                Some(package) => format!("{package} {}", versions.get(package).map(upstream).unwrap_or_default()),
            };
            tools.push(Column { name: tool.name.into(), version, command: tool.typed.into(), error });
        }
        Ok(Self { kernel: kernels::DEFAULT.into(), tools, rows })
    }

    /// Writes assets/compare.json and the table of each README.
    pub fn write(&self, root: &Path) -> Result<()> {
        let path = root.join("assets/compare.json");
        let json = serde_json::to_string_pretty(self)?;
        fs::write(&path, format!("{json}\n")).with_context(|| format!("cannot write {}", path.display()))?;
        for (language, name) in READMES {
            let path = root.join(name);
            let text = fs::read_to_string(&path)?;
            let (before, _, after) = parts(&text).with_context(|| format!("{name} has no place for the table"))?;
            fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", self.markdown(language)))?;
        }
        Ok(())
    }

    /// What stands between the marks.
    pub fn markdown(&self, language: Language) -> String {
        let english = language == Language::English;
        let mut out = String::from("\n\n");
        let mut row = |cells: &mut dyn Iterator<Item = String>| {
            let _ = writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "));
        };
        let head = if english { "what is seen" } else { "看到什么" };
        row(&mut std::iter::once(head.into()).chain(self.tools.iter().map(|tool| tool.name.clone())));
        row(&mut std::iter::repeat_n("---".into(), self.tools.len() + 1));
        let version = if english { "version" } else { "版本" };
        row(&mut std::iter::once(version.into()).chain(self.tools.iter().map(|tool| tool.version.clone())));
        for line in &self.rows {
            let losses = line.what == "losses";
            let cells = line.cells.iter().map(|cell| if losses { lost(*cell, english) } else { words(*cell, english) });
            row(&mut std::iter::once(label(&line.what, english)).chain(cells));
        }
        let commands: Vec<String> = self.tools.iter().map(|tool| format!("`{}`", tool.command)).collect();
        let _ = match language {
            Language::English => writeln!(out, "\nRun as {}.", commands.join(", ")),
            Language::Chinese => writeln!(out, "\n各自的命令：{}。", commands.join("、")),
        };
        for tool in &self.tools {
            let Some(error) = &tool.error else { continue };
            let _ = match language {
                Language::English => writeln!(out, "\nNot measured: {}: {error}.", tool.name),
                Language::Chinese => writeln!(out, "\n没有测量：{}：{error}。", tool.name),
            };
        }
        out.push('\n');
        out
    }
}

/// What a tool left, read.
fn left(dir: &Path, key: &str) -> Result<Left> {
    let read = |what: &str| {
        let name = format!("{key}.{what}");
        fs::read(dir.join(&name)).with_context(|| format!("{name} is missing"))
    };
    let text = read("lines")?;
    Ok(Left {
        seen: read::opens(key, &String::from_utf8_lossy(&text)),
        truth: truth::told(&String::from_utf8_lossy(&read("truth")?))?,
        flood: serde_json::from_slice(&read("flood")?)?,
        text,
    })
}

/// A README before, between and behind the marks.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (between, after) = rest.split_once(END)?;
    Some((before, between, after))
}

/// The name of a row.
fn label(key: &str, english: bool) -> String {
    let (en, zh) = match key {
        "compat" => ("32-bit system calls", "32 位系统调用"),
        "exec" => ("exec: the program, a script, its interpreter", "exec：程序、脚本、脚本的解释器"),
        "handle" => ("open_by_handle_at, with the path", "open_by_handle_at，并给出路径"),
        "failures" => ("failed opens, with the error", "失败的打开，并给出错误"),
        "cwd" => ("a relative name made absolute", "把相对名字变成绝对路径"),
        "dirfd" => ("a name relative to a descriptor, made absolute", "把相对于描述符的名字变成绝对路径"),
        "chroot" => ("in a chroot: the path as the process sees it", "chroot 之内：进程所见的路径"),
        "mounts" => (
            "on a bind mount, on an overlay: the path as the process sees it",
            "bind mount、overlay 上：进程所见的路径",
        ),
        "long" => ("a name of 255 bytes, a path of 4,095, whole", "255 字节的名字、4095 字节的路径，完整"),
        "untouched" => ("a name in memory that was not touched yet", "名字所在的内存页尚未被访问过"),
        "hostile" => ("names made to harm a terminal", "用来损害终端的名字"),
        "short-lived" => ("a process that is gone at once, by name", "转瞬即逝的进程，有名字"),
        "threads" => ("opens by 8 threads at once: who", "8 个线程同时打开：是谁"),
        "user" => ("the user", "用户"),
        "flags" => ("flags and mode", "标志与权限位"),
        "duration" => ("how long the open took", "打开用了多久"),
        "losses" => (
            "lost of 200,000 opens of a file while the tool is stopped",
            "工具停住时对一个文件的 200,000 次打开，丢失多少",
        ),
        other => (other, other),
    };
    if english { en } else { zh }.into()
}

/// A cell in words.
fn words(cell: Cell, english: bool) -> String {
    let Cell { of, got, how } = cell;
    let text = |en: &str, zh: &str| if english { en.to_owned() } else { zh.to_owned() };
    let some = if english { format!("{got} of {of}") } else { format!("{of} 之 {got}") };
    match how {
        How::Unmeasured => text("not measured", "未测"),
        How::AsPassed => text("as passed", "只有传入的名字"),
        How::Outside => text("as seen from outside", "只有从外面看的路径"),
        How::WithoutName => text("without the path", "没有路径"),
        How::Raw => format!("{} ({some})", text("given to it raw", "原样送出")),
        How::Escaped => text("escaped", "转义"),
        How::Replaced => text("replaced", "被替换"),
        _ if got == 0 => text("no", "否"),
        _ => {
            let more = match how {
                How::Process => Some(text("process", "进程")),
                How::Thread => Some(text("thread", "线程")),
                How::Both => Some(text("process and thread", "进程与线程")),
                How::Flags => Some(text("flags", "标志")),
                _ => None,
            };
            match (got == of, more) {
                (true, None) => text("yes", "是"),
                (true, Some(more)) => more,
                (false, None) => some,
                (false, Some(more)) => format!("{more} ({some})"),
            }
        }
    }
}

/// A cell of the row of losses.
fn lost(cell: Cell, english: bool) -> String {
    let percent = 100.0 * cell.got as f64 / cell.of.max(1) as f64;
    let (en, zh) = match cell.how {
        How::Unmeasured => return words(cell, english),
        How::Held => ("none: the program has to wait", "没有：程序要等"),
        How::Counted => (", counted", "，有计数"),
        How::Told => (", told, not exactly", "，有说明，数目不准"),
        How::Silent => (", not told", "，没有说明"),
        _ => ("none", "没有"),
    };
    let text = if english { en } else { zh };
    match cell.how {
        // Nearly all is not all.
        How::Counted | How::Told | How::Silent if percent > 99.0 && cell.got < cell.of => {
            format!("{:.1} %{text}", (percent * 10.0).floor() / 10.0)
        }
        How::Counted | How::Told | How::Silent => format!("{percent:.0} %{text}"),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd;

    #[test]
    fn the_readmes_have_the_table_that_was_measured() {
        let json = fs::read_to_string(cmd::root().join("assets/compare.json")).unwrap();
        let table: Table = serde_json::from_str(&json).unwrap();
        assert!(table.rows.iter().map(|line| line.what.as_str()).eq(ROWS.iter().map(|row| row.key)), "rows");
        assert!(table.tools.iter().map(|tool| tool.command.as_str()).eq(TOOLS.iter().map(|tool| tool.typed)), "tools");
        for (language, name) in READMES {
            let text = fs::read_to_string(cmd::root().join(name)).unwrap();
            let (_, between, _) = parts(&text).unwrap_or_else(|| panic!("{name} has no table"));
            assert_eq!(between, table.markdown(language), "{name}: cargo xtask compare --write");
        }
    }

    #[test]
    fn opentop_sees_all_that_is_compared() {
        let json = fs::read_to_string(cmd::root().join("assets/compare.json")).unwrap();
        let table: Table = serde_json::from_str(&json).unwrap();
        for line in &table.rows {
            let cell = line.cells[0];
            let whole = match line.what.as_str() {
                "hostile" => cell.how == How::Escaped && cell.got == 0,
                "losses" => cell.how == How::Counted || cell.got == 0,
                _ => cell.got == cell.of,
            };
            assert!(whole && cell.of > 0, "{}: {cell:?}", line.what);
        }
    }
}
