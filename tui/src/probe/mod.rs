//! The probe in the kernel: loaded, attached, steered, read. The only place that names aya.
//!
//! What it is not: it decodes no record and knows no model. Records leave it as bytes, counts as plain structs.

mod attach;
mod btf;
mod capture;
mod counters;
mod gauge;
mod keeper;
mod kretprobe;
mod meter;
mod offsets;
mod scope;
mod stacks;
mod stage;
mod sys;
mod tracefs;

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap as BpfHashMap, Map, MapData, RingBuf},
};
use bytemuck::Zeroable as _;
use probe_common::{Config, Offsets, ProcessCounts, capture as flag, config};

use crate::{
    error::{Error, Kind, in_words},
    escape::escaped,
    filter::capture::CaptureProgram,
    session::{AttachKind, ProgramCost, Session},
    source::{Addresses, Batch, Counters, StackCount},
};
use capture::CaptureMaps;
use counters::CounterReader;
pub use gauge::Gauge;
pub use meter::Meter;
use meter::Part;
use stacks::{Sizes, StackReader};
pub use stage::Stage;

/// The compiled kernel side for kernels of this architecture, made by `cargo xtask probe`.
#[cfg(target_arch = "x86_64")]
static PROBE: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/opentop-probe.bpf.o"));
#[cfg(target_arch = "aarch64")]
static PROBE: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/opentop-probe.aarch64.bpf.o"));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("opentop has a probe for kernels on x86-64 and arm64: see probe-ebpf/src/arch.rs for another");

const VALUE: usize = size_of::<ProcessCounts>();

/// Which processes to capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    #[default]
    All,
    /// These, with the descendants they have and will have. More may come by [`Probe::follow`]; none at all is fine.
    Pids(Vec<u32>),
}

/// Whose stacks to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StacksOf {
    /// Nobody's, now or later.
    #[default]
    Nobody,
    /// Those of processes that are named later, by [`Probe::stacks_of`].
    Named,
    /// Those of everybody who is captured.
    All,
}

/// How to load the probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The kind of hook; `None` takes the first that attaches.
    pub attach: Option<AttachKind>,
    /// Size of the ring, bytes: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Which processes everything is confined to.
    pub scope: Scope,
    /// What to capture of them.
    pub program: CaptureProgram,
    /// The same in words, for the session.
    pub words: String,
    /// The probe's own log lines to ask for, see [`Probe::log_into`].
    pub log: Option<log::Level>,
    /// Threads that can be between entry and return at once, with those that opened before and still live.
    pub inflight: u32,
    /// Rows of the table of processes.
    pub processes: u32,
    /// Rows of the table of processes in captured trees: those alive at once.
    pub followed: u32,
    /// How much of its work the probe does: a bench asks for less than all.
    pub stage: Stage,
    /// Whose stacks to take.
    pub stacks: StacksOf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attach: None,
            ring_bytes: 8 << 20,
            scope: Scope::All,
            program: CaptureProgram::all(),
            words: "all".into(),
            log: None,
            inflight: 16384,
            processes: 16384,
            followed: 65536,
            stage: Stage::Whole,
            stacks: StacksOf::Nobody,
        }
    }
}

/// The probe, attached. Dropping it takes it out of the kernel.
pub struct Probe {
    ebpf: Ebpf,
    session: Session,
    ring: RingBuf<MapData>,
    ring_fd: OwnedFd,
    wake: Array<MapData, u32>,
    capture: CaptureMaps,
    counters: CounterReader,
    stacked: BpfHashMap<MapData, u32, u32>,
    stacks: StackReader,
    logger: Option<aya_log::EbpfLogger<Logger>>,
    kretprobes: Vec<kretprobe::Kretprobe>,
    missed: u64,
}

impl Probe {
    /// Loads the probe, attaches it, and begins to capture.
    ///
    /// # Errors
    /// [`Kind::Denied`] when the kernel refuses for want of privileges, [`Kind::Unsupported`] when it has none of the
    /// hooks or lacks what the capture needs, [`Kind::Failed`] for the rest.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let btf = btf::Btf::read(btf::VMLINUX);
        let offsets = match &btf {
            Ok(btf) => offsets::find(btf),
            Err(e) => Err(format!("{}: {}", btf::VMLINUX, in_words(e))),
        };
        let no_btf = offsets.as_ref().err().cloned();
        let btf = btf.ok();
        let config = configuration(options, btf.as_ref(), offsets.as_ref().ok())?;
        let mut ebpf = load(options, &config)?;
        // Nothing is captured until everything is in place.
        let capture = CaptureMaps::take(&mut ebpf, no_btf)?;
        if options.scope != Scope::All {
            capture.may_follow()?;
        }
        let (attach, reason, attached) = attach_first(&mut ebpf, options, btf.as_ref(), offsets.as_ref().ok())?;
        attach::attach_processes(&mut ebpf).map_err(|r| refused(&[(None, r)]))?;
        let uname = nix::sys::utsname::uname().map_err(|e| Error::failed(format!("uname failed: {}", e.desc())))?;
        let text = |s: &std::ffi::OsStr| escaped(s.as_encoded_bytes());
        let session = Session {
            attach,
            reason,
            kernel: text(uname.release()),
            hostname: text(uname.nodename()),
            wall_offset_ns: wall_offset_ns(),
            start_ns: boot_ns(),
            routes: attached.routes,
            capture: options.words.clone(),
            ring_bytes: options.ring_bytes,
        };
        let mut probe = Self::take_maps(ebpf, session, capture, attached.kretprobes, sizes(options.stacks))?;
        // The capture begins. Opens that were already under way are not in it.
        if let Scope::Pids(pids) = &options.scope {
            probe.capture.confine(pids)?;
        }
        if options.stacks == StacksOf::All {
            probe.stacks.used();
            probe.capture.set_stacks(flag::STACKS)?;
        }
        probe.capture.set(&options.program)?;
        Ok(probe)
    }

    fn take_maps(
        mut ebpf: Ebpf,
        session: Session,
        capture: CaptureMaps,
        kretprobes: Vec<kretprobe::Kretprobe>,
        sizes: Sizes,
    ) -> Result<Self, Error> {
        let processes = map_fd(&mut ebpf, "PROCESSES")?;
        let ring = RingBuf::try_from(take_map(&mut ebpf, "EVENTS")?).map_err(|_| broken("EVENTS"))?;
        let ring_fd = ring
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| Error::failed(format!("a descriptor could not be duplicated: {}", in_words(&e))))?;
        let others: Array<MapData, [u8; VALUE]> =
            take_map(&mut ebpf, "OTHERS")?.try_into().map_err(|_| broken("OTHERS"))?;
        let losses = take_map(&mut ebpf, "LOSSES")?.try_into().map_err(|_| broken("LOSSES"))?;
        Ok(Self {
            ring,
            ring_fd,
            wake: take_map(&mut ebpf, "WAKE")?.try_into().map_err(|_| broken("WAKE"))?,
            capture,
            counters: CounterReader::new(processes, others, losses),
            stacked: take_map(&mut ebpf, "STACKED")?.try_into().map_err(|_| broken("STACKED"))?,
            stacks: StackReader::new(&mut ebpf, sizes)?,
            logger: None,
            kretprobes,
            missed: 0,
            ebpf,
            session,
        })
    }

    /// Takes the stacks of a process from now on, or no more.
    ///
    /// # Errors
    /// When the maps were made without room for stacks, or the kernel's table of such processes is full.
    pub fn stacks_of(&mut self, pid: u32, on: bool) -> Result<(), Error> {
        if !self.stacks.has_room() {
            return Err(Error::failed("this capture was started without room for stacks"));
        }
        if on {
            self.stacked.insert(pid, 0, 0).map_err(|e| map_error("the table of processes with stacks", &e))?;
        } else {
            // One that is not there is as it should be.
            let _ = self.stacked.remove(&pid);
        }
        self.stacks.used();
        // With nobody's an open costs as little as before.
        let some = if self.stacked.keys().next().is_some() { flag::STACKS_SOME } else { 0 };
        self.capture.set_stacks(self.capture.stacks() & !flag::STACKS_SOME | some)
    }

    /// Whether anybody's stacks are taken now.
    #[must_use]
    pub fn takes_stacks(&self) -> bool {
        self.capture.stacks() & (flag::STACKS | flag::STACKS_SOME) != 0
    }

    /// Stacks that became known, and opens by stack, since the last call. `last`: all there is, whatever it costs.
    ///
    /// # Errors
    /// When the kernel refuses to read or write the maps.
    pub fn stacks(&mut self, last: bool) -> Result<(Vec<Addresses>, Vec<StackCount>), Error> {
        let refused = |e: io::Error| Error::failed(format!("the kernel's stacks could not be read: {}", in_words(&e)));
        let mut counts = self.stacks.empty().map_err(refused)?;
        counts.extend(self.stacks.counts(last).map_err(refused)?);
        if let Some(second) = self.stacks.turn() {
            let set = if second { flag::STACK_SET } else { 0 };
            self.capture.set_stacks(self.capture.stacks() & !flag::STACK_SET | set)?;
            self.stacks.turned(second);
        }
        Ok((self.stacks.take_fresh(), counts))
    }

    /// Captures this from now on, within the processes it was confined to at the start. Nothing is attached anew, and no
    /// open is counted that began or ended under a capture that did not want it.
    ///
    /// # Errors
    /// When the kernel cannot do it: then the capture before stays in force.
    pub fn change(&mut self, program: &CaptureProgram) -> Result<(), Error> {
        self.capture.set(program)
    }

    /// Adds a process to those that everything is confined to, with the descendants it will have: one that was forked
    /// just now and has none.
    ///
    /// # Errors
    /// When the kernel's table of captured processes is full.
    pub fn follow(&mut self, pid: u32) -> Result<(), Error> {
        self.capture.follow(pid)
    }

    /// Whether what this probe still does takes no privileges but its descriptors. The answer is to be had in a thread
    /// that has none: before Linux 5.19 bpf(2) asks for `CAP_BPF` even of who only reads a map.
    ///
    /// # Errors
    /// When a descriptor cannot be duplicated.
    pub fn works_without_privileges(&self) -> Result<impl FnOnce() -> bool + Send + use<>, Error> {
        self.counters
            .readable()
            .map_err(|e| Error::failed(format!("a descriptor could not be duplicated: {}", in_words(&e))))
    }

    /// What each program in the kernel costs its verifier. To be asked while there are privileges.
    #[must_use]
    pub fn program_costs(&self) -> Vec<ProgramCost> {
        attach::costs(&self.ebpf)
    }

    /// What does not change.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Moves up to `max` records from the ring into `batch`; how many it was.
    pub fn drain(&mut self, batch: &mut Batch, max: usize) -> usize {
        let mut drained = 0;
        // Each item holds its place in the ring until it is dropped: copied at once.
        while drained < max
            && let Some(record) = self.ring.next()
        {
            batch.push(&record);
            drained += 1;
        }
        self.stacks.identify(batch, drained < max);
        drained
    }

    /// Asks the probe to make [`Probe::as_fd`] readable at the next record. Until then it does not: the reader polls.
    /// A record that comes at the same moment may be missed by this; look once more after a short sleep.
    ///
    /// # Errors
    /// When the kernel refuses to write the map.
    pub fn ask_wakeup(&mut self) -> Result<(), Error> {
        self.wake.set(0, 1, 0).map_err(|e| map_error("the reader's sleep", &e))
    }

    /// The exact counts. Processes are in it that changed since the last reading.
    ///
    /// # Errors
    /// When the kernel refuses to read the maps.
    pub fn counters(&mut self) -> Result<Counters, Error> {
        let mut counters = self
            .counters
            .read(boot_ns())
            .map_err(|e| Error::failed(format!("the kernel's counters could not be read: {}", in_words(&e))))?;
        counters.totals.losses.missed = self.missed();
        counters.totals.losses.stack_user += self.stacks.gone();
        Ok(counters)
    }

    /// Runs that the kernel skipped. Where programs stand in for each other this is more than what was lost, which
    /// `no_entry` and `no_return` tell.
    fn missed(&mut self) -> u64 {
        let now = attach::program_fds(&self.ebpf).filter_map(|fd| sys::misses(fd).ok()).sum();
        // Detached programs cannot be asked any more.
        self.missed = self.missed.max(now);
        self.missed
    }

    /// What measures how much the probe itself costs, by way of `gauge`.
    #[must_use]
    pub fn meter(&self, gauge: Option<Gauge>) -> Meter {
        let programs = attach::programs(&self.ebpf);
        let programs = programs.filter_map(|(name, fd)| Some((Part::of(name)?, fd.try_clone_to_owned().ok()?)));
        Meter::new(programs.collect(), gauge)
    }

    /// Sends the probe's own log lines to `logger`, whenever [`Probe::flush_log`] is called.
    ///
    /// # Errors
    /// When the embedded probe has no log.
    pub fn log_into(&mut self, logger: Box<dyn log::Log>) -> Result<(), Error> {
        let log = aya_log::EbpfLogger::init_with_logger(&mut self.ebpf, Logger(logger))
            .map_err(|e| Error::failed(format!("the probe's log could not be opened: {e}")))?;
        self.logger = Some(log);
        Ok(())
    }

    /// Writes what the probe logged since the last call.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// Takes the hooks out of the kernel. Records and counts stay and can be read. Afterwards none comes any more.
    pub fn detach(&mut self) {
        let _ = self.missed();
        self.capture.off();
        attach::unload_all(&mut self.ebpf, std::mem::take(&mut self.kretprobes));
        // Not every close waits for a program that is just running on another CPU: it needs microseconds.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `Log` is for references only, not for boxes.
struct Logger(Box<dyn log::Log>);

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.log(record);
    }

    fn flush(&self) {
        self.0.flush();
    }
}

impl AsFd for Probe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring_fd.as_fd()
    }
}

impl AsRawFd for Probe {
    fn as_raw_fd(&self) -> RawFd {
        self.ring_fd.as_raw_fd()
    }
}

fn configuration(options: &Options, btf: Option<&btf::Btf>, offsets: Option<&Offsets>) -> Result<Config, Error> {
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

fn sizes(stacks: StacksOf) -> Sizes {
    match stacks {
        StacksOf::Nobody => Sizes::NONE,
        StacksOf::Named => Sizes::SOME,
        StacksOf::All => Sizes::ALL,
    }
}

fn load(options: &Options, config: &Config) -> Result<Ebpf, Error> {
    let sizes = sizes(options.stacks);
    let level = options.log.map_or(0u8, |level| level as u8);
    EbpfLoader::new()
        // Nothing in the probe needs relocating, and reading the kernel's BTF once more costs tens of milliseconds.
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

fn load_error(error: &aya::EbpfError) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut os = None;
    while let Some(e) = source {
        os = e.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error).or(os);
        source = e.source();
    }
    match os {
        Some(libc::EPERM | libc::EACCES) => {
            Error::new(Kind::Denied, "the kernel refused to make the probe's maps: Operation not permitted")
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
        _ => Error::failed(format!("the probe could not be loaded: {}", escaped(error.to_string().as_bytes()))),
    }
}

type Chosen = (AttachKind, String, attach::Attached);

/// The first kind that really attaches, with why.
fn attach_first(
    ebpf: &mut Ebpf,
    options: &Options,
    btf: Option<&btf::Btf>,
    offsets: Option<&Offsets>,
) -> Result<Chosen, Error> {
    let wanted = options.attach;
    let all = [AttachKind::Kprobe, AttachKind::Fentry, AttachKind::Tracepoint];
    let kinds = wanted.as_ref().map_or(&all[..], std::slice::from_ref);
    let mut refusals = Vec::new();
    for kind in kinds {
        match attach::attach(ebpf, *kind, options.stage, btf, offsets) {
            Ok(attached) => {
                let reason = match (wanted, refusals.is_empty()) {
                    (Some(_), _) => "as asked for".to_owned(),
                    (None, true) => "first choice".to_owned(),
                    (None, false) => words(&refusals),
                };
                return Ok((*kind, reason, attached));
            }
            Err(refusal) => {
                attach::unload_all(ebpf, Vec::new());
                refusals.push((Some(*kind), refusal));
            }
        }
    }
    Err(refused(&refusals))
}

fn words(refusals: &[(Option<AttachKind>, attach::Refusal)]) -> String {
    let parts: Vec<String> = refusals
        .iter()
        .map(|(kind, r)| match kind {
            Some(kind) => format!("not {kind}: {}", r.why),
            None => r.why.clone(),
        })
        .collect();
    parts.join("; ")
}

fn refused(refusals: &[(Option<AttachKind>, attach::Refusal)]) -> Error {
    if let Some(log) = refusals.iter().find_map(|(_, r)| r.log.as_deref()) {
        return rejected(&words(refusals), log);
    }
    if refusals.iter().all(|(_, r)| r.denied) {
        Error::new(Kind::Denied, format!("the probe may not be attached ({})", words(refusals)))
    } else {
        Error::new(
            Kind::Unsupported,
            format!(
                "the probe cannot be attached to this kernel ({}). `opentop doctor` tells what the kernel has and what mends it.",
                words(refusals)
            ),
        )
    }
}

/// The verifier took no program of a build that was tested on other kernels: nothing that its user could mend.
fn rejected(words: &str, log: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!(
            "the probe cannot be attached to this kernel ({words}).\n\
             This is a defect of opentop, not of your machine: please report it at {}/issues with the output of `opentop doctor --format json` \
             and with the end of the verifier's log:\n{}\n\
             Meanwhile another way may work: --attach kprobe, fentry or tracepoint.",
            env!("CARGO_PKG_REPOSITORY"),
            log.trim_end()
        ),
    )
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or_else(|| broken(name))
}

/// A descriptor of a map, for what aya has no call for.
fn map_fd(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd, Error> {
    let (Map::HashMap(data) | Map::StackTraceMap(data)) = take_map(ebpf, name)? else { return Err(broken(name)) };
    let cloned = data.fd().as_fd().try_clone_to_owned();
    cloned.map_err(|e| Error::failed(format!("a descriptor could not be duplicated: {}", in_words(&e))))
}

fn broken(name: &str) -> Error {
    Error::failed(format!(
        "the embedded probe has no usable map {name}: this opentop is not built right, build it again with cargo xtask probe"
    ))
}

fn map_error(what: &str, error: &aya::maps::MapError) -> Error {
    Error::failed(format!("{what} could not be written to the kernel: {}", escaped(error.to_string().as_bytes())))
}

/// The boot clock, ns: the clock of every record.
#[must_use]
pub fn boot_ns() -> u64 {
    clock_ns(nix::time::ClockId::CLOCK_BOOTTIME)
}

fn clock_ns(clock: nix::time::ClockId) -> u64 {
    // Both clocks exist on every kernel that runs BPF.
    let Ok(time) = nix::time::clock_gettime(clock) else { return 0 };
    u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
}

/// Wall clock minus boot clock, ns. Of a few readings the one that took least time in between.
fn wall_offset_ns() -> i64 {
    let mut best = (u64::MAX, 0i64);
    for _ in 0..5 {
        let before = boot_ns();
        let wall = clock_ns(nix::time::ClockId::CLOCK_REALTIME);
        let after = boot_ns();
        let boot = before + (after - before) / 2;
        if after - before < best.0 {
            best = (after - before, i64::try_from(i128::from(wall) - i128::from(boot)).unwrap_or(0));
        }
    }
    best.1
}

/// Whether this kernel shows its types at all (for `doctor`).
#[must_use]
pub fn has_btf() -> bool {
    Path::new(btf::VMLINUX).exists()
}
