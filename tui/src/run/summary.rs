//! `opentop summary`: the exact table of processes when the capture ends.
//!
//! What the table says is `headless::summary`'s; counts come from the kernel, or from the stream with a display filter.

use std::{collections::BTreeSet, ffi::OsString, process::ExitCode};

use super::{
    Capture, Origin, Plan,
    account::Account,
    child::Streams,
    output::{Output, Reader},
    trace::{filter, late_filter},
    user,
};
use crate::{
    cli::SummaryArgs,
    error::Error,
    filter::Filter,
    headless::summary::{CountsFrom, Options, Summary},
    source::{Batch, Input, ProcessFacts},
};

/// Runs `opentop summary`; `typed` is the whole command line.
///
/// # Errors
/// Whatever keeps it from starting or from writing.
pub fn summary(args: &SummaryArgs, typed: &[OsString]) -> Result<ExitCode, Error> {
    let (wanted, recording) = (args.display.filter.as_deref(), args.capture.recording.read.as_deref());
    let filter = filter(wanted, recording)?;
    let invoker = user::invoker();
    let mut output = Output::open(args.output.as_deref(), invoker.as_ref())?;
    let plan = Plan {
        args: &args.capture,
        typed,
        streams: Streams::default(),
        stacks: super::stacks_of(&args.capture),
        invoker,
        measure: false,
        who: false,
        progress: true,
    };
    let mut capture = Capture::start(plan)?;
    capture.introduce();
    let filter = late_filter(wanted, recording, filter)?;
    let counts = if filter.is_some() { CountsFrom::Stream } else { CountsFrom::Kernel };
    let options = Options { sort: args.sort, top: args.top, counts, stacks: args.capture.stacks, ..Options::default() };
    let mut table =
        Table { summary: Summary::new(options), filter, account: Account::default(), uids: BTreeSet::new() };
    let handle = capture.runtime.handle().clone();
    handle.block_on(table.run(&mut capture));
    // Of a recording made elsewhere, only the recording can name the users.
    let here = matches!(capture.origin, Origin::Live(_));
    let strangers = || vec![ProcessFacts { user: b"root".to_vec(), ..ProcessFacts::default() }];
    table.summary.facts(&if here { names(&table.uids) } else { strangers() });
    let mut text = Vec::new();
    table.summary.render(&mut text, args.format, &capture.session);
    match output.write(&text)? {
        Reader::Present => Ok(capture.finish(&table.account)),
        Reader::Gone => Ok(capture.leave()),
    }
}

/// The table in the making.
struct Table {
    summary: Summary,
    /// The display filter; `None` sums up all.
    filter: Option<Filter>,
    account: Account,
    /// Users of the processes in it.
    uids: BTreeSet<u32>,
}

/// Most users that are named: far more than a machine has, and a bound all the same.
const USERS_MAX: usize = 4096;

/// The names of `uids`, looked up once at the end: the answers may come over a network.
fn names(uids: &BTreeSet<u32>) -> Vec<ProcessFacts> {
    let user = |uid| nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    let named = uids.iter().filter_map(|uid| user(*uid).map(|user| (*uid, user.name)));
    named.map(|(uid, name)| ProcessFacts { uid, user: name.into_bytes(), ..ProcessFacts::default() }).collect()
}

impl Table {
    async fn run(&mut self, capture: &mut Capture) {
        loop {
            match capture.next().await {
                Input::Batch(batch) => self.batch(&batch),
                Input::Counters(counters) => {
                    self.account.totals = counters.totals;
                    for (_, counts) in &counters.processes {
                        if self.uids.len() < USERS_MAX {
                            self.uids.insert(counts.uid);
                        }
                    }
                    self.summary.counters(&counters);
                }
                Input::Facts(facts) => self.summary.facts(&facts),
                Input::Stacks(stacks) => self.summary.stacks(&stacks),
                Input::Capture(change) => self.summary.captured(&change),
                Input::Restart => self.summary.restart(),
                Input::End => return,
            }
        }
    }

    fn batch(&mut self, batch: &Batch) {
        for event in batch.events() {
            match event {
                Ok(event) if self.filter.as_ref().is_some_and(|filter| !filter.matches(&event)) => {
                    self.account.filtered += 1;
                }
                Ok(event) => {
                    self.summary.event(&event);
                    self.account.shown += 1;
                }
                Err(_) => self.account.undecodable += 1,
            }
        }
    }
}
