//! Words of the command line → values. Each refusal says what would have been accepted.

use std::time::Duration;

/// Smallest ring, bytes: one page.
const RING_MIN: u64 = 4096;
/// Largest ring, bytes.
const RING_MAX: u64 = 1 << 30;

/// `--ring-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize {
    /// What was asked for, bytes.
    pub asked: u64,
    /// What the kernel takes: the next power of two, at least a page, bytes.
    pub bytes: u32,
}

impl RingSize {
    /// What to tell the person when they get another size than they asked for.
    #[must_use]
    pub fn note(self) -> Option<String> {
        (self.asked != u64::from(self.bytes)).then(|| {
            format!(
                "a ring of {} is not possible: rounded up to {} (the kernel takes powers of two from {} on)",
                size(self.asked),
                size(u64::from(self.bytes)),
                size(RING_MIN)
            )
        })
    }
}

/// `bytes` the short way: `64K`, `8M`, or the plain number where it is not a multiple.
#[must_use]
pub fn size(bytes: u64) -> String {
    match bytes {
        0 => "0".into(),
        b if b % (1 << 30) == 0 => format!("{}G", b >> 30),
        b if b % (1 << 20) == 0 => format!("{}M", b >> 20),
        b if b % (1 << 10) == 0 => format!("{}K", b >> 10),
        b => format!("{b} bytes"),
    }
}

pub(super) fn ring_size(text: &str) -> Result<RingSize, String> {
    let asked = parse_size(text).ok_or("a size is a number with K, M or G behind it: 64K, 8M")?;
    if asked == 0 || asked > RING_MAX {
        return Err(format!("a ring has between {} and {}", size(RING_MIN), size(RING_MAX)));
    }
    // At most RING_MAX, which is a power of two itself.
    let bytes = u32::try_from(asked.max(RING_MIN).next_power_of_two()).map_err(|_| "too large".to_owned())?;
    Ok(RingSize { asked, bytes })
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Most opens that can be kept.
const HISTORY_MAX: usize = 10_000_000;

/// `--history`: opens.
///
/// # Errors
/// What would have been right.
pub fn history(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok().filter(|n| (1..=HISTORY_MAX).contains(n));
    number.ok_or_else(|| format!("a number of opens from 1 to {HISTORY_MAX}"))
}

/// `--interval`.
///
/// # Errors
/// What would have been right.
pub fn interval(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    let right = (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&time);
    if right { Ok(time) } else { Err("a time from 100ms to 60s".into()) }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const SHAPE: &str = "a time is a number with its unit: 10s, 500ms, 2m, 1h30m";
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, tail) = rest.split_at_checked(digits).ok_or(SHAPE)?;
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at_checked(letters).ok_or(SHAPE)?;
        let unit = match unit {
            "ms" => 0.001,
            // A bare number, but not the tail of `1h30`: is that minutes or seconds?
            "" if digits == text.len() => 1.0,
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(SHAPE.into()),
        };
        let number: f64 = number.parse().map_err(|_| SHAPE)?;
        let part = Duration::try_from_secs_f64(number * unit).map_err(|_| "that is too long a time")?;
        total = total.checked_add(part).ok_or("that is too long a time")?;
        rest = tail;
    }
    // Longer than anyone means, and still far from where clocks overflow.
    match total {
        Duration::ZERO => {
            Err(if text.is_empty() { SHAPE.into() } else { "a time longer than none at all, please".into() })
        }
        long if long > Duration::from_secs(100 * 366 * 86_400) => Err("that is too long a time".into()),
        fine => Ok(fine),
    }
}

/// Columns and rows of a screen: the smallest is what the dashboard says about itself, the largest what players take.
pub(super) fn screen_size(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|n| (2..=1000).contains(n));
    text.split_once('x')
        .and_then(|(columns, rows)| Some((number(columns)?, number(rows)?)))
        .ok_or_else(|| "a size is COLUMNSxROWS, as in 100x34, either from 2 to 1000".into())
}

pub(super) fn pid(text: &str) -> Result<u32, String> {
    // The kernel's PID_MAX_LIMIT is 2²².
    match text.parse::<u32>() {
        Ok(pid) if pid > 0 && pid <= 1 << 22 => Ok(pid),
        _ => Err("a process id is a number from 1 on, as `pgrep NAME` prints it".into()),
    }
}

pub(super) fn top(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(top) if top > 0 => Ok(top),
        _ => Err("how many processes, from 1 on".into()),
    }
}

pub(super) fn user(text: &str) -> Result<u32, String> {
    if let Ok(uid) = text.parse::<u32>() {
        // −1 means "no user" to every system call that takes one.
        return if uid == u32::MAX { Err("4294967295 is no user's number".into()) } else { Ok(uid) };
    }
    match nix::unistd::User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err("no user of that name on this machine; a number works for any".into()),
        Err(errno) => Err(format!("looking up the user failed: {}; a number works for any", errno.desc())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, ms) in [
            ("10s", 10_000),
            ("10", 10_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("0.5s", 500),
            ("1d", 86_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "10x", "-1s", "0s", "0", "1h30", "..s", "1e99s", "99999999999999d", "10 s", "ten"] {
            assert!(duration(text).is_err(), "{text:?} is no time");
        }
    }

    #[test]
    fn a_ring_is_a_power_of_two_and_rounding_is_said() {
        let ring = |text: &str| ring_size(text).map(|r| (r.bytes, r.note().is_some()));
        assert_eq!(ring("64K"), Ok((65_536, false)));
        assert_eq!(ring("8M"), Ok((8 << 20, false)));
        assert_eq!(ring("100k"), Ok((131_072, true)));
        assert_eq!(ring("1"), Ok((4096, true)));
        assert_eq!(ring("1G"), Ok((1 << 30, false)));
        for text in ["0", "2G", "x", "", "8X", "-8M", "99999999999999999999", "99999999999G"] {
            assert!(ring_size(text).is_err(), "{text:?} is no ring size");
        }
        let note = ring_size("100k").unwrap().note().unwrap();
        assert!(note.contains("100K") && note.contains("128K"), "{note}");
    }

    #[test]
    fn a_screen_has_columns_and_rows() {
        assert_eq!(screen_size("100x34"), Ok((100, 34)));
        for text in ["100", "x", "0x0", "100x", "100x34x1", "70000x10", "-1x5"] {
            assert!(screen_size(text).is_err(), "{text:?} is no size");
        }
    }

    #[test]
    fn a_pid_is_a_positive_number() {
        assert_eq!(pid("4711"), Ok(4711));
        for text in ["0", "-1", "x", "", "99999999"] {
            assert!(pid(text).is_err(), "{text:?} is no pid");
        }
    }

    #[test]
    fn a_user_is_a_name_or_a_number() {
        assert_eq!(user("root"), Ok(0));
        assert_eq!(user("12345"), Ok(12345));
        assert!(user("no-such-user-here").unwrap_err().contains("no user of that name"));
        assert!(user("4294967295").is_err());
    }
}
