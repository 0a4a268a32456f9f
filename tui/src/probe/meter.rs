//! What the probe itself costs: the time that its programs run, as the kernel measures it (`BPF_ENABLE_STATS`).
//!
//! Measuring costs a little at each run: it is switched on while somebody looks, and for a moment now and then.

use std::os::fd::{AsFd as _, OwnedFd};

use super::gauge::Gauge;
use super::sys;
use crate::error::in_words;
use crate::source::ProbeCost;

/// What a program has to do with an open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It runs on an open's way, but not once at each.
    Within,
    /// It runs once at each open, when that returns.
    Return,
}

impl Part {
    /// By the program's name; `None` for those that follow processes, which no open pays for.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "p_fork" | "p_exit" | "p_exec" => None,
            // A twin runs beside the program that it stands in for: it costs, and counts no open.
            _ if name.ends_with("_ret") => Some(Self::Return),
            _ => Some(Self::Within),
        }
    }
}

/// The programs of a probe that an open pays for. Independent of it: what is held here are descriptors of its own.
#[derive(Debug)]
pub struct Meter {
    programs: Vec<(Part, OwnedFd)>,
    /// What switches measuring on and off; without one it cannot be measured.
    gauge: Option<Gauge>,
    on: bool,
}

impl Meter {
    pub(super) fn new(programs: Vec<(Part, OwnedFd)>, gauge: Option<Gauge>) -> Self {
        Self { programs, gauge, on: false }
    }

    /// Switches measuring on or off; whether the kernel did it, [`Meter::read`] tells.
    pub fn switch(&mut self, on: bool) {
        self.on = on;
        if let Some(gauge) = &mut self.gauge
            && gauge.wish(on).is_err()
        {
            self.gauge = None;
        }
    }

    /// What was measured so far, at `at_ns`; `None` while it is off.
    ///
    /// # Errors
    /// In words, when the kernel refuses: it wants CAP_SYS_ADMIN and Linux 5.8. Then it is off.
    pub fn read(&mut self, at_ns: u64) -> Option<Result<ProbeCost, String>> {
        if !self.on {
            return None;
        }
        if let Err(why) = self.answer() {
            self.on = false;
            return Some(Err(why));
        }
        let mut cost = ProbeCost { at_ns, ..ProbeCost::default() };
        for (part, fd) in &self.programs {
            let Ok((ns, runs)) = sys::run_time(fd.as_fd()) else { continue };
            add(&mut cost, *part, ns, runs);
        }
        Some(Ok(cost))
    }

    fn answer(&mut self) -> Result<(), String> {
        let Some(gauge) = &mut self.gauge else {
            return Err("it is not measured: there is no process opentop-gauge".to_owned());
        };
        gauge.answer().map_err(|e| match e.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                "the kernel measures it only for CAP_SYS_ADMIN: start opentop as root".to_owned()
            }
            Some(_) => format!("the kernel does not measure it: {}", in_words(&e)),
            None => {
                // What it held went with it.
                self.gauge = None;
                "it is no longer measured: the process opentop-gauge is gone".to_owned()
            }
        })
    }
}

fn add(cost: &mut ProbeCost, part: Part, ns: u64, runs: u64) {
    cost.ns += ns;
    cost.runs += runs;
    if part == Part::Return {
        cost.opens += runs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_is_counted_at_its_return_and_pays_for_no_fork() {
        let runs = [
            ("k_openat2", 300, 3),
            ("k_filp_open", 100, 50),
            ("k_openat2_ret", 600, 3),
            ("f_openat2_ret_twin", 30, 3),
            ("k_execat_ret", 200, 1),
            ("p_fork", 9_000, 900),
            ("p_exit", 9_000, 900),
            ("p_exec", 9_000, 900),
        ];
        let mut cost = ProbeCost::default();
        for (name, ns, runs) in runs {
            if let Some(part) = Part::of(name) {
                add(&mut cost, part, ns, runs);
            }
        }
        assert_eq!((cost.opens, cost.ns, cost.runs), (4, 1_230, 60));
    }
}
