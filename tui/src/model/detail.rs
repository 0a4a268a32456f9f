//! One process looked at closely: made from the opens that are kept, whenever it is asked for.

use probe_common::ProcessKey;
use rustc_hash::FxHashMap;

use super::Model;

/// Rows kept of each table.
const ROWS: usize = 200;

/// Opens that are looked at, the newest: as many as a few milliseconds are enough for.
const OPENS: usize = 10_000;

/// What the kept opens of a process say beside its counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Opens looked at.
    pub opens: u64,
    /// Most opened paths: path, opens, failures of them.
    pub files: Vec<(Box<[u8]>, u64, u64)>,
    /// Most frequent failures: errno, path, how often.
    pub failures: Vec<(i32, Box<[u8]>, u64)>,
    /// Threads: tid, name, opens.
    pub threads: Vec<(u32, Vec<u8>, u64)>,
    /// Flags as given: bits, opens.
    pub flags: Vec<(u32, u64)>,
    /// Routes: name, opens.
    pub routes: Vec<(&'static str, u64)>,
    /// cgroup v2 id of the last open.
    pub cgroup_id: u64,
}

impl Detail {
    /// Looks at the kept opens of a process.
    #[must_use]
    pub fn of(model: &Model, key: &ProcessKey) -> Self {
        let mut files: FxHashMap<Vec<u8>, (u64, u64)> = FxHashMap::default();
        let mut threads: FxHashMap<u32, (Vec<u8>, u64)> = FxHashMap::default();
        let mut flags: FxHashMap<u32, u64> = FxHashMap::default();
        let mut routes: FxHashMap<&'static str, u64> = FxHashMap::default();
        let mut detail = Self::default();
        let Some(index) = model.processes.index(key) else { return detail };
        let mut path = Vec::new();
        let history = &model.history;
        let mut failures: FxHashMap<(i32, Vec<u8>), u64> = FxHashMap::default();
        let of_it = (history.first()..history.end()).rev().filter(|seq| history.process(*seq) == Some(index));
        for seq in of_it.take(OPENS) {
            // An index is used again after a process has retired.
            let Some(event) = history.get(seq).filter(|e| e.process() == *key) else { continue };
            detail.opens += 1;
            if detail.opens == 1 {
                detail.cgroup_id = event.header().cgroup_id;
            }
            path.clear();
            event.path_into(&mut path);
            if let Some((opens, failed)) = files.get_mut(&path) {
                *opens += 1;
                *failed += u64::from(event.failed());
            } else {
                files.insert(path.clone(), (1, u64::from(event.failed())));
            }
            if let Some(errno) = event.errno() {
                *failures.entry((errno, path.clone())).or_default() += 1;
            }
            let thread = threads.entry(event.header().tid).or_insert_with(|| (event.comm().to_vec(), 0));
            thread.1 += 1;
            *flags.entry(event.header().flags).or_default() += 1;
            *routes.entry(event.route().name()).or_default() += 1;
        }
        detail.files = files.into_iter().map(|(path, (opens, failed))| (path.into(), opens, failed)).collect();
        detail.files.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        detail.files.truncate(ROWS);
        detail.failures = failures.into_iter().map(|((errno, path), count)| (errno, path.into(), count)).collect();
        detail.failures.sort_unstable_by(|a, b| b.2.cmp(&a.2).then_with(|| a.1.cmp(&b.1)).then(a.0.cmp(&b.0)));
        detail.failures.truncate(ROWS);
        detail.threads = threads.into_iter().map(|(tid, (comm, opens))| (tid, comm, opens)).collect();
        detail.threads.sort_unstable_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(&b.0)));
        detail.threads.truncate(ROWS);
        detail.flags = flags.into_iter().collect();
        detail.flags.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        detail.flags.truncate(ROWS);
        detail.routes = routes.into_iter().collect();
        detail.routes.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        detail
    }
}
