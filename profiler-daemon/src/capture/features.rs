//! What kernels differ in, and what is done without it. Versions do not tell: distributions carry changes back. So
//! each is asked of the kernel's own types, and in the end by loading.

use super::btf::Btf;
use super::kernel::{Filter, Kernel, KernelError, Kind};
use super::object::{NoKernelPrograms, hashed_object, object, untyped_object};
use super::settings;
use profiler_common::settings::{Offsets, Settings};

/// Something that not every supported kernel has.
#[derive(Debug)]
pub struct Feature {
    /// What it is, in a few words.
    pub name: &'static str,
    /// Linux that first had it.
    pub since: &'static str,
    /// What tells of it.
    sign: Sign,
    /// Whether the first object needs it; else a program is left out.
    needed: bool,
    /// What is different without it.
    pub without: &'static str,
}

#[derive(Debug)]
enum Sign {
    /// The kernel has a helper that it calls so.
    Helper(&'static str),
    /// See [`settings::memory_reads`].
    MemoryReads,
    /// The kernel shows its types itself.
    Types,
}

/// All of them, those that came last at the end.
pub static ALL: [&Feature; 6] = [&MEMORY, &TYPES, &TASK_STORAGE, &CURRENT_TASK, &TASK_REGISTERS, &SLEEPERS];

/// What lockdown=confidentiality takes away. Without it the first two objects load, and do without; the third does not.
pub static MEMORY: Feature = Feature {
    name: "reads of memory by its address",
    since: "always, but not under lockdown=confidentiality",
    sign: Sign::MemoryReads,
    needed: false,
    without: "stacks of programs are walked by the kernel, by frame pointers alone; sockets, pipes and files behind `read` and \
              `write` are `other`; each kernel stack is walked afresh",
};

/// Without it the third object is loaded, which goes by addresses: what lies where, a file has to tell.
pub static TYPES: Feature = Feature {
    name: "types of its own (CONFIG_DEBUG_INFO_BTF)",
    since: "always, if it is built so",
    sign: Sign::Types,
    needed: true,
    without: "taken from the file that `PROFILERD_BTF` names, or from an installed image that has them; at most 4096 threads at a time; threads that sleep from before the capture to its end have no \
              stack; not under lockdown=confidentiality",
};

/// Without it the second object is loaded, as it is without each of the next two.
pub static TASK_STORAGE: Feature = Feature {
    name: "thread state kept by the kernel",
    since: "5.11",
    sign: Sign::Helper("BPF_FUNC_task_storage_get"),
    needed: true,
    without: "kept in a table: at most 4096 threads are accounted at a time, those beyond are counted as lost",
};

static CURRENT_TASK: Feature = Feature {
    name: "the running task by its type",
    since: "5.11",
    sign: Sign::Helper("BPF_FUNC_get_current_task_btf"),
    needed: true,
    without: "found by its thread id",
};

static TASK_REGISTERS: Feature = Feature {
    name: "saved registers of a task",
    since: "5.15",
    sign: Sign::Helper("BPF_FUNC_task_pt_regs"),
    needed: true,
    without: "read from kernel memory; where lockdown=confidentiality forbids that, most waits are `other` and nobody is seen to \
              end them",
};

/// Without it one program is left out.
pub static SLEEPERS: Feature = Feature {
    name: "memory of a sleeping task",
    since: "5.18",
    sign: Sign::Helper("BPF_FUNC_copy_from_user_task"),
    needed: false,
    without: "threads that sleep from before the capture to its end have no stack",
};

/// Why no kernel programs run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There are none.
    #[error(transparent)]
    Object(#[from] NoKernelPrograms),
    /// The kernel does not take them.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What this kernel lacks.
pub fn missing(btf: &Btf) -> Vec<&'static Feature> {
    ALL.into_iter().filter(|feature| !feature.is_in(btf)).collect()
}

/// Whether this kernel has all that the first object needs.
pub fn takes_first_object(btf: &Btf) -> bool {
    missing(btf).iter().all(|feature| !feature.needed)
}

impl Feature {
    /// Whether this kernel has it.
    pub fn is_in(&self, btf: &Btf) -> bool {
        match self.sign {
            Sign::Helper(name) => btf.has_helper(name),
            Sign::MemoryReads => settings::memory_reads(),
            Sign::Types => btf.source().is_none(),
        }
    }
}

/// Kernel programs that were loaded.
pub struct Loaded {
    /// They.
    pub kernel: Kernel,
    /// Whether they are of an object that keeps thread state in a table.
    pub hashed_threads: bool,
}

/// Loads the object that fits this kernel: the first one, or the one for older kernels if `hashed` asks for it, if
/// something is missing, or if the kernel refuses the first one for a reason that we know nothing of; and the one that does
/// without types if they are from a file, whatever `hashed` says.
///
/// # Errors
/// What the kernel said of the object that it should have taken.
pub fn load(btf: &Btf, settings: Settings, filter: &Filter, hashed: bool) -> Result<Loaded, LoadError> {
    let first = object().ok_or(NoKernelPrograms::AtAll)?;
    if !TYPES.is_in(btf) {
        let object = untyped_object().ok_or(NoKernelPrograms::WithoutTypes)?;
        if !MEMORY.is_in(btf) {
            return Err(KernelError::NoMemoryReads.into());
        }
        let Offsets { task_tasks, task_signal, signal_threads, task_node, .. } = settings.offsets;
        if [task_tasks, task_signal, signal_threads, task_node].contains(&Offsets::ABSENT) {
            return Err(KernelError::WrongTypes.into());
        }
        return Ok(Loaded { kernel: Kernel::load(object, Kind::Untyped, settings, filter)?, hashed_threads: true });
    }
    let load_second = || -> Result<Loaded, LoadError> {
        let object = hashed_object().ok_or(NoKernelPrograms::ForOlderKernels)?;
        Ok(Loaded { kernel: Kernel::load(object, Kind::Typed, settings, filter)?, hashed_threads: true })
    };
    if hashed || !takes_first_object(btf) {
        return load_second();
    }
    match Kernel::load(first, Kind::Typed, settings, filter) {
        Err(error @ (KernelError::Load(_) | KernelError::Program { .. })) => Ok(load_second().map_err(|_| error)?),
        loaded => Ok(Loaded { kernel: loaded?, hashed_threads: false }),
    }
}
