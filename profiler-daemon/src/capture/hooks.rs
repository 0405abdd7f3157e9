//! How kernel programs come by tasks: from hooks and iterators by their types, or, on kernels that have no types, as addresses
//! from hooks and by a walk through the kernel's lists.

use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::{BtfTracePoint, Iter, RawTracePoint, RawTracePointRunOptions, TestRun};
use profiler_common::settings::{Visit, visit};

use super::kernel::{KernelError, in_map, program, take};
use super::pod::Plain;

/// Programs on scheduler hooks: the program's name and its tracepoint.
const SCHED: &[&str] =
    &["sched_waking", "sched_wakeup_new", "sched_migrate_task", "sched_process_exec", "sched_switch"];
const THREADS: &str = "threads";
const SLEEPERS: &str = "sleepers";
const VISIT: &str = "VISIT";
/// Parts of a walk, each of which visits a hundred threads: more than any machine has.
const MOST_PARTS: usize = 1 << 16;
/// How often a walk begins again that has lost its way.
const MOST_TRIES: usize = 8;

/// The programs on hooks and those that visit threads.
pub(super) enum Hooks {
    /// By types. Whether the kernel took the program that visits sleepers, too.
    Typed { has_sleepers: bool },
    /// By addresses.
    Untyped { walk: Array<MapData, Plain<Visit>> },
}

/// Which kind of them an object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The kernel has types.
    Typed,
    /// It has none.
    Untyped,
}

impl Hooks {
    /// Loads them.
    pub(super) fn load(ebpf: &mut Ebpf, kind: Kind) -> Result<Hooks, KernelError> {
        let refused = |name| move |source| KernelError::Program { program: name, source: Box::new(source) };
        if kind == Kind::Untyped {
            for name in SCHED.iter().chain([&THREADS]).copied() {
                let program: &mut RawTracePoint = program(ebpf, name)?;
                program.load().map_err(refused(name))?;
            }
            return Ok(Hooks::Untyped { walk: Array::try_from(take(ebpf, VISIT)?).map_err(in_map(VISIT))? });
        }
        let types =
            aya::Btf::from_sys_fs().map_err(|error| KernelError::Load(Box::new(aya::EbpfError::BtfError(error))))?;
        for name in SCHED.iter().copied() {
            let program: &mut BtfTracePoint = program(ebpf, name)?;
            program.load(name, &types).map_err(refused(name))?;
        }
        let iterator: &mut Iter = program(ebpf, THREADS)?;
        iterator.load("task", &types).map_err(refused(THREADS))?;
        let sleepers: &mut Iter = program(ebpf, SLEEPERS)?;
        Ok(Hooks::Typed { has_sleepers: sleepers.load("task", &types).is_ok() })
    }

    /// Attaches them to the scheduler.
    pub(super) fn attach(&self, ebpf: &mut Ebpf) -> Result<(), KernelError> {
        let failed = |name| move |source| KernelError::Attach { program: name, source: Box::new(source) };
        for name in SCHED.iter().copied() {
            match self {
                Hooks::Typed { .. } => {
                    let program: &mut BtfTracePoint = program(ebpf, name)?;
                    program.attach().map_err(failed(name))?;
                }
                Hooks::Untyped { .. } => {
                    let program: &mut RawTracePoint = program(ebpf, name)?;
                    program.attach(name).map_err(failed(name))?;
                }
            }
        }
        Ok(())
    }

    /// Whether what is told of threads comes by the ring.
    pub(super) fn tell_by_ring(&self) -> bool {
        matches!(self, Hooks::Untyped { .. })
    }

    /// Visits all threads. What the programs tell of them goes to `bytes` as records back to back, by way of the ring, which
    /// `drain` empties there, if that is how it comes. What was told until an error is there as well.
    pub(super) fn visit_threads(
        &mut self,
        ebpf: &mut Ebpf,
        bytes: &mut Vec<u8>,
        mut drain: impl FnMut(&mut Vec<u8>),
    ) -> Result<(), KernelError> {
        let Hooks::Untyped { walk } = self else {
            *bytes = iterate(ebpf, THREADS)?;
            return Ok(());
        };
        let program: &mut RawTracePoint = program(ebpf, THREADS)?;
        for _ in 0..MOST_TRIES {
            walk.set(0, Plain(Visit::default()), 0).map_err(in_map(VISIT))?;
            let mut is_over = false;
            for part in 0..MOST_PARTS {
                let ran = program.test_run(RawTracePointRunOptions::new());
                let went = ran.map_err(|error| KernelError::Iterator(std::io::Error::other(error)))?.return_value;
                drain(bytes);
                if part == 0 {
                    check(walk)?;
                }
                is_over = went == visit::OVER;
                if went != visit::MORE {
                    break;
                }
            }
            if is_over {
                return Ok(());
            }
        }
        Err(KernelError::Iterator(std::io::Error::other("the list of threads changes faster than it is read")))
    }

    /// Takes the stacks of threads that are asleep, as `StackRecord`s back to back; nothing where the kernel has no such
    /// iterator.
    pub(super) fn visit_sleepers(&self, ebpf: &mut Ebpf) -> Result<Vec<u8>, KernelError> {
        if matches!(self, Hooks::Typed { has_sleepers: true }) { iterate(ebpf, SLEEPERS) } else { Ok(Vec::new()) }
    }
}

fn iterate(ebpf: &mut Ebpf, name: &'static str) -> Result<Vec<u8>, KernelError> {
    use std::io::Read;

    let iterator: &mut Iter = program(ebpf, name)?;
    let attach = |source| KernelError::Attach { program: name, source: Box::new(source) };
    let link = iterator.attach().map_err(attach)?;
    let link = iterator.take_link(link).map_err(attach)?;
    let mut bytes = Vec::new();
    link.into_file()
        .map_err(|error| KernelError::Iterator(std::io::Error::other(error)))?
        .read_to_end(&mut bytes)
        .map_err(KernelError::Iterator)?;
    Ok(bytes)
}

/// Whether the walk began at this process, by its name and number: it did not if the types are another kernel's.
fn check(walk: &Array<MapData, Plain<Visit>>) -> Result<(), KernelError> {
    let Plain(Visit { own, own_comm, .. }) = walk.get(&0, 0).map_err(in_map(VISIT))?;
    let comm = std::fs::read("/proc/self/comm").unwrap_or_default();
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    let is_own = own != 0 && own_comm.split(|byte| *byte == 0).next() == Some(comm);
    if is_own { Ok(()) } else { Err(KernelError::WrongTypes) }
}
