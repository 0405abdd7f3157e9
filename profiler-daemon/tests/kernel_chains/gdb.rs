//! The stacks of a process as gdb sees them: another unwinder, by other people.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::pattern::Place;
use crate::support;

/// Stops a process for a moment and returns the stacks of its threads by tid, leaf first.
pub(crate) fn stacks(gdb: &Path, pid: u32) -> BTreeMap<u32, Vec<Place>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel_chains/frames.py");
    let mut command = Command::new(gdb);
    // Nothing of the user's, nothing from the network; another Python for the tests is none for gdb.
    command.args(["-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", "-p", &pid.to_string(), "-x"]);
    command.arg(script).env_remove("PYTHONHOME").env_remove("PYTHONPATH");
    let printed = support::run(&mut command).well().stdout;
    let mappings = Mappings::of(pid);
    let mut stacks = BTreeMap::<u32, Vec<Place>>::new();
    let mut tid = 0;
    for line in printed.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "THREAD" => tid = number.parse().unwrap(),
            "FRAME" => {
                let (file, offset) = mappings.find(number.parse().unwrap());
                let function = without_hash(name).to_owned();
                stacks.entry(tid).or_default().push(Place { function, file, offset });
            }
            _ => {}
        }
    }
    assert!(!stacks.is_empty(), "{printed}");
    stacks
}

/// A Rust function without the hash at its end.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()) => name,
        _ => name,
    }
}

/// Start, end, offset and path of what is mapped.
struct Mappings(Vec<(u64, u64, u64, String)>);

impl Mappings {
    fn of(pid: u32) -> Mappings {
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let (start, end) = words.next()?.split_once('-')?;
            let hex = |text| u64::from_str_radix(text, 16).ok();
            let offset = hex(words.nth(1)?)?;
            Some((hex(start)?, hex(end)?, offset, words.nth(2).unwrap_or_default().to_owned()))
        };
        Mappings(fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines().filter_map(line).collect())
    }

    fn find(&self, address: u64) -> (String, u64) {
        let found = self.0.iter().find(|(start, end, ..)| (*start..*end).contains(&address));
        let (start, _, offset, path) = found.unwrap_or_else(|| panic!("nothing is mapped at {address:#x}"));
        (path.clone(), address - start + offset)
    }
}
