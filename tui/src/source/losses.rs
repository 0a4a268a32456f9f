//! Everything that can be missing, in one table: its name, what it means for the lists, and what people are told. The
//! account, the view Health, the summary and the recording all read it, so that they cannot contradict each other.

/// What a loss means for the lists of opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The open has no record: it is counted, and in no list. These add up to the `lost` of the account.
    Lost,
    /// In the lists, incomplete and marked.
    Marked,
    /// A cause or a measure of what another row counts, or an open that is counted in another place. Nothing more is missing.
    Told,
    /// A stack that was asked for. The open is in the lists.
    Stack,
    /// What should have been captured and perhaps was not: how many opens that is nobody knows, so they are in no sum.
    Unseen,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The field's name: the key in JSON.
    pub name: &'static str,
    /// How many. Opens, but for `missed` (runs of the probe), `name_bytes`, `stack_unnamed` and `scope_full`
    /// (processes).
    pub count: u64,
    /// What it means.
    pub class: Class,
    /// In words that fit a column of the dashboard.
    pub short: &'static str,
    /// In the words of the account: after `N lost: ` for [`Class::Lost`], after `N ` for all others.
    pub told: &'static str,
}

/// A line here is all that a new loss needs: it gets its field, its row, its words and its place in recordings.
macro_rules! losses {
    ($($(#[$doc:meta])* $field:ident: $class:ident, $short:literal, $told:literal;)*) => {
        /// Every way in which an open can be missing from the stream or incomplete in it. All of them only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Losses {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Losses {
            /// How many kinds there are.
            pub const KINDS: usize = [$(stringify!($field)),*].len();

            /// The table.
            #[must_use]
            pub const fn table(&self) -> [Loss; Self::KINDS] {
                [$(Loss {
                    name: stringify!($field),
                    count: self.$field,
                    class: Class::$class,
                    short: $short,
                    told: $told,
                }),*]
            }

            /// The counts alone, in the order of the table.
            #[must_use]
            pub const fn to_list(&self) -> [u64; Self::KINDS] {
                [$(self.$field),*]
            }

            /// From the counts alone.
            #[must_use]
            pub const fn from_list(list: [u64; Self::KINDS]) -> Self {
                let [$($field),*] = list;
                Self { $($field),* }
            }
        }
    };
}

// The order is that of recordings: append, never reorder.
losses! {
    /// Records that the ring had no room for.
    ring_full: Lost, "the ring was full: see --ring-size", "the ring was full";
    /// Entries that found the in-flight table full: their opens are shown with what the return knows (see `no_entry`).
    inflight_full: Told, "too many opens under way at once",
        "times more opens were under way at once than the probe's table holds: shown by what their return knows";
    /// Probe runs that the kernel itself skipped (kretprobe misses, recursion, and on kernels with preemption a task that was
    /// preempted within bpf(2)), where it tells. An open of which it skipped a part is among `no_entry` or `no_return`; one
    /// that all of the probe missed is in no count (see `probe/undisturbed.rs`).
    missed: Unseen, "times the kernel skipped the probe",
        "times the kernel skipped the probe, another one running on the same CPU: an open of which it skipped all is in no count";
    /// Records that user space dropped because they could not be decoded.
    undecodable: Lost, "records that could not be decoded", "records could not be decoded; please report this";
    /// Records that user space dropped because a bounded queue was full (a slow recording, say).
    dropped: Lost, "dropped by opentop: a queue was full", "opentop itself could not keep up, or a recording does not have them";
    /// Returns whose entry was not seen: shown, without name and duration.
    no_entry: Marked, "without a duration: the start was not seen",
        "shown without name and duration: the start of the open was not seen";
    /// Entries whose return was not seen: lost.
    no_return: Lost, "the end of the open was not seen", "the end of the open was not seen";
    /// Records without a readable name: shown, and marked.
    name_unreadable: Marked, "without a name: it could not be read", "shown without a name: it could not be read";
    /// Records with a cut name: shown, and marked.
    name_truncated: Marked, "with a name cut short", "shown with a name cut short";
    /// Bytes of names missing from the stream.
    name_bytes: Told, "bytes of names missing: lost or cut", "bytes of names missing, of those lost or cut";
    /// Relative names whose directory is missing or cut: shown, and marked.
    dir_incomplete: Marked, "relative, the directory missing or cut",
        "shown with a relative name whose directory is missing or cut";
    /// Opens that the kernel counted in its row of all others because the process table was full: a process's row has
    /// what its records told.
    process_table_full: Told, "beyond the table: counted by record",
        "opens found the kernel's table of processes full: the totals have them all, a process's row those whose records came";
    /// Opens whose user stack was asked for and could not be had.
    stack_user: Stack, "without their user stack",
        "without their user stack: its place in the stack map was taken, or there was none to walk";
    /// The same of the kernel's stack.
    stack_kernel: Stack, "without their kernel stack", "without their kernel stack, for the same reasons";
    /// Opens that are in no count by stack: the table of these was full.
    stack_uncounted: Stack, "in no count by stack: table full", "in no count by stack: the table of these was full";
    /// Stacks without names: the process was gone, or more came than names could be found for.
    stack_unnamed: Stack, "stacks without names: process gone",
        "stacks without names: the process was gone, or its files may not be read";
    /// Processes forked within a captured tree that found the table of these full.
    scope_full: Unseen, "processes not followed: table full",
        "processes not captured, nor their descendants: the table of captured processes was full";
}

impl Losses {
    /// The rows of a class, those without a count among them.
    pub fn of(&self, class: Class) -> impl Iterator<Item = Loss> {
        self.table().into_iter().filter(move |loss| loss.class == class)
    }

    /// Opens that happened in the capture and are not in the stream: the `lost` of the account.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.of(Class::Lost).fold(0, |sum, loss| sum.saturating_add(loss.count))
    }

    /// The same, with records that came and that a reader could not decode.
    #[must_use]
    pub fn with_undecodable(self, more: u64) -> Self {
        Self { undecodable: self.undecodable.saturating_add(more), ..self }
    }

    /// What came after `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut list = self.to_list();
        for (now, before) in list.iter_mut().zip(before.to_list()) {
            *now = now.saturating_sub(before);
        }
        Self::from_list(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_without_a_record_is_lost_and_one_with_a_record_is_not() {
        let all = Losses::from_list([1; Losses::KINDS]);
        let lost: Vec<_> = all.of(Class::Lost).map(|loss| loss.name).collect();
        assert_eq!(lost, ["ring_full", "undecodable", "dropped", "no_return"]);
        assert_eq!(all.lost(), 4);
        let most = Losses::from_list([u64::MAX; Losses::KINDS]);
        assert_eq!(most.lost(), u64::MAX, "a recording may say anything");
    }

    #[test]
    fn each_field_keeps_its_place_in_the_list_of_recordings() {
        let list: [u64; Losses::KINDS] = std::array::from_fn(|place| place as u64 + 1);
        let losses = Losses::from_list(list);
        assert_eq!((losses.ring_full, losses.no_return, losses.stack_unnamed, losses.scope_full), (1, 7, 16, 17));
        assert_eq!(losses.to_list(), list);
        assert_eq!(losses.since(&losses), Losses::default());
    }
}
