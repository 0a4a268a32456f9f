//! Times and durations as text, appended to a line without an allocation: RFC 3339 with nanoseconds in UTC for
//! machines, the local time of day for people, durations with three digits.
//!
//! Two opens in a row nearly always fall into the same second, so both clocks keep what that second looks like.

use jiff::{Timestamp, tz::TimeZone};

const SECOND: i128 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Splits ns since 1970 into whole seconds (rounded down) and ns. Times beyond what a recording can hold saturate.
fn split(wall_ns: i128) -> (i64, u32) {
    // Every time up to the year 2262, without a 128-bit division.
    if let Ok(ns) = i64::try_from(wall_ns) {
        return (ns.div_euclid(1_000_000_000), u32::try_from(ns.rem_euclid(1_000_000_000)).unwrap_or(0));
    }
    let seconds = i64::try_from(wall_ns.div_euclid(SECOND)).unwrap_or(if wall_ns < 0 { i64::MIN } else { i64::MAX });
    (seconds, u32::try_from(wall_ns.rem_euclid(SECOND)).unwrap_or(0))
}

/// Writes the decimal digits of `value` over all of `out`.
fn digits(out: &mut [u8], mut value: u64) {
    for slot in out.iter_mut().rev() {
        // A digit is below 10.
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, u64, u64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month.unsigned_abs(), day.unsigned_abs())
}

/// Writes times as `2026-11-22T17:29:07.123456789Z`.
#[derive(Clone, Debug)]
pub struct Utc {
    second: i64,
    text: [u8; 30],
}

impl Default for Utc {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00.000000000Z" }
    }
}

impl Utc {
    /// Appends the time that is `wall_ns` ns after 1970 (UTC). Years outside of 0 to 9999 saturate: RFC 3339 has none.
    pub fn push(&mut self, out: &mut Vec<u8>, wall_ns: i128) {
        // 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
        const FIRST: i128 = -62_167_219_200 * SECOND;
        const LAST: i128 = 253_402_300_799 * SECOND + SECOND - 1;
        let (second, ns) = split(wall_ns.clamp(FIRST, LAST));
        if second != self.second {
            self.second = second;
            self.set_second(second);
        }
        if let Some(slot) = self.text.get_mut(20..29) {
            digits(slot, u64::from(ns));
        }
        out.extend_from_slice(&self.text);
    }

    fn set_second(&mut self, second: i64) {
        let (year, month, day) = civil(second.div_euclid(DAY));
        let of_day = second.rem_euclid(DAY).unsigned_abs();
        let parts = [
            (0..4, year.unsigned_abs()),
            (5..7, month),
            (8..10, day),
            (11..13, of_day / 3_600),
            (14..16, of_day / 60 % 60),
            (17..19, of_day % 60),
        ];
        for (at, value) in parts {
            if let Some(slot) = self.text.get_mut(at) {
                digits(slot, value);
            }
        }
    }
}

/// Writes the local time of day as `17:29:07.123456`.
#[derive(Clone, Debug)]
pub struct Local {
    zone: TimeZone,
    /// The minute since 1970 that `offset` is for. Zones change their offset on full minutes only.
    minute: Option<i64>,
    /// Seconds that the zone is ahead of UTC in that minute.
    offset: i64,
    second: Option<i64>,
    text: [u8; 15],
}

impl Default for Local {
    fn default() -> Self {
        Self::new(TimeZone::system())
    }
}

impl Local {
    /// A clock of one zone.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, minute: None, offset: 0, second: None, text: *b"00:00:00.000000" }
    }

    /// Appends the time of day, 15 bytes, of the moment `wall_ns` ns after 1970 (UTC).
    pub fn push(&mut self, out: &mut Vec<u8>, wall_ns: i128) {
        let (second, ns) = split(wall_ns);
        if self.second != Some(second) {
            self.second = Some(second);
            self.set_second(second);
        }
        if let Some(slot) = self.text.get_mut(9..15) {
            digits(slot, u64::from(ns / 1_000));
        }
        out.extend_from_slice(&self.text);
    }

    fn set_second(&mut self, second: i64) {
        let minute = second.div_euclid(60);
        if self.minute != Some(minute) {
            self.minute = Some(minute);
            // A time that the time zone database cannot hold is shown as UTC.
            self.offset = Timestamp::from_second(second).map_or(0, |t| i64::from(self.zone.to_offset(t).seconds()));
        }
        let of_day = second.saturating_add(self.offset).rem_euclid(DAY).unsigned_abs();
        for (at, value) in [(0..2, of_day / 3_600), (3..5, of_day / 60 % 60), (6..8, of_day % 60)] {
            if let Some(slot) = self.text.get_mut(at) {
                digits(slot, value);
            }
        }
    }
}

/// Appends a duration with three significant digits and its unit: `412ns`, `1.23us`, `45.6ms`, `2.00s`, `3600s`.
/// Cut, not rounded: what is shown as `1.00ms` did take a millisecond.
pub fn push_duration(out: &mut Vec<u8>, ns: u64) {
    let (unit, name) = match ns {
        0..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "us"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let whole = ns / unit;
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    let decimals = if unit == 1 || whole >= 100 {
        0
    } else if whole >= 10 {
        1
    } else {
        2
    };
    if decimals > 0 {
        let hundredths = ns % unit * 100 / unit;
        let mut text = [0; 2];
        digits(&mut text, hundredths);
        out.push(b'.');
        out.extend_from_slice(text.get(..decimals).unwrap_or_default());
    }
    out.extend_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn utc(wall_ns: i128) -> String {
        let mut out = Vec::new();
        Utc::default().push(&mut out, wall_ns);
        String::from_utf8(out).unwrap()
    }

    fn duration(ns: u64) -> String {
        let mut out = Vec::new();
        push_duration(&mut out, ns);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn utc_is_rfc_3339_with_nanoseconds() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(utc(1_709_164_800_000_000_001), "2024-02-29T00:00:00.000000001Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(utc(i128::MAX), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(utc(i128::MIN), "0000-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        for (ns, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1.00us"),
            (1_239, "1.23us"),
            (12_345, "12.3us"),
            (999_999, "999us"),
            (1_050_000, "1.05ms"),
            (2_000_000_000, "2.00s"),
            (3_600_000_000_000, "3600s"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn the_local_time_follows_the_zone_through_its_changes() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let mut clock = Local::new(zone);
        // 2024-03-31T01:00:00Z is when Berlin goes from 02:00 to 03:00.
        let change: i128 = 1_711_846_800 * SECOND;
        for (at, text) in [
            (change - 1_000, "01:59:59.999999"),
            (change, "03:00:00.000000"),
            (change - 60 * SECOND, "01:59:00.000000"),
        ] {
            let mut out = Vec::new();
            clock.push(&mut out, at);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn utc_agrees_with_jiff(wall_ns in -6_000_000_000_000_000_000_i128..80_000_000_000_000_000_000) {
            let timestamp = Timestamp::from_nanosecond(wall_ns).unwrap();
            prop_assert_eq!(utc(wall_ns), format!("{timestamp:.9}"));
        }

        #[test]
        fn local_time_agrees_with_jiff(times in proptest::collection::vec(-2_000_000_000_000_000_000_i128..4_000_000_000_000_000_000, 1..9)) {
            let zone = TimeZone::get("America/St_Johns").unwrap();
            let mut clock = Local::new(zone.clone());
            for wall_ns in times {
                let mut out = Vec::new();
                clock.push(&mut out, wall_ns);
                let truth = Timestamp::from_nanosecond(wall_ns).unwrap().to_zoned(zone.clone());
                // Before 1911 St John's was 3:30:52 behind; jiff has that to the second, as we do.
                let truth = truth.strftime("%H:%M:%S.").to_string() + &format!("{:06}", wall_ns.rem_euclid(SECOND) / 1_000);
                prop_assert_eq!(String::from_utf8(out).unwrap(), truth);
            }
        }

        #[test]
        fn any_time_can_be_shown(wall_ns in any::<i128>(), ns in any::<u64>()) {
            prop_assert_eq!(utc(wall_ns).len(), 30);
            let mut out = Vec::new();
            Local::new(TimeZone::UTC).push(&mut out, wall_ns);
            prop_assert_eq!(out.len(), 15);
            prop_assert!(!duration(ns).is_empty());
        }
    }
}
