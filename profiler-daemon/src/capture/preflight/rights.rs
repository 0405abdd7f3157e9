//! Capabilities of this process, from `/proc/self/status`.

/// A set of capabilities by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights(pub(super) u64);

/// One capability. Source: include/uapi/linux/capability.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    DacReadSearch = 2,
    SysPtrace = 19,
    SysAdmin = 21,
    Syslog = 34,
    Perfmon = 38,
    Bpf = 39,
    CheckpointRestore = 40,
}

impl Right {
    pub(super) fn name(self) -> &'static str {
        match self {
            Right::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Right::SysPtrace => "CAP_SYS_PTRACE",
            Right::SysAdmin => "CAP_SYS_ADMIN",
            Right::Syslog => "CAP_SYSLOG",
            Right::Perfmon => "CAP_PERFMON",
            Right::Bpf => "CAP_BPF",
            Right::CheckpointRestore => "CAP_CHECKPOINT_RESTORE",
        }
    }
}

impl Rights {
    /// The effective set in the text of `/proc/PID/status`; the empty set if it is not there.
    pub(super) fn parse(status: &str) -> Rights {
        let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Rights(hex.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0))
    }

    /// Whether the right is there, by itself or by CAP_SYS_ADMIN, which the kernel takes for the newer
    /// ones that were split from it.
    pub(super) fn has(self, right: Right) -> bool {
        let by_admin = matches!(right, Right::Bpf | Right::Perfmon | Right::CheckpointRestore | Right::Syslog);
        self.bit(right) || (by_admin && self.bit(Right::SysAdmin))
    }

    fn bit(self, right: Right) -> bool {
        self.0 >> (right as u32) & 1 == 1
    }

    /// Names of those of `wanted` that are missing, for a sentence; `None` if none is.
    pub(super) fn missing(self, wanted: &[Right]) -> Option<String> {
        let names: Vec<&str> = wanted.iter().filter(|right| !self.has(**right)).map(|right| right.name()).collect();
        if names.is_empty() { None } else { Some(names.join(" and ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_from_proc() {
        let root = Rights::parse("Name:\tx\nCapPrm:\t0\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n");
        assert_eq!(root.missing(&[Right::Bpf, Right::SysPtrace]), None);
        let nobody = Rights::parse("CapEff:\t0000000000000000\n");
        assert_eq!(nobody.missing(&[Right::Bpf, Right::Perfmon]).as_deref(), Some("CAP_BPF and CAP_PERFMON"));
        assert_eq!(Rights::parse("garbage"), Rights(0));
    }

    #[test]
    fn sys_admin_stands_for_what_was_split_from_it() {
        let admin = Rights(1 << Right::SysAdmin as u32);
        assert!(admin.has(Right::Bpf) && admin.has(Right::Perfmon));
        assert!(!admin.has(Right::SysPtrace));
    }
}
