//! When it is measured what the probe costs: in the first seconds, for as long as somebody looks at it, and else for a
//! moment in each minute, so that whoever looks next finds a figure that is not old.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::Msg;
use crate::probe::Meter;
use crate::source::ProbeCost;

/// How long the kernel measures at the beginning.
const FIRST: Duration = Duration::from_secs(5);

/// How long it does while nobody looks, and how often: measuring costs each open a little.
const MOMENT: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_secs(60);

/// What measures.
pub(super) trait Measures {
    /// Measures, or no longer.
    fn switch(&mut self, on: bool);
    /// What was measured so far, or why it cannot be; `None` while nothing is.
    fn read(&mut self, at_ns: u64) -> Option<Result<ProbeCost, String>>;
}

impl Measures for Meter {
    fn switch(&mut self, on: bool) {
        Self::switch(self, on);
    }

    fn read(&mut self, at_ns: u64) -> Option<Result<ProbeCost, String>> {
        Self::read(self, at_ns)
    }
}

/// When it is measured.
#[derive(Debug)]
pub(super) struct Costs {
    /// When the measurement that nobody asked for ends.
    until: Option<Instant>,
    /// When the next such begins, and how long it takes; never, once it was refused.
    next: Option<(Instant, Duration)>,
    asked: bool,
}

impl Costs {
    /// From `now` on.
    pub(super) fn new(now: Instant) -> Self {
        Self { until: None, next: Some((now, FIRST)), asked: false }
    }

    /// Somebody looks at it, or no longer.
    pub(super) fn ask(&mut self, meter: Option<&mut impl Measures>, on: bool) {
        self.asked = on;
        // A measurement that goes on goes on whoever looks.
        if let (None, Some(meter)) = (self.until, meter) {
            meter.switch(on);
        }
    }

    /// The next reading, if it is measured.
    pub(super) fn look(&mut self, meter: Option<&mut impl Measures>, now: Instant, at_ns: u64) -> Option<Msg> {
        let meter = meter?;
        if let Some((_, long)) = self.next.filter(|(next, _)| *next <= now) {
            self.next = Some((now + EVERY, MOMENT));
            if !self.asked {
                self.until = Some(now + long);
                meter.switch(true);
            }
        }
        let reading = meter.read(at_ns);
        if matches!(reading, Some(Err(_))) {
            // It is tried again when somebody looks.
            (self.until, self.next) = (None, None);
        } else if self.until.take_if(|until| *until <= now).is_some() && !self.asked {
            meter.switch(false);
        }
        reading.map(Msg::Cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What measures, without a kernel: whether it does, and whether it refuses to.
    struct Fake(bool, bool);

    impl Measures for Fake {
        fn switch(&mut self, on: bool) {
            self.0 = on;
        }

        fn read(&mut self, at_ns: u64) -> Option<Result<ProbeCost, String>> {
            let on = self.0;
            self.0 &= !self.1;
            on.then(|| if self.1 { Err("refused".into()) } else { Ok(ProbeCost { at_ns, ..ProbeCost::default() }) })
        }
    }

    /// Lets time pass by the second; how many of them it was measured in.
    fn pass(costs: &mut Costs, meter: &mut Fake, seconds: std::ops::Range<u64>, began: Instant) -> usize {
        let measured = |s: &u64| {
            matches!(costs.look(Some(&mut *meter), began + Duration::from_secs(*s), *s), Some(Msg::Cost(Ok(_))))
        };
        seconds.filter(measured).count()
    }

    #[test]
    fn it_is_measured_at_the_start_while_somebody_looks_and_a_moment_each_minute() {
        let (began, mut meter) = (Instant::now(), Fake(false, false));
        let mut costs = Costs::new(began);
        assert_eq!(pass(&mut costs, &mut meter, 0..30, began), 6, "0 to 5");
        assert!(!meter.0);
        assert_eq!(pass(&mut costs, &mut meter, 30..600, began), 9 * 3, "a moment in each minute");
        costs.ask(Some(&mut meter), true);
        assert_eq!(pass(&mut costs, &mut meter, 600..900, began), 300, "throughout, while somebody looks");
        costs.ask(Some(&mut meter), false);
        assert!(!meter.0);
        assert_eq!(pass(&mut costs, &mut meter, 900..960, began), 3);
        costs.ask(Some(&mut meter), true);
        assert_eq!(pass(&mut costs, &mut meter, 960..1000, began), 40, "and once more");
    }

    #[test]
    fn whoever_looks_away_in_the_first_seconds_ends_no_measurement() {
        let (began, mut meter) = (Instant::now(), Fake(false, false));
        let mut costs = Costs::new(began);
        assert_eq!(pass(&mut costs, &mut meter, 0..2, began), 2);
        for on in [true, false] {
            costs.ask(Some(&mut meter), on);
        }
        assert_eq!(pass(&mut costs, &mut meter, 2..30, began), 4);
        let mut costs = Costs::new(began);
        costs.look(Some(&mut meter), began, 0);
        costs.ask(Some(&mut meter), true);
        assert_eq!(pass(&mut costs, &mut meter, 1..30, began), 29, "nor ends it with them while somebody looks");
    }

    #[test]
    fn a_refusal_is_told_and_asked_for_again_only_by_who_looks() {
        let (began, mut meter) = (Instant::now(), Fake(false, true));
        let mut costs = Costs::new(began);
        let refused = |told: Option<Msg>| matches!(told, Some(Msg::Cost(Err(_))));
        assert!(refused(costs.look(Some(&mut meter), began, 0)));
        assert_eq!(pass(&mut costs, &mut meter, 1..300, began), 0);
        costs.ask(Some(&mut meter), true);
        assert!(refused(costs.look(Some(&mut meter), began + EVERY * 9, 9)));
        assert_eq!(pass(&mut costs, &mut meter, 600..900, began), 0);
    }
}
