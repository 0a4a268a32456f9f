//! The fields of the filter language: one table that the parser, the completion, the help and docs/filter.md share.

use crate::{errno, event::Route, flags};

/// A field, by what it looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldId {
    /// The process.
    Pid,
    /// The thread.
    Tid,
    /// The parent process.
    Ppid,
    /// Real uid.
    Uid,
    /// Real uid, given as a user's name.
    User,
    /// Name of the thread.
    Comm,
    /// Absolute path.
    Path,
    /// A directory that the path is or is under.
    Dir,
    /// Name as passed.
    Name,
    /// errno of a failure.
    Err,
    /// Descriptor of a success.
    Fd,
    /// `O_*` flags.
    Flags,
    /// Permission bits of an open that may create.
    Mode,
    /// Route.
    Via,
    /// Duration.
    Dur,
    /// cgroup v2 id.
    Cgroup,
}

/// What a field's values look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number; can be compared.
    Number,
    /// A duration with its unit; is always compared.
    Duration,
    /// Text: exact, or with wildcards, or a regular expression.
    Text,
    /// A path: the same, and `*` stays within a component.
    Path,
    /// One of a fixed set of words (or their numbers).
    Word,
}

impl Kind {
    /// The kind in words, for tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Duration => "duration",
            Self::Text => "text",
            Self::Path => "path",
            Self::Word => "word",
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Which it is.
    pub id: FieldId,
    /// The word before the `:`.
    pub name: &'static str,
    /// What its values look like.
    pub kind: Kind,
    /// What it looks at, in a few words.
    pub doc: &'static str,
    /// How it is used.
    pub example: &'static str,
    /// What of it a capture can do.
    pub capture: &'static str,
}

const fn field(
    id: FieldId,
    name: &'static str,
    kind: Kind,
    doc: &'static str,
    example: &'static str,
    capture: &'static str,
) -> Field {
    Field { id, name, kind, doc, example, capture }
}

/// Every field.
pub const FIELDS: &[Field] = &[
    field(FieldId::Pid, "pid", Kind::Number, "the process", "pid:42", "all, with the process's descendants"),
    field(FieldId::Tid, "tid", Kind::Number, "the thread", "tid:4242", "all"),
    field(FieldId::Ppid, "ppid", Kind::Number, "the parent process", "ppid:1", "all"),
    field(FieldId::Uid, "uid", Kind::Number, "the real user id", "uid>=1000", "all"),
    field(FieldId::User, "user", Kind::Word, "the real user, by name or number", "user:www-data", "all"),
    field(FieldId::Comm, "comm", Kind::Text, "the thread's name", "comm:nginx,php*", "exact, or a prefix: comm:php*"),
    field(FieldId::Path, "path", Kind::Path, "the absolute path", "path:/etc/**", "exact, or a prefix: path:/etc/**"),
    field(
        FieldId::Dir,
        "dir",
        Kind::Path,
        "a directory it is in, however deep",
        "dir:/home/ann",
        "absolute, without wildcards",
    ),
    field(FieldId::Name, "name", Kind::Path, "the name as it was passed", "name:../*", "nothing"),
    field(FieldId::Err, "err", Kind::Word, "the error of a failed open", "err:ENOENT,EACCES", "all"),
    field(FieldId::Fd, "fd", Kind::Number, "the descriptor of a successful open", "fd>1000", "nothing"),
    field(FieldId::Flags, "flags", Kind::Word, "flags by name, or all of some letters", "flags:w", "all"),
    field(
        FieldId::Mode,
        "mode",
        Kind::Word,
        "the permissions asked for, octal, if it may create",
        "mode:0666",
        "nothing",
    ),
    field(FieldId::Via, "via", Kind::Word, "the way into the kernel", "via:io_uring,exec", "all"),
    field(FieldId::Dur, "dur", Kind::Duration, "how long it took", "dur>1ms", "all"),
    field(
        FieldId::Cgroup,
        "cgroup",
        Kind::Number,
        "the cgroup, by id or path",
        "cgroup:/system.slice/ssh.service",
        "all",
    ),
];

/// What people write for a field elsewhere, to point them to ours.
const ELSEWHERE: &[(&str, &str)] = &[
    ("tgid", "pid"),
    ("process", "pid"),
    ("thread", "tid"),
    ("parent", "ppid"),
    ("cmd", "comm"),
    ("command", "comm"),
    ("proc", "comm"),
    ("exe", "comm"),
    ("file", "path"),
    ("filename", "name"),
    ("directory", "dir"),
    ("folder", "dir"),
    ("errno", "err"),
    ("error", "err"),
    ("ret", "err"),
    ("result", "err"),
    ("perm", "mode"),
    ("route", "via"),
    ("syscall", "via"),
    ("duration", "dur"),
    ("latency", "dur"),
    ("lat", "dur"),
    ("time", "dur"),
    ("container", "cgroup"),
];

/// The field called `name`, whatever its case.
#[must_use]
pub(super) fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|f| f.name.eq_ignore_ascii_case(name))
}

impl FieldId {
    /// Its line of the table.
    #[must_use]
    pub fn field(self) -> &'static Field {
        // The table has a line for every field (a test holds it to that).
        FIELDS.iter().find(|f| f.id == self).unwrap_or(&FIELDS[0])
    }

    /// The word before the `:`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.field().name
    }

    /// The words this field knows, with what they mean. Empty for one that takes anything.
    pub fn words(self) -> Box<dyn Iterator<Item = (&'static str, &'static str)>> {
        match self {
            Self::Err => Box::new(errno::TABLE.iter().map(|(_, name)| (*name, ""))),
            Self::Via => Box::new(Route::ALL.iter().map(|route| (route.name(), via_doc(*route)))),
            Self::Flags => {
                let access = [("O_RDONLY", "only read"), ("O_WRONLY", "only written"), ("O_RDWR", "read and written")];
                let letters = [("r", "may be read"), ("w", "may be written")];
                let flags = flags::FLAGS.iter().map(|f| (f.name, f.doc));
                Box::new(letters.into_iter().chain(access).chain(flags))
            }
            _ => Box::new(std::iter::empty()),
        }
    }
}

fn via_doc(route: Route) -> &'static str {
    match route {
        Route::Syscall => "a system call; the hook can't tell which",
        Route::Open => "open(2)",
        Route::Openat => "openat(2)",
        Route::Openat2 => "openat2(2)",
        Route::Creat => "creat(2)",
        Route::IoUring => "io_uring",
        Route::Exec => "execve(2): the program and its interpreter",
        Route::Handle => "open_by_handle_at(2)",
    }
}

/// The field that somebody who wrote `wrong` probably meant.
pub(super) fn nearest_field(wrong: &str) -> Option<&'static str> {
    let lower = wrong.to_ascii_lowercase();
    let elsewhere = ELSEWHERE.iter().find(|(theirs, _)| *theirs == lower).map(|(_, ours)| *ours);
    elsewhere.or_else(|| nearest(&lower, FIELDS.iter().map(|f| f.name)))
}

/// The candidate that is nearest to `wrong`, if any is near: few letters changed, or it begins with what was written.
pub(super) fn nearest<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    // Longer text is no typo, and the distance costs the product of both lengths.
    if wrong.len() > 40 {
        return None;
    }
    let scored = candidates.filter_map(|candidate| {
        let lower = candidate.to_lowercase();
        let allowed = wrong.chars().count().min(lower.chars().count()).div_ceil(3);
        let distance = distance(&wrong, &lower);
        if distance <= allowed {
            Some((distance, candidate))
        } else {
            (wrong.len() >= 2 && lower.starts_with(&wrong)).then_some((allowed + 1, candidate))
        }
    });
    scored.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Letters to change, insert, drop or swap with their neighbour to come from `a` to `b` (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&above, j) + usize::from(x != *y)).min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            if let Some(k) = j.checked_sub(1)
                && last == Some(*y)
                && b.get(k) == Some(&x)
            {
                best = best.min(at(&before, k).saturating_add(1));
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
        last = Some(x);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_by_its_name_and_its_id() {
        for field in FIELDS {
            assert_eq!(find(field.name).unwrap().id, field.id);
            assert_eq!(find(&field.name.to_uppercase()).unwrap().id, field.id);
            assert_eq!(field.id.name(), field.name);
        }
    }

    #[test]
    fn every_example_parses() {
        for field in FIELDS.iter().filter(|f| !matches!(f.id, FieldId::User | FieldId::Cgroup)) {
            crate::filter::Filter::parse(field.example).unwrap();
        }
    }

    #[test]
    fn typos_find_what_was_meant() {
        for (wrong, right) in [
            ("pdi", "pid"),
            ("pth", "path"),
            ("pathh", "path"),
            ("errno", "err"),
            ("lat", "dur"),
            ("usr", "user"),
            ("COMMAND", "comm"),
        ] {
            assert_eq!(nearest_field(wrong), Some(right), "{wrong}");
        }
        assert_eq!(nearest_field("http"), None);
        assert_eq!(nearest("enonet2", FieldId::Err.words().map(|(w, _)| w)), Some("ENONET"));
        assert_eq!(nearest("enoet", FieldId::Err.words().map(|(w, _)| w)), Some("ENOENT"));
    }
}
