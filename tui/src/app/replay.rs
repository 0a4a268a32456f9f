//! A replay as the dashboard shows it: where it is, and how much happened when.

use super::keys::Action;
use super::{App, Effect};
use crate::source::replay::{Control, Position, SPEEDS};

/// Most marks.
const MARKS: usize = 1000;

/// A mark that is as near as that is meant, ns.
const NEAR: u64 = 500_000_000;

/// How far a jump goes, ns.
const JUMP: i64 = 10_000_000_000;

/// A replay's place and shape.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Where it is.
    pub position: Position,
    /// The recording's chunks: the latest return of an open in each (boot clock, ns), and the opens before it.
    pub chunks: Vec<(u64, u64)>,
    /// Moments that were marked, boot clock, ns; in their order.
    pub marks: Vec<u64>,
}

impl Replay {
    /// A replay at its beginning.
    #[must_use]
    pub fn new(position: Position, chunks: Vec<(u64, u64)>) -> Self {
        Self { position, chunks, marks: Vec::new() }
    }

    /// The moment that a text names, boot clock, ns: seconds, `1:30` or `01:02:03` into the recording, `+20s` or `-5m`
    /// from here, a share of the whole.
    #[must_use]
    pub fn time(&self, text: &str) -> Option<u64> {
        let text = text.trim();
        let Position { at_ns, start_ns, .. } = self.position;
        if let Some(share) = text.strip_suffix('%') {
            let share: f64 = share.trim().parse().ok()?;
            return (0.0..=100.0).contains(&share).then(|| self.at_share(share / 100.0)).flatten();
        }
        if let Some(on) = text.strip_prefix('+') {
            return at_ns.checked_add(length(on)?);
        }
        if let Some(back) = text.strip_prefix('-') {
            return Some(at_ns.saturating_sub(length(back)?).max(start_ns));
        }
        start_ns.checked_add(length(text)?)
    }

    /// How much of the recording lies before each mark.
    pub fn marked_shares(&self) -> impl Iterator<Item = f64> {
        let Position { start_ns, end_ns, .. } = self.position;
        let whole = end_ns.map_or(0, |end| end.saturating_sub(start_ns));
        let share = move |at: &u64| at.saturating_sub(start_ns) as f64 / whole as f64;
        self.marks.iter().filter(move |_| whole > 0).map(share)
    }

    /// Marks this moment, or takes away the mark that is there; what was done, in words.
    fn mark(&mut self) -> String {
        let at = self.position.at_ns;
        let time = crate::session::clock(self.seconds());
        if let Some(there) = self.marks.iter().position(|mark| mark.abs_diff(at) < NEAR) {
            self.marks.remove(there);
            return format!("the mark at {time} is gone");
        }
        if self.marks.len() >= MARKS {
            return format!("there are {MARKS} marks already: m on one takes it away");
        }
        let place = self.marks.partition_point(|mark| *mark < at);
        self.marks.insert(place, at);
        format!("marked {time}: {{ and }} go from mark to mark")
    }

    /// Whole seconds into the recording, now.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.position.at_ns.saturating_sub(self.position.start_ns) / 1_000_000_000
    }

    /// How much of the recording is behind, from 0 to 1; `None` where its end is not known yet.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let Position { at_ns, start_ns, end_ns, .. } = self.position;
        let whole = end_ns?.checked_sub(start_ns).filter(|whole| *whole > 0)?;
        Some((at_ns.saturating_sub(start_ns) as f64 / whole as f64).min(1.0))
    }

    /// The recorded time at a share of the recording, boot clock, ns.
    #[must_use]
    pub fn at_share(&self, share: f64) -> Option<u64> {
        let Position { start_ns, end_ns, .. } = self.position;
        let whole = end_ns?.saturating_sub(start_ns);
        Some(start_ns.saturating_add((whole as f64 * share.clamp(0.0, 1.0)) as u64))
    }

    /// Opens in each of so many equal parts of the recording; those of a chunk spread evenly over its time. Empty where
    /// it is not known. The last chunk's are known once they were played.
    #[must_use]
    pub fn bars(&self, columns: usize) -> Vec<f64> {
        let Position { start_ns, end_ns, opens, .. } = self.position;
        let Some(whole) = end_ns.and_then(|end| end.checked_sub(start_ns)).filter(|whole| *whole > 0) else {
            return Vec::new();
        };
        if columns == 0 || self.chunks.is_empty() {
            return Vec::new();
        }
        let mut bars = vec![0.0; columns];
        let place = |ns: u64| ns.saturating_sub(start_ns) as f64 / whole as f64 * columns as f64;
        let mut from = start_ns;
        let after = self.chunks.iter().skip(1).map(|(_, before)| *before);
        let last = self.chunks.last().map_or(0, |(_, before)| *before);
        for ((to, before), after) in self.chunks.iter().zip(after.chain([opens.max(last)])) {
            let (begin, end) = (place(from), place((*to).max(from)));
            let count = after.saturating_sub(*before) as f64;
            let wide = (end - begin).max(1e-9);
            // Saturating casts, and columns are few.
            for column in (begin as usize).min(columns - 1)..=(end as usize).min(columns - 1) {
                let inside = (end.min(column as f64 + 1.0) - begin.max(column as f64)).max(0.0);
                if let Some(bar) = bars.get_mut(column) {
                    *bar += if end - begin < 1e-9 { count } else { count * inside / wide };
                }
            }
            from = (*to).max(from);
        }
        bars
    }
}

/// A length of time, ns: `90`, `1:30`, `01:02:03`, `20s`, `5m`, `1h`, `500ms`.
fn length(text: &str) -> Option<u64> {
    let seconds: f64 = if text.contains(':') {
        let mut all = 0.0;
        for part in text.split(':') {
            all = all * 60.0 + f64::from(part.parse::<u32>().ok()?);
        }
        all
    } else {
        let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(at);
        let unit = match unit {
            "" | "s" => 1.0,
            "ms" => 0.001,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        number.parse::<f64>().ok()? * unit
    };
    // Saturating cast: no recording is that long.
    Some((seconds * 1e9) as u64)
}

/// Takes in where the replay is; answers whether that can be seen.
pub(super) fn moved(app: &mut App, position: Position) -> bool {
    let Some(replay) = &mut app.replay else { return false };
    let (before, seconds) = (replay.position, replay.seconds());
    replay.position = position;
    let (now, then) =
        ((position.playing, position.speed, position.ended), (before.playing, before.speed, before.ended));
    now != then || replay.seconds() != seconds || (!position.playing && position.at_ns != before.at_ns)
}

/// Does what one of the replay's keys stands for.
pub(super) fn act(app: &mut App, action: Action, effects: &mut Vec<Effect>) {
    let Some(replay) = &mut app.replay else {
        app.notice = Some("that key is for replays: `opentop -r FILE`".into());
        return;
    };
    let Position { at_ns, start_ns, ended, .. } = replay.position;
    let none = |where_to: &str| Some(format!("no mark {where_to}: m makes one"));
    match action {
        Action::Mark => {
            app.notice = Some(replay.mark());
            return;
        }
        Action::NextMark => {
            let next = replay.marks.iter().find(|mark| **mark > at_ns.saturating_add(NEAR));
            match next {
                Some(mark) => effects.push(Effect::Control(Control::JumpTo(*mark))),
                None => app.notice = none("behind this moment"),
            }
            return;
        }
        Action::PreviousMark => {
            let before = replay.marks.iter().rfind(|mark| mark.saturating_add(NEAR) < at_ns);
            match before {
                Some(mark) => effects.push(Effect::Control(Control::JumpTo(*mark))),
                None => app.notice = none("before this moment"),
            }
            return;
        }
        _ => {}
    }
    let speed = &mut replay.position.speed;
    let mut faster = |by: f64| {
        // Shown before the replay has answered: the next key counts from here.
        *speed = (*speed * by).clamp(*SPEEDS.start(), *SPEEDS.end());
        Control::Speed(*speed)
    };
    effects.push(Effect::Control(match action {
        Action::Pause if ended => Control::JumpTo(start_ns),
        Action::Pause => Control::Toggle,
        Action::Step => Control::Step(1),
        Action::StepBack => Control::StepBack(1),
        Action::Faster => faster(2.0),
        Action::Slower => faster(0.5),
        Action::Later => Control::JumpBy(JUMP),
        Action::Earlier => Control::JumpBy(-JUMP),
        Action::Beginning => Control::JumpTo(start_ns),
        Action::Ending => Control::JumpTo(u64::MAX),
        _ => return,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(chunks: Vec<(u64, u64)>, opens: u64) -> Replay {
        let position =
            Position { at_ns: 500, start_ns: 0, end_ns: Some(1000), playing: true, speed: 1.0, ended: false, opens };
        Replay::new(position, chunks)
    }

    #[test]
    fn the_bars_hold_every_open_where_it_happened() {
        let replay = replay(vec![(250, 0), (500, 100), (1000, 100)], 140);
        let bars = replay.bars(4);
        assert_eq!(bars.iter().map(|b| b.round()).collect::<Vec<_>>(), [100.0, 0.0, 20.0, 20.0]);
        assert!((replay.bars(7).iter().sum::<f64>() - 140.0).abs() < 1e-6);
        assert_eq!(replay.share(), Some(0.5));
        assert_eq!(replay.at_share(0.25), Some(250));
    }

    #[test]
    fn a_time_is_said_as_people_say_it() {
        let mut replay = replay(Vec::new(), 0);
        const S: u64 = 1_000_000_000;
        replay.position = Position { at_ns: 100 * S, start_ns: 10 * S, end_ns: Some(210 * S), ..replay.position };
        let all = [("5", 15), ("1:30", 100), ("01:00:00", 3610), ("+20s", 120), ("-1m", 40), ("-5m", 10), ("50%", 110)];
        for (text, seconds) in all {
            assert_eq!(replay.time(text), Some(seconds * S), "{text}");
        }
        assert_eq!(replay.time("0.5"), Some(10 * S + S / 2));
        for text in ["", "x", "1:x", "5 parsecs", "101%", "+", "--1"] {
            assert_eq!(replay.time(text), None, "{text}");
        }
    }

    #[test]
    fn a_mark_is_made_and_taken_away_at_the_same_moment() {
        let mut replay = replay(Vec::new(), 0);
        for at in [70 * NEAR, 10 * NEAR, 40 * NEAR] {
            replay.position.at_ns = at;
            replay.mark();
        }
        assert_eq!(replay.marks, [10 * NEAR, 40 * NEAR, 70 * NEAR]);
        replay.position.at_ns = 40 * NEAR + 1;
        assert!(replay.mark().contains("is gone"));
        assert_eq!(replay.marks, [10 * NEAR, 70 * NEAR]);
    }

    #[test]
    fn what_is_not_known_is_not_drawn() {
        let mut replay = replay(Vec::new(), 0);
        assert!(replay.bars(10).is_empty());
        replay.position.end_ns = None;
        assert_eq!((replay.share(), replay.at_share(0.5)), (None, None));
    }
}
