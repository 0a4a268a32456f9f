//! Does an open pass? Without an allocation per open: a path that has to be put together goes into a buffer that the
//! thread keeps.
//!
//! A test of something an open does not have (the descriptor of a failure, the error of a success, a duration that is
//! not known, a name that could not be read, the mode of an open that cannot create) does not hold; its negation does.

use std::cell::RefCell;

use probe_common::marks;

use super::{
    expr::{Expr, Test},
    field::FieldId,
};
use crate::{event::Event, flags};

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Whether `event` passes `expr`.
pub(super) fn matches(expr: &Expr, event: &Event<'_>) -> bool {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => Subject { event, scratch: &mut scratch, built: false }.passes(expr),
        // Nothing in here calls back; if it ever does, it costs an allocation and not the answer.
        Err(_) => Subject { event, scratch: &mut Vec::new(), built: false }.passes(expr),
    })
}

/// An open, and its path once it was needed.
struct Subject<'a> {
    event: &'a Event<'a>,
    scratch: &'a mut Vec<u8>,
    built: bool,
}

impl Subject<'_> {
    fn passes(&mut self, expr: &Expr) -> bool {
        match expr {
            Expr::All(parts) => parts.iter().all(|part| self.passes(part)),
            Expr::Any(parts) => parts.iter().any(|part| self.passes(part)),
            Expr::Not(inner) => !self.passes(inner),
            Expr::Term(term) => self.holds(&term.test),
        }
    }

    fn holds(&mut self, test: &Test) -> bool {
        let header = self.event.header();
        match test {
            Test::Failed => self.event.failed(),
            Test::Word(pattern) => {
                pattern.matches(self.event.comm()) || self.path().is_some_and(|path| pattern.matches(path))
            }
            Test::Number(field, numbers) => self.number(*field).is_some_and(|number| numbers.contains(&number)),
            Test::Compare(field, compare, right) => self.number(*field).is_some_and(|left| compare.holds(left, *right)),
            Test::Text(field, patterns) => {
                self.text(*field).is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(text)))
            }
            Test::Regex(field, regex) => self.text(*field).is_some_and(|text| regex.0.is_match(text)),
            Test::User(users) => users.iter().any(|(_, uid)| *uid == header.uid),
            Test::Cgroup(cgroups) => cgroups.iter().any(|(_, id)| *id == header.cgroup_id),
            Test::Err(errors) => self.event.errno().is_some_and(|errno| errors.contains(&errno)),
            Test::Flags(tests) => tests.iter().any(|(_, test)| test.holds(header.flags)),
            Test::Mode(modes) => flags::creates(header.flags) && modes.contains(&header.mode),
            Test::Via(routes) => routes.contains(&self.event.route()),
        }
    }

    fn number(&self, field: FieldId) -> Option<u64> {
        let header = self.event.header();
        Some(match field {
            FieldId::Pid => header.tgid.into(),
            FieldId::Tid => header.tid.into(),
            FieldId::Ppid => header.ppid.into(),
            FieldId::Uid => header.uid.into(),
            FieldId::Fd => u64::try_from(self.event.fd()?).ok()?,
            FieldId::Dur => self.event.duration_ns()?,
            _ => return None,
        })
    }

    fn text(&mut self, field: FieldId) -> Option<&[u8]> {
        match field {
            FieldId::Comm => Some(self.event.comm()),
            FieldId::Name => (!self.event.has(marks::NAME_UNREADABLE)).then_some(self.event.name()),
            _ => self.path(),
        }
    }

    fn path(&mut self) -> Option<&[u8]> {
        if self.event.has(marks::NAME_UNREADABLE) {
            return None;
        }
        if self.event.name().first() == Some(&b'/') || !self.event.has(marks::HAS_DIR) {
            return Some(self.event.name());
        }
        if !self.built {
            self.scratch.clear();
            self.event.path_into(self.scratch);
            self.built = true;
        }
        Some(self.scratch)
    }
}
