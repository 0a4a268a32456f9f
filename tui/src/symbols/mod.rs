//! Names for stacks: addresses of a process or of the kernel into functions, files and lines.
//!
//! A thread of its own, behind a bounded queue, so that no search ever holds up the reader of the ring. It looks at a
//! process the moment its first stack comes, and keeps what it learnt: a process that is gone later still has its names.
//! What cannot be named is shown by what is known of it (a module and an offset, or the bare address) and is counted.
//!
//! This is the one place that looks at other processes' files while a capture runs, when opentop has given its privileges
//! up: [`Prepared::new`] opens what only the beginning may, and starts a process that goes on opening, and reads nothing.

mod files;
mod kernel;
mod looker;
mod maps;
mod perf_map;
mod space;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
};

use probe_common::ProcessKey;
use rustc_hash::FxBuildHasher;
use tokio::sync::mpsc;

use crate::source::{Addresses, Frame, Input, Stack, Stacks};
use files::Files;
use kernel::Kernel;
use looker::Looker;
use space::Space;

/// Stacks that wait for names. What comes beyond is handed on without.
const QUEUE: usize = 4096;

/// Stacks named at a time, before it is looked for new ones.
const BATCH: usize = 8;

/// Processes of which the mappings are kept: some 10 KiB each.
const SPACES: usize = 1024;

/// What has to be opened while privileges are there.
pub struct Prepared {
    kernel: Kernel,
    looker: Looker,
}

impl Prepared {
    /// Opens the kernel's list of its functions, and starts the process that opens what else takes privileges. `confine`
    /// gives up, within that process, all it has no use for; false ends it. To be called while there is one thread.
    #[must_use]
    pub fn new(confine: impl FnOnce() -> bool) -> Self {
        Self { kernel: Kernel::open(), looker: Looker::start(confine) }
    }
}

/// Finds names, in a thread of its own.
pub struct Names {
    queue: Option<SyncSender<Addresses>>,
    /// Stacks that wait in the queue or are being looked at.
    waiting: Arc<AtomicU64>,
    unnamed: Arc<AtomicU64>,
    done: mpsc::Receiver<()>,
}

impl Names {
    /// Starts the thread; `out` gets the stacks with their names.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn spawn(prepared: Prepared, out: mpsc::Sender<Input>) -> std::io::Result<Self> {
        let (queue, work) = sync_channel(QUEUE);
        let (tell, done) = mpsc::channel(1);
        let (unnamed, waiting) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (counter, answered) = (Arc::clone(&unnamed), Arc::clone(&waiting));
        std::thread::Builder::new().name("symbols".into()).spawn(move || {
            crate::run::fault::point("symbols");
            run(Finder::new(prepared, counter), &work, &answered, &out);
            // Nobody may be waiting.
            let _ = tell.blocking_send(());
        })?;
        Ok(Self { queue: Some(queue), waiting, unnamed, done })
    }

    /// Asks for the names of a stack. It comes back at once, without any, when too many are waiting.
    #[must_use]
    pub fn ask(&self, stack: Addresses) -> Option<Stack> {
        let Some(queue) = &self.queue else { return Some(self.without(&stack)) };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        match queue.try_send(stack) {
            Ok(()) => None,
            Err(TrySendError::Full(stack) | TrySendError::Disconnected(stack)) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                Some(self.without(&stack))
            }
        }
    }

    fn without(&self, stack: &Addresses) -> Stack {
        self.unnamed.fetch_add(1, Ordering::Relaxed);
        stack.unnamed()
    }

    /// Stacks that have no names; at the end also those that still wait for them.
    #[must_use]
    pub fn unnamed(&self) -> u64 {
        let waiting = if self.queue.is_none() { self.waiting.load(Ordering::Relaxed) } else { 0 };
        self.unnamed.load(Ordering::Relaxed) + waiting
    }

    /// Waits until everything that was asked for has been handed over.
    pub async fn finish(&mut self) {
        self.queue = None;
        // The thread is gone where nothing comes, and with it all it could have said.
        let _ = self.done.recv().await;
    }
}

fn run(mut finder: Finder, work: &Receiver<Addresses>, waiting: &AtomicU64, out: &mpsc::Sender<Input>) {
    let mut todo = VecDeque::new();
    while let Some(first) = todo.pop_front().or_else(|| finder.looked(work.recv().ok())) {
        todo.push_front(first);
        // A look is quick, and the process may be gone soon; names can take seconds where debug info is large.
        while todo.len() < QUEUE
            && let Some(stack) = finder.looked(work.try_recv().ok())
        {
            todo.push_back(stack);
        }
        let some = todo.drain(..todo.len().min(BATCH));
        let stacks = Stacks { stacks: some.map(|stack| finder.name(&stack)).collect(), counts: Vec::new() };
        waiting.fetch_sub(stacks.stacks.len() as u64, Ordering::Relaxed);
        if out.blocking_send(Input::Stacks(Box::new(stacks))).is_err() {
            return;
        }
    }
}

/// Where a user's code can lie: above vm.mmap_min_addr's least, below what is given without being asked for more.
const USER: std::ops::Range<u64> = 0x1000..1 << if cfg!(target_arch = "x86_64") { 47 } else { 48 };

/// Everything that is known to find names by.
struct Finder {
    looker: Looker,
    kernel: Kernel,
    files: Files,
    spaces: HashMap<ProcessKey, Space, FxBuildHasher>,
    /// The processes of `spaces`, the first known first.
    order: VecDeque<ProcessKey>,
    unnamed: Arc<AtomicU64>,
}

impl Finder {
    fn new(Prepared { kernel, looker }: Prepared, unnamed: Arc<AtomicU64>) -> Self {
        Self { looker, kernel, files: Files::default(), spaces: HashMap::default(), order: VecDeque::new(), unnamed }
    }

    fn name(&mut self, stack: &Addresses) -> Stack {
        let (frames, named) = if stack.kernel {
            self.kernel.frames(&stack.addresses)
        } else {
            self.user(stack.process, &stack.addresses)
        };
        if !named {
            self.unnamed.fetch_add(1, Ordering::Relaxed);
        }
        stack.named(frames, named)
    }

    /// Looks at the process that a stack is of, as long as it is there.
    fn looked(&mut self, stack: Option<Addresses>) -> Option<Addresses> {
        let stack = stack?;
        if !stack.kernel {
            let process = stack.process;
            if !self.spaces.contains_key(&process) {
                if self.order.len() >= SPACES
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.spaces.remove(&oldest);
                }
                self.order.push_back(process);
            }
            let space = self.spaces.entry(process).or_insert_with(|| Space::new(process));
            space.refresh(&self.looker, users(&stack.addresses));
        }
        Some(stack)
    }

    fn user(&mut self, process: ProcessKey, addresses: &[u64]) -> (Vec<Frame>, bool) {
        let mut frames = Vec::new();
        let Some(space) = self.spaces.get_mut(&process) else {
            return (addresses.iter().map(|address| Frame::unknown(*address)).collect(), false);
        };
        for (at, address) in users(addresses).iter().enumerate() {
            // All but the innermost are where a call returns to: the call itself is before that.
            let call = address.saturating_sub(u64::from(at > 0));
            space.frame((&self.looker, &mut self.files), *address, call, &mut frames);
        }
        (frames, space.is_known())
    }
}

/// The addresses where code can be. Code that keeps something else where the frame pointer is leads the walk astray: what
/// no code can be at ends it.
fn users(addresses: &[u64]) -> &[u64] {
    let end = addresses.iter().position(|address| !USER.contains(address)).unwrap_or(addresses.len());
    addresses.get(..end).unwrap_or_default()
}

/// The part of a path behind its last slash.
fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}
