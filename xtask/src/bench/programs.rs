//! The kernel programs of another process: names, run times, number of runs.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

/// Commands of the `bpf` system call. Source: `enum bpf_cmd`, include/uapi/linux/bpf.h.
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_ENABLE_STATS: libc::c_long = 32;

/// What a program has run so far, as far as statistics were on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// The kernel's id of it.
    pub(super) id: u32,
    /// Cut to 15 bytes by the kernel.
    pub(super) name: String,
    pub(super) run_ns: u64,
    pub(super) runs: u64,
}

/// The kernel counts run times until this is dropped. Holding a descriptor instead of setting the sysctl:
/// nobody can switch it off meanwhile, and it ends with us.
pub(super) struct Statistics(#[expect(dead_code, reason = "held open")] OwnedFd);

impl Statistics {
    /// # Errors
    /// The kernel is older than 5.8, or we may not.
    pub(super) fn enable() -> Result<Self> {
        // The member `enable_stats.type`: BPF_STATS_RUN_TIME.
        descriptor(BPF_ENABLE_STATS, &mut [0]).map(Self).context("cannot have kernel programs timed")
    }
}

/// The programs that a process holds, each once, in the order of their ids.
pub(super) fn of_process(pid: u32) -> Result<Vec<Program>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read `{folder}`"))?;
    let mut programs = Vec::new();
    for entry in entries {
        // A descriptor may be closed while we look.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        if let Some((id, run_ns, runs)) = parse(&text) {
            programs.push(Program { id, name: name(id)?, run_ns, runs });
        }
    }
    programs.sort_by_key(|program| program.id);
    programs.dedup_by_key(|program| program.id);
    Ok(programs)
}

/// Reads the `fdinfo` of a program: its id, run time and runs; `None` if it is of something else.
fn parse(fdinfo: &str) -> Option<(u32, u64, u64)> {
    let number = |name: &str| {
        let mut fields = fdinfo.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| *key == name)?.1.trim().parse::<u64>().ok()
    };
    Some((number("prog_id")? as u32, number("run_time_ns")?, number("run_cnt")?))
}

/// The name of a program, which `fdinfo` does not tell.
fn name(id: u32) -> Result<String> {
    /// Bytes of `struct bpf_prog_info` up to the end of its `name`.
    const INFO_BYTES: usize = 80;
    const NAME: usize = 64;
    let program =
        descriptor(BPF_PROG_GET_FD_BY_ID, &mut [id, 0, 0]).with_context(|| format!("program {id} is gone"))?;
    let mut info = [0u8; INFO_BYTES];
    let address = info.as_mut_ptr() as u64;
    // The members `info.bpf_fd`, `info.info_len`, `info.info`.
    let mut attr = [program.as_raw_fd() as u32, INFO_BYTES as u32, address as u32, (address >> 32) as u32];
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which lives until after the call.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }.with_context(|| format!("cannot ask about program {id}"))?;
    let name = info[NAME..].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).escape_debug().to_string())
}

/// A call that only reads `attr` and returns a descriptor.
fn descriptor(command: libc::c_long, attr: &mut [u32]) -> io::Result<OwnedFd> {
    // SAFETY: the callers' commands have no pointers in `attr`.
    let fd = unsafe { bpf(command, attr)? };
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// # Safety
/// Pointers in `attr` are valid for what the command does with them.
unsafe fn bpf(command: libc::c_long, attr: &mut [u32]) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes `attr` within its size; the rest is the caller's.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_fdinfo() {
        let program = "pos:\t0\nprog_type:\t26\nprog_jited:\t1\nprog_id:\t42\nrun_time_ns:\t1200\nrun_cnt:\t10\n";
        assert_eq!(parse(program), Some((42, 1200, 10)));
        let link = "pos:\t0\nlink_type:\ttracing\nlink_id:\t7\nprog_tag:\tab\nprog_id:\t42\n";
        assert_eq!(parse(link), None);
    }
}
