//! When the next frame is drawn: at most twenty a second. What comes by itself leaves some of them to the keys, so that a
//! key is answered at once while opens flood in.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Most frames within [`SPAN`].
const MOST: usize = 20;
const SPAN: Duration = Duration::from_secs(1);

/// What comes by itself is not drawn where so many were within [`SPAN`], those of keys among them: about as many as
/// [`BY_ITSELF`] gives, and the rest is there when a key is pressed.
const MOST_BY_ITSELF: usize = 15;

/// Least time between two frames of what comes by itself: about fifteen a second.
const BY_ITSELF: Duration = Duration::from_millis(66);

/// Least time between two frames.
const LEAST: Duration = Duration::from_millis(8);

/// The last frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    drawn: VecDeque<Instant>,
    /// Least time to the next frame of what comes by itself: more where frames are kept, and their bytes count.
    pause: Duration,
}

impl Frames {
    /// When the next frame may be drawn; `urgent`: a person waits for it.
    pub(super) fn next(&self, urgent: bool, now: Instant) -> Instant {
        let Some(last) = self.drawn.back() else { return now };
        let (gap, most) = if urgent { (LEAST, MOST) } else { (self.pause.max(BY_ITSELF), MOST_BY_ITSELF) };
        let first = self.drawn.len().checked_sub(most).and_then(|at| self.drawn.get(at));
        (*last + gap).max(first.map_or(*last, |first| *first + SPAN))
    }

    /// A frame was drawn, after which there should be a pause.
    pub(super) fn drawn(&mut self, now: Instant, pause: Duration) {
        self.pause = pause;
        if self.drawn.len() >= MOST {
            self.drawn.pop_front();
        }
        self.drawn.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames drawn while something is always there to draw, and how long a key at `key` waits for its frame.
    fn run(keys: &[u64]) -> (Vec<u64>, Vec<u64>) {
        let (mut pace, start) = (Frames::default(), Instant::now());
        let (mut frames, mut waits, mut keys) = (Vec::new(), Vec::new(), keys.iter().peekable());
        let mut waiting: Option<u64> = None;
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            if keys.next_if(|key| **key == ms).is_some() {
                waiting.get_or_insert(ms);
            }
            if pace.next(waiting.is_some(), now) <= now {
                pace.drawn(now, Duration::ZERO);
                frames.push(ms);
                waits.extend(waiting.take().map(|key| ms - key));
            }
        }
        (frames, waits)
    }

    #[test]
    fn no_second_has_more_than_twenty_frames_whatever_is_pressed() {
        let keys: Vec<u64> = (0..10_000).step_by(3).collect();
        let (frames, _) = run(&keys);
        assert!(frames.windows(MOST + 1).all(|window| window[MOST] - window[0] >= 1000));
        assert!(frames.len() >= 190, "{}", frames.len());
    }

    #[test]
    fn a_key_now_and_then_has_its_frame_at_once_although_more_comes_than_is_drawn() {
        let keys: Vec<u64> = (500..10_000).step_by(301).collect();
        let (_, waits) = run(&keys);
        assert!(waits.len() > 30 && waits.iter().all(|wait| *wait <= 8), "{waits:?}");
    }

    #[test]
    fn so_has_each_of_as_many_as_a_person_presses() {
        for pause in [59, 97, 146, 163] {
            let keys: Vec<u64> = (500..10_000).step_by(pause).collect();
            let (frames, waits) = run(&keys);
            assert!(waits.len() == keys.len() && waits.iter().all(|wait| *wait <= 8), "every {pause} ms: {waits:?}");
            assert!(frames.len() >= 140, "every {pause} ms: {}", frames.len());
        }
    }
}
