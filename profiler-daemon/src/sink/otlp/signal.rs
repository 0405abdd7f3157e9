use std::fmt;
use std::str::FromStr;

/// What a profile measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Where CPUs executed: samples at a fixed rate, each with its time.
    Cpu,
    /// Where threads were off the CPU: blocked or waiting for one.
    OffCpu,
    /// Where threads waited for a CPU.
    RunQueue,
    /// All time of all threads, by state.
    Wall,
}

impl Signal {
    /// All of them.
    pub const ALL: [Signal; 4] = [Signal::Cpu, Signal::OffCpu, Signal::RunQueue, Signal::Wall];
    /// Those that most consumers know.
    pub const DEFAULT: [Signal; 2] = [Signal::Cpu, Signal::OffCpu];

    /// The word that configurations use.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Cpu => "cpu",
            Signal::OffCpu => "off-cpu",
            Signal::RunQueue => "run-queue",
            Signal::Wall => "wall",
        }
    }

    /// Type and unit of its values, as consumers know it.
    pub(super) fn sample_type(self) -> (&'static str, &'static str) {
        match self {
            Signal::Cpu => ("samples", "count"),
            Signal::OffCpu => ("off_cpu", "nanoseconds"),
            Signal::RunQueue => ("run_queue", "nanoseconds"),
            Signal::Wall => ("wall", "nanoseconds"),
        }
    }

    /// What its period counts, and the period. Off-CPU has none: Pyroscope takes it for off-CPU only then. It names
    /// what it does not know by the type of the period.
    pub(super) fn period(self, rate_hz: u32) -> Option<((&'static str, &'static str), i64)> {
        match self {
            Signal::Cpu => Some((("cpu", "nanoseconds"), 1_000_000_000 / i64::from(rate_hz.max(1)))),
            Signal::OffCpu => None,
            Signal::RunQueue | Signal::Wall => Some((self.sample_type(), 1)),
        }
    }
}

/// No signal has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no signal `{name}`: there are {}", Signal::ALL.map(Signal::name).join(", "))]
pub struct UnknownSignal {
    name: String,
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(name: &str) -> Result<Signal, UnknownSignal> {
        let found = Signal::ALL.into_iter().find(|signal| signal.name() == name);
        found.ok_or_else(|| UnknownSignal { name: name.escape_debug().to_string() })
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
