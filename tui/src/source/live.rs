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

use super::{Batch, CaptureChange, Input, Recapture};
use crate::{
    error::{Error, in_words},
    probe::Probe,
};

/// Most records of one hand-over.
const BATCH_RECORDS: usize = 4096;
/// Between two looks while opens come.
const BUSY_POLL: Duration = Duration::from_millis(5);
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
}

/// Starts the task. Call it within a tokio runtime. `capacity` is that of the channel, in hand-overs.
///
/// # Errors
/// When the ring cannot be watched.
pub fn start(probe: Probe, capacity: usize) -> Result<(Live, mpsc::Receiver<Input>), Error> {
    let watched = |e: std::io::Error| Error::failed(format!("the ring buffer cannot be watched: {}", in_words(&e)));
    let ring = probe.as_fd().try_clone_to_owned().map_err(watched)?;
    // SAFETY: the descriptor is owned by the AsyncFd, so it stays open and the same for as long as it is registered.
    let ring =
        unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }.map_err(|e| watched(e.into_parts().1))?;
    let (sender, receiver) = mpsc::channel(capacity);
    let stop = Arc::new(Notify::new());
    let (changes, asked) = mpsc::channel(CHANGES);
    let reader = Reader {
        probe,
        ring,
        sender,
        stop: Arc::clone(&stop),
        changes: asked,
        next_counters: Instant::now() + COUNTERS_BUSY,
    };
    tokio::spawn(async move {
        // A closed channel is the consumer's own end; nothing is left to tell it.
        let _ = reader.run().await;
    });
    Ok((Live { stop, changes }, receiver))
}

struct Reader {
    probe: Probe,
    ring: AsyncFd<OwnedFd>,
    sender: mpsc::Sender<Input>,
    stop: Arc<Notify>,
    changes: mpsc::Receiver<Recapture>,
    next_counters: Instant,
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
                if self.stopped(Instant::now() + BUSY_POLL).await? {
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
        let mut batch = Batch::default();
        let n = self.probe.drain(&mut batch, BATCH_RECORDS);
        if n > 0 {
            crate::run::fault::point("reader");
            self.send(Input::Batch(batch)).await?;
        }
        Ok(n)
    }

    /// Waits until `deadline` or the stop; whether it was the stop. Meanwhile the capture may be changed.
    async fn stopped(&mut self, deadline: Instant) -> Result<bool, Closed> {
        loop {
            let change = tokio::select! {
                biased;
                () = self.stop.notified() => return Ok(true),
                Some(change) = self.changes.recv() => change,
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
            Ok(counters) => self.send(Input::Counters(Box::new(counters))).await,
            Err(_) => Ok(()),
        }
    }

    async fn end(mut self) -> Result<(), Closed> {
        self.probe.detach();
        while self.hand_over().await? > 0 {}
        self.probe.flush_log();
        // Nothing comes after these, so a reading that fails is tried again.
        let last = (0..LAST_READINGS).find_map(|_| self.probe.counters().ok());
        if let Some(counters) = last {
            self.send(Input::Counters(Box::new(counters))).await?;
        }
        self.send(Input::End).await
    }

    async fn send(&self, input: Input) -> Result<(), Closed> {
        self.sender.send(input).await.map_err(|_| Closed)
    }
}
