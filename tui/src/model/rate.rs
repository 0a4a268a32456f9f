//! How often per second, smoothed, and how that went of late.

/// Samples kept of a process.
pub const SPARK: usize = 16;

/// Weight of the newest sample: a jump is nine tenths on screen after three samples, and a single one does not make
/// rows change places.
const WEIGHT: f64 = 0.55;

/// Below this many per second a rate is shown, and kept, as none.
const NOTHING: f64 = 0.05;

/// An exponentially smoothed rate per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    value: f64,
    started: bool,
}

impl Rate {
    /// Per second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.value
    }

    /// Takes in that `count` happened within `seconds`.
    pub fn sample(&mut self, count: u64, seconds: f64) {
        if seconds <= 0.0 {
            return;
        }
        let now = count as f64 / seconds;
        self.value = if self.started { self.value + WEIGHT * (now - self.value) } else { now };
        self.started = true;
        if self.value < NOTHING && count == 0 {
            self.value = 0.0;
        }
    }
}

/// The last [`SPARK`] samples of a process, each stamped by the number of the sampling round, so that a process that
/// does nothing costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spark {
    values: [f32; SPARK],
    round: u64,
}

impl Spark {
    /// Sets the value of `round`; rounds not set since the last one were 0.
    pub fn set(&mut self, round: u64, value: f32) {
        self.catch_up(round);
        if let Some(last) = self.values.last_mut() {
            *last = value;
        }
    }

    /// The last round that was set.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.round
    }

    /// The values up to `round`, oldest first.
    #[must_use]
    pub fn at(mut self, round: u64) -> [f32; SPARK] {
        self.catch_up(round);
        self.values
    }

    fn catch_up(&mut self, round: u64) {
        let gap = usize::try_from(round.saturating_sub(self.round)).unwrap_or(SPARK).min(SPARK);
        self.values.rotate_left(gap);
        for value in self.values.iter_mut().rev().take(gap) {
            *value = 0.0;
        }
        self.round = self.round.max(round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_settles_on_what_happens_and_falls_back_to_nothing() {
        let mut rate = Rate::default();
        rate.sample(50, 0.5);
        assert_eq!(rate.per_second(), 100.0);
        for _ in 0..20 {
            rate.sample(10, 1.0);
        }
        assert!((rate.per_second() - 10.0).abs() < 0.1);
        for _ in 0..20 {
            rate.sample(0, 1.0);
        }
        assert_eq!(rate.per_second(), 0.0);
    }

    #[test]
    fn a_pause_in_activity_is_a_gap_in_the_sparkline() {
        let mut spark = Spark::default();
        spark.set(1, 5.0);
        spark.set(4, 7.0);
        assert_eq!(spark.at(5)[SPARK - 5..], [5.0, 0.0, 0.0, 7.0, 0.0]);
        assert_eq!(spark.at(500), [0.0; SPARK]);
    }
}
