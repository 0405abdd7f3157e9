//! One capture from start to finished window. The only place that knows the order of the stages.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use profiler_common::fault;
use profiler_common::wire::{outcome, thread_flag};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::MissedTickBehavior;

use super::cost::{self, ProgramCost};
use super::follow::{Followers, Since};
use super::news::News;
use super::rotate::Rotation;
use crate::accounting::Accounts;
use crate::aggregate;
use crate::capture::btf::{Btf, BtfError};
use crate::capture::features;
use crate::capture::kernel::{Filter, Kernel, KernelError};
use crate::capture::mappings::{self, MappingEvents, MappingsError};
use crate::capture::object::NoKernelPrograms;
use crate::capture::settings;
use crate::decode::{self, Record};
use crate::model::{
    Capture, Context, DetailLevels, Frame, FrameKind, Losses, MonoNs, Overhead, Recording, StackQuality, Window,
};
use crate::process::{self, Processes};
use crate::symbolize::{NOT_CODE, Symbolizer};
use crate::unwind::{Cache, Unwinder};

/// How often the ring is emptied.
const TICK: Duration = Duration::from_millis(100);
/// Every so many ticks the off-CPU sums are drained, and a slice of one tick measures our own cost.
const TICKS_A_ROUND: u32 = 10;
/// How often finished unwind tables are looked for while some are being made.
const TABLES_TICK: Duration = Duration::from_millis(10);
/// The pauses between the looks at mappings and tables that follow an exec: most libraries of the new program appear at
/// once, others a while later.
const LOOKS_AFTER_EXEC_MS: [u64; 4] = [1, 3, 10, 30];

/// Kernel memory for unwind tables unless a plan says otherwise: room for the largest programs. It is taken as
/// tables need it.
pub const TABLES_BYTES: u64 = 64 << 20;

/// What to capture.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What was asked for, in words for the report.
    pub target: String,
    /// Which threads.
    pub filter: Filter,
    /// Cgroups to follow; their ids go into the filter, those of new ones below them, too.
    pub cgroups: Vec<PathBuf>,
    /// On-CPU samples a second and CPU.
    pub rate_hz: u32,
    /// Waits at least this long are kept one by one.
    pub min_wait_ns: u64,
    /// Walk fully beside every recognised stack and count differences: a test mode.
    pub verify_memo: bool,
    /// Walk the stack of every wait that is not recognised, whatever that costs: a test mode.
    pub walk_all: bool,
    /// Walk by frame pointers alone beside each CPU sample and count how that ends: for comparison.
    pub compare_walks: bool,
    /// Most bytes of kernel memory for unwind tables.
    pub tables_bytes: u64,
    /// Windows follow each other: see [`Pipeline::rotate`].
    pub windows: bool,
    /// Most single waits kept of each of these windows.
    pub most_waits: usize,
    /// Keep thread state in a hash although this kernel may have task storage: a test mode.
    pub hashed_threads: bool,
}

/// Why a capture could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// No programs to load.
    #[error("this program cannot capture")]
    Object(#[from] NoKernelPrograms),
    /// The kernel does not say how its structures are laid out.
    #[error("the kernel's structures are not known")]
    Btf(#[from] BtfError),
    /// The kernel refused a program, a map or a hook.
    #[error("the kernel programs do not run")]
    Kernel(#[from] KernelError),
    /// The kernel does not tell what processes map.
    #[error("loaded code cannot be followed")]
    Mappings(#[from] MappingsError),
    /// A cgroup could not be resolved.
    #[error("cannot profile the cgroup")]
    Cgroup(#[from] process::CgroupError),
    /// The event loop failed.
    #[error("cannot wait for events")]
    Io(#[from] io::Error),
}

impl From<features::LoadError> for PipelineError {
    fn from(error: features::LoadError) -> PipelineError {
        match error {
            features::LoadError::Object(error) => error.into(),
            features::LoadError::Kernel(error) => error.into(),
        }
    }
}

impl PipelineError {
    /// What a person can do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            PipelineError::Object(error) => Some(error.remedy().to_owned()),
            PipelineError::Btf(error) => Some(error.remedy()),
            PipelineError::Kernel(error) => Some(error.remedy()),
            PipelineError::Mappings(error) => Some(error.remedy()),
            PipelineError::Cgroup(error) => error.remedy(),
            PipelineError::Io(_) => None,
        }
    }
}

/// A capture that runs.
pub struct Pipeline {
    pub(super) plan: Plan,
    pub(super) kernel: Kernel,
    pub(super) accounts: Accounts,
    pub(super) processes: Processes,
    pub(super) unwinder: Unwinder,
    cache_failed: bool,
    /// Processes seen, by (pid, generation).
    pub(super) known: BTreeSet<(u32, u32)>,
    pub(super) mappings: MappingEvents,
    pub(super) news: News,
    pub(super) followers: Followers,
    /// Processes whose first thread was told to have ended, while records of the same time are taken.
    pub(super) leaving: HashSet<u32>,
    /// The looks that follow the last exec and are still due, see [`LOOKS_AFTER_EXEC_MS`].
    looks: std::slice::Iter<'static, u64>,
    pub(super) start: MonoNs,
    /// Threads of the target at the last look.
    living: usize,
    undecodable: u64,
    pub(super) failed_rounds: u64,
    pub(super) programs: ProgramCost,
    cpu_before_ns: u64,
    pub(super) rotation: Rotation,
}

impl Pipeline {
    /// Loads the kernel programs, and attaches nothing: a failure here costs the target nothing.
    pub fn load(mut plan: Plan) -> Result<Pipeline, PipelineError> {
        let btf = Btf::of_kernel()?;
        let mut settings = settings::of_kernel(&btf)?;
        settings.min_wait_ns = plan.min_wait_ns;
        settings.windows = plan.windows.into();
        settings.verify_memo = plan.verify_memo.into();
        settings.compare_walks = plan.compare_walks.into();
        if plan.walk_all {
            settings.walk_budget_ns = 0;
        }
        plan.filter.cgroups = cgroup_ids(&plan.cgroups)?;
        let kernel = features::load(&btf, settings, &plan.filter, plan.hashed_threads)?.kernel;
        let start = MonoNs::now();
        // Without a cache tables are made anew, which takes longer and is as right.
        let cache = Cache::open(Cache::DIRECTORY.as_ref(), Cache::LIMIT_BYTES);
        let cache_failed = cache.is_err();
        let unwinder = Unwinder::start(plan.tables_bytes, cache.ok());
        Ok(Pipeline {
            plan,
            unwinder,
            cache_failed,
            kernel,
            accounts: Accounts::start(start),
            processes: Processes::new(),
            known: BTreeSet::new(),
            mappings: MappingEvents::open(&mappings::online_cpus()?, mappings::RING_BYTES)?,
            news: News::default(),
            followers: Followers::default(),
            leaving: HashSet::new(),
            looks: [].iter(),
            start,
            living: 0,
            undecodable: 0,
            failed_rounds: 0,
            programs: ProgramCost::default(),
            cpu_before_ns: 0,
            rotation: Rotation::default(),
        })
    }

    /// Opens the window: attaches the hooks, finds the threads that are there, starts sampling.
    pub fn start(&mut self) -> Result<(), PipelineError> {
        self.prepare_tables();
        self.cpu_before_ns = cost::own_cpu_ns();
        // Attaching takes a millisecond, or several on a busy machine: no thread is accounted before it
        // is done, so neither its time nor our samples of it belong to the window.
        self.kernel.attach()?;
        self.start = MonoNs::now();
        self.accounts = if self.plan.windows {
            Accounts::start_windows(self.start, self.plan.most_waits)
        } else {
            Accounts::start(self.start)
        };
        self.read_threads()?;
        let sleepers = self.kernel.read_sleepers()?;
        for record in decode::records(&sleepers) {
            self.take(record);
        }
        // Now the kernel knows whose tables are whose: a sample before would stop at its first frame. Times are exact without
        // samples, which only share them out.
        self.kernel.start_sampling(self.plan.rate_hz.into())?;
        self.programs.open(self.kernel.run_stats());
        Ok(())
    }

    /// Collects until `until` is done; `on_tick` hears how long it has been.
    pub async fn run(
        &mut self,
        until: impl Future<Output = ()>,
        mut on_tick: impl FnMut(Duration),
    ) -> Result<(), PipelineError> {
        let ring = self.kernel.ring_fd().try_clone_to_owned()?;
        // SAFETY: an owned descriptor names the same open file until it is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        let mappings = self.mappings.fd().try_clone_to_owned()?;
        // SAFETY: as above.
        let mappings = unsafe { AsyncFd::register_with_interest(mappings, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut round = 0;
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return Ok(()),
                // A new process: its mappings are read at once, since it may be gone at the next tick.
                ready = ring.readable() => {
                    ready?.clear_ready();
                    self.drain_ring();
                }
                () = tokio::time::sleep(self.next_look()), if self.looks.len() > 0 || self.unwinder.building() > 0 => {
                    if self.looks.next().is_some() {
                        self.look_at_mappings();
                    }
                    self.unwinder.load(&mut self.kernel.tables);
                }
                // Far more is mapped than usual: it would not fit until the next tick.
                ready = mappings.readable() => {
                    ready?.clear_ready();
                    self.look_at_mappings();
                }
                _ = ticks.tick() => {
                    self.look_at_mappings();
                    self.unwinder.turn(&mut self.kernel.tables);
                    self.rotation.programs.turn(&self.processes);
                    self.kernel.say();
                    round += 1;
                    if round % TICKS_A_ROUND == 0 {
                        // What a round misses, the next one or the end makes up for.
                        self.failed_rounds += u64::from(self.round().is_err());
                        if self.has_ended() {
                            return Ok(());
                        }
                    } else if self.programs.is_open() {
                        self.programs.close(self.kernel.run_stats());
                    }
                    on_tick(Duration::from_nanos(MonoNs::now().since(self.start)));
                }
            }
        }
    }

    fn next_look(&self) -> Duration {
        self.looks.as_slice().first().map_or(TABLES_TICK, |ms| Duration::from_millis(*ms))
    }

    /// What is due every second.
    fn round(&mut self) -> Result<(), PipelineError> {
        let accounts = &mut self.accounts;
        self.kernel.drain_off_cpu(|key, value, _| accounts.off_cpu(key, &value))?;
        self.programs.open(self.kernel.run_stats());
        self.follow_cpus()?;
        if self.is_searching() {
            // A process may have got its name or its cgroup since the last look. A cgroup that is gone
            // keeps what was counted.
            if let Ok(ids) = cgroup_ids(&self.plan.cgroups) {
                self.kernel.set_cgroups(&ids)?;
            }
            self.read_threads()?;
        }
        Ok(())
    }

    /// Goes on with what is open for each CPU, as CPUs come and go.
    fn follow_cpus(&mut self) -> Result<(), PipelineError> {
        let cpus = mappings::online_cpus()?;
        if self.mappings.follow(&cpus)? {
            self.missed_mappings();
        }
        let (gone, came) = self.kernel.follow_cpus(&cpus)?;
        if gone + came > 0 {
            tracing::info!(gone, came, online = cpus.len(), "CPUs went or came: those on line are sampled");
        }
        Ok(())
    }

    /// Whether threads belong to the target by a name or a cgroup, which they may get at any time.
    fn is_searching(&self) -> bool {
        !self.plan.filter.comms.is_empty() || !self.plan.cgroups.is_empty()
    }

    /// Whether there were such threads and none is left.
    fn has_ended(&self) -> bool {
        self.is_searching() && self.living == 0 && !self.known.is_empty()
    }

    /// Closes the window and makes the report's data of it.
    pub fn finish(mut self) -> Result<Window, PipelineError> {
        self.kernel.stop_sampling()?;
        self.programs.close(self.kernel.run_stats());
        let end = self.kernel.freeze()?;
        self.read_threads()?;
        // After it, for the threads that ended before they were read.
        self.drain_ring();
        let accounts = &mut self.accounts;
        // The first swap drains what was written, the second what was in flight before it.
        for _ in 0..2 {
            self.kernel.drain_off_cpu(|key, value, _| accounts.off_cpu(key, &value))?;
        }
        let counts = self.kernel.faults()?;
        let overhead = self.overhead(&counts, end);
        let lost = self.lost(&counts);
        drop(self.unwinder);
        drop(self.kernel);

        let (mut capture, mut losses) = self.accounts.finish(end, self.plan.min_wait_ns);
        losses.by_cause.extend(lost);
        let mut symbolizer = Symbolizer::new();
        let stacks = capture.stacks.iter().map(|(id, stack)| (*id, stack));
        let frames = symbolizer.resolve_all(&mut self.processes, stacks);
        mark_cut(&mut capture, &frames);
        add(&mut losses, self.processes.failures());
        add(&mut losses, symbolizer.failures());

        let waker_names = waker_names(&capture);
        let count = |number: u32| counts.get(number as usize).copied().unwrap_or(0);
        let context = Context {
            target: self.plan.target,
            cpus: cpus(),
            rate_hz: self.plan.rate_hz,
            min_wait_ns: self.plan.min_wait_ns,
            detail: DetailLevels::one(0),
            losses,
            overhead,
            start: self.start.to_unix(),
            waker_names,
        };
        let compared = self.plan.compare_walks.then(|| {
            let samples = |outcome: usize| count(fault::counter::FRAME_POINTER + outcome as u32);
            std::array::from_fn(|outcome| (samples(outcome), 0))
        });
        let mut window = aggregate::window(Recording {
            capture,
            frames: frames.into_iter().collect(),
            programs: Vec::new(),
            context,
        });
        window.frame_pointer_quality = compared.map(|outcomes| StackQuality { outcomes, ..StackQuality::default() });
        window.overhead.finish_ns =
            cost::own_cpu_ns().saturating_sub(self.cpu_before_ns).saturating_sub(window.overhead.daemon_ns);
        window.overhead.peak_rss_bytes = cost::peak_rss_bytes();
        Ok(window)
    }

    /// What was lost since the start, by cause, but for what the accounts, the processes and the symbols say themselves.
    pub(super) fn lost(&self, counts: &[u64]) -> BTreeMap<&'static str, u64> {
        let mut lost: BTreeMap<&'static str, u64> = fault::NAMES.into_iter().zip(counts.iter().copied()).collect();
        lost.insert("undecodable_records", self.undecodable);
        lost.insert("failed_rounds", self.failed_rounds);
        lost.insert("unwind_cache_unusable", self.cache_failed.into());
        lost.insert("mapping_events_lost", self.mappings.lost());
        lost.extend(self.unwinder.usage().losses());
        lost
    }

    /// What the capture has cost up to now; counters since the start.
    pub(super) fn overhead(&self, counts: &[u64], now: MonoNs) -> Overhead {
        let scaled = self.programs.scaled(now.since(self.start));
        let count = |number: u32| counts.get(number as usize).copied().unwrap_or(0);
        let tables = self.unwinder.usage();
        Overhead {
            kernel_ns: scaled.map(|(ns, _)| ns),
            kernel_runs: scaled.map(|(_, runs)| runs),
            daemon_ns: cost::own_cpu_ns().saturating_sub(self.cpu_before_ns),
            kernel_memory_bytes: cost::map_bytes(self.living),
            tables_bytes: tables.bytes,
            tables_files: tables.files,
            user_memo: (count(fault::counter::USER_HIT), count(fault::counter::USER_WALK)),
            user_skipped: count(fault::counter::USER_SKIPPED),
            kernel_memo: (count(fault::counter::KERNEL_HIT), count(fault::counter::KERNEL_WALK)),
            ..Overhead::default()
        }
    }

    pub(super) fn read_threads(&mut self) -> Result<(), PipelineError> {
        let mut bytes = Vec::new();
        let read = self.kernel.read_threads(&mut bytes);
        let records: Vec<_> = decode::records(&bytes).collect();
        let living = |record: &Result<Record, _>| match record {
            Ok(Record::Thread(totals)) if totals.flags & thread_flag::ENDED == 0 => Some(totals.tid),
            _ => None,
        };
        self.living = records.iter().filter_map(living).collect::<HashSet<_>>().len();
        if self.kernel.reads_threads_by_ring() {
            self.take_all(records);
        } else {
            records.into_iter().for_each(|record| self.take(record));
        }
        Ok(read?)
    }

    /// Takes what was told until now, by our programs and by the kernel.
    pub(super) fn drain_ring(&mut self) {
        let mut records = Vec::new();
        self.kernel.drain_ring(|bytes| records.push(decode::record(bytes)));
        self.take_all(records);
    }

    /// Takes what was in the ring.
    fn take_all(&mut self, records: Vec<Result<Record, decode::DecodeError>>) {
        // After the records: where there is an exec, there is what the new program has mapped.
        let events = self.hear_mappings();
        for record in records {
            self.take(record);
        }
        self.follow(&events);
        self.leaving.clear();
    }

    fn take(&mut self, record: Result<Record, decode::DecodeError>) {
        match record {
            Ok(Record::Stack { id, stack }) => {
                if !stack.kernel {
                    self.see(stack.pid, stack.generation);
                    if stack.outcome == outcome::PENDING {
                        self.unwinder.miss(stack.pid);
                        self.followers.mapped(stack.pid, Since::Anything);
                    }
                }
                self.accounts.stack(id, stack);
            }
            Ok(Record::CpuSample(sample)) => self.accounts.cpu_sample(sample),
            Ok(Record::Wait(wait)) => self.accounts.wait(wait),
            Ok(Record::Thread(totals)) => {
                self.see(totals.pid, totals.generation);
                self.accounts.thread(&totals);
            }
            Ok(Record::Exec(exec)) => {
                self.begin(&exec);
                if !self.rotation.detail.late_programs {
                    self.looks = LOOKS_AFTER_EXEC_MS.iter();
                }
            }
            Ok(Record::Fork(fork)) => {
                if self.processes.forked(fork.parent, fork.pid, fork.generation) {
                    self.known.insert((fork.pid, fork.generation));
                    self.followers.born(fork.parent, fork.pid, fork.generation, MonoNs::now());
                    self.rotation.programs.born(fork.parent, fork.pid, fork.generation);
                    self.unwind(fork.pid, fork.generation);
                }
            }
            Ok(Record::OffCpu(sum)) => self.accounts.last_sum(&sum),
            Err(_) => self.undecodable += 1,
        }
    }
}

/// CPUs that this process may run on.
pub(super) fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32)
}

fn cgroup_ids(paths: &[PathBuf]) -> Result<Vec<u64>, process::CgroupError> {
    let mut ids = BTreeSet::new();
    for path in paths {
        ids.extend(process::cgroup_ids(path)?);
    }
    Ok(ids.into_iter().collect())
}

/// The walk in the kernel cannot tell code from data; symbolizing can, and cuts stacks there. Those are
/// not whole, whatever the walk thought.
pub(super) fn mark_cut(capture: &mut Capture, frames: &HashMap<u64, Arc<[Arc<Frame>]>>) {
    for (id, stack) in &mut capture.stacks {
        let last = frames.get(id).and_then(|frames| frames.last());
        if last.is_some_and(|last| last.kind == FrameKind::Note && last.function.as_deref() == Some(NOT_CODE)) {
            stack.outcome = outcome::NOT_CODE;
        }
    }
}

/// Names of those who ended waits without being accounted: kernel threads, other processes.
pub(super) fn waker_names(capture: &Capture) -> HashMap<(u32, u32), Arc<str>> {
    let ours: HashSet<(u32, u32)> = capture.threads.iter().map(|thread| (thread.pid, thread.tid)).collect();
    let wakers: HashSet<(u32, u32)> = capture.waits.iter().map(|wait| (wait.waker_pid, wait.waker_tid)).collect();
    let strangers = wakers.difference(&ours);
    strangers.filter_map(|(pid, tid)| Some(((*pid, *tid), process::thread_comm(*pid, *tid)?.into()))).collect()
}

fn add(losses: &mut Losses, causes: impl IntoIterator<Item = (&'static str, u64)>) {
    for (cause, count) in causes {
        *losses.by_cause.entry(cause).or_default() += count;
    }
}
