//! The JSON report as types: what they say is the schema. Keys are a contract with scripts: new
//! ones may be added within a version, none is renamed, removed, or given another meaning.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::model::WaitClass;

/// Raised when a key is renamed, removed, or given another meaning.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// Where the wall-clock time of the profiled processes went.
///
/// Times are whole nanoseconds, instants are nanoseconds since 1970-01-01 UTC; both are 64-bit
/// integers and may exceed 2^53. Names (threads, functions, files, modules) come from the profiled
/// programs: control characters, escape sequences and bidirectional overrides in them are written
/// as `\u{…}`, bytes that are no UTF-8 as `\xNN`. More keys may be added within a schema version.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "profilerd report", extend("$id" = "urn:profilerd:report:1"))]
pub(super) struct Report<'a> {
    /// Raised when a key is renamed, removed, or given another meaning.
    #[schemars(extend("const" = SCHEMA_VERSION))]
    pub(super) schema_version: u32,
    /// Program and version that wrote the report.
    pub(super) generator: &'static str,
    /// What was asked for.
    pub(super) target: Cow<'a, str>,
    /// The span of time that the report covers.
    pub(super) window: Span,
    /// CPUs online.
    pub(super) cpus: u32,
    /// CPU samples a second and CPU.
    pub(super) rate_hz: u32,
    /// Waits at least this long are candidates for `waits`.
    pub(super) min_wait_ns: u64,
    /// How much detail was taken. Times and classes are exact whatever it was.
    pub(super) detail: Detail,
    /// Processes, by pid.
    pub(super) processes: Vec<Process<'a>>,
    /// Threads, by pid and tid.
    pub(super) threads: Vec<Thread<'a>>,
    /// Off-CPU places, longest first; idle ones marked.
    pub(super) gaps: Vec<Gap<'a>>,
    /// Functions on CPU, largest self time first.
    pub(super) on_cpu: Vec<FunctionTime<'a>>,
    /// The longest single waits, longest first.
    pub(super) waits: Vec<Wait<'a>>,
    /// How whole the stacks are.
    pub(super) stack_quality: Quality,
    /// What was lost: cause → count. A cause with 0 was watched and did not happen.
    pub(super) losses: &'a BTreeMap<&'static str, u64>,
    /// What the capture itself cost.
    pub(super) overhead: Overhead,
}

/// A half-open span of time.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Span {
    /// Its first instant.
    pub(super) start_unix_ns: u64,
    /// Its length.
    pub(super) duration_ns: u64,
}

/// The detail of what the report was made from: a service sheds some of it when it costs more than it may.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Detail {
    /// Windows that say how much was taken: 1 of a capture, the stored windows of a query. Those that were stored
    /// by a program that did not write it are not in.
    pub(super) windows: u32,
    /// Those with less than full detail, by level; empty if there are none.
    pub(super) shed: Vec<Shed>,
}

/// Windows with the same detail.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shed {
    /// Number of the step, from 1: the higher, the less.
    pub(super) level: u32,
    /// Windows.
    pub(super) windows: u32,
    /// What was taken, in words.
    pub(super) taken: String,
}

/// A process and the sum of its threads.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Process<'a> {
    /// Process id.
    pub(super) pid: u32,
    /// Name.
    pub(super) comm: Cow<'a, str>,
    /// Number of threads seen.
    pub(super) threads: usize,
    /// Where the time of its threads went.
    pub(super) ledger: Ledger,
    /// The part of its `blocked_ns` that is idle: threads parked at their loop's root. The wait for a CPU
    /// after the wake-up is in `run_queue_ns`.
    pub(super) idle_ns: u64,
}

/// A thread.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Thread<'a> {
    /// Process id.
    pub(super) pid: u32,
    /// Thread id.
    pub(super) tid: u32,
    /// Name.
    pub(super) comm: Cow<'a, str>,
    /// Where its time went.
    pub(super) ledger: Ledger,
    /// The part of its `blocked_ns` that is idle: parked at its loop's root. The wait for a CPU after the
    /// wake-up is in `run_queue_ns`.
    pub(super) idle_ns: u64,
    /// When its presence in the window began.
    pub(super) start_unix_ns: u64,
    /// Whether it ended inside the window.
    pub(super) ended: bool,
    /// Times it was switched out because it blocked.
    pub(super) blocks: u64,
    /// Times it was switched out while runnable.
    pub(super) preemptions: u64,
}

/// Where wall time went: wall = on-CPU + stolen + run-queue + blocked + unseen − residual.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Ledger {
    /// Time of existence inside the window, summed over threads.
    pub(super) wall_ns: u64,
    /// Time executed.
    pub(super) on_cpu_ns: u64,
    /// The part of `on_cpu_ns` in the program.
    pub(super) user_ns: u64,
    /// The part of `on_cpu_ns` in the kernel.
    pub(super) kernel_ns: u64,
    /// On a CPU by the clock, yet not executed: taken by the hypervisor or interrupts.
    pub(super) stolen_ns: u64,
    /// Runnable but not executing.
    pub(super) run_queue_ns: u64,
    /// The part of `run_queue_ns` without a block before it.
    pub(super) preempted_ns: u64,
    /// The part of `run_queue_ns` in which a CPU quota of a cgroup kept the thread from running.
    pub(super) throttled_ns: u64,
    /// Not runnable.
    pub(super) blocked_ns: u64,
    /// Time of waits by class: blocked plus the wait for a CPU after the wake-up.
    pub(super) off_cpu_by_class: ByClass,
    /// Wall time without a record.
    pub(super) unseen_ns: u64,
    /// Sum of the parts minus `wall_ns`.
    pub(super) residual_ns: i64,
}

/// An off-CPU place of one process: waits of one class at one stack.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Gap<'a> {
    /// Why the threads waited.
    #[schemars(schema_with = "class_schema")]
    pub(super) class: &'static str,
    /// Whether threads were parked at their loop's root, rather than held up in their work.
    pub(super) idle: bool,
    /// Number of waits.
    pub(super) count: u64,
    /// Their time: blocked, and the wait for a CPU afterwards.
    pub(super) total_ns: u64,
    /// The part of `total_ns` that the threads were runnable.
    pub(super) run_queue_ns: u64,
    /// Median, from half-octave buckets.
    pub(super) p50_ns: u64,
    /// 99th percentile, from half-octave buckets.
    pub(super) p99_ns: u64,
    /// Longest wait.
    pub(super) max_ns: u64,
    /// Where, leaf first.
    pub(super) stack: Vec<Frame<'a>>,
    /// The kernel function that they slept in; null without a kernel stack.
    pub(super) kernel_function: Option<Cow<'a, str>>,
    /// Process id.
    pub(super) pid: u32,
    /// Threads that waited here.
    pub(super) tids: &'a [u32],
    /// Who ended the longest waits, largest time first.
    pub(super) wakers: Vec<GapWaker<'a>>,
}

/// A thread that ended waits of one gap.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GapWaker<'a> {
    /// Who.
    #[serde(flatten)]
    pub(super) waker: Waker<'a>,
    /// Time of the waits that it ended.
    pub(super) wait_ns: u64,
}

/// Who ended a wait.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Waker<'a> {
    /// Process id; 0 is an idle CPU, that is an interrupt or a timer.
    pub(super) pid: u32,
    /// Thread id.
    pub(super) tid: u32,
    /// Name; null if not known.
    pub(super) comm: Option<Cow<'a, str>>,
    /// Whether an interrupt ended the wait; the thread is then the one that was interrupted, which may
    /// have caused it (a packet over loopback) or not (a timer).
    pub(super) interrupt: bool,
}

/// One function of a stack. Keys that are not known are absent.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Frame<'a> {
    /// Function name, demangled. Of a note: what is missing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function: Option<Cow<'a, str>>,
    /// Source file as the debug information names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<Cow<'a, str>>,
    /// Line in `file`, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u32>,
    /// Path of the executable or library; `[kernel]`; a kernel module's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) module: Option<Cow<'a, str>>,
    /// Build id of `module` in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) build_id: Option<Cow<'a, str>>,
    /// File offset of the code in `module`; of kernel frames without a name the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<u64>,
    /// `native`, `kernel`, or `note`: no function, but a remark about missing ones.
    #[schemars(extend("enum" = ["native", "kernel", "note"]))]
    pub(super) kind: &'static str,
    /// Whether the compiler inlined this function into the next one.
    pub(super) inlined: bool,
}

/// Time of one function on CPU.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FunctionTime<'a> {
    /// Function name; `module+0xoffset` if the code has no symbol.
    pub(super) function: Cow<'a, str>,
    /// Time at the leaf.
    pub(super) self_ns: u64,
    /// Time anywhere on the stack.
    pub(super) total_ns: u64,
    /// Source file as the debug information names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<Cow<'a, str>>,
    /// A line of the function, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u32>,
    /// Path of the executable or library; `[kernel]`; a kernel module's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) module: Option<Cow<'a, str>>,
    /// `native`, `kernel` or `note`.
    #[schemars(extend("enum" = ["native", "kernel", "note"]))]
    pub(super) kind: &'static str,
}

/// One long wait.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Wait<'a> {
    /// When the thread was switched out.
    pub(super) start_unix_ns: u64,
    /// Time until it ran again.
    pub(super) duration_ns: u64,
    /// The last part of it: runnable, waiting for a CPU.
    pub(super) run_queue_ns: u64,
    /// Why it waited.
    #[schemars(schema_with = "class_schema")]
    pub(super) class: &'static str,
    /// Whether it was parked at its loop's root.
    pub(super) idle: bool,
    /// Process id.
    pub(super) pid: u32,
    /// Thread id.
    pub(super) tid: u32,
    /// Where, leaf first.
    pub(super) stack: Vec<Frame<'a>>,
    /// Who ended it; null if not seen, or if less than half of `--min-wait` was blocked.
    pub(super) waker: Option<Waker<'a>>,
}

/// How whole the stacks are.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Quality {
    /// Of on-CPU samples: how the walk of the stack ended → samples and their time.
    pub(super) on_cpu: BTreeMap<&'static str, Outcome>,
    /// Of waits: how the walk of the stack ended → waits and their time.
    pub(super) off_cpu: BTreeMap<&'static str, Outcome>,
    /// The part of the time of waits whose stacks are a weighted sample: of these only some were walked, since they
    /// never repeated. Their times and classes are exact.
    pub(super) sampled_off_cpu_ns: u64,
    /// Of on-CPU samples: how a walk by frame pointers alone would have ended → samples, without times; there
    /// only if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frame_pointer: Option<BTreeMap<&'static str, Outcome>>,
}

/// Samples, or waits, whose stacks ended alike.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Outcome {
    /// How many.
    pub(super) samples: u64,
    /// Their time.
    pub(super) ns: u64,
}

/// What the capture itself cost. Null is not measured.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Overhead {
    /// Run time of the kernel programs, estimated from measured slices of the window.
    pub(super) kernel_programs_ns: Option<u64>,
    /// Runs of the kernel programs, estimated the same way.
    pub(super) kernel_program_runs: Option<u64>,
    /// CPU time of the daemon during the window.
    pub(super) daemon_ns: u64,
    /// CPU time of the daemon after the window, for symbols and report, until this file was begun.
    pub(super) finish_ns: u64,
    /// Peak resident memory of the daemon.
    pub(super) peak_rss_bytes: u64,
    /// Memory of the kernel programs' maps at the end of the window, unwind tables included.
    pub(super) kernel_memory_bytes: u64,
    /// Part of it: unwind tables.
    pub(super) unwind_tables_bytes: u64,
    /// Executables and libraries whose unwind tables are loaded.
    pub(super) unwind_tables_files: u64,
    /// User stacks.
    pub(super) user_stack_memo: Memo,
    /// Kernel stacks.
    pub(super) kernel_stack_memo: Memo,
}

/// How often a stack was the one of last time.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Memo {
    /// Recognised by its words, not walked again.
    pub(super) recognised: u64,
    /// Walked.
    pub(super) walked: u64,
    /// Neither: more of them were new than the budget pays for. Of kernel stacks none.
    pub(super) not_walked: u64,
}

/// Nanoseconds by the name of each class that blocks, zero included.
#[derive(Debug)]
pub(super) struct ByClass(pub(super) [u64; WaitClass::ALL.len()]);

fn blocking() -> impl Iterator<Item = WaitClass> {
    WaitClass::ALL.into_iter().filter(|class| *class != WaitClass::Preempted)
}

impl Serialize for ByClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len() - 1))?;
        for class in blocking() {
            map.serialize_entry(class.name(), &self.0[class as usize])?;
        }
        map.end()
    }
}

impl JsonSchema for ByClass {
    fn schema_name() -> Cow<'static, str> {
        "ByClass".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let ns = generator.subschema_for::<u64>();
        let properties: BTreeMap<_, _> = blocking().map(|class| (class.name(), ns.clone())).collect();
        json_schema!({
            "description": "Nanoseconds by class of the wait; every class is there, zero included.",
            "type": "object",
            "properties": properties,
            "required": blocking().map(WaitClass::name).collect::<Vec<_>>(),
        })
    }
}

fn class_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": WaitClass::ALL.map(WaitClass::name) })
}
