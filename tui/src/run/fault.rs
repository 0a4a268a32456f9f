//! A fault of opentop's own: a panic in whatever thread gives the terminal back, is told in one line, and ends the
//! session in order with exit code 101. What kills on the spot is in `crash.rs`.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, PanicHookInfo},
    sync::{
        Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::mpsc::Sender;

use super::{End, terminal};
use crate::escape::escaped;

/// The exit code of a program that panicked, as Rust's runtime has it.
pub(super) const CODE: u8 = 101;

static HAPPENED: AtomicBool = AtomicBool::new(false);
static TELL: Mutex<Option<Sender<End>>> = Mutex::new(None);

/// Whether there was one.
pub(super) fn happened() -> bool {
    HAPPENED.load(Ordering::SeqCst)
}

/// Has a fault told to `ends`.
pub(super) fn watch(ends: Sender<End>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(tell)));
    super::crash::watch();
    if let Ok(mut tell) = TELL.lock() {
        *tell = Some(ends);
    }
}

thread_local! {
    /// Whether a panic of this thread is somebody else's doing, and caught.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Calls what reads files that anybody may have made to break whoever reads them. A panic within is no fault of
/// opentop's, and goes no further: the answer is `None` then.
pub(crate) fn contained<T>(call: impl FnOnce() -> T) -> Option<T> {
    CONTAINED.set(true);
    let answer = std::panic::catch_unwind(AssertUnwindSafe(call));
    CONTAINED.set(false);
    answer.ok()
}

fn tell(panic: &PanicHookInfo<'_>) {
    if CONTAINED.get() {
        return;
    }
    terminal::give_back();
    HAPPENED.store(true, Ordering::SeqCst);
    // It may quote a name that it could not cope with.
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = escaped(text.unwrap_or("no message").as_bytes());
    let place = panic.location().map_or_else(String::new, ToString::to_string);
    let thread = std::thread::current();
    super::say(&format!(
        "this is a fault of opentop itself, please report it at {}/issues with this line: {message} ({place}, thread {}, version {})",
        env!("CARGO_PKG_REPOSITORY"),
        thread.name().unwrap_or("?"),
        env!("CARGO_PKG_VERSION"),
    ));
    let trace = std::backtrace::Backtrace::capture();
    if trace.status() == std::backtrace::BacktraceStatus::Captured {
        trace.to_string().lines().for_each(|line| super::line(&escaped(line.as_bytes())));
    }
    if let Ok(tell) = TELL.try_lock()
        && let Some(ends) = tell.as_ref()
    {
        // Should it be full, an end is on its way anyhow.
        let _ = ends.try_send(End::Fault);
    }
}

/// A place where a test can have a fault: `OPENTOP_FAULT` names it, and after a colon another fault than a panic (`segv`,
/// `overflow`, `abort`; `elsewhere`: SIGSEGV of another thread, while this one stays there for a moment). Nothing at all in a release build.
pub(crate) fn point(name: &str) {
    #[cfg(debug_assertions)]
    {
        static WANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
        let wanted = WANTED.get_or_init(|| std::env::var("OPENTOP_FAULT").ok());
        let Some(wanted) = wanted else { return };
        let (place, kind) = wanted.split_once(':').unwrap_or((wanted, "panic"));
        match kind {
            _ if place != name => {}
            "segv" => segv(),
            "elsewhere" => {
                let _ = std::thread::spawn(segv);
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            "overflow" => overflow(&[0; 1024]),
            "abort" => std::process::abort(),
            _ => panic!("asked for at \x1b[31m{name}"),
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Reads what nobody may.
#[cfg(debug_assertions)]
fn segv() {
    // SAFETY: none, on purpose: nothing is ever mapped there, and the kernel answers with SIGSEGV.
    let _: u64 = unsafe { std::ptr::read_volatile(std::ptr::without_provenance(8)) };
}

/// Fills the stack.
#[cfg(debug_assertions)]
#[allow(unconditional_recursion, clippy::only_used_in_recursion, reason = "that is what it is for")]
fn overflow(before: &[u8; 1024]) {
    let more = std::hint::black_box([before.len() as u8; 1024]);
    overflow(&more);
    std::hint::black_box(more);
}
