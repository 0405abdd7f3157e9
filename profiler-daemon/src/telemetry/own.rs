//! What the service itself uses, asked when the page is read.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::metrics::Metrics;

pub(super) fn refresh(metrics: &Metrics) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let total = (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6;
        let counter = metrics.cpu_daemon.with_label_values::<&str>(&[]);
        // Two readers at once may have taken their values in the other order.
        counter.inc_by((total - counter.get()).max(0.0));
    }
    let page_size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    let resident = fs::read_to_string("/proc/self/statm").ok().and_then(|statm| resident_pages(&statm));
    if let (Some(pages), Some(size)) = (resident, page_size) {
        metrics.memory.with_label_values(&["resident"]).set(pages as f64 * size as f64);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder that is being read.
        metrics.open_files.with_label_values::<&str>(&[]).set(entries.count().saturating_sub(1) as f64);
    }
}

/// Source: proc_pid_statm(5): the second field is the resident set in pages.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}
