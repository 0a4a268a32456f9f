//! Relative names: to the working directory and to descriptors, from another root, across mounts, and from a
//! directory that is no more. The path that is told is the one that the process itself would write.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};

use crate::arch;
use crate::calls::told_if_there;
use crate::report::{Case, Report, c, cwd, join, os};
use crate::sys;

pub fn run(report: &Report) -> io::Result<()> {
    let top = cwd()?;
    fs::create_dir_all("place/sub/deep")?;
    let (place, sub) = (join(&top, b"place"), join(&top, b"place/sub"));

    std::env::set_current_dir(os(&sub))?;
    sys::make(b"in-cwd")?;
    open(report, "relative to cwd", libc::AT_FDCWD, b"in-cwd", &join(&sub, b"in-cwd"));
    open(report, "relative to cwd, missing", libc::AT_FDCWD, b"not-in-cwd", &join(&sub, b"not-in-cwd"));
    sys::make(b"deep/below")?;
    open(report, "below cwd", libc::AT_FDCWD, b"deep/below", &join(&sub, b"deep/below"));
    sys::make(b"dotted")?;
    open(report, "./name", libc::AT_FDCWD, b"./dotted", &join(&sub, b"dotted"));
    sys::make(b"../above")?;
    open(report, "../name", libc::AT_FDCWD, b"../above", &join(&place, b"above"));
    let path = join(&sub, b"in-cwd-open");
    let told = Case::new("open relative to cwd", "open", b"in-cwd-open", &path);
    told_if_there(report, told, arch::open(c"in-cwd-open".as_ptr(), 0, 0));

    std::env::set_current_dir("/")?;
    open(report, "relative to the root", libc::AT_FDCWD, b"no-such-in-root", b"/no-such-in-root");
    let dir = fs::File::open(os(&sub))?.into_raw_fd();
    sys::make(&join(&sub, b"in-dirfd"))?;
    open(report, "relative to a dirfd", dir, b"in-dirfd", &join(&sub, b"in-dirfd"));
    sys::make(&join(&place, b"above-dirfd"))?;
    open(report, "../name from a dirfd", dir, b"../above-dirfd", &join(&place, b"above-dirfd"));
    open(report, "relative to a dirfd, missing", dir, b"not-in-dirfd", &join(&sub, b"not-in-dirfd"));
    let path = join(&top, b"absolute-with-dirfd");
    sys::make(&path)?;
    open(report, "absolute name with a dirfd", dir, &path, &path);
    sys::close(dir);
    let file = fs::File::open(os(&join(&top, b"./absolute-with-dirfd")))?;
    let mut told = Case::new("dirfd that is a file", "openat", b"below-file", &join(&path, b"below-file"));
    told.ret = sys::openat(file.as_raw_fd(), c"below-file".as_ptr(), 0, 0);
    report.case(&told);

    // Deep: 60 components of 40 bytes, left one by one since no name may be that long.
    std::env::set_current_dir(os(&top))?;
    let mut deep = top.clone();
    for level in 0..60 {
        let component = format!("{level:040}");
        fs::create_dir(&component)?;
        std::env::set_current_dir(&component)?;
        deep = join(&deep, component.as_bytes());
    }
    open(report, "from 60 directories down", libc::AT_FDCWD, b"deep-down", &join(&deep, b"deep-down"));
    std::env::set_current_dir(os(&top))?;

    deleted(report, &top)?;
    chroot(report, &top)?;
    mounts(report, &top)?;
    std::env::set_current_dir(os(&top))
}

fn open(report: &Report, case: &str, dirfd: i32, name: &[u8], path: &[u8]) {
    let mut told = Case::new(case, "openat", name, path);
    told.ret = sys::openat(dirfd, c(name).as_ptr(), 0, 0);
    sys::close(told.ret);
    report.case(&told);
}

fn deleted(report: &Report, top: &[u8]) -> io::Result<()> {
    fs::create_dir_all("gone/sub")?;
    std::env::set_current_dir("gone/sub")?;
    fs::remove_dir(os(&join(top, b"gone/sub")))?;
    let mut told = Case::new("deleted cwd", "openat", b"in-gone", &join(top, b"gone/sub (deleted)/in-gone"));
    told.deleted = true;
    told.ret = sys::openat(libc::AT_FDCWD, c"in-gone".as_ptr(), 0, 0);
    report.case(&told);
    std::env::set_current_dir(os(top))
}

fn chroot(report: &Report, top: &[u8]) -> io::Result<()> {
    fs::create_dir_all("jail/inner")?;
    sys::make(b"jail/inner/jailed")?;
    sys::make(b"jail/jailed-absolute")?;
    let jail = join(top, b"jail");
    sys::in_child(|| {
        // SAFETY: chroot reads the name.
        if unsafe { libc::chroot(c(&jail).as_ptr()) } != 0 {
            report.skip("chroot", io::Error::last_os_error());
            return;
        }
        let _ = std::env::set_current_dir("/inner");
        open(report, "relative name in a chroot", libc::AT_FDCWD, b"jailed", b"/inner/jailed");
        open(report, "absolute name in a chroot", libc::AT_FDCWD, b"/jailed-absolute", b"/jailed-absolute");
        open(report, "../ in a chroot", libc::AT_FDCWD, b"../not-in-jail", b"/not-in-jail");
    })?;
    Ok(())
}

fn mounts(report: &Report, top: &[u8]) -> io::Result<()> {
    let cases = ["bind mount", "mounted tmpfs", "overlay"];
    fs::create_dir_all("bound/from/sub")?;
    for dir in ["bound/to", "tmpfs", "overlay/lower/sub", "overlay/upper", "overlay/work", "overlay/merged"] {
        fs::create_dir_all(dir)?;
    }
    sys::make(b"bound/from/sub/in-bound")?;
    sys::make(b"overlay/lower/sub/in-overlay")?;
    sys::in_child(|| {
        let mount = |from: &str, to: &str, kind: &str, flags: u64, options: &str| {
            let (from, to, kind, options) =
                (c(from.as_bytes()), c(to.as_bytes()), c(kind.as_bytes()), c(options.as_bytes()));
            // SAFETY: mount reads the four strings.
            let done =
                unsafe { libc::mount(from.as_ptr(), to.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
            if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        // Mounts of our own: they go when this child goes.
        // SAFETY: takes flags.
        let own = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
        // The first initramfs is mounted in a way that refuses this, and needs it less.
        let private = mount("", "/", "", libc::MS_REC | libc::MS_PRIVATE, "");
        if !own {
            for case in cases {
                report.skip(case, format!("a mount namespace: {private:?}"));
            }
            return;
        }
        let options = "lowerdir=overlay/lower,upperdir=overlay/upper,workdir=overlay/work";
        for (case, mounted, dir, name) in [
            (cases[0], mount("bound/from", "bound/to", "", libc::MS_BIND, ""), "bound/to/sub", "in-bound"),
            (cases[1], mount("tmpfs", "tmpfs", "tmpfs", 0, ""), "tmpfs", "in-tmpfs"),
            (cases[2], mount("overlay", "overlay/merged", "overlay", 0, options), "overlay/merged/sub", "in-overlay"),
        ] {
            let entered = mounted.and_then(|()| std::env::set_current_dir(dir));
            if let Err(error) = entered {
                report.skip(case, error);
                continue;
            }
            open(report, case, libc::AT_FDCWD, name.as_bytes(), &join(&join(top, dir.as_bytes()), name.as_bytes()));
            let _ = std::env::set_current_dir(os(top));
        }
    })?;
    Ok(())
}
