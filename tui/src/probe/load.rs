//! The embedded object: its globals fixed, its maps made, its programs through the verifier.
//!
//! What is loaded here hangs nowhere yet: that is `attach`'s.

use std::{collections::BTreeMap, io};

use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader,
    programs::{Program, ProgramError},
};
use bytemuck::Zeroable as _;
use probe_common::{Config, Offsets, config};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use super::{
    btf::Btf,
    features,
    options::{Options, StacksOf},
    refusal::{forbidden, os_error, with_cause},
    stacks::Sizes,
};
use crate::error::{Error, Kind, in_words};

/// The compiled kernel side for kernels of this architecture, made by `cargo xtask probe`.
#[cfg(target_arch = "x86_64")]
static PROBE: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/opentop-probe.bpf.o"));
#[cfg(target_arch = "aarch64")]
static PROBE: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/opentop-probe.aarch64.bpf.o"));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("opentop has a probe for kernels on x86-64 and arm64: see probe-ebpf/src/arch.rs for another");

/// The globals of the probe.
///
/// # Errors
/// When /proc cannot be read.
pub(super) fn configuration(options: &Options, btf: Option<&Btf>, offsets: Option<&Offsets>) -> Result<Config, Error> {
    let mut configuration = Config::zeroed();
    if let Some(offsets) = offsets {
        configuration.offsets = *offsets;
        configuration.flags |= config::BTF;
    }
    if btf.is_some_and(|btf| btf.has_enumerator("bpf_func_id", "BPF_FUNC_task_pt_regs")) {
        configuration.flags |= config::TYPED_TASK;
    }
    // While the reader sleeps between two polls a small ring fills up: then it is woken.
    if options.ring_bytes < 4 << 20 {
        configuration.wake_bytes = options.ring_bytes / 4;
    }
    configuration.stage = options.stage.to_abi();
    configuration.self_tgid = std::process::id();
    let ns = std::fs::metadata("/proc/self/ns/pid").map_err(|e| {
        Error::failed(format!("/proc/self/ns/pid could not be read: {}. Mount /proc and try again.", in_words(&e)))
    })?;
    use std::os::unix::fs::MetadataExt as _;
    // PROC_PID_INIT_INO of proc_ns.h: the initial namespace, where no translation is needed.
    if ns.ino() != 0xefff_fffc {
        (configuration.pidns_dev, configuration.pidns_ino) = (ns.dev(), ns.ino());
    }
    Ok(configuration)
}

/// Sizes of the maps for stacks.
pub(super) fn sizes(stacks: StacksOf) -> Sizes {
    match stacks {
        StacksOf::Nobody => Sizes::NONE,
        StacksOf::Named => Sizes::SOME,
        StacksOf::All => Sizes::ALL,
    }
}

/// Makes the probe's maps. No program is in the kernel yet.
///
/// # Errors
/// When the kernel refuses a map, or aya was kept from finding out what the kernel can do.
pub(super) fn load(options: &Options, config: &Config) -> Result<Ebpf, Error> {
    features::suffice()?;
    let sizes = sizes(options.stacks);
    let level = options.log.map_or(0u8, |level| level as u8);
    loader()
        // Nothing in the probe needs relocating.
        .btf(None)
        .override_global("CONFIG", bytemuck::bytes_of(config), true)
        .override_global(aya_log::LEVEL, &level, true)
        .map_max_entries("EVENTS", options.ring_bytes)
        .map_max_entries("INFLIGHT", options.inflight)
        .map_max_entries("PROCESSES", options.processes)
        .map_max_entries("SCOPE", options.followed)
        .map_max_entries("STACKS", sizes.user)
        .map_max_entries("STACKS_WAY", sizes.user)
        .map_max_entries("STACKS_SET", sizes.user)
        .map_max_entries("STACKS_SET_WAY", sizes.user)
        .map_max_entries("KSTACKS", sizes.kernel)
        .map_max_entries("KSTACKS_WAY", sizes.kernel)
        .map_max_entries("STACK_COUNTS", sizes.counts)
        .load(PROBE)
        .map_err(|e| load_error(&e))
}

/// aya's loader, without the kernel's BTF.
///
/// `EbpfLoader::new` reads and parses all of it (aya 0.14: 40 ms, and 30 MiB for a moment), to be thrown away by `btf(None)`
/// in the next line, and there is no other way to make one. So it is made in a thread that may open nothing, which
/// ends with that. Where the kernel has no such filters it takes its time.
fn loader<'a>() -> EbpfLoader<'a> {
    let made = std::thread::scope(|scope| {
        let in_thread = || {
            let _ = open_nothing();
            EbpfLoader::new()
        };
        scope.spawn(in_thread).join()
    });
    made.unwrap_or_else(|_| EbpfLoader::new())
}

/// Has the kernel refuse every open of the calling thread, for good.
fn open_nothing() -> Result<(), seccompiler::Error> {
    let opens = [
        libc::SYS_openat,
        libc::SYS_openat2,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open,
    ];
    let calls: BTreeMap<_, _> = opens.into_iter().map(|call| (call, vec![])).collect();
    let refused = SeccompAction::Errno(libc::EACCES.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refused, arch)?;
    apply_filter(&BpfProgram::try_from(filter)?)
}

/// A program to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) program: &'static str,
    /// The kernel's function that it is for, which the verifier has to know of fentry and fexit; else nothing.
    pub(super) function: &'static str,
}

impl Wanted {
    pub(super) fn new(program: &'static str) -> Self {
        Self { program, function: "" }
    }
}

/// Has the kernel verify these programs, all at once: that is most of what a start takes, and each is verified by itself.
/// The largest are to come first. One that is refused is not loaded; who wants to attach it asks once more, and hears why.
pub(super) fn together(ebpf: &mut Ebpf, wanted: &[Wanted], btf: Option<&AyaBtf>) {
    let place = |name: &str| wanted.iter().position(|wanted| wanted.program == name);
    let mut programs: Vec<_> =
        ebpf.programs_mut().filter_map(|(name, program)| Some((place(name)?, program))).collect();
    programs.sort_unstable_by_key(|(place, _)| *place);
    std::thread::scope(|scope| {
        for (place, program) in programs {
            let Some(wanted) = wanted.get(place) else { continue };
            scope.spawn(move || match (program, btf) {
                (Program::KProbe(p), _) => p.load(),
                (Program::TracePoint(p), _) => p.load(),
                (Program::RawTracePoint(p), _) => p.load(),
                (Program::FEntry(p), Some(btf)) => p.load(wanted.function, btf),
                (Program::FExit(p), Some(btf)) => p.load(wanted.function, btf),
                _ => Ok(()),
            });
        }
    });
}

/// That a program is in the kernel already is as good.
pub(super) fn accepted(loaded: Result<(), ProgramError>) -> Result<(), ProgramError> {
    match loaded {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        other => other,
    }
}

fn load_error(error: &aya::EbpfError) -> Error {
    let os = os_error(error);
    match os.as_ref().and_then(io::Error::raw_os_error) {
        Some(libc::EPERM | libc::EACCES) => {
            // Missing capabilities were told before it came to this.
            Error::new(Kind::Denied, format!("the kernel refused to make the probe's maps: {}", forbidden()))
        }
        Some(libc::ENOMEM) => {
            Error::failed("the kernel has no memory for the probe's maps. A smaller --ring-size needs less.")
        }
        Some(libc::EINVAL) => Error::new(
            Kind::Unsupported,
            format!(
                "the kernel refused the probe's maps ({error}). BPF ring buffers need Linux 5.8, with CONFIG_BPF_SYSCALL=y; see opentop doctor."
            ),
        ),
        _ => Error::failed(format!("the probe could not be loaded: {}", with_cause(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_does_not_read_the_kernels_types() {
        let made = format!("{:?}", loader());
        assert!(made.contains("btf: None"), "{:.200}", made);
        // And this thread opens files as before.
        assert!(std::fs::File::open("/dev/null").is_ok());
    }
}
