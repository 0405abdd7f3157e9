//! What was found on this machine, before any judgement.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::rights::Rights;
use super::try_call;
use crate::capture::btf::{Btf, BtfError, KERNEL_BTF};
use crate::capture::settings;

/// KiB of the map that stands for all maps of a capture.
const LARGE_MAP_KIB: u32 = 16 << 10;
/// Inode of the first pid namespace, the host's.
/// Source: `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
const HOST_PID_NAMESPACE: &str = "pid:[4026531836]";
/// The same for user namespaces: `PROC_USER_INIT_INO`.
const HOST_USER_NAMESPACE: &str = "user:[4026531837]";

/// An attempt: it worked, or the errno.
pub(super) type Attempt = Result<(), i32>;

/// What the kernel says and does.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) rights: Rights,
    pub(super) host_users: bool,
    pub(super) host_pids: bool,
    /// Whether there are types of the kernel to read.
    pub(super) types: Result<(), NoTypes>,
    pub(super) small_map: Attempt,
    pub(super) large_map: Attempt,
    /// Bytes that may be locked; `None` if there is no limit.
    pub(super) locked_bytes: Option<u64>,
    pub(super) software_clock: Attempt,
    pub(super) perf_event_paranoid: Option<i32>,
    /// Whether `/proc/kallsyms` shows addresses to us.
    pub(super) kernel_addresses: bool,
    pub(super) kptr_restrict: Option<i32>,
    /// Whether kernel programs may read memory by its address, see [`settings::memory_reads`]. Nobody knows where there may be
    /// no kernel programs at all: then false.
    pub(super) memory_reads: bool,
}

impl Facts {
    pub(super) fn gather() -> Facts {
        try_call::raise_memory_limit();
        let small_map = attempt(try_call::kernel_map(1));
        Facts {
            rights: Rights::parse(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
            host_users: namespace_is("user", HOST_USER_NAMESPACE),
            host_pids: host_pids(),
            types: Btf::of_kernel().map(drop).map_err(NoTypes::from),
            large_map: if small_map.is_ok() { attempt(try_call::kernel_map(LARGE_MAP_KIB)) } else { small_map },
            small_map,
            locked_bytes: try_call::memory_limit(),
            software_clock: attempt(try_call::software_clock()),
            perf_event_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
            kernel_addresses: kernel_addresses(),
            kptr_restrict: number("/proc/sys/kernel/kptr_restrict"),
            memory_reads: settings::memory_reads(),
        }
    }
}

/// Whether `/proc` has the process ids that the kernel programs see, those of the first pid namespace. `NSpid` of
/// `/proc/self/status` cannot tell: inside a container it begins with the container's own number. Nor does a `/proc` of
/// a namespace below ours pass: it has no `self` for us.
pub(super) fn host_pids() -> bool {
    namespace_is("pid", HOST_PID_NAMESPACE)
}

fn attempt(result: io::Result<()>) -> Attempt {
    result.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
}

fn namespace_is(kind: &str, host: &str) -> bool {
    fs::read_link(format!("/proc/self/ns/{kind}")).is_ok_and(|link| link.as_os_str() == host)
}

/// Why there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoTypes {
    pub(super) reason: String,
    pub(super) remedy: String,
}

impl From<BtfError> for NoTypes {
    fn from(error: BtfError) -> NoTypes {
        let is_kernels = |path: &Path| path == Path::new(KERNEL_BTF);
        match &error {
            BtfError::Read(path, cause) if is_kernels(path) && cause.kind() == io::ErrorKind::NotFound => {
                NoTypes { reason: format!("{KERNEL_BTF} is missing"), remedy: error.remedy() }
            }
            BtfError::Read(path, _) if is_kernels(path) => NoTypes {
                reason: format!("{KERNEL_BTF} cannot be read"),
                remedy: "run as root; in a container, mount the host's /sys".to_owned(),
            },
            BtfError::Read(_, cause) => NoTypes { reason: format!("{error}: {cause}"), remedy: error.remedy() },
            _ => NoTypes { reason: error.to_string(), remedy: error.remedy() },
        }
    }
}

fn number(path: &str) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Some address among the first symbols is not zero. The very first ones may be zero for good: they
/// are offsets into per-CPU memory.
fn kernel_addresses() -> bool {
    let Ok(file) = File::open("/proc/kallsyms") else { return false };
    BufReader::new(file)
        .lines()
        .take(1000)
        .map_while(Result::ok)
        .any(|line| line.split(' ').next().is_some_and(|address| address.bytes().any(|digit| digit != b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathering_leaves_no_descriptor_behind() {
        let open = || fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default();
        // Other tests of this process open and close files meanwhile: a leak grows with every call.
        let before = open();
        for _ in 0..50 {
            let _ = Facts::gather();
        }
        assert!(open() < before + 50, "{before} descriptors became {}", open());
    }
}
