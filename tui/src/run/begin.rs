//! What a capture begins with: the options of the probe, what is checked before it is loaded, the files it needs, and what
//! is given up once it hangs.

use std::{fs::File, os::fd::AsFd as _, path::Path};

use tokio::runtime::Runtime;

use super::{output, own, sandbox, user, wanted::Wanted};
use crate::{
    cli::{CaptureArgs, RecordingArgs},
    error::{Error, Kind},
    probe::{self, Probe},
    recording::{self, Recorder},
    session::Session,
};

pub(super) fn options(args: &CaptureArgs, wanted: &Wanted) -> probe::Options {
    let defaults = probe::Options::default();
    probe::Options {
        attach: args.attach.kind(),
        ring_bytes: args.ring_size.map_or(defaults.ring_bytes, |ring| ring.bytes),
        scope: wanted.scope.clone().map_or(probe::Scope::All, probe::Scope::Pids),
        program: wanted.program.clone(),
        words: wanted.words.clone(),
        processes: args.process_rows.map_or(defaults.processes, std::num::NonZeroU32::get),
        followed: args.scope_rows.map_or(defaults.followed, std::num::NonZeroU32::get),
        log: args.probe_log.as_ref().map(|_| args.probe_log_level.into()),
        ..defaults
    }
}

/// Gives up what an attached probe needs no more; gives the user that is still to be acted as.
pub(super) fn confine(
    probe: &Probe,
    invoker: Option<user::Invoker>,
    args: &CaptureArgs,
) -> Result<Option<user::Invoker>, Error> {
    probe::read_undisturbed();
    if args.keep_privileges {
        return Ok(invoker);
    }
    let keep = sandbox::needed(probe.works_without_privileges()?);
    // This process is that user from here on.
    sandbox::enter(invoker.as_ref(), keep).map(|()| None)
}

/// Opens a recording as the user who called sudo, and reads its first byte without any privilege.
pub(super) fn open_recording(
    path: &Path,
    invoker: Option<&user::Invoker>,
    keep_privileges: bool,
) -> Result<recording::Reader, Error> {
    let unread = user::as_invoker(invoker, || recording::Reader::unread(path))??;
    sandbox::enter(invoker, if keep_privileges { sandbox::Keep::All } else { sandbox::Keep::Nothing })?;
    unread.begin()
}

/// Whose stacks lines and tables show: everybody's or nobody's.
pub(super) fn stacks_of(args: &CaptureArgs) -> probe::StacksOf {
    if args.stacks { probe::StacksOf::All } else { probe::StacksOf::Nobody }
}

/// What the files of `-w` are made like, for `invoker` where this process is not that user yet.
pub(super) fn recording_options(args: &RecordingArgs, invoker: Option<&user::Invoker>) -> recording::Options {
    recording::Options {
        overwrite: args.overwrite,
        rotate: args.rotate,
        owner: invoker.map(|invoker| (invoker.uid.as_raw(), invoker.gid.as_raw())),
    }
}

/// Makes the file of `-w` while there are privileges: root may write where nobody else does. As the user who called sudo:
/// nothing is made where that user could make nothing.
pub(super) fn first_file(
    args: &RecordingArgs,
    invoker: Option<&user::Invoker>,
    keep_privileges: bool,
) -> Result<Option<File>, Error> {
    let Some(path) = &args.write else { return Ok(None) };
    let options = recording_options(args, invoker);
    if options.rotate.is_some() && invoker.is_none() && !keep_privileges && !sandbox::may_write_without(dir_of(path)) {
        return Err(Error::failed(format!(
            "cannot write the recording {}: with --rotate its next files are made when opentop has given root's rights up, \
             and without these nothing can be made in {}. Choose a directory of root's own, start opentop with sudo as the \
             user who owns it, or add --keep-privileges",
            crate::escape::Escaped(path.as_os_str().as_encoded_bytes()),
            crate::escape::Escaped(dir_of(path).as_os_str().as_encoded_bytes()),
        )));
    }
    user::as_invoker(invoker, || Recorder::first_file(path, &options))?.map(Some)
}

/// The directory that a file is in.
pub(super) fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Begins the recording of `-w` in its first file.
pub(super) fn recorder(
    first: File,
    args: &RecordingArgs,
    session: &Session,
    invoker: Option<&user::Invoker>,
) -> Result<Option<Recorder>, Error> {
    let Some(path) = &args.write else { return Ok(None) };
    Recorder::begin(first, path, &recording_options(args, invoker), session).map(Some)
}

pub(super) fn runtime() -> Result<Runtime, Error> {
    descriptors_left()?;
    // One worker drains the ring while the main thread formats and writes.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("reader")
        .enable_all()
        .build()
        .map_err(|e| Error::failed(format!("starting the runtime failed: {}", output::in_words(&e))))
}

/// Whether there are descriptors left for what a session opens while it runs: the runtime panics for want of one.
pub(super) fn descriptors_left() -> Result<(), Error> {
    let duplicates: Result<Vec<_>, _> =
        (0..DESCRIPTORS).map(|_| std::io::stderr().as_fd().try_clone_to_owned()).collect();
    duplicates.map(drop).map_err(|e| {
        Error::failed(format!(
            "too few file descriptors are left ({}); `ulimit -n 1024` allows more, then try again",
            output::in_words(&e)
        ))
    })
}

/// Descriptors of a runtime, its signals, a recording, a saved list, and looks into /proc.
const DESCRIPTORS: usize = 24;

/// A capture of a process that is not there would wait for ever.
pub(super) fn processes_exist(pids: &[u32]) -> Result<(), Error> {
    for pid in pids {
        let Some(status) = own::status_of(*pid) else {
            return Err(Error::new(
                Kind::Usage,
                format!("--pid {pid}: there is no such process; `pgrep NAME` finds one"),
            ));
        };
        let tgid =
            status.lines().find_map(|line| line.strip_prefix("Tgid:")).and_then(|n| n.trim().parse::<u32>().ok());
        if let Some(tgid) = tgid.filter(|tgid| tgid != pid) {
            return Err(Error::new(
                Kind::Usage,
                format!("--pid {pid}: that is a thread of process {tgid}; give {tgid}"),
            ));
        }
    }
    Ok(())
}
