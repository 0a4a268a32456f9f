//! Writes a list to a new file in the working directory, when a person asks for it.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use nix::unistd::{setfsgid, setfsuid};
use tokio::sync::mpsc::Sender;

use super::user::Invoker;
use crate::error::in_words;
use crate::escape::escaped;

/// Names that are tried within one second.
const TRIES: u32 = 100;

/// Writes it off the loop, and answers with a sentence for the person. Under sudo it is written with the rights of the
/// user who called it.
pub(super) fn save(list: &'static str, text: Vec<u8>, invoker: Option<Invoker>, to: Sender<String>) {
    let said = to.clone();
    let write = move || {
        super::fault::point("save");
        if let Some(invoker) = invoker {
            // The rights of this one thread with files (setfsuid(2)): the others go on as they are. The thread ends
            // with it.
            setfsgid(invoker.gid);
            setfsuid(invoker.uid);
        }
        let size = text.len();
        let sentence = match create(list, &text) {
            Ok(path) => {
                let path = std::path::absolute(&path).unwrap_or(path);
                format!("written: {} ({size} bytes)", escaped(path.as_os_str().as_encoded_bytes()))
            }
            Err(e) => {
                let here = std::env::current_dir().unwrap_or_default();
                let here = escaped(here.as_os_str().as_encoded_bytes());
                let closed = e.kind() == io::ErrorKind::PermissionDenied && nix::unistd::geteuid().is_root();
                match closed {
                    // Who it is stays, what root may do beyond others does not.
                    true => format!(
                        "cannot write to {here}: opentop has given root's rights up; start it in a directory of root's own, \
                         or with --keep-privileges"
                    ),
                    false => {
                        format!("cannot write to {here}: {}; start opentop in a directory of your own", in_words(&e))
                    }
                }
            }
        };
        // The dashboard may have ended meanwhile.
        let _ = to.blocking_send(sentence);
    };
    if let Err(e) = std::thread::Builder::new().name("save".into()).spawn(write) {
        let _ = said.try_send(format!("cannot write the list: {}", in_words(&e)));
    }
}

/// Never over a file that is there.
fn create(list: &str, text: &[u8]) -> io::Result<PathBuf> {
    let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    for n in 0..TRIES {
        let more = if n == 0 { String::new() } else { format!("-{n}") };
        let path = PathBuf::from(format!("opentop-{list}-{now}{more}.txt"));
        match std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => return file.write_all(text).map(|()| path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
