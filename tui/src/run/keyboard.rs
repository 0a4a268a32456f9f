//! Keys and mouse, read on a thread of their own.
//!
//! crossterm alone spins on a terminal that is gone: its hang-up is watched for here, before crossterm reads.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyModifiers};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use super::{fault, signals};

/// What a terminal sends in.
#[derive(Debug)]
pub(super) enum Typed {
    /// A key, the mouse.
    Event(Event),
    /// The terminal is gone.
    Gone,
}

/// Starts the reader. It ends with the receiver or with the terminal.
///
/// # Errors
/// When no thread can be started.
pub(super) fn start() -> std::io::Result<Receiver<Typed>> {
    // Far more than a person types or pastes while a frame is drawn.
    let (to, from) = channel(4096);
    std::thread::Builder::new().name("keyboard".into()).spawn(move || {
        // crossterm reads standard input where that is a terminal, else the controlling one: the same is watched.
        let stdin = std::io::stdin();
        let tty = std::fs::File::open("/dev/tty").ok();
        let fd = match &tty {
            Some(tty) if !nix::unistd::isatty(&stdin).unwrap_or(false) => tty.as_fd(),
            _ => stdin.as_fd(),
        };
        read(fd, &to);
    })?;
    Ok(from)
}

/// Whether the terminal is ours to read: tcgetpgrp(3).
fn in_foreground(fd: BorrowedFd<'_>) -> bool {
    nix::unistd::tcgetpgrp(fd).is_ok_and(|group| group == nix::unistd::getpgrp())
}

/// The session ends: keys are not taken any more, and Ctrl-C is no wish but an order.
pub(super) fn ending() {
    ENDING.store(true, Ordering::SeqCst);
}

static ENDING: AtomicBool = AtomicBool::new(false);

/// Ctrl-C keys that were sent and not taken yet.
static UNTAKEN: AtomicUsize = AtomicUsize::new(0);

/// Whoever takes what was typed says so here.
pub(super) fn taken(typed: &Typed) {
    if matches!(typed, Typed::Event(event) if is_ctrl_c(event)) {
        UNTAKEN.fetch_sub(1, Ordering::SeqCst);
    }
}

fn is_ctrl_c(event: &Event) -> bool {
    matches!(event, Event::Key(key) if key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL)
}

fn read(fd: BorrowedFd<'_>, to: &Sender<Typed>) {
    // So often without a key although the terminal had something to read.
    let mut empty = 0;
    // Looks in a row at which the terminal was somebody else's.
    let mut taken_away = 0;
    loop {
        let mut watched = [PollFd::new(fd, PollFlags::POLLIN)];
        // Now and then it is looked whether anybody still listens.
        let ready = poll(&mut watched, PollTimeout::from(500u16));
        if to.is_closed() {
            return;
        }
        match ready {
            Err(nix::errno::Errno::EINTR) => continue,
            Ok(0) => {
                // A shell that has lost sight of us (its child, sudo, was killed) takes the terminal back without a word.
                taken_away = if in_foreground(fd) { 0 } else { taken_away + 1 };
                if taken_away > 1 {
                    break;
                }
                continue;
            }
            Err(_) => break,
            Ok(_) => {}
        }
        let state = watched.first().and_then(PollFd::revents).unwrap_or(PollFlags::POLLERR);
        if state.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            break;
        }
        let mut some = false;
        while crossterm::event::poll(Duration::ZERO).unwrap_or(false) {
            let Ok(event) = crossterm::event::read() else { break };
            some = true;
            fault::point("keyboard");
            // One that nobody took yet, or that ends the session, and now another: whatever hangs, it ends.
            if is_ctrl_c(&event) && (ENDING.load(Ordering::SeqCst) || UNTAKEN.fetch_add(1, Ordering::SeqCst) > 0) {
                signals::quick_end(libc::SIGINT, false);
            }
            // More keys than anybody types ahead are for nobody; waiting here would miss a Ctrl-C.
            if let Err(TrySendError::Closed(_)) = to.try_send(Typed::Event(event)) {
                return;
            }
        }
        empty = if some { 0 } else { empty + 1 };
        // An end of file that is no hang-up, or half a sequence: not worth a whole core.
        if empty > 10 {
            std::thread::sleep(Duration::from_millis(20));
        }
        if empty > 500 {
            break;
        }
    }
    // Nobody listening is fine, too.
    let _ = to.blocking_send(Typed::Gone);
}
