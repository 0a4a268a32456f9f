//! The account: what became of every open of a session, in the last line of stderr of every mode.
//!
//! Pure: it counts and words, it reads nothing and prints nothing.

use std::fmt::{self, Write as _};

use crate::{
    cli::values,
    source::{Class, Losses, Totals},
};

/// Where every open of a session went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The kernel's last totals.
    pub totals: Totals,
    /// Opens that were handed to the reader of the output.
    pub shown: u64,
    /// Opens that the display filter kept out.
    pub filtered: u64,
    /// Records that came and could not be decoded.
    pub undecodable: u64,
}

impl Account {
    /// What became of everything that a dashboard's model took in.
    #[must_use]
    pub(super) fn of(model: &crate::model::Model) -> Self {
        Self { totals: model.totals, shown: model.shown, filtered: model.filtered, undecodable: model.undecodable }
    }

    /// Opens that happened and are neither shown nor filtered, and for which a counter says why.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.missing().lost()
    }

    /// The kernel's losses and those of whoever read the records.
    fn missing(&self) -> Losses {
        self.totals.losses.with_undecodable(self.undecodable)
    }

    /// Opens for which there is no explanation. Anything but 0 is a defect of opentop, and is said rather than hidden.
    #[must_use]
    pub fn unexplained(&self) -> i128 {
        i128::from(self.totals.opens) - i128::from(self.shown) - i128::from(self.filtered) - i128::from(self.lost())
    }

    /// What was lost or incomplete, in words with what to do about it; `None` when nothing was.
    /// `ring_bytes` is the size of the ring, for the advice.
    #[must_use]
    pub fn losses(&self, ring_bytes: u32) -> Option<String> {
        let missing = self.missing();
        let mut out = String::new();
        // The lost come first: they are what the line above has a sum of.
        for class in [Class::Lost, Class::Unseen, Class::Marked, Class::Told, Class::Stack] {
            for loss in missing.of(class).filter(|loss| loss.count > 0) {
                let _ = write!(out, "{}{} ", if out.is_empty() { "" } else { "; " }, loss.count);
                let _ = match (class, loss.name) {
                    (Class::Lost, "ring_full") => write!(out, "lost: {}", ring_advice(ring_bytes)),
                    (Class::Lost, _) => write!(out, "lost: {}", loss.told),
                    _ => write!(out, "{}", loss.told),
                };
            }
        }
        match self.unexplained() {
            0 => {}
            n => {
                let _ = write!(
                    out,
                    "{}{n} unexplained, which is a defect of opentop: please report it",
                    if out.is_empty() { "" } else { "; " }
                );
            }
        }
        (!out.is_empty()).then_some(out)
    }
}

fn ring_advice(ring_bytes: u32) -> String {
    let larger = u64::from(ring_bytes).saturating_mul(4).clamp(1 << 20, 1 << 30);
    format!(
        "the ring of {} was full; --ring-size {} gives it more room",
        values::size(u64::from(ring_bytes)),
        values::size(larger)
    )
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (opens, shown, filtered, lost) = (self.totals.opens, self.shown, self.filtered, self.lost());
        write!(f, "opentop: {opens} opens = {shown} shown + {filtered} filtered + {lost} lost")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let mut account = Account { shown: 12_000, filtered: 345, ..Account::default() };
        account.totals.opens = 12_345;
        account
    }

    #[test]
    fn the_line_reads_as_the_contract_has_it() {
        assert_eq!(account().to_string(), "opentop: 12345 opens = 12000 shown + 345 filtered + 0 lost");
        assert_eq!(account().losses(1 << 20), None);
    }

    #[test]
    fn each_loss_is_named_with_what_to_do() {
        let mut account = account();
        account.totals.opens += 7;
        account.totals.losses.ring_full = 5;
        account.undecodable = 2;
        account.totals.losses.name_unreadable = 1;
        assert!(account.to_string().ends_with("+ 7 lost"));
        let words = account.losses(65_536).unwrap();
        assert!(words.contains("5 lost: the ring of 64K was full; --ring-size 1M"), "{words}");
        assert!(words.contains("2 lost: records could not be decoded"), "{words}");
        assert!(words.contains("1 shown without a name"), "{words}");
    }

    proptest::proptest! {
        #[test]
        fn what_is_told_as_lost_adds_up_to_the_lost_of_the_line(
            list in proptest::array::uniform17(0..1_u64 << 40),
            undecodable in 0..1_u64 << 40,
        ) {
            let mut account = Account { undecodable, ..account() };
            account.totals.losses = Losses::from_list(list);
            let words = account.losses(1 << 20).unwrap_or_default();
            let told = words.split("; ").filter_map(|part| part.split_once(" lost: ")?.0.parse::<u64>().ok());
            proptest::prop_assert_eq!(told.sum::<u64>(), account.lost(), "{}", words);
        }
    }

    #[test]
    fn an_account_that_does_not_add_up_says_so() {
        let mut account = account();
        account.totals.opens += 1;
        assert!(account.losses(4096).unwrap().contains("1 unexplained"));
    }
}
