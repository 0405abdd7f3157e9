//! Windows and files to what is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Profile;
use crate::model::text::printable;
use crate::model::{WaitClass, Window};
use crate::sink::{Clock, folded};

/// Most bytes of a file that is compared.
const MOST_BYTES: u64 = 512 << 20;
/// Frames that name an off-CPU place, from the leaf on: below them lie the libraries' ways to wait.
const PLACE_FRAMES: usize = 3;
/// State of time that was executed.
const ON_CPU: &str = "on-CPU";

/// Why a file cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It cannot be read.
    #[error("cannot read `{}`", printable(&.path.to_string_lossy()))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else.
    #[error("`{}` is no file of folded stacks or JSON report of ours: {what}", printable(&.path.to_string_lossy()))]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl Profile {
    /// What a window has, by this clock.
    ///
    /// # Errors
    /// None that memory would not have, too.
    pub fn of_window(window: &Window, clock: Clock) -> io::Result<Profile> {
        let mut lines = Vec::new();
        folded::encode(window, clock, &mut lines)?;
        let mut profile = of_folded(&String::from_utf8_lossy(&lines)).map_err(io::Error::other)?;
        profile.name = printable(&window.target).into_owned();
        profile.duration_ns = Some(window.duration_ns);
        Ok(profile)
    }

    /// What a file has that profilerd wrote: folded stacks or the JSON report.
    ///
    /// # Errors
    /// It cannot be read, or is neither.
    pub fn of_file(path: &Path) -> Result<Profile, ProfileError> {
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MOST_BYTES).read_to_end(&mut text))
            .map_err(|source| ProfileError::Unreadable { path: path.to_owned(), source })?;
        let text = String::from_utf8_lossy(&text);
        let profile = if text.trim_start().starts_with('{') { of_json(&text) } else { of_folded(&text) };
        let mut profile = profile.map_err(|what| ProfileError::Unknown { path: path.to_owned(), what })?;
        let name = printable(&path.to_string_lossy()).into_owned();
        profile.name = if profile.name.is_empty() { name } else { format!("{name}: {}", profile.name) };
        Ok(profile)
    }
}

/// Folded stacks, as `sink::folded` writes them.
fn of_folded(text: &str) -> Result<Profile, String> {
    let mut profile = Profile::default();
    let stacks = profile.stacks.insert(BTreeMap::new());
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with("# ")) {
        let (path, ns) = line.rsplit_once(' ').ok_or_else(|| format!("line {number} has no time"))?;
        let ns: u64 = ns.parse().map_err(|_| format!("line {number} has no time"))?;
        let path = printable(path);
        let frames: Vec<&str> = path.split(';').collect();
        let Some((process, frames)) = frames.split_first().filter(|(process, _)| **process != "[idle]") else {
            continue;
        };
        let name = without_pid(process);
        let whole = std::iter::once(name).chain(frames.iter().copied()).collect::<Vec<_>>().join(";");
        *stacks.entry(whole).or_default() += ns;
        // After the process comes the thread.
        let mut frames = frames.get(1..).unwrap_or_default();
        let state = frames.last().and_then(|last| state(last));
        if state.is_some() {
            frames = &frames[..frames.len() - 1];
        }
        *profile.states.entry(state.unwrap_or(ON_CPU).to_owned()).or_default() += ns;
        match state {
            Some(state) => *profile.gaps.entry((state.to_owned(), place(name, frames))).or_default() += ns,
            None => {
                let called: BTreeSet<&str> = frames.iter().copied().collect();
                for function in called {
                    profile.functions.entry(function.to_owned()).or_default().1 += ns;
                }
                if let Some(leaf) = frames.last() {
                    profile.functions.entry((*leaf).to_owned()).or_default().0 += ns;
                }
            }
        }
    }
    Ok(profile)
}

/// `nginx (4242)` to `nginx`.
fn without_pid(process: &str) -> &str {
    match process.rsplit_once(" (") {
        Some((name, pid)) if pid.strip_suffix(')').is_some_and(|pid| pid.parse::<u32>().is_ok()) => name,
        _ => process,
    }
}

/// The state that a last frame names.
fn state(frame: &str) -> Option<&str> {
    let name = frame.strip_prefix('[')?.strip_suffix(']')?;
    let others = ["run-queue", "throttled", "stolen", "unseen"];
    (others.contains(&name) || WaitClass::ALL.iter().any(|class| class.name() == name)).then_some(name)
}

/// The program's frames next to the wait, leaf first; those of the kernel where there are no others; else the process.
fn place(process: &str, frames: &[&str]) -> String {
    let kernel = |frame: &&&str| frame.ends_with("_[k]");
    let mut near: Vec<&str> = frames.iter().rev().filter(|frame| !kernel(frame)).take(PLACE_FRAMES).copied().collect();
    if near.is_empty() {
        near = frames.iter().rev().take(PLACE_FRAMES).copied().collect();
    }
    if near.is_empty() { process.to_owned() } else { near.join(" < ") }
}

/// The keys of the JSON report that are compared.
#[derive(Deserialize)]
struct Report {
    schema_version: u32,
    target: String,
    window: Span,
    processes: Vec<Process>,
    gaps: Vec<Gap>,
    on_cpu: Vec<Function>,
}

#[derive(Deserialize)]
struct Span {
    duration_ns: u64,
}

#[derive(Deserialize)]
struct Process {
    ledger: Ledger,
}

#[derive(Deserialize)]
struct Ledger {
    on_cpu_ns: u64,
    run_queue_ns: u64,
    /// Reports of before have it not.
    #[serde(default)]
    throttled_ns: u64,
    stolen_ns: u64,
    unseen_ns: u64,
}

#[derive(Deserialize)]
struct Gap {
    class: String,
    idle: bool,
    total_ns: u64,
    run_queue_ns: u64,
    stack: Vec<Frame>,
}

#[derive(Deserialize)]
struct Frame {
    function: Option<String>,
    module: Option<String>,
    offset: Option<u64>,
    kind: String,
}

#[derive(Deserialize)]
struct Function {
    function: String,
    kind: String,
    self_ns: u64,
    total_ns: u64,
}

fn of_json(text: &str) -> Result<Profile, String> {
    let report: Report = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if report.schema_version != 1 {
        return Err(format!("its schema has version {}", report.schema_version));
    }
    let mut profile = Profile {
        name: printable(&report.target).into_owned(),
        duration_ns: Some(report.window.duration_ns),
        ..Profile::default()
    };
    for Process { ledger } in report.processes {
        for (state, ns) in [
            (ON_CPU, ledger.on_cpu_ns),
            ("run-queue", ledger.run_queue_ns.saturating_sub(ledger.throttled_ns)),
            ("throttled", ledger.throttled_ns),
            ("stolen", ledger.stolen_ns),
            ("unseen", ledger.unseen_ns),
        ] {
            *profile.states.entry(state.to_owned()).or_default() += ns;
        }
    }
    for gap in report.gaps.into_iter().filter(|gap| !gap.idle) {
        let ns = gap.total_ns.saturating_sub(gap.run_queue_ns);
        let names: Vec<String> = gap.stack.iter().rev().map(frame_name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        *profile.states.entry(gap.class.clone()).or_default() += ns;
        *profile.gaps.entry((gap.class, place("", &names))).or_default() += ns;
    }
    for function in report.on_cpu {
        let name = marked(&function.function, &function.kind);
        let times = profile.functions.entry(name).or_default();
        times.0 += function.self_ns;
        times.1 += function.total_ns;
    }
    Ok(profile)
}

/// The name of a frame as folded stacks have it.
fn frame_name(frame: &Frame) -> String {
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let name = match (&frame.function, &frame.module, frame.offset) {
        (Some(function), ..) => function.clone(),
        (None, Some(module), Some(offset)) => format!("{}+{offset:#x}", base(module)),
        _ => "[unknown]".to_owned(),
    };
    marked(&name, &frame.kind)
}

/// A name with the mark that folded stacks give to functions of the kernel.
fn marked(name: &str, kind: &str) -> String {
    let mark = if kind == "kernel" { "_[k]" } else { "" };
    format!("{}{mark}", printable(name))
}
