//! The kernel programs, loaded as a capture loads them and dropped again.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::capture::btf::Btf;
use crate::capture::features::{self, LoadError};
use crate::capture::kernel::Filter;
use crate::capture::settings;

/// What became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Programs {
    /// The kernel takes all that must be there.
    Loaded {
        /// Which it took.
        names: BTreeSet<String>,
        /// How long it took.
        took: Duration,
        /// Whether they are those for older kernels, see `features::Loaded`.
        hashed_threads: bool,
        /// Where the kernel's types are from if not from the kernel.
        types: Option<PathBuf>,
    },
    /// It does not.
    Refused {
        /// Why, in one line.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
}

const REPORT: &str = "if nothing above explains it: report a bug, with this line and the kernel's version";

/// Loads everything and attaches nothing.
pub(super) fn load() -> Programs {
    try_load().unwrap_or_else(|(error, remedy)| Programs::Refused { reason: reason(error.as_ref()), remedy })
}

fn try_load() -> Result<Programs, (Box<dyn Error>, String)> {
    let start = Instant::now();
    let known = Btf::of_kernel().and_then(|btf| settings::of_kernel(&btf).map(|settings| (btf, settings)));
    let (btf, settings) = known.map_err(|error| {
        let remedy = error.remedy();
        (error.into(), remedy)
    })?;
    // Every rule is on: the verifier skips the code of those that are off.
    let filter = Filter { pids: vec![1], comms: vec![String::new()], cgroups: vec![1], all: true };
    let loaded = features::load(&btf, settings, &filter, false).and_then(|mut loaded| {
        if btf.source().is_some() {
            // Whether these are the types of this kernel shows here.
            loaded.kernel.read_threads(&mut Vec::new())?;
        }
        Ok(loaded)
    });
    let loaded = loaded.map_err(|error| {
        // Whoever asks here has been sent here.
        let remedy = match &error {
            LoadError::Object(error) => Some(error.remedy().to_owned()),
            LoadError::Kernel(error) => Some(error.remedy()).filter(|remedy| !remedy.contains("profilerd doctor")),
        };
        (error.into(), remedy.unwrap_or_else(|| REPORT.to_owned()))
    })?;
    // Only of what was loaded there is anything to say.
    let names = loaded.kernel.run_stats().into_iter().map(|(name, _, _)| name).collect();
    let types = btf.source().map(Path::to_owned);
    Ok(Programs::Loaded { names, took: start.elapsed(), hashed_threads: loaded.hashed_threads, types })
}

/// The error and its causes in one line. Of a verifier's log the last word is kept: the reason stands
/// at its end, before the statistics.
fn reason(error: &(dyn Error + 'static)) -> String {
    let mut said = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_statistics(line));
        let first = lines.next().unwrap_or_default();
        let message = match lines.next_back() {
            Some(last) => format!("{first} … {last}"),
            None => first.to_owned(),
        };
        // Some libraries repeat their source in their own message.
        if !said.contains(&message) {
            said = if said.is_empty() { message } else { format!("{said}: {message}") };
        }
        next = error.source();
    }
    said
}

/// Lines that the verifier ends its log with, whatever came of it.
fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time ", "stack depth "].iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot load kernel program `{program}`")]
    struct Refused {
        program: &'static str,
        source: Verifier,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the BPF_PROG_LOAD syscall returned {source}. Verifier output: {log}")]
    struct Verifier {
        log: &'static str,
        source: std::io::Error,
    }

    #[track_caller]
    fn check(log: &'static str, expected: &str) {
        let source = Verifier { log, source: std::io::Error::from_raw_os_error(libc::EACCES) };
        assert_eq!(reason(&Refused { program: "sched_switch", source }), expected);
    }

    #[test]
    fn a_refusal_is_told_in_one_line() {
        const START: &str = "cannot load kernel program `sched_switch`: \
            the BPF_PROG_LOAD syscall returned Permission denied (os error 13). Verifier output:";
        check("", START);
        check(
            "0: R1=ctx() R10=fp0\n1: (79) r1 = *(u64 *)(r1 +8)\nR1 invalid mem access 'scalar'\n\
             verification time 31 usec\nstack depth 0\nprocessed 2 insns (limit 1000000)\n",
            &format!("{START} 0: R1=ctx() R10=fp0 … R1 invalid mem access 'scalar'"),
        );
    }
}
