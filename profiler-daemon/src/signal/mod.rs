//! What is measured: one file a signal, and in each a row that ties its kernel programs to what a
//! person gets from them. `doctor` reads the rows, and tests hold them against the kernel object,
//! the sample types of pprof files, `explain` and the README.

mod cpu;
mod off_cpu;
mod run_queue;

pub use cpu::CPU;
pub use off_cpu::OFF_CPU;
pub use run_queue::RUN_QUEUE;

/// Every signal, in the order in which pprof files list their values.
pub static ALL: [&Signal; 3] = [&CPU, &OFF_CPU, &RUN_QUEUE];

/// One thing that we measure.
#[derive(Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its name, which `profilerd explain` knows.
    pub name: &'static str,
    /// What it tells, in one line.
    pub about: &'static str,
    /// What is summed for it, as pprof files name it.
    pub values: &'static [Value],
    /// Kernel programs without which there is nothing; some serve several signals.
    pub programs: &'static [&'static str],
    /// Kernel programs that older kernels refuse, and that it can do without.
    pub optional: &'static [Optional],
    /// What the machine must offer beside running these programs.
    pub needs: &'static [Need],
}

/// A number that samples carry.
#[derive(Debug, PartialEq, Eq)]
pub struct Value {
    /// Its name, which `profilerd explain` knows.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
}

/// A unit as pprof files write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// How many.
    Count,
    /// How long.
    Nanoseconds,
}

impl Unit {
    /// The word for it in files.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Count => "count",
            Unit::Nanoseconds => "nanoseconds",
        }
    }
}

/// A kernel program that improves a signal.
#[derive(Debug, PartialEq, Eq)]
pub struct Optional {
    /// Its name.
    pub program: &'static str,
    /// What is missing without it, and since when kernels take it.
    pub without: &'static str,
}

/// Something that not every machine or container offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// `perf_event_open` with the kernel's software clock, on every CPU.
    SamplingClock,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_distinct() {
        let mut names: Vec<&str> = ALL.iter().map(|signal| signal.name).collect();
        names.extend(ALL.iter().flat_map(|signal| signal.values).map(|value| value.name));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        // The CPU signal and its time go by the same name.
        assert_eq!(names.len(), all - 1, "{names:?}");
    }

    #[test]
    fn what_is_optional_is_not_required_as_well() {
        for signal in ALL {
            for optional in signal.optional {
                assert!(!signal.programs.contains(&optional.program), "{}: {}", signal.name, optional.program);
            }
        }
    }
}
