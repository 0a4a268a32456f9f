//! A replay as the dashboard shows it: where it is, and how much happened when.

use super::keys::Action;
use super::{App, Effect};
use crate::source::replay::{Control, Position, SPEEDS};

/// How far a jump goes, ns.
const JUMP: i64 = 10_000_000_000;

/// A replay's place and shape.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Where it is.
    pub position: Position,
    /// The recording's chunks: the latest return of an open in each (boot clock, ns), and the opens before it.
    pub chunks: Vec<(u64, u64)>,
}

impl Replay {
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
    let Position { start_ns, ended, ref mut speed, .. } = replay.position;
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
        Replay { position, chunks }
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
    fn what_is_not_known_is_not_drawn() {
        let mut replay = replay(Vec::new(), 0);
        assert!(replay.bars(10).is_empty());
        replay.position.end_ns = None;
        assert_eq!((replay.share(), replay.at_share(0.5)), (None, None));
    }
}
