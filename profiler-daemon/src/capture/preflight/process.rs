//! What can be seen of one process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};

use crate::model::{Capability, Support};

/// There is no such process.
#[derive(Debug, thiserror::Error)]
#[error("no process {0}")]
pub struct NoProcess(
    /// The pid that was asked for.
    pub u32,
);

/// What a capture of this process will be able to show.
///
/// # Errors
/// If there is no such process.
pub fn probe_process(pid: u32) -> Result<Vec<Capability>, NoProcess> {
    let root = PathBuf::from(format!("/proc/{pid}"));
    // A thread id has a folder too, but names no process.
    let status = fs::read_to_string(root.join("status")).map_err(|_| NoProcess(pid))?;
    if !status.lines().any(|line| line.strip_prefix("Tgid:").is_some_and(|tgid| tgid.trim() == pid.to_string())) {
        return Err(NoProcess(pid));
    }
    Ok(judge(&Seen::of(&root)))
}

/// What reading its files gave.
#[derive(Debug)]
struct Seen {
    maps: io::Result<String>,
    exe: io::Result<Vec<Symbols>>,
}

/// What one ELF file tells.
#[derive(Clone, Copy, Debug, Default)]
struct Symbols {
    table: bool,
    dynamic: bool,
    lines: bool,
    separate: bool,
}

impl Seen {
    fn of(root: &Path) -> Seen {
        let exe = fs::read(root.join("exe")).map(|elf| {
            let separate = debug_file(&elf).and_then(|path| fs::read(path).ok());
            let separate = separate.map(|debug| Symbols { separate: true, ..symbols(&debug) });
            std::iter::once(symbols(&elf)).chain(separate).collect()
        });
        Seen { maps: fs::read_to_string(root.join("maps")), exe }
    }
}

fn symbols(elf: &[u8]) -> Symbols {
    let Ok(file) = object::File::parse(elf) else { return Symbols::default() };
    let has = |name: &str| file.section_by_name(name).is_some_and(|section| section.size() > 0);
    Symbols { table: has(".symtab"), dynamic: has(".dynsym"), lines: has(".debug_line"), separate: false }
}

/// Where distributions put the debug information of a build id.
fn debug_file(elf: &[u8]) -> Option<PathBuf> {
    let file = object::File::parse(elf).ok()?;
    let build_id = file.build_id().ok()??;
    let (first, rest) = build_id.split_first()?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(PathBuf::from(format!("/usr/lib/debug/.build-id/{first:02x}/{rest}.debug")))
}

fn judge(seen: &Seen) -> Vec<Capability> {
    const PROCESS: &str = "this process";
    let verdict = |name, support, reason: String, remedy: Option<&str>| Capability {
        name,
        support,
        reason,
        remedy: remedy.map(str::to_owned),
        required: false,
    };
    let maps = match &seen.maps {
        Err(error) => {
            let reason = format!("its time without names: its mappings cannot be read ({})", error.kind());
            return vec![verdict(PROCESS, Support::Partly, reason, Some("run as root, or grant CAP_SYS_PTRACE"))];
        }
        Ok(maps) => maps,
    };
    if maps.is_empty() {
        let reason = "a kernel thread or a process that has ended: nothing to profile".to_owned();
        return vec![Capability { required: true, ..verdict(PROCESS, Support::No, reason, None) }];
    }
    let files = executable_files(maps);
    let reason = format!("{files} executable {}", if files == 1 { "mapping" } else { "mappings" });
    let mut verdicts = vec![verdict(PROCESS, Support::Yes, reason, None)];
    let found = match &seen.exe {
        Err(error) => {
            let reason = format!("its program cannot be read ({})", error.kind());
            verdicts.push(verdict("names of its functions", Support::No, reason, Some("run as root")));
            return verdicts;
        }
        Ok(found) => found,
    };
    let install = Some("install its debug symbols, or build without `strip`");
    let names = if found.iter().any(|file| file.table) {
        let by = if found[0].table { "" } else { "by a separate debug file" };
        verdict("names of its functions", Support::Yes, by.to_owned(), None)
    } else if found.iter().any(|file| file.dynamic) {
        verdict("names of its functions", Support::Partly, "stripped: only exported functions".to_owned(), install)
    } else {
        verdict("names of its functions", Support::No, "stripped: no symbols".to_owned(), install)
    };
    let lines = match found.iter().find(|file| file.lines) {
        Some(file) => {
            let by = if file.separate { "by a separate debug file" } else { "" };
            verdict("source lines", Support::Yes, by.to_owned(), None)
        }
        None => verdict(
            "source lines",
            Support::No,
            "no debug information".to_owned(),
            Some("install its debug symbols, or build with -g (Rust: debug = 1)"),
        ),
    };
    verdicts.extend([names, lines]);
    verdicts
}

/// Executable mappings in the text of `/proc/PID/maps`.
fn executable_files(maps: &str) -> usize {
    maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.contains('x'))).count()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn our_own_process_has_names_and_lines() {
        let verdicts = probe_process(std::process::id()).unwrap();
        assert_eq!(verdicts.len(), 3, "{verdicts:?}");
        assert!(verdicts.iter().all(|verdict| verdict.support == Support::Yes), "{verdicts:?}");
    }

    #[test]
    fn what_is_no_process_is_refused() {
        assert_eq!(probe_process(i32::MAX as u32).unwrap_err().to_string(), "no process 2147483647");
    }

    #[test]
    fn a_stripped_program_is_told() {
        let stripped = Symbols { dynamic: true, ..Symbols::default() };
        let seen = Seen { maps: Ok("00400000-00401000 r-xp 0 0 0 /bin/x\n".to_owned()), exe: Ok(vec![stripped]) };
        let support: Vec<Support> = judge(&seen).iter().map(|verdict| verdict.support).collect();
        assert_eq!(support, [Support::Yes, Support::Partly, Support::No]);
    }

    #[test]
    fn a_kernel_thread_cannot_be_profiled() {
        let seen = Seen { maps: Ok(String::new()), exe: Err(io::Error::from(io::ErrorKind::NotFound)) };
        assert!(judge(&seen)[0].required && judge(&seen)[0].support == Support::No);
    }
}
