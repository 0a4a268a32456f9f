//! Facts on processes as they turn up: command line, program, parents, the user's name. Looked up in /proc once per
//! process and program that it runs, in a thread of its own: an open never waits for it, and what is gone by the time of
//! the look stays unknown.
//!
//! Started for a recording, which is to say on another machine what this one knows, and for the dashboard, so that
//! a process can be named after its end. Bounded: what a storm of new processes asks beyond [`PER_SECOND`] is asked again by
//! their later opens.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use probe_common::{COMM_LEN, ProcessKey, RecordHeader, route};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::mpsc;

use crate::error::{Error, in_words};
use crate::source::{Input, ProcessFacts};

/// Looks per second, beyond a first [`BURST`]: some 3 % of a core.
const PER_SECOND: f64 = 500.0;

/// Looks that may come at once.
const BURST: f64 = 1000.0;

/// Processes waiting to be looked at.
const WANTED: usize = 1024;

/// Answers waiting to be taken.
const FOUND: usize = 256;

/// Processes that are remembered as asked for: as many as the dashboard keeps.
const KNOWN: usize = crate::model::processes::MAX_PROCESSES;

/// Parents remembered as told, users remembered by name.
const TOLD: usize = 16 * 1024;

/// Longest wait for the last answers at the end.
const LAST: Duration = Duration::from_millis(250);

/// Longest command line that is kept, bytes.
const COMMAND_LINE: usize = 64 * 1024;

/// Depth of a tree of processes beyond which nothing is looked for.
const DEPTH: usize = 64;

/// The inode of the initial pid namespace: `PROC_PID_INIT_INO`, `include/linux/proc_ns.h`.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Who a process is.
    Process(ProcessKey),
    /// What a user is called: of a process that ended too soon, that much can still be told.
    User(u32),
}

/// No process.
const NOBODY: ProcessKey = ProcessKey { start_ns: 0, tgid: 0, reserved: 0 };

/// A thread's name.
type Comm = [u8; COMM_LEN];

/// No name.
const NAMELESS: Comm = [0; COMM_LEN];

/// Asks for facts, and takes them.
pub(super) struct Facts {
    wanted: Option<SyncSender<Wanted>>,
    found: mpsc::Receiver<Vec<ProcessFacts>>,
    /// Who was asked for, by the name it had then (empty: not known).
    known: FxHashMap<ProcessKey, Comm>,
    users: FxHashSet<u32>,
    last: (ProcessKey, Comm),
    /// Until when the last answers are waited for.
    deadline: Option<tokio::time::Instant>,
}

impl Facts {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start() -> Result<Self, Error> {
        let (wanted, asked) = sync_channel(WANTED);
        let (tell, found) = mpsc::channel(FOUND);
        std::thread::Builder::new()
            .name("facts".into())
            .spawn(move || {
                super::fault::point("facts");
                Looker::new().run(&asked, &tell);
            })
            .map_err(|e| Error::failed(format!("cannot start the thread that looks at processes: {}", in_words(&e))))?;
        Ok(Self::over(wanted, found))
    }

    fn over(wanted: SyncSender<Wanted>, found: mpsc::Receiver<Vec<ProcessFacts>>) -> Self {
        let (known, users) = (FxHashMap::default(), FxHashSet::default());
        Self { wanted: Some(wanted), found, known, users, last: (NOBODY, NAMELESS), deadline: None }
    }

    /// Asks about the processes of an input that were not asked about yet. Never waits.
    pub(super) fn note(&mut self, input: &Input) {
        match input {
            Input::Batch(batch) => batch.records().for_each(|record| self.record(record)),
            Input::Counters(counters) => {
                for (key, counts) in &counters.processes {
                    self.want_user(counts.uid);
                    if counts.exited == 0 {
                        self.want(*key, NAMELESS);
                    } else {
                        self.known.remove(key);
                    }
                }
            }
            Input::Facts(_) | Input::Stacks(_) | Input::Capture(_) | Input::Restart | Input::End => {}
        }
    }

    /// Every open comes through here: most are of the process of the one before.
    fn record(&mut self, record: &[u8]) {
        let Some(header) = record.get(..size_of::<RecordHeader>()) else { return };
        let header: RecordHeader = bytemuck::pod_read_unaligned(header);
        let key = ProcessKey { start_ns: header.process_start_ns, tgid: header.tgid, reserved: 0 };
        if header.route == route::EXEC {
            // It becomes another program, and is not that yet: the first open of the new one asks.
            self.known.remove(&key);
            self.last = (NOBODY, NAMELESS);
            return;
        }
        // Only the first thread's name changes with the program.
        let comm = if header.tid == header.tgid { header.comm } else { NAMELESS };
        if (key, comm) != self.last {
            self.last = (key, comm);
            self.want(key, comm);
        }
    }

    fn want(&mut self, key: ProcessKey, comm: Comm) {
        let Some(wanted) = &self.wanted else { return };
        // Attached by tracepoints, another name is all that can be seen of another program.
        if self.known.get(&key).is_some_and(|then| *then == comm || comm == NAMELESS) {
            return;
        }
        if wanted.try_send(Wanted::Process(key)).is_err() {
            return;
        }
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        self.known.insert(key, comm);
    }

    fn want_user(&mut self, uid: u32) {
        let Some(wanted) = &self.wanted else { return };
        let new = self.users.len() < TOLD && !self.users.contains(&uid);
        if new && wanted.try_send(Wanted::User(uid)).is_ok() {
            self.users.insert(uid);
        }
    }

    /// The next answer. Cancel-safe.
    pub(super) async fn next(&mut self) -> Vec<ProcessFacts> {
        match self.found.recv().await {
            Some(facts) => facts,
            None => std::future::pending().await,
        }
    }

    /// An answer that is there already.
    pub(super) fn ready(&mut self) -> Option<Vec<ProcessFacts>> {
        self.found.try_recv().ok()
    }

    /// Asks nothing more, and gives the answers that are still under way one by one, as far as they come soon.
    /// Cancel-safe.
    pub(super) async fn last(&mut self) -> Option<Vec<ProcessFacts>> {
        self.wanted = None;
        let deadline = *self.deadline.get_or_insert_with(|| tokio::time::Instant::now() + LAST);
        tokio::time::timeout_at(deadline, self.found.recv()).await.ok().flatten()
    }
}

/// The thread's state.
struct Looker {
    users: FxHashMap<u32, Vec<u8>>,
    parents: FxHashSet<(u32, u64)>,
    allowance: f64,
    since: Instant,
}

impl Looker {
    fn new() -> Self {
        Self { users: FxHashMap::default(), parents: FxHashSet::default(), allowance: BURST, since: Instant::now() }
    }

    fn run(mut self, asked: &Receiver<Wanted>, tell: &mpsc::Sender<Vec<ProcessFacts>>) {
        while let Ok(wanted) = asked.recv() {
            let facts = match wanted {
                Wanted::Process(key) => {
                    self.wait_for_allowance();
                    self.family(key)
                }
                Wanted::User(uid) => match self.user(uid) {
                    user if user.is_empty() => continue,
                    user => vec![ProcessFacts { uid, user, ..ProcessFacts::default() }],
                },
            };
            if !facts.is_empty() && tell.blocking_send(facts).is_err() {
                return;
            }
        }
    }

    fn wait_for_allowance(&mut self) {
        let now = Instant::now();
        self.allowance = (self.allowance + (now - self.since).as_secs_f64() * PER_SECOND).min(BURST);
        self.since = now;
        if self.allowance < 1.0 {
            std::thread::sleep(Duration::from_secs_f64((1.0 - self.allowance) / PER_SECOND));
        }
        self.allowance -= 1.0;
    }

    /// The process, and those of its parents that were not told yet.
    fn family(&mut self, key: ProcessKey) -> Vec<ProcessFacts> {
        let Some((mut own, _)) = look_at(key.tgid).filter(|(_, started)| is(key, *started)) else {
            return Vec::new();
        };
        own.start_ns = key.start_ns;
        let mut family = VecDeque::from([own]);
        while let Some(above) = family.back().map(|facts| facts.ppid).filter(|ppid| *ppid > 0) {
            let Some((facts, started)) = look_at(above).filter(|_| family.len() < DEPTH) else { break };
            if self.parents.len() >= TOLD {
                self.parents.clear();
            }
            if !self.parents.insert((above, started)) {
                break;
            }
            family.push_back(facts);
        }
        for facts in &mut family {
            facts.user = self.user(facts.uid);
        }
        // Parents first: whoever reads a recording knows them when the child turns up.
        family.into_iter().rev().collect()
    }

    fn user(&mut self, uid: u32) -> Vec<u8> {
        if self.users.len() >= TOLD {
            self.users.clear();
        }
        let name = |uid| nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
        self.users.entry(uid).or_insert_with(|| name(uid).map_or_else(Vec::new, |user| user.name.into_bytes())).clone()
    }
}

/// What /proc says of a process, and when it started in clock ticks since boot; `None` when it is gone. The start in the
/// facts is left unknown: the kernel knows it more exactly.
pub(super) fn look_at(pid: u32) -> Option<(ProcessFacts, u64)> {
    let status = super::own::status_of(pid)?;
    let number = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse::<u32>().ok()
    };
    let mut command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command_line.truncate(COMMAND_LINE);
    let mut exe = fs::read_link(format!("/proc/{pid}/exe")).map(|p| p.into_os_string().into_vec()).unwrap_or_default();
    // Read last: it tells whose all of this was.
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    if exe.is_empty() {
        // A kernel thread has no program: its name stands in.
        exe = name_in(&stat).to_vec();
    }
    let facts = ProcessFacts {
        tgid: pid,
        start_ns: 0,
        ppid: number("PPid:")?,
        uid: number("Uid:")?,
        user: Vec::new(),
        exe,
        command_line,
    };
    Some((facts, start_ticks(&stat)?))
}

/// Whether what /proc says of `key`'s number is about that process: another one may have the number by now, or here, in
/// another pid namespace than the kernel's first, it may always have meant another one.
pub(super) fn is(key: ProcessKey, started: u64) -> bool {
    match key.start_ns {
        0 => fs::metadata("/proc/self/ns/pid").is_ok_and(|ns| ns.ino() == INITIAL_PID_NAMESPACE),
        start_ns => start_ns / tick_ns() == started,
    }
}

/// Field 2 of a stat file, which may be any bytes.
fn name_in(stat: &[u8]) -> &[u8] {
    let (from, to) = (stat.iter().position(|b| *b == b'('), stat.iter().rposition(|b| *b == b')'));
    from.zip(to).and_then(|(from, to)| stat.get(from + 1..to)).unwrap_or_default()
}

/// Field 22 of a stat file: proc_pid_stat(5). The name before it may hold anything, parentheses too.
fn start_ticks(stat: &[u8]) -> Option<u64> {
    let behind = stat.iter().rposition(|b| *b == b')')? + 1;
    let fields = std::str::from_utf8(stat.get(behind..)?).ok()?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// Length of a clock tick, ns.
fn tick_ns() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100);
    1_000_000_000 / per_second.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RecordBuilder;
    use crate::source::Batch;

    /// This process as the kernel knows it, to a tick.
    fn own_key() -> ProcessKey {
        let (_, started) = look_at(std::process::id()).unwrap();
        ProcessKey { start_ns: started * tick_ns() + 1, tgid: std::process::id(), reserved: 0 }
    }

    fn open(key: ProcessKey, exec: bool) -> Input {
        let mut builder = RecordBuilder::new(key.tgid, "x", "/etc/passwd");
        builder.header.process_start_ns = key.start_ns;
        if exec {
            builder.header.route = route::EXEC;
        }
        let mut batch = Batch::default();
        batch.push(&builder.build());
        Input::Batch(batch)
    }

    #[test]
    fn a_process_is_looked_up_once_with_its_parents_and_again_when_it_runs_another_program() {
        let key = own_key();
        let mut looker = Looker::new();
        let family = looker.family(key);
        let own = family.last().unwrap();
        assert_eq!((own.tgid, own.start_ns), (key.tgid, key.start_ns));
        assert!(own.exe.ends_with(fs::read_link("/proc/self/exe").unwrap().as_os_str().as_encoded_bytes()));
        assert!(!own.command_line.is_empty());
        assert!(family.iter().any(|facts| facts.tgid == own.ppid), "{family:?}");
        assert_eq!(looker.family(key).len(), 1, "parents are told once");

        let (wanted, asked) = sync_channel(8);
        let (_tell, found) = mpsc::channel(1);
        let mut facts = Facts::over(wanted, found);
        let times = |facts: &mut Facts, input: &Input| {
            facts.note(input);
            asked.try_iter().count()
        };
        assert_eq!(times(&mut facts, &open(key, false)), 1);
        assert_eq!(times(&mut facts, &open(key, false)), 0);
        assert_eq!(times(&mut facts, &open(key, true)), 0, "it is not yet what it becomes");
        assert_eq!(times(&mut facts, &open(key, false)), 1);
    }

    #[test]
    fn a_number_that_another_process_has_by_now_tells_nothing() {
        let mut key = own_key();
        key.start_ns -= 100 * tick_ns();
        assert!(Looker::new().family(key).is_empty());
    }

    #[test]
    fn a_full_queue_makes_nobody_wait_and_the_process_asks_again() {
        let (wanted, asked) = sync_channel(1);
        let (_tell, found) = mpsc::channel(1);
        let mut facts = Facts::over(wanted, found);
        let key = |tgid| ProcessKey { start_ns: 1, tgid, reserved: 0 };
        facts.note(&open(key(1), false));
        facts.note(&open(key(2), false));
        assert_eq!(asked.try_iter().count(), 1);
        facts.note(&open(key(1), false));
        facts.note(&open(key(2), false));
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), [Wanted::Process(key(2))]);
    }

    #[test]
    fn the_start_is_found_behind_any_name() {
        let stat = b"7 (a) b) c) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(start_ticks(stat), Some(4242));
        assert_eq!(start_ticks(b"7 (a"), None);
    }
}
