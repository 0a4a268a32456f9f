//! Names that tools miss: in memory not mapped yet, as long as can be, unreadable, or made to harm a terminal.

use std::fs;
use std::io;

use crate::report::{Case, Report, c, cwd, join};
use crate::sys;

const PAGE: usize = 4096;
/// `PATH_MAX` without its NUL: the longest name the kernel takes.
const LONGEST: usize = 4095;

pub fn run(report: &Report) -> io::Result<()> {
    let here = cwd()?;

    // The name is in a file; the page with it was never touched through this mapping.
    let path = join(&here, b"name-untouched");
    sys::make(&path)?;
    let at = mapped(&[&path[..], b"\0"].concat())?;
    open(report, "untouched page", at.cast(), &path, &path);

    // It begins on one page and ends on another, and neither was touched.
    let path = join(&here, b"name-straddling");
    sys::make(&path)?;
    let start = PAGE - here.len() - 5;
    let at = mapped(&[&vec![b'x'; start][..], &path, b"\0"].concat())?;
    // SAFETY: within the mapping, which is longer than `start`.
    open(report, "name across two untouched pages", unsafe { at.add(start) }.cast(), &path, &path);

    let path = join(&here, &[b'c'; 255]);
    sys::make(&path)?;
    open(report, "255-byte component", c(&path).as_ptr(), &path, &path);

    sys::make(b"name-longest")?;
    let longest = padded(&here, b"name-longest", LONGEST);
    open(report, "4,095-byte path", c(&longest).as_ptr(), &longest, &longest);

    let mut told = told("ENAMETOOLONG of a path", &longest, &longest);
    let longer = padded(&here, b"name-too-long", LONGEST + 1);
    told.name = Some(longer[..LONGEST].to_vec());
    told.path.clone_from(&told.name);
    told.truncated = true;
    told.ret = sys::openat(libc::AT_FDCWD, c(&longer).as_ptr(), 0, 0);
    report.case(&told);

    for (case, at) in [
        ("EFAULT of a null pointer", std::ptr::null()),
        ("EFAULT of the kernel's memory", usize::MAX as *const libc::c_char),
        (
            "EFAULT of a page that can't be read",
            sys::map(PAGE, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?.cast_const().cast(),
        ),
    ] {
        unreadable(report, case, at);
    }
    hostile(report, &here)
}

fn told(case: &str, name: &[u8], path: &[u8]) -> Case {
    Case::new(case, "openat", name, path)
}

fn open(report: &Report, case: &str, at: *const libc::c_char, name: &[u8], path: &[u8]) {
    let mut told = told(case, name, path);
    told.ret = sys::openat(libc::AT_FDCWD, at, 0, 0);
    sys::close(told.ret);
    report.case(&told);
}

/// By a child: nothing but its pid says which open it was.
fn unreadable(report: &Report, case: &str, at: *const libc::c_char) {
    let done = sys::in_child(|| {
        let mut told = told(case, b"", b"");
        (told.name, told.path) = (None, None);
        told.ret = sys::openat(libc::AT_FDCWD, at, 0, 0);
        report.case(&told);
    });
    if let Err(error) = done {
        report.skip(case, format!("fork: {error}"));
    }
}

/// `bytes` in a file, mapped and not touched.
fn mapped(bytes: &[u8]) -> io::Result<*const u8> {
    use std::os::fd::AsRawFd;
    fs::write("mapped", bytes)?;
    let file = fs::File::open("mapped")?;
    fs::remove_file("mapped")?;
    Ok(sys::map(bytes.len(), libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd())?.cast_const())
}

/// `dir/././…/name`, exactly `len` bytes.
fn padded(dir: &[u8], name: &[u8], len: usize) -> Vec<u8> {
    let fill = len - dir.len() - name.len() - 1;
    // A slash more is the same directory, too: for a length that is odd.
    let mut path = [dir, b"/", if fill % 2 == 1 { b"/" } else { b"" }].concat();
    for _ in 0..fill / 2 {
        path.extend_from_slice(b"./");
    }
    path.extend_from_slice(name);
    path
}

/// Bytes that a terminal obeys, or that make text lie, in the name and in the thread's.
fn hostile(report: &Report, here: &[u8]) -> io::Result<()> {
    let bytes: [(&str, &[u8]); 8] = [
        ("escape sequences", b"h-\x1b[31mred\x1b]0;title\x07"),
        ("newline, return, tab", b"h-a\nb\rc\td"),
        ("invalid UTF-8", b"h-\xff\xfe\xc3("),
        ("bidi override", b"h-\xe2\x80\xaetxt.exe"),
        ("zero width", b"h-a\xe2\x80\x8bb"),
        ("C1 controls", b"h-\xc2\x9b31m\x9b"),
        ("quotes and backslashes", b"h-\"quoted\", \\x1b 'it'"),
        ("text of every script", "h-größe 日本語 🎉".as_bytes()),
    ];
    for (what, bytes) in bytes {
        let path = join(here, bytes);
        sys::make(&path)?;
        sys::set_comm(&bytes[2..]);
        open(report, &format!("hostile: {what}"), c(&path).as_ptr(), &path, &path);
    }
    sys::set_comm(b"truth");
    Ok(())
}
