//! The live source: a task that drains the probe in bounded batches into a bounded channel.
//!
//! While opens come it polls every few milliseconds and the probe wakes nobody; when none has come it asks to be woken by
//! the next one. A consumer that is slow makes it wait, the ring fills, and the kernel counts what it has no room for.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::{Batch, CaptureChange, Input, Recapture, Stacks};
use crate::{
    error::{Error, in_words},
    probe::Probe,
    symbols::{Names, Prepared},
};

/// Most records of one hand-over.
const BATCH_RECORDS: usize = 4096;
/// Between two looks while opens come.
const BUSY_POLL: Duration = Duration::from_millis(5);
/// The same while stacks are taken: a process has to be looked at before it is gone.
const STACKS_POLL: Duration = Duration::from_micros(500);
/// Longest wait for the names of the last stacks.
const LAST_NAMES: Duration = Duration::from_secs(15);
/// Processes with and without stacks that wait for their turn: a person's keys.
const STACKED: usize = 16;
/// The one look after asking to be woken, for a record that crossed with it.
const LAST_LOOK: Duration = Duration::from_millis(10);
/// No record takes less of the ring.
const SMALLEST_RECORD: usize = size_of::<probe_common::RecordHeader>();
/// Changes of the capture that wait for their turn.
const CHANGES: usize = 4;
/// Between two readings of the counters while opens come.
const COUNTERS_BUSY: Duration = Duration::from_millis(250);
/// The same while none comes.
const COUNTERS_IDLE: Duration = Duration::from_secs(1);

/// How often the last counters are tried for.
const LAST_READINGS: u32 = 5;

/// The running task, to end it by.
pub struct Live {
    stop: Arc<Notify>,
    changes: mpsc::Sender<Recapture>,
    stacked: mpsc::Sender<(u32, bool)>,
}

impl Live {
    /// Asks for the end: the probe leaves the kernel, what is in the ring still comes, then the last counters, then
    /// [`Input::End`].
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// Asks for another capture: answered by [`Input::Capture`]. False when it is still busy with the ones before.
    pub fn change(&self, change: Recapture) -> bool {
        self.changes.try_send(change).is_ok()
    }

    /// Takes the stacks of a process from now on, or no more; false when it is still busy with the ones before.
    pub fn stacks_of(&self, pid: u32, on: bool) -> bool {
        self.stacked.try_send((pid, on)).is_ok()
    }
}

/// Starts the task. Call it within a tokio runtime. `capacity` is that of the channel, in hand-overs. With `names` there is a
/// thread that finds those of stacks, too.
///
/// # Errors
/// When the ring cannot be watched.
pub fn start(probe: Probe, capacity: usize, names: Option<Prepared>) -> Result<(Live, mpsc::Receiver<Input>), Error> {
    let watched = |e: std::io::Error| Error::failed(format!("the ring buffer cannot be watched: {}", in_words(&e)));
    let ring = probe.as_fd().try_clone_to_owned().map_err(watched)?;
    // SAFETY: the descriptor is owned by the AsyncFd, so it stays open and the same for as long as it is registered.
    let ring =
        unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }.map_err(|e| watched(e.into_parts().1))?;
    let (sender, receiver) = mpsc::channel(capacity);
    let stop = Arc::new(Notify::new());
    let (changes, asked) = mpsc::channel(CHANGES);
    let (stacked, stacks_asked) = mpsc::channel(STACKED);
    let no_thread = |e| Error::failed(format!("the thread that finds names cannot be started: {}", in_words(&e)));
    let names = names.map(|prepared| Names::spawn(prepared, sender.clone())).transpose().map_err(no_thread)?;
    let reader = Reader {
        probe,
        ring,
        sender,
        stop: Arc::clone(&stop),
        changes: asked,
        stacked: stacks_asked,
        names,
        next_counters: Instant::now() + COUNTERS_BUSY,
        last: (0, 0),
    };
    tokio::spawn(async move {
        // A closed channel is the consumer's own end; nothing is left to tell it.
        let _ = reader.run().await;
    });
    Ok((Live { stop, changes, stacked }, receiver))
}

struct Reader {
    probe: Probe,
    ring: AsyncFd<OwnedFd>,
    sender: mpsc::Sender<Input>,
    stop: Arc<Notify>,
    changes: mpsc::Receiver<Recapture>,
    stacked: mpsc::Receiver<(u32, bool)>,
    names: Option<Names>,
    next_counters: Instant,
    /// Room for what the next hand-over probably has, records and bytes.
    last: (usize, usize),
}

/// The consumer is gone.
struct Closed;

impl Reader {
    async fn run(mut self) -> Result<(), Closed> {
        loop {
            let n = self.hand_over().await?;
            self.counters_if_due(n > 0).await?;
            if n == BATCH_RECORDS {
                // More is waiting; a stop must be heard all the same.
                if self.stopped(Instant::now()).await? {
                    break;
                }
            } else if n > 0 {
                let poll = if self.probe.takes_stacks() { STACKS_POLL } else { BUSY_POLL };
                if self.stopped(Instant::now() + poll).await? {
                    break;
                }
            } else if self.sleep().await? {
                break;
            }
        }
        self.end().await
    }

    /// Drains one batch to the consumer; how many records it was.
    async fn hand_over(&mut self) -> Result<usize, Closed> {
        let (records, bytes) = self.last;
        let mut batch = Batch::with_room(records, bytes);
        let n = self.probe.drain(&mut batch, BATCH_RECORDS);
        // As much again and a quarter more, when as many come.
        self.last = (n + n / 4, batch.byte_len() + batch.byte_len() / 4);
        self.hand_over_stacks(false).await?;
        if n > 0 {
            crate::run::fault::point("reader");
            self.send(Input::Batch(batch)).await?;
        }
        Ok(n)
    }

    /// Has names found for the stacks that are new, and hands over what needs none.
    async fn hand_over_stacks(&mut self, last: bool) -> Result<(), Closed> {
        let Some(names) = &self.names else { return Ok(()) };
        // A reading that fails is made up for by the next.
        let Ok((fresh, counts)) = self.probe.stacks(last) else { return Ok(()) };
        let stacks = Stacks { stacks: fresh.into_iter().filter_map(|stack| names.ask(stack)).collect(), counts };
        if stacks.is_empty() { Ok(()) } else { self.send(Input::Stacks(Box::new(stacks))).await }
    }

    /// Turns the stacks of a process on or off.
    fn stack(&mut self, (pid, on): (u32, bool)) {
        // The table holds more processes than the dashboard lets one name.
        let _ = self.probe.stacks_of(pid, on);
    }

    /// Waits until `deadline` or the stop; whether it was the stop. Meanwhile the capture may be changed.
    async fn stopped(&mut self, deadline: Instant) -> Result<bool, Closed> {
        loop {
            let change = tokio::select! {
                biased;
                () = self.stop.notified() => return Ok(true),
                Some(change) = self.changes.recv() => change,
                Some(wish) = self.stacked.recv() => {
                    self.stack(wish);
                    continue;
                }
                () = sleep_until(deadline) => return Ok(false),
            };
            self.change(change).await?;
        }
    }

    /// Changes the capture. What the ring holds from before comes first.
    async fn change(&mut self, to: Recapture) -> Result<(), Closed> {
        // It waits for the kernel and walks through /proc, while the one worker has timers to serve.
        let changed = tokio::task::block_in_place(|| self.probe.change(&to.program));
        let at_ns = crate::probe::boot_ns();
        // Under load the ring fills as fast as it is read: no more than it can hold is from before.
        let mut left = self.probe.session().ring_bytes as usize / SMALLEST_RECORD;
        while left > 0 && self.hand_over().await? == BATCH_RECORDS {
            left = left.saturating_sub(BATCH_RECORDS);
            tokio::select! {
                biased;
                () = self.stop.notified() => {
                    // The rest comes with the end. Who waits next hears of the stop again.
                    self.stop.notify_one();
                    break;
                }
                () = std::future::ready(()) => {}
            }
        }
        let refused = changed.err().map(|error| error.message);
        let change = CaptureChange { at_ns, text: to.text, words: to.words, refused };
        self.send(Input::Capture(Box::new(change))).await
    }

    /// Sleeps until a record, the next reading of the counters, or the stop; whether it was the stop.
    async fn sleep(&mut self) -> Result<bool, Closed> {
        if self.probe.ask_wakeup().is_err() {
            return self.stopped(Instant::now() + BUSY_POLL).await;
        }
        let mut until = Instant::now() + LAST_LOOK;
        loop {
            let woken = tokio::select! {
                biased;
                () = self.stop.notified() => return Ok(true),
                Some(change) = self.changes.recv() => {
                    self.change(change).await?;
                    true
                }
                Some(wish) = self.stacked.recv() => {
                    self.stack(wish);
                    true
                }
                ready = self.ring.readable() => {
                    if let Ok(mut guard) = ready {
                        guard.clear_ready();
                    }
                    true
                }
                () = sleep_until(until.min(self.next_counters)) => false,
            };
            if woken || self.hand_over().await? > 0 {
                return Ok(false);
            }
            self.counters_if_due(false).await?;
            until = Instant::now() + COUNTERS_IDLE;
        }
    }

    async fn counters_if_due(&mut self, busy: bool) -> Result<(), Closed> {
        let now = Instant::now();
        if busy {
            self.next_counters = self.next_counters.min(now + COUNTERS_BUSY);
        }
        if now < self.next_counters {
            return Ok(());
        }
        self.next_counters = now + if busy { COUNTERS_BUSY } else { COUNTERS_IDLE };
        self.probe.flush_log();
        self.send_counters().await
    }

    async fn send_counters(&mut self) -> Result<(), Closed> {
        // A reading that fails is made up for by the next: the counts are cumulative.
        match self.probe.counters() {
            Ok(mut counters) => {
                counters.totals.losses.stack_unnamed = self.unnamed();
                self.send(Input::Counters(Box::new(counters))).await
            }
            Err(_) => Ok(()),
        }
    }

    /// Stacks without names.
    fn unnamed(&self) -> u64 {
        self.names.as_ref().map_or(0, Names::unnamed)
    }

    async fn end(mut self) -> Result<(), Closed> {
        self.probe.detach();
        while self.hand_over().await? > 0 {}
        self.hand_over_stacks(true).await?;
        if let Some(names) = &mut self.names {
            let _ = tokio::time::timeout(LAST_NAMES, names.finish()).await;
        }
        self.probe.flush_log();
        // Nothing comes after these, so a reading that fails is tried again.
        let last = (0..LAST_READINGS).find_map(|_| self.probe.counters().ok());
        if let Some(mut counters) = last {
            counters.totals.losses.stack_unnamed = self.unnamed();
            self.send(Input::Counters(Box::new(counters))).await?;
        }
        self.send(Input::End).await
    }

    async fn send(&self, input: Input) -> Result<(), Closed> {
        self.sender.send(input).await.map_err(|_| Closed)
    }
}
