//! What stands behind a field → a test. Knows what each field's values mean and says so when one is wrong.

use std::ops::Range;

use super::{
    ParseError,
    expr::{Compare, Matching, Test},
    field::{self, Field, FieldId, Kind},
    lexer::{Op, Unit, Value},
    names::Names,
    pattern::{Pattern, Target, build_regex},
};
use crate::{errno, escape::escaped, event::Route, flags::FlagTest};

/// The test of `field op values`, for an `op` that is not negated.
pub(super) fn test(
    field: &'static Field,
    op: Op,
    values: &[Value],
    names: &dyn Names,
    whole: &Range<usize>,
) -> Result<Test, ParseError> {
    let compare = match op {
        Op::Less => Some(Compare::Less),
        Op::LessOrEqual => Some(Compare::LessOrEqual),
        Op::Greater => Some(Compare::Greater),
        Op::GreaterOrEqual => Some(Compare::GreaterOrEqual),
        _ => None,
    };
    match (compare, values) {
        (Some(compare), [value]) => compared(field, compare, value, whole),
        (Some(_), _) => Err(ParseError::new(format!("{} is compared with one number", field.name), whole.clone())),
        (None, _) => listed(field, values, names, whole),
    }
}

fn compared(field: &'static Field, compare: Compare, value: &Value, whole: &Range<usize>) -> Result<Test, ParseError> {
    let number = match field.kind {
        Kind::Duration => duration(value)?,
        Kind::Number if field.id == FieldId::Cgroup => {
            return Err(ParseError::new("cgroups have no order; write cgroup:ID or cgroup:/path", whole.clone()));
        }
        Kind::Number => number(field, value, limit(field.id))?,
        _ => {
            let message = format!("{} is not a number to compare; write {}", field.name, field.example);
            return Err(ParseError::new(message, whole.clone()));
        }
    };
    Ok(Test::Compare(field.id, compare, number))
}

fn listed(
    field: &'static Field,
    values: &[Value],
    names: &dyn Names,
    whole: &Range<usize>,
) -> Result<Test, ParseError> {
    Ok(match field.id {
        FieldId::Pid | FieldId::Tid | FieldId::Ppid | FieldId::Uid | FieldId::Fd => {
            Test::Number(field.id, each(values, |value| number(field, value, limit(field.id)))?)
        }
        FieldId::Dur => {
            let message = "a duration is compared: dur>1ms, or dur<1ms";
            return Err(ParseError::new(message, whole.clone()));
        }
        FieldId::Comm => Test::Text(field.id, each(values, |value| pattern(value, Target::Comm))?),
        FieldId::Path | FieldId::Name => Test::Text(field.id, each(values, |value| pattern(value, Target::Path))?),
        FieldId::Dir => Test::Text(
            field.id,
            each(values, |value| {
                if value.units.is_empty() {
                    return Err(ParseError::new("dir needs a directory, as in dir:/home/ann", value.at.clone()));
                }
                pattern(value, Target::Dir)
            })?,
        ),
        FieldId::User => Test::User(each(values, |value| user(field, value, names))?),
        FieldId::Cgroup => Test::Cgroup(each(values, |value| cgroup(field, value, names))?),
        FieldId::Err => Test::Err(each(values, |value| {
            let text = literal(field, value)?;
            let number = text.parse::<i32>().ok().filter(|n| (1..=4095).contains(n) && !text.starts_with('+'));
            number.or_else(|| errno::number(&text)).ok_or_else(|| unknown(field, "an error", &text, value))
        })?),
        FieldId::Flags => Test::Flags(each(values, |value| {
            let text = literal(field, value)?;
            FlagTest::parse(&text)
                .map(|test| (text.clone(), test))
                .ok_or_else(|| unknown(field, "a flag", &text, value))
        })?),
        FieldId::Mode => Test::Mode(each(values, |value| {
            let text = literal(field, value)?;
            let mode = u16::from_str_radix(&text, 8).ok().filter(|_| !text.starts_with('+'));
            mode.ok_or_else(|| wrong(value, "a mode is octal, as in mode:0644"))
        })?),
        FieldId::Via => {
            let routes = each(values, |value| {
                let text = literal(field, value)?;
                let route = Route::ALL.into_iter().find(|route| route.name().eq_ignore_ascii_case(&text));
                route.ok_or_else(|| unknown(field, "a route", &text, value))
            })?;
            Test::Via(routes)
        }
    })
}

/// The test of `field~pattern`.
pub(super) fn regex(field: &'static Field, pattern: &str, at: &Range<usize>) -> Result<Test, ParseError> {
    if !matches!(field.id, FieldId::Comm | FieldId::Path | FieldId::Name) {
        let message = format!("~ works on comm, path and name; write {}", field.example);
        return Err(ParseError::new(message, at.clone()));
    }
    let regex = build_regex(pattern).map_err(|message| ParseError::new(message, at.clone()))?;
    Ok(Test::Regex(field.id, Matching(regex)))
}

/// The test of a word on its own.
pub(super) fn word(value: &Value) -> Result<Test, ParseError> {
    let keyword: Vec<Unit> = b"failed".iter().copied().map(Unit::Byte).collect();
    if !value.quoted && value.units == keyword {
        return Ok(Test::Failed);
    }
    Ok(Test::Word(pattern(value, Target::Word)?))
}

fn each<T>(values: &[Value], one: impl FnMut(&Value) -> Result<T, ParseError>) -> Result<Vec<T>, ParseError> {
    values.iter().map(one).collect()
}

fn pattern(value: &Value, target: Target) -> Result<Pattern, ParseError> {
    Pattern::new(&value.units, target).map_err(|message| ParseError::new(message, value.at.clone()))
}

fn wrong(value: &Value, message: impl Into<String>) -> ParseError {
    ParseError::new(message, value.at.clone())
}

fn unknown(field: &'static Field, what: &str, text: &str, value: &Value) -> ParseError {
    let shown = escaped(text.as_bytes());
    // Each flag also without its `O_`.
    let hint = match field::nearest(text, field.id.words().map(|(word, _)| word))
        .or_else(|| field::nearest(&format!("O_{text}"), field.id.words().map(|(word, _)| word)))
    {
        Some(near) => format!("did you mean {near}?"),
        None => match field.id {
            FieldId::Via => format!("routes are {}", Route::ALL.map(Route::name).join(", ")),
            FieldId::Flags => "write names (O_CREAT, creat), letters that must all hold (wc) or bits (0x40)".to_owned(),
            _ => format!("write a name or a number, as in {}", field.example),
        },
    };
    wrong(value, format!("{shown} is not {what}; {hint}"))
}

/// The text of a value without wildcards.
fn literal(field: &'static Field, value: &Value) -> Result<String, ParseError> {
    let bytes: Option<Vec<u8>> =
        value.units.iter().map(|unit| if let Unit::Byte(byte) = unit { Some(*byte) } else { None }).collect();
    let bytes =
        bytes.ok_or_else(|| wrong(value, format!("{} takes no wildcards; write {}", field.name, field.example)))?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.is_empty());
    text.ok_or_else(|| wrong(value, format!("{} needs a value, as in {}", field.name, field.example)))
}

/// The largest value a number can have.
fn limit(field: FieldId) -> u64 {
    match field {
        FieldId::Fd => i32::MAX.unsigned_abs().into(),
        _ => u32::MAX.into(),
    }
}

fn number(field: &'static Field, value: &Value, limit: u64) -> Result<u64, ParseError> {
    let text = literal(field, value)?;
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let number = text.parse().ok().filter(|number| *number <= limit);
        return number.ok_or_else(|| wrong(value, format!("{} is at most {limit}", field.name)));
    }
    let hint = if field.id == FieldId::Uid { "; user: takes a name" } else { "" };
    Err(wrong(value, format!("{} takes a number, as in {}{hint}", field.name, field.example)))
}

fn user(field: &'static Field, value: &Value, names: &dyn Names) -> Result<(String, u32), ParseError> {
    let text = literal(field, value)?;
    if let Some(uid) = names.uid(&text) {
        return Ok((text, uid));
    }
    if text.bytes().all(|b| b.is_ascii_digit())
        && let Ok(uid) = text.parse()
    {
        return Ok((text, uid));
    }
    let users = names.users();
    let hint = match field::nearest(&text, users.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", escaped(near.as_bytes())),
        None => "write a user of this machine, or a uid".to_owned(),
    };
    Err(wrong(value, format!("there is no user {}; {hint}", escaped(text.as_bytes()))))
}

fn cgroup(field: &'static Field, value: &Value, names: &dyn Names) -> Result<(String, u64), ParseError> {
    let text = literal(field, value)?;
    if text.bytes().all(|b| b.is_ascii_digit())
        && let Ok(id) = text.parse()
    {
        return Ok((text, id));
    }
    match text.starts_with('/').then(|| names.cgroup(&text)).flatten() {
        Some(id) => Ok((text, id)),
        None => {
            let shown = escaped(text.as_bytes());
            Err(wrong(value, format!("there is no cgroup {shown}; write its id, or its path under /sys/fs/cgroup")))
        }
    }
}

/// A duration with its unit, in ns. Parts of a ns are cut.
fn duration(value: &Value) -> Result<u64, ParseError> {
    let text = literal(FieldId::Dur.field(), value)?;
    let form = || wrong(value, "a duration is a number with its unit, ns, us, ms or s, as in dur>1ms");
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(form)?;
    let size: u128 = match unit {
        "ns" => 1,
        // Both ways to write µ.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "" if number.parse() == Ok(0_u64) => 1,
        "" if !number.is_empty() && !number.ends_with('.') => {
            let message = format!("{} of what? write {0}us, {0}ms or {0}s", escaped(number.as_bytes()));
            return Err(wrong(value, message));
        }
        _ => return Err(form()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let bad = whole.is_empty() || fraction.is_empty() || fraction.contains('.');
    let whole: u128 = whole.parse().ok().filter(|_| !bad).ok_or_else(form)?;
    // More digits than a second has ns change nothing.
    let fraction = fraction.get(..fraction.len().min(9)).unwrap_or_default();
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let fraction: u128 = fraction.parse().map_err(|_| form())?;
    let ns = whole.checked_mul(size).and_then(|ns| ns.checked_add(fraction * size / scale));
    ns.and_then(|ns| u64::try_from(ns).ok()).ok_or_else(|| wrong(value, "this duration is too long"))
}
