//! Makes the files of a recording: never through a symlink, never over another file unless asked, for the owner only.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, in_words};
use crate::escape::Escaped;

/// How a recording is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Replace a file that exists.
    pub overwrite: bool,
    /// Go on in a new file now and then; `None`: one file.
    pub rotate: Option<Rotate>,
    /// User and group that the files are given to: the ones who called sudo. `None`: whoever runs this.
    pub owner: Option<(u32, u32)>,
}

/// When to go on in a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotate {
    /// When the file has this many bytes.
    Size(u64),
    /// After this long.
    Time(Duration),
}

impl Rotate {
    /// Smallest size, bytes: a few chunks.
    pub const MIN_SIZE: u64 = 1 << 20;

    /// Reads `64M` (K, M, G: powers of 1,024) as a size, `10m` (s, m, h, d) as a time.
    ///
    /// # Errors
    /// In words, when it is neither, or less than 1 MiB or 1 s.
    pub fn parse(text: &str) -> Result<Self, String> {
        let help = "a size such as 64M or 2G, or a time such as 30s, 10m or 1h";
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| format!("expected {help}"))?;
        let size = |factor: u64| {
            let bytes = number.checked_mul(factor).ok_or("a size beyond all disks")?;
            if bytes < Self::MIN_SIZE { Err("files of less than 1M are too many files") } else { Ok(Self::Size(bytes)) }
        };
        let time = |factor: u64| {
            let seconds = number.checked_mul(factor).filter(|s| *s < 1 << 40).ok_or("a time beyond all patience")?;
            if seconds == 0 { Err("expected at least 1s") } else { Ok(Self::Time(Duration::from_secs(seconds))) }
        };
        let parsed = match unit.strip_suffix("iB").unwrap_or(unit) {
            "K" => size(1 << 10),
            "M" => size(1 << 20),
            "G" => size(1 << 30),
            "s" => time(1),
            "m" => time(60),
            "h" => time(3600),
            "d" => time(86400),
            _ => return Err(format!("a number without a unit that is known: expected {help}")),
        };
        parsed.map_err(str::to_owned)
    }
}

impl std::str::FromStr for Rotate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// User and group that called sudo, when this runs as root under sudo.
#[must_use]
pub fn sudo_owner() -> Option<(u32, u32)> {
    let id = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    Some((id("SUDO_UID")?, id("SUDO_GID")?))
}

/// The file that part `part` (from 1) of a recording at `path` goes to: `x.otop` itself without rotation, else
/// `x.0001.otop`, `x.0002.otop`…
#[must_use]
pub fn part_path(path: &Path, rotates: bool, part: u32) -> PathBuf {
    if !rotates {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{part:04}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Makes the file: mode 0600, a new one always.
///
/// With `overwrite` the new file takes the place of an old one, which goes on existing for whoever has it open: nothing
/// is ever written into a file that someone else made.
///
/// # Errors
/// When it exists, is a symlink, or can't be made: with what to do about it.
pub fn create(path: &Path, options: &Options) -> Result<File, Error> {
    let name = path.as_os_str().as_encoded_bytes().to_vec();
    let failed =
        |why: &dyn std::fmt::Display| Error::failed(format!("cannot write the recording {}: {why}", Escaped(&name)));
    let old = match std::fs::symlink_metadata(path) {
        Ok(old) => Some(old.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&in_words(&error))),
    };
    match old {
        None => open_new(path, options).map_err(|error| failed(&in_words(&error))),
        Some(kind) if kind.is_symlink() => {
            Err(failed(&"it is a symbolic link, and opentop does not write through one. Name the file itself"))
        }
        Some(kind) if !kind.is_file() => Err(failed(&"it exists and is no regular file. Choose another name")),
        Some(_) if !options.overwrite => {
            Err(failed(&"it exists already. Choose another name, or add --overwrite to replace it"))
        }
        Some(_) => {
            let mut beside = std::ffi::OsString::from(".");
            beside.push(path.file_name().unwrap_or_default());
            beside.push(format!(".{:016x}", u64::from_ne_bytes(super::writer::random_marker())));
            let beside = path.with_file_name(beside);
            let file = open_new(&beside, options).map_err(|error| failed(&in_words(&error)))?;
            if let Err(error) = std::fs::rename(&beside, path) {
                let _ = std::fs::remove_file(&beside);
                return Err(failed(&in_words(&error)));
            }
            Ok(file)
        }
    }
}

fn open_new(path: &Path, options: &Options) -> io::Result<File> {
    // create_new is O_EXCL: neither an existing file nor a symlink put there meanwhile is opened.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    let owned = match options.owner {
        Some((uid, gid)) => fchown(&file, Some(uid), Some(gid)),
        None => Ok(()),
    };
    // Under a umask of 0777 the mode would be 0.
    if let Err(error) = owned.and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(0o600))) {
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn replace() -> Options {
        Options { overwrite: true, ..Options::default() }
    }

    #[test]
    fn a_new_file_is_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.otop");
        let options =
            Options { owner: nix::unistd::geteuid().is_root().then_some((12345, 54321)), ..Options::default() };
        let file = create(&path, &options).unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o600);
        if let Some(owner) = options.owner {
            assert_eq!((meta.uid(), meta.gid()), owner);
        }
    }

    #[test]
    fn an_existing_file_is_only_replaced_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.otop");
        std::fs::write(&path, "old").unwrap();
        let error = create(&path, &Options::default()).unwrap_err();
        assert!(error.message.contains("--overwrite"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let before = std::fs::metadata(&path).unwrap().ino();
        let file = create(&path, &replace()).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_ne!(file.metadata().unwrap().ino(), before, "written into the old file");
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "something was left beside it");
    }

    #[test]
    fn nothing_is_written_through_a_symlink_or_into_a_device() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        std::fs::write(&target, "precious").unwrap();
        for to in [&target, &dir.path().join("nowhere")] {
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(to, &link).unwrap();
            for options in [Options::default(), replace()] {
                assert!(create(&link, &options).unwrap_err().message.contains("symbolic link"));
            }
        }
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
        assert!(create(Path::new("/dev/full"), &replace()).is_err());
        assert!(create(dir.path(), &replace()).is_err());
    }

    #[test]
    fn rotation_is_by_size_or_by_time() {
        assert_eq!(Rotate::parse("64M"), Ok(Rotate::Size(64 << 20)));
        assert_eq!(Rotate::parse("1024KiB"), Ok(Rotate::Size(1 << 20)));
        assert_eq!(Rotate::parse("10m"), Ok(Rotate::Time(Duration::from_secs(600))));
        for bad in ["", "10", "M", "1K", "0s", "10x", "-5m", "99999999999999999999G", "18446744073709551615G"] {
            assert!(Rotate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_are_numbered_before_the_extension() {
        let path = Path::new("/tmp/a.b.otop");
        assert_eq!(part_path(path, false, 1), path);
        assert_eq!(part_path(path, true, 2), Path::new("/tmp/a.b.0002.otop"));
        assert_eq!(part_path(Path::new("x"), true, 12345), Path::new("x.12345"));
    }
}
