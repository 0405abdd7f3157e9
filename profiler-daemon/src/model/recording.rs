use std::collections::HashMap;
use std::sync::Arc;

use super::{Capture, DetailLevels, Frames, Losses, Overhead, UnixNs};

/// What was captured in one window, or in several that follow each other, with names but not yet ranked. The store keeps
/// it, OTLP sends it, and `aggregate::window` makes of it what a person reads: so a report of what was stored is that of
/// a capture.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Exact times, samples, sums and waits; stacks by their kernel-side ids.
    pub capture: Capture,
    /// Symbolized frames of each stack by its kernel-side id, leaf first, with a note at the root of those whose walk
    /// stopped early. A stack that is missing here shows as a note and keeps its time.
    pub frames: Frames,
    /// The programs that were seen, each once, by (pid, generation).
    pub programs: Vec<Program>,
    /// What goes with all of it.
    pub context: Context,
}

/// What a window says about its capture beside the time itself.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// What was asked for, such as `redis-server (pid 4242)`.
    pub target: String,
    /// CPUs online.
    pub cpus: u32,
    /// CPU samples a second and CPU.
    pub rate_hz: u32,
    /// Waits at least this long were kept one by one.
    pub min_wait_ns: u64,
    /// How much detail was taken, by window.
    pub detail: DetailLevels,
    /// What was lost before: in the kernel, in decoding, at the bounds of the accounts.
    pub losses: Losses,
    /// What the capture cost.
    pub overhead: Overhead,
    /// Start of the window on the wall clock.
    pub start: UnixNs,
    /// Names of threads that woke others without being accounted themselves, by (pid, tid).
    pub waker_names: HashMap<(u32, u32), Arc<str>>,
}

/// One program of one process, and what it is known by. Texts are raw, as found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Process.
    pub pid: u32,
    /// Generation of the process: an exec begins the next one.
    pub generation: u32,
    /// Parent process; 0 if not known.
    pub parent: u32,
    /// When the process was born.
    pub born: UnixNs,
    /// Name of its first thread.
    pub comm: Arc<str>,
    /// Path of the executable.
    pub executable: Option<Arc<str>>,
    /// Build id of the executable in hex.
    pub build_id: Option<Arc<str>>,
    /// Path in the unified cgroup hierarchy, such as `/system.slice/nginx.service`.
    pub cgroup: Option<Arc<str>>,
    /// Id of the container, 64 hexadecimal digits, or a shorter id as its runtime names it.
    pub container_id: Option<Arc<str>>,
    /// Systemd unit, such as `nginx.service`.
    pub unit: Option<Arc<str>>,
    /// What operators call it: `OTEL_SERVICE_NAME`, or `service.name` of `OTEL_RESOURCE_ATTRIBUTES`, of its environment;
    /// else the unit without its suffix; else the executable's file name; else `comm`.
    pub service: Arc<str>,
}
