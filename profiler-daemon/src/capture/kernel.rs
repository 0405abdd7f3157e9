//! The kernel programs and their maps as one value: load, attach, read, stop.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};

use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::perf_event::{PerfEventConfig, PerfEventLinkId, PerfEventScope, SamplePolicy, SoftwareEvent};
use aya::programs::{PerfEvent, ProgramError};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use aya_log::EbpfLogger;
use profiler_common::fault;
use profiler_common::settings::{Control, Settings, filter};
use profiler_common::wire::{OffCpuKey, OffCpuValue};

use super::btf::BTF_VARIABLE;
use super::hooks::Hooks;
pub use super::hooks::Kind;
use super::pod::Plain;
use super::sums::Sums;
use super::tables::Tables;
use crate::model::{Detail, MonoNs};

/// Which threads are accounted. Any rule that names a thread is enough; forks and new threads of
/// accounted threads always are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Processes.
    pub pids: Vec<u32>,
    /// Names of processes.
    pub comms: Vec<String>,
    /// Ids of cgroups.
    pub cgroups: Vec<u64>,
    /// Every process but our own.
    pub all: bool,
}

/// Why the kernel programs could not do their work.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The kernel lets us make no maps and load no programs.
    #[error("not permitted to load kernel programs")]
    NotPermitted(#[source] std::io::Error),
    /// The object was refused as a whole: a map could not be made, or the object is broken.
    #[error("cannot load the kernel programs")]
    Load(#[source] Box<aya::EbpfError>),
    /// A program was refused.
    #[error("cannot load kernel program `{program}`")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        source: Box<ProgramError>,
    },
    /// A program could not be attached to its hook.
    #[error("cannot attach kernel program `{program}`")]
    Attach {
        /// Which.
        program: &'static str,
        /// Why.
        source: Box<ProgramError>,
    },
    /// The object lacks a part that this daemon knows: they were not built together.
    #[error("the kernel programs have no `{0}`: daemon and kernel object were not built together")]
    Missing(&'static str),
    /// A map could not be read or written.
    #[error("cannot use map `{map}`")]
    Map {
        /// Which.
        map: &'static str,
        /// Why.
        source: aya::maps::MapError,
    },
    /// The kernel has no types, and lets programs read nothing by address.
    #[error("this kernel has no types of its own, and lockdown=confidentiality forbids reading kernel memory without")]
    NoMemoryReads,
    /// The types were read from a file, and this kernel's memory is laid out in another way.
    #[error("the types of the kernel were read from a file, and they are another kernel's")]
    WrongTypes,
    /// An iterator could not be read.
    #[error("cannot read the threads of this machine")]
    Iterator(#[source] std::io::Error),
    /// More was asked for than a filter holds.
    #[error("a filter holds at most {limit} {what}")]
    FilterFull {
        /// What there was too much of.
        what: &'static str,
        /// How many fit.
        limit: u32,
    },
}

impl KernelError {
    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            KernelError::FilterFull { .. } => "name fewer, or profile everything with `--all`".to_owned(),
            KernelError::NoMemoryReads => "boot with lockdown=integrity".to_owned(),
            KernelError::WrongTypes => format!("let {BTF_VARIABLE} name the types of exactly this kernel (`uname -r`)"),
            _ => super::preflight::way_out(),
        }
    }
}

const SAMPLER: &str = "cpu_sample";

/// Loaded programs. Dropping it detaches and frees everything; so does the end of the process.
pub struct Kernel {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    control: Array<MapData, Plain<Control>>,
    off_cpu: [Sums; 2],
    faults: PerCpuArray<MapData, u64>,
    /// Hands on what the programs say of what is rare.
    log: EbpfLogger<&'static dyn log::Log>,
    /// Where unwind tables are written to.
    pub tables: Tables,
    active: u32,
    epoch: u32,
    /// Number of the window that began last, and when it did; 0 for the first.
    window: u32,
    window_ns: u64,
    detail: Detail,
    hooks: Hooks,
    /// By CPU.
    sampling: BTreeMap<u32, PerfEventLinkId>,
    rate_hz: u64,
}

impl Kernel {
    /// Loads every program and fills the filter. Nothing is attached yet.
    pub fn load(object: &[u8], kind: Kind, mut settings: Settings, wanted: &Filter) -> Result<Kernel, KernelError> {
        settings.filter = (if wanted.pids.is_empty() { 0 } else { filter::PIDS })
            | (if wanted.comms.is_empty() { 0 } else { filter::COMMS })
            | (if wanted.cgroups.is_empty() { 0 } else { filter::CGROUPS })
            | (if wanted.all { filter::ALL } else { 0 });
        let settings = Plain(settings);
        let log_level = log::max_level() as u8;
        let mut ebpf = EbpfLoader::new()
            .override_global("SETTINGS", &settings, true)
            // What nobody reads is not even in the program that runs.
            .override_global("AYA_LOG_LEVEL", &log_level, true)
            .allow_unsupported_maps()
            .verifier_log_level(VerifierLogLevel::STATS)
            .load(object)
            .map_err(|error| match refusal(&error) {
                Some(errno) => KernelError::NotPermitted(errno),
                None => KernelError::Load(Box::new(error)),
            })?;
        let hooks = Hooks::load(&mut ebpf, kind)?;
        let sampler: &mut PerfEvent = program(&mut ebpf, SAMPLER)?;
        sampler.load().map_err(|source| KernelError::Program { program: SAMPLER, source: Box::new(source) })?;
        let mut kernel = Kernel {
            ring: RingBuf::try_from(take(&mut ebpf, "RING")?).map_err(in_map("RING"))?,
            control: Array::try_from(take(&mut ebpf, "CONTROL")?).map_err(in_map("CONTROL"))?,
            off_cpu: [
                Sums::new(take(&mut ebpf, "OFF_CPU_A")?).map_err(in_map("OFF_CPU_A"))?,
                Sums::new(take(&mut ebpf, "OFF_CPU_B")?).map_err(in_map("OFF_CPU_B"))?,
            ],
            faults: PerCpuArray::try_from(take(&mut ebpf, "FAULTS")?).map_err(in_map("FAULTS"))?,
            tables: Tables::new(take(&mut ebpf, "SLABS")?, take(&mut ebpf, "RULES")?, take(&mut ebpf, "PROCESSES")?)
                .map_err(in_map("SLABS"))?,
            log: EbpfLogger::init(&mut ebpf).map_err(|_| KernelError::Missing("AYA_LOGS"))?,
            active: 0,
            epoch: 0,
            window: 0,
            window_ns: 0,
            detail: Detail::default(),
            hooks,
            sampling: BTreeMap::new(),
            rate_hz: 0,
            ebpf,
        };
        kernel.fill("FILTER_PIDS", "processes", wanted.pids.iter().copied())?;
        kernel.fill("FILTER_COMMS", "names", wanted.comms.iter().map(|comm| comm_bytes(comm)))?;
        kernel.set_cgroups(&wanted.cgroups)?;
        Ok(kernel)
    }

    /// Adds cgroups to the filter: new ones appear below those asked for.
    pub fn set_cgroups(&mut self, ids: &[u64]) -> Result<(), KernelError> {
        self.fill("FILTER_CGROUPS", "cgroups", ids.iter().copied())
    }

    fn fill<K: aya::Pod>(
        &mut self,
        map: &'static str,
        what: &'static str,
        keys: impl Iterator<Item = K>,
    ) -> Result<(), KernelError> {
        let data = self.ebpf.map_mut(map).ok_or(KernelError::Missing(map))?;
        let mut set: HashMap<_, K, u32> = HashMap::try_from(data).map_err(in_map(map))?;
        for key in keys {
            set.insert(key, 1, 0).map_err(|error| match &error {
                aya::maps::MapError::SyscallError(call) if call.io_error.raw_os_error() == Some(libc::E2BIG) => {
                    KernelError::FilterFull { what, limit: profiler_common::limits::FILTER_ENTRIES }
                }
                _ => KernelError::Map { map, source: error },
            })?;
        }
        Ok(())
    }

    /// Attaches the scheduler hooks. From now on switches of accounted threads are booked; threads
    /// become accounted by [`Kernel::read_threads`].
    pub fn attach(&mut self) -> Result<(), KernelError> {
        self.hooks.attach(&mut self.ebpf)
    }

    /// Visits every thread: starts those that the filter names and that are not accounted yet, and
    /// adds the totals of all that are to `bytes`, as records back to back; beside what else was in the ring, if that is how they
    /// come, also before an error.
    pub fn read_threads(&mut self, bytes: &mut Vec<u8>) -> Result<(), KernelError> {
        let ring = &mut self.ring;
        self.hooks.visit_threads(&mut self.ebpf, bytes, |bytes| {
            while let Some(record) = ring.next() {
                bytes.extend_from_slice(&record);
            }
        })
    }

    /// Whether [`Kernel::read_threads`] empties the ring.
    pub fn reads_threads_by_ring(&self) -> bool {
        self.hooks.tell_by_ring()
    }

    /// Takes the stacks of threads that are asleep since before accounting began. Returns them as
    /// `StackRecord`s back to back; nothing on kernels without sleepable iterators (before 5.18).
    pub fn read_sleepers(&mut self) -> Result<Vec<u8>, KernelError> {
        self.hooks.visit_sleepers(&mut self.ebpf)
    }

    /// Starts sampling on every CPU that is online, `rate_hz` times a second.
    pub fn start_sampling(&mut self, rate_hz: u64) -> Result<(), KernelError> {
        self.rate_hz = rate_hz;
        let cpus = aya::util::online_cpus();
        let cpus = cpus.map_err(|(_, error)| in_sampler(ProgramError::IOError(error)))?;
        self.follow_cpus(&cpus).map(drop)
    }

    /// Samples these CPUs and no others from now on: to be called with those on line while sampling goes on, as CPUs come and go.
    /// The event of a CPU that goes off line is dead, also when the CPU comes back: one that was away between two calls is
    /// sampled no more. Returns how many CPUs went and came.
    pub fn follow_cpus(&mut self, cpus: &[u32]) -> Result<(usize, usize), KernelError> {
        let program: &mut PerfEvent = program(&mut self.ebpf, SAMPLER)?;
        let (mut gone, mut came) = (0, 0);
        while let Some(cpu) = self.sampling.keys().find(|cpu| !cpus.contains(cpu)).copied() {
            if let Some(link) = self.sampling.remove(&cpu) {
                program.detach(link).map_err(in_sampler)?;
                gone += 1;
            }
        }
        for cpu in cpus.iter().copied() {
            if self.sampling.contains_key(&cpu) {
                continue;
            }
            let link = program
                .attach(
                    PerfEventConfig::Software(SoftwareEvent::CpuClock),
                    PerfEventScope::AllProcessesOneCpu { cpu },
                    SamplePolicy::Frequency(self.rate_hz),
                    false,
                )
                .map_err(in_sampler)?;
            self.sampling.insert(cpu, link);
            came += 1;
        }
        Ok((gone, came))
    }

    /// Stops sampling: before everything else, else the profile shows our own detaching.
    pub fn stop_sampling(&mut self) -> Result<(), KernelError> {
        let program: &mut PerfEvent = program(&mut self.ebpf, SAMPLER)?;
        while let Some((_, link)) = self.sampling.pop_first() {
            program.detach(link).map_err(in_sampler)?;
        }
        Ok(())
    }

    /// Closes the window at the instant that this returns. When it returns nothing is booked any more; a
    /// switch that was under way then may end a moment later, and totals reach to it.
    pub fn freeze(&mut self) -> Result<MonoNs, KernelError> {
        let end = MonoNs::now();
        self.set_control(end.0)?;
        wait_for_running_programs();
        Ok(end)
    }

    fn set_control(&mut self, stop_ns: u64) -> Result<(), KernelError> {
        let Detail { wait_level, kernel_stacks, late_programs, .. } = self.detail;
        let no_kernel_stacks = (!kernel_stacks).into();
        let control = Plain(Control {
            active: self.active,
            epoch: self.epoch,
            stop_ns,
            wait_level,
            no_kernel_stacks,
            window: self.window,
            late_programs: late_programs.into(),
            window_ns: self.window_ns,
        });
        self.control.set(0, control, 0).map_err(in_map("CONTROL"))
    }

    /// Begins a new epoch of mappings: no stack of an earlier one is taken for one of now.
    pub fn set_epoch(&mut self, epoch: u32) -> Result<(), KernelError> {
        if epoch == self.epoch {
            return Ok(());
        }
        self.epoch = epoch;
        let stop_ns = self.control.get(&0, 0).map_err(in_map("CONTROL"))?.0.stop_ns;
        self.set_control(stop_ns)
    }

    /// Says how much is taken of waits from now on.
    pub fn set_detail(&mut self, detail: Detail) -> Result<(), KernelError> {
        self.detail = detail;
        let stop_ns = self.control.get(&0, 0).map_err(in_map("CONTROL"))?.0.stop_ns;
        self.set_control(stop_ns)
    }

    /// Lets the kernel programs forget that these stacks were sent: they are sent again when they are met by a walk.
    /// A new epoch has to begin afterwards, so that no stack is recognised without one.
    pub fn forget_sent(&mut self, stacks: impl IntoIterator<Item = u64>) -> Result<(), KernelError> {
        let data = self.ebpf.map_mut("SENT").ok_or(KernelError::Missing("SENT"))?;
        let mut sent: HashMap<_, u64, u32> = HashMap::try_from(data).map_err(in_map("SENT"))?;
        for stack in stacks {
            // One that the kernel has forgotten by itself is not there.
            let _ = sent.remove(&stack);
        }
        Ok(())
    }

    /// Writes what the programs said since to the log.
    pub fn say(&mut self) {
        self.log.flush();
    }

    /// Hands every record in the ring to `take`. Returns how many there were.
    pub fn drain_ring(&mut self, mut take: impl FnMut(&[u8])) -> usize {
        let mut records = 0;
        while let Some(record) = self.ring.next() {
            take(&record);
            records += 1;
        }
        records
    }

    /// The ring's descriptor: readable when a rare record asks for attention at once.
    pub fn ring_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns the descriptor and outlives the borrow of self.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }

    /// From now on a thread that is read goes to the next window with all that it sums later.
    pub fn begin_window(&mut self) -> Result<(), KernelError> {
        self.window = self.window.wrapping_add(1);
        self.window_ns = MonoNs::now().0;
        let stop_ns = self.control.get(&0, 0).map_err(in_map("CONTROL"))?.0.stop_ns;
        self.set_control(stop_ns)
    }

    /// Swaps the two off-CPU maps and hands every entry of the one that was written to `take`, with whether it is of the
    /// window that began last.
    pub fn drain_off_cpu(&mut self, mut take: impl FnMut(OffCpuKey, OffCpuValue, bool)) -> Result<(), KernelError> {
        let full = self.active as usize;
        self.active ^= 1;
        let stop_ns = self.control.get(&0, 0).map_err(in_map("CONTROL"))?.0.stop_ns;
        self.set_control(stop_ns)?;
        wait_for_running_programs();
        let window = self.window;
        self.off_cpu[full]
            .drain(|key, value| take(key.key, *value, key.window == window))
            .map_err(|error| in_map("OFF_CPU")(error.into()))
    }

    /// Faults and counters by number, summed over CPUs.
    pub fn faults(&self) -> Result<Vec<u64>, KernelError> {
        (0..fault::counter::SLOTS)
            .map(|number| Ok(self.faults.get(&number, 0).map_err(in_map("FAULTS"))?.iter().sum()))
            .collect()
    }

    /// Run time in nanoseconds and number of runs of each program, as far as statistics were on.
    pub fn run_stats(&self) -> Vec<(String, u64, u64)> {
        self.ebpf
            .programs()
            .filter_map(|(name, program)| {
                let info = program.info().ok()?;
                Some((name.to_owned(), info.run_time().as_nanos() as u64, info.run_count()))
            })
            .collect()
    }
}

/// The kernel's "operation not permitted" at the end of a chain of errors, if that is what it is. Which
/// map it hit first is chance and says nothing.
fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<std::io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.raw_os_error() == Some(libc::EPERM)
        {
            return Some(std::io::Error::from_raw_os_error(libc::EPERM));
        }
        cause = error.source();
    }
    None
}

pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(KernelError::Missing(name))?;
    program.try_into().map_err(|_| KernelError::Missing(name))
}

pub(super) fn take(ebpf: &mut Ebpf, map: &'static str) -> Result<aya::maps::Map, KernelError> {
    ebpf.take_map(map).ok_or(KernelError::Missing(map))
}

fn in_sampler(source: ProgramError) -> KernelError {
    KernelError::Attach { program: SAMPLER, source: Box::new(source) }
}

pub(super) fn in_map(map: &'static str) -> impl Fn(aya::maps::MapError) -> KernelError {
    move |source| KernelError::Map { map, source }
}

/// A name as the kernel keeps it: cut to 15 bytes and NUL padded.
fn comm_bytes(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// Returns when every program run that began before has ended. Tracing programs run inside an RCU
/// read side, so one grace period is enough; `membarrier` waits for one. Kernels booted with
/// `nohz_full` refuse it: there a pause far longer than any program run has to do.
fn wait_for_running_programs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_long = 1;
    // SAFETY: the call takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
