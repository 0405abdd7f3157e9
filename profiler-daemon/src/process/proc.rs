use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use crate::model::text;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// The name of a process, raw: what its leader thread is called now. `None` once it is gone.
pub fn comm(pid: u32) -> Option<String> {
    let mut name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    name.pop_if(|last| *last == b'\n');
    Some(text::from_bytes(&name))
}

/// The name of one thread, raw. `None` once it is gone.
pub fn thread_comm(pid: u32, tid: u32) -> Option<String> {
    let mut name = fs::read(format!("/proc/{pid}/task/{tid}/comm")).ok()?;
    name.pop_if(|last| *last == b'\n');
    Some(text::from_bytes(&name))
}

/// Whether `pid` is a process that has not ended: neither one of its other threads' ids nor a zombie.
pub fn exists(pid: u32) -> bool {
    let Ok(status) = fs::read(format!("/proc/{pid}/status")) else { return false };
    field(&status, "Tgid:").and_then(|tgid| tgid.parse().ok()) == Some(pid)
        && field(&status, "State:").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// Whether nothing of process `pid` runs any more: it is gone, or a zombie without threads. Its first
/// thread may end long before the others; then the process is there, although [`exists`] denies it.
pub fn has_ended(pid: u32) -> bool {
    // The cheap question first: most that have ended are gone altogether.
    let Ok(raw) = i32::try_from(pid) else { return true };
    if kill(Pid::from_raw(raw), None) == Err(Errno::ESRCH) {
        return true;
    }
    let Ok(status) = fs::read(format!("/proc/{pid}/status")) else { return true };
    let is_zombie = field(&status, "State:").is_some_and(|state| state.starts_with(['Z', 'X']));
    is_zombie && field(&status, "Threads:").and_then(|threads| threads.parse::<u32>().ok()).is_none_or(|left| left <= 1)
}

/// Whether `pid` is a thread of the kernel: those have no memory of their own.
pub fn is_kernel_thread(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/status")).is_ok_and(|status| field(&status, "VmSize:").is_none())
}

/// Thread ids of a process, in ascending order; empty once it is gone.
pub fn threads(pid: u32) -> Vec<u32> {
    numbers(&format!("/proc/{pid}/task"))
}

/// Process ids of everything that runs, in ascending order.
pub fn all() -> Vec<u32> {
    numbers("/proc")
}

/// Process ids of everything that descends from `pid`, in ascending order, `pid` itself not
/// included. A process whose parent has ended belongs to whoever adopted it.
pub fn children(pid: u32) -> Vec<u32> {
    let mut by_parent: HashMap<u32, Vec<u32>> = HashMap::new();
    for process in numbers("/proc") {
        let Some(parent) = fs::read(format!("/proc/{process}/stat")).ok().as_deref().and_then(parent) else { continue };
        by_parent.entry(parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut open = vec![pid];
    while let Some(next) = open.pop() {
        // Taken out, so that ids reused while we read cannot lead in a circle.
        let children = by_parent.remove(&next).unwrap_or_default();
        open.extend(&children);
        found.extend(children);
    }
    found.sort_unstable();
    found
}

/// The file in which a process' JIT compiler names its code, if it writes one.
///
/// It lies in the process' own /tmp under the pid that the process sees. Anyone may create a file
/// there: only one that belongs to the process' user or to root is taken, and no link is followed.
pub(super) fn perf_map(pid: u32) -> Option<File> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let own_pid = field(&status, "NSpid:")?.split_ascii_whitespace().next_back()?.to_owned();
    let user: u32 = field(&status, "Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let path = format!("/proc/{pid}/root/tmp/perf-{own_pid}.map");
    let looked = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path).ok()?;
    let metadata = looked.metadata().ok()?;
    if !metadata.is_file() || (metadata.uid() != user && metadata.uid() != 0) {
        return None;
    }
    File::open(format!("/proc/self/fd/{}", looked.as_raw_fd())).ok()
}

fn numbers(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// The fourth field of `/proc/PID/stat`. The second is the name in parentheses, which may hold
/// anything, so count from the last parenthesis.
fn parent(stat: &[u8]) -> Option<u32> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    str::from_utf8(stat.get(after_name..)?).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn field<'a>(status: &'a [u8], name: &str) -> Option<&'a str> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
    Some(str::from_utf8(line).ok()?.trim_ascii())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::process::Command;

    #[test]
    fn the_parent_is_read_behind_any_name() {
        for (stat, expected) in [
            (&b"42 (sleep) S 7 42 42 0"[..], Some(7)),
            (b"42 (a) R 9 (b) S 7 42", Some(7)),
            (b"42 (\xff) S 7 42", Some(7)),
            (b"42 (x) S", None),
            (b"42 (x)", None),
            (b"", None),
        ] {
            assert_eq!(parent(stat), expected);
        }
    }

    #[test]
    fn a_child_is_seen_until_it_ends() {
        let mut child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let pid = child.id();
        assert!(exists(pid) && children(std::process::id()).contains(&pid));
        assert_eq!(threads(pid), [pid]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!exists(pid) && threads(pid).is_empty() && comm(pid).is_none());
    }

    #[test]
    fn a_process_has_ended_when_its_last_thread_has() {
        let mut child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let pid = child.id();
        assert!(!has_ended(pid) && !has_ended(std::process::id()));
        child.kill().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !has_ended(pid) {
            assert!(std::time::Instant::now() < deadline, "a zombie");
        }
        child.wait().unwrap();
        assert!(has_ended(pid) && has_ended(u32::MAX));
    }

    #[test]
    fn a_thread_is_no_process() {
        let own = std::process::id();
        let tid = std::thread::spawn(|| nix::unistd::gettid().as_raw() as u32).join().unwrap();
        assert!(exists(own) && !exists(tid));
        assert!(comm(own).is_some());
    }
}
