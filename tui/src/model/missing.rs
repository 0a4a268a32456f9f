//! Failures as a person asks about them: a name that was looked for, the places where it was tried, and where it was
//! found at last.

use std::cmp::Ordering;

use rustc_hash::FxHashMap;

use super::files::{Failures, Few, Files};

/// Places kept of one name.
const PLACES: usize = 64;

/// A name that opens failed on, with one errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The last component of the paths.
    pub name: Box<[u8]>,
    /// What the opens failed with.
    pub errno: i32,
    /// How often.
    pub count: u64,
    /// The paths that were tried, the most frequent first, and how often each.
    pub places: Vec<(Box<[u8]>, u64)>,
    /// Paths in all.
    pub tried: usize,
    /// A path with that name that was opened with success.
    pub found: Option<Box<[u8]>>,
    /// Who tried.
    pub who: Few,
    /// When last, boot clock, ns.
    pub last_ns: u64,
}

/// The last component of a path; the path itself where it has none.
#[must_use]
pub fn name_of(path: &[u8]) -> &[u8] {
    let trimmed = path.strip_suffix(b"/").filter(|p| !p.is_empty()).unwrap_or(path);
    let name = trimmed.rsplit(|b| *b == b'/').next().unwrap_or(trimmed);
    if name.is_empty() { path } else { name }
}

/// A row in the making.
struct Name<'a> {
    missing: Missing,
    places: Vec<(&'a [u8], u64)>,
}

/// The first `k` names by `order`, and how many there are.
#[must_use]
pub fn missing(
    failures: &Failures,
    files: &Files,
    k: usize,
    order: impl Fn(&Missing, &Missing) -> Ordering,
) -> (Vec<Missing>, usize) {
    let mut names: FxHashMap<(i32, &[u8]), Name<'_>> = FxHashMap::default();
    for (key, counted) in failures.table().iter() {
        let (errno, path) = Failures::split(key);
        let name = name_of(path);
        let row = names.entry((errno, name)).or_insert_with(|| Name {
            missing: Missing {
                name: name.into(),
                errno,
                count: 0,
                places: Vec::new(),
                tried: 0,
                found: None,
                who: Few::default(),
                last_ns: 0,
            },
            places: Vec::new(),
        });
        row.places.push((path, counted.count));
        let missing = &mut row.missing;
        missing.count += counted.count;
        missing.tried += 1;
        missing.last_ns = missing.last_ns.max(counted.with.last_ns);
        missing.who.merge(&counted.with.who);
    }
    let total = names.len();
    let mut rows: Vec<Name<'_>> = names.into_values().collect();
    // The path by which each name was opened last, and when.
    let mut wanted: FxHashMap<&[u8], (u64, &[u8])> =
        rows.iter().map(|row| (&*row.missing.name, (0, &[][..]))).collect();
    for (path, counted) in files.table().iter().filter(|(_, c)| c.count > c.with.failed) {
        if let Some(best) = wanted.get_mut(name_of(path)).filter(|(last, _)| *last <= counted.with.last_ns) {
            *best = (counted.with.last_ns, path);
        }
    }
    // Before the order, which may go by it.
    let found: Vec<Option<Box<[u8]>>> = rows
        .iter()
        .map(|row| {
            wanted.get(&*row.missing.name).map(|(_, path)| *path).filter(|path| !path.is_empty()).map(Into::into)
        })
        .collect();
    for (row, found) in rows.iter_mut().zip(found) {
        row.missing.found = found;
    }
    let order = |a: &Name<'_>, b: &Name<'_>| {
        let (a, b) = (&a.missing, &b.missing);
        order(a, b).then_with(|| a.name.cmp(&b.name)).then(a.errno.cmp(&b.errno))
    };
    if k < rows.len() {
        rows.select_nth_unstable_by(k, &order);
        rows.truncate(k);
    }
    rows.sort_unstable_by(&order);
    let rows = rows.into_iter().map(|Name { mut missing, mut places }| {
        places.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        missing.places = places.into_iter().take(PLACES).map(|(path, count)| (path.into(), count)).collect();
        missing
    });
    (rows.collect(), total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, RecordBuilder};

    #[test]
    fn a_name_tried_in_many_places_is_one_row_that_says_where_it_was_found() {
        let (mut files, mut failures) = (Files::default(), Failures::default());
        let mut open = |path: &str, errno: i32| {
            let record = RecordBuilder::new(7, "sh", path);
            let bytes = if errno > 0 { record.errno(errno) } else { record }.build();
            let event = Event::decode(&bytes).unwrap();
            files.event(path.as_bytes(), &event);
            failures.event(&mut path.as_bytes().to_vec(), &event);
        };
        for dir in ["/lib", "/usr/lib", "/usr/lib", "/opt"] {
            open(&format!("{dir}/libx.so"), 2);
        }
        open("/usr/local/lib/libx.so", 0);
        open("/etc/shadow", 13);
        let (rows, total) = missing(&failures, &files, 10, |a, b| b.count.cmp(&a.count));
        assert_eq!(total, 2);
        assert_eq!((&*rows[0].name, rows[0].count, rows[0].tried), (&b"libx.so"[..], 4, 3));
        assert_eq!(rows[0].found.as_deref(), Some(&b"/usr/local/lib/libx.so"[..]));
        assert_eq!(rows[0].places[0], (b"/usr/lib/libx.so"[..].into(), 2));
        assert_eq!((rows[1].errno, rows[1].found.as_deref()), (13, None));
    }

    #[test]
    fn a_path_without_a_last_component_is_its_own_name() {
        assert_eq!(name_of(b"/"), b"/");
        assert_eq!(name_of(b""), b"");
        assert_eq!(name_of(b"/a/b/"), b"b");
    }
}
