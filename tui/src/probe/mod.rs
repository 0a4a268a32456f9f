//! The probe in the kernel: loaded, attached, steered, read. The only place that names aya.
//!
//! What it is not: it decodes no record and knows no model. Records leave it as bytes, counts as plain structs.

mod attach;
mod btf;
mod capture;
mod clock;
mod counters;
mod features;
mod gauge;
mod keeper;
mod kretprobe;
mod load;
mod maps;
mod meter;
mod offsets;
mod options;
mod refusal;
mod scope;
mod stacks;
mod stage;
mod sys;
mod tracefs;
mod tracepoints;
mod undisturbed;

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{Array, HashMap as BpfHashMap, MapData, RingBuf},
};
use probe_common::{ProcessCounts, capture as flag};

use crate::{
    error::{Error, in_words},
    escape::escaped,
    filter::capture::CaptureProgram,
    session::{ProgramCost, Session},
    source::{Addresses, Batch, Counters, StackCount},
};
use capture::CaptureMaps;
pub use clock::boot_ns;
use clock::wall_offset_ns;
use counters::CounterReader;
pub use gauge::Gauge;
use maps::{broken, map_error, map_fd, take_map};
pub use meter::Meter;
use meter::Part;
pub use options::{Options, Scope, StacksOf};
use stacks::{Sizes, StackReader};
pub use stage::Stage;
pub use undisturbed::read_undisturbed;

const VALUE: usize = size_of::<ProcessCounts>();

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
    /// [`Kind::Denied`](crate::error::Kind::Denied) when the kernel refuses for want of privileges, [`Kind::Unsupported`](crate::error::Kind::Unsupported) when it has none of the
    /// hooks or lacks what the capture needs, [`Kind::Failed`](crate::error::Kind::Failed) for the rest.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let btf = features::found_beside(|| btf::Btf::read(btf::VMLINUX));
        let offsets = match &btf {
            Ok(btf) => offsets::find(btf),
            Err(e) => Err(format!("{}: {}", btf::VMLINUX, in_words(e))),
        };
        let no_btf = offsets.as_ref().err().cloned();
        let btf = btf.ok();
        let config = load::configuration(options, btf.as_ref(), offsets.as_ref().ok())?;
        let mut ebpf = load::load(options, &config)?;
        // Nothing is captured until everything is in place.
        let capture = CaptureMaps::take(&mut ebpf, no_btf)?;
        if options.scope != Scope::All {
            capture.may_follow()?;
        }
        let (attach, reason, attached) = attach::attach_first(&mut ebpf, options, btf.as_ref(), offsets.as_ref().ok())?;
        attach::attach_processes(&mut ebpf).map_err(|r| refusal::refused(&[(None, r)]))?;
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
        let mut probe = Self::take_maps(ebpf, session, capture, attached.kretprobes, load::sizes(options.stacks))?;
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

/// The size of the kernel's types (BTF), bytes, or why there are none to use (for `doctor`).
///
/// # Errors
/// When there is no such file, or it is none of this machine's.
pub fn btf() -> Result<u64, String> {
    let refused = |e: io::Error| format!("{}: {}", btf::VMLINUX, in_words(&e));
    btf::Btf::read(btf::VMLINUX).map_err(refused)?;
    std::fs::metadata(btf::VMLINUX).map(|meta| meta.len()).map_err(refused)
}
