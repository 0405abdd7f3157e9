//! What the capture itself costs: run time of our kernel programs and CPU time of this process.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use aya::sys::{Stats, enable_stats};
use nix::sys::resource::{UsageWho, getrusage};

use crate::model::MonoNs;

/// Measures kernel programs in short slices: while the kernel counts their run time, each run costs
/// some 50 ns more. Slices are spread evenly, and the sum is scaled to the window.
#[derive(Default)]
pub(super) struct ProgramCost {
    open: Option<(OwnedFd, MonoNs, Counts)>,
    measured_ns: u64,
    run_ns: u64,
    runs: u64,
}

/// Run time and number of runs by program.
type Counts = HashMap<String, (u64, u64)>;

impl ProgramCost {
    /// Opens a slice. Without the right to measure nothing is measured, and the report says so.
    pub(super) fn open(&mut self, stats: Vec<(String, u64, u64)>) {
        if let Ok(enabled) = enable_stats(Stats::RunTime) {
            self.open = Some((enabled, MonoNs::now(), counts(stats)));
        }
    }

    /// Whether a slice is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Closes the slice, if one is open.
    pub(super) fn close(&mut self, stats: Vec<(String, u64, u64)>) {
        let Some((_enabled, since, before)) = self.open.take() else { return };
        self.measured_ns += MonoNs::now().since(since);
        for (name, run_ns, runs) in stats {
            let (ns_before, runs_before) = before.get(&name).copied().unwrap_or_default();
            self.run_ns += run_ns.saturating_sub(ns_before);
            self.runs += runs.saturating_sub(runs_before);
        }
    }

    /// Run time in nanoseconds and number of runs, scaled to a window. `None` if nothing was measured.
    pub(super) fn scaled(&self, window_ns: u64) -> Option<(u64, u64)> {
        let scale = |value: u64| (u128::from(value) * u128::from(window_ns) / u128::from(self.measured_ns)) as u64;
        (self.measured_ns > 0).then(|| (scale(self.run_ns), scale(self.runs)))
    }
}

fn counts(stats: Vec<(String, u64, u64)>) -> Counts {
    stats.into_iter().map(|(name, run_ns, runs)| (name, (run_ns, runs))).collect()
}

/// CPU time that this process has used, in nanoseconds.
pub(super) fn own_cpu_ns() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        let ns = |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1_000_000_000 + time.tv_usec() as u64 * 1_000;
        ns(usage.user_time()) + ns(usage.system_time())
    })
}

/// Largest resident memory that this process had, in bytes.
pub(super) fn peak_rss_bytes() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss() as u64 * 1024)
}

/// Resident memory of this process now, in bytes; 0 if it cannot be read.
pub(super) fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    // SAFETY: no pointers.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.unwrap_or(0) * u64::try_from(page_bytes).unwrap_or(4096)
}

/// Kernel memory of the maps that this process holds open, each once, in bytes: of unwind tables every slab, too. The
/// kernel leaves out what task storage has for each thread, of which there are `threads`.
pub(super) fn map_bytes(threads: usize) -> u64 {
    let entries = std::fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten();
    let infos = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let maps: HashMap<u64, u64> =
        infos.filter_map(|info| Some((field(&info, "map_id:")?, bytes_of(&info, threads)?))).collect();
    maps.values().sum()
}

fn bytes_of(info: &str, threads: usize) -> Option<u64> {
    /// `BPF_MAP_TYPE_TASK_STORAGE`. Source: `enum bpf_map_type`, include/uapi/linux/bpf.h.
    const TASK_STORAGE: u64 = 29;
    let is_storage = field(info, "map_type:")? == TASK_STORAGE;
    let storage = if is_storage { field(info, "value_size:")? * threads as u64 } else { 0 };
    Some(field(info, "memlock:")? + storage)
}

fn field(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_scaled_to_the_window() {
        let cost = ProgramCost { measured_ns: 100, run_ns: 7, runs: 3, ..ProgramCost::default() };
        assert_eq!(cost.scaled(1_000), Some((70, 30)));
        assert_eq!(ProgramCost::default().scaled(1_000), None);
    }

    #[test]
    fn task_storage_is_as_large_as_its_threads() {
        let info = |kind| format!("map_type:\t{kind}\nvalue_size:\t2536\nmemlock:\t480\nmap_id:\t7\n");
        assert_eq!(bytes_of(&info(29), 10), Some(25_840));
        assert_eq!(bytes_of(&info(2), 10), Some(480));
        assert_eq!(bytes_of("prog_id:\t7\n", 10), None);
    }
}
