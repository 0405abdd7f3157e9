//! The kernel tests on the kernels that users have: stock Debian kernels, booted in QEMU.
//!
//! Fetched kernels, the guest's disk and what each guest said are kept below `target/vm`.

mod apt;
mod archive;
mod catalog;
mod kernel;
mod machine;
mod payload;
mod suite;
mod table;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};
use catalog::{ROWS, Row};
use clap::builder::PossibleValuesParser;
use kernel::Kernel;
use payload::Payload;
use table::{Outcome, Verdict};

use crate::kernel::packages;
use crate::machine::Machine;
use crate::run::{self, say};
use crate::workspace;

/// With fewer kernels than these nothing was shown.
const LEAST_KERNELS: usize = 3;
/// Programs that are needed, and their Debian packages.
const TOOLS: &[(&str, &str)] = &[
    ("/bin/busybox", "busybox-static"),
    ("/usr/sbin/depmod", "kmod"),
    ("/usr/sbin/mke2fs", "e2fsprogs"),
    ("xz", "xz-utils"),
    ("strip", "binutils"),
    (payload::FAULT_TOOLS[0], "dmsetup"),
    (payload::FAULT_TOOLS[1], "iproute2"),
    (payload::FAULT_TOOLS[2], "util-linux"),
    (payload::FAULT_TOOLS[3], "libcap2-bin"),
];
/// The same for kernels of one processor.
fn tools_for(machine: Machine) -> &'static [(&'static str, &'static str)] {
    match machine {
        Machine::X86_64 => &[("qemu-system-x86_64", "qemu-system-x86")],
        Machine::Aarch64 => &[("qemu-system-aarch64", "qemu-system-arm"), ("qemu-aarch64", "qemu-user")],
    }
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these: 5.10, 6.1, 6.1-rt, 6.12, 6.18, newest, arm64, rc
    #[arg(value_name = "KERNEL", value_parser = row)]
    kernels: Vec<&'static Row>,
    /// Only these columns of the table
    #[arg(long, value_name = "COLUMN", value_parser = PossibleValuesParser::new(suite::names()))]
    only: Vec<String>,
}

fn row(name: &str) -> Result<&'static Row, String> {
    ROWS.iter()
        .find(|row| row.name == name)
        .ok_or_else(|| format!("not one of {}", ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ")))
}

/// Boots each kernel, runs the suite in it and prints what came of it.
///
/// # Errors
/// Something does not build, a test failed, or too few kernels could be tried.
pub(crate) fn run(args: &Args) -> Result<()> {
    let _ = suite::ONLY.set(args.only.clone());
    let folder = workspace::target().join("vm");
    let rows: Vec<&Row> = if args.kernels.is_empty() { ROWS.iter().collect() } else { args.kernels.clone() };
    let mut payloads = Vec::new();
    for machine in [Machine::X86_64, Machine::Aarch64] {
        if rows.iter().any(|row| row.machine() == machine) {
            install_tools(machine)?;
            payloads.push(Payload::build(machine, &folder)?);
        }
    }
    let start = Instant::now();
    let outcomes = try_all(&rows, &payloads, &folder);
    println!("\n{}", table::render(&outcomes));
    say(&format!("{} kernels in {:.0} s", rows.len(), start.elapsed().as_secs_f64()));
    println!("{}", table::faults(&outcomes));
    let (_, failed) = table::sums(&outcomes);
    if failed > 0 {
        bail!("{failed} tests failed");
    }
    let least = LEAST_KERNELS.min(rows.len());
    if table::ran(&outcomes) < least {
        bail!("fewer than {least} kernels ran");
    }
    Ok(())
}

fn install_tools(machine: Machine) -> Result<()> {
    let is_there = |program: &str| Path::new(program).is_file() || run::find_in_path(program).is_some();
    let tools = TOOLS.iter().chain(tools_for(machine));
    let missing: Vec<_> = tools.filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() { Ok(()) } else { packages::install("a tool for virtual machines", &missing, &[]) }
}

/// As many guests at a time as there are CPUs: each is one thread of emulation, and with one more tests are late.
fn try_all(rows: &[&Row], payloads: &[Payload], folder: &Path) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let mut queue = rows.to_vec();
    queue.sort_by_key(|row| suite::turn(row));
    let outcomes = Mutex::new(Vec::new());
    let guests = thread::available_parallelism().map_or(1, usize::from).min(rows.len());
    thread::scope(|scope| {
        for _ in 0..guests {
            scope.spawn(|| {
                while let Some(row) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let payload = payloads.iter().find(|payload| payload.machine == row.machine());
                    let outcome = try_one(row, payload.expect("each row has its payload"), folder);
                    outcomes.lock().expect("no guest's thread panics").push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no guest's thread panics");
    outcomes.sort_by_key(|outcome: &Outcome| rows.iter().position(|row| row.name == outcome.name));
    outcomes
}

fn try_one(row: &Row, payload: &Payload, folder: &Path) -> Outcome {
    let start = Instant::now();
    let not_run = |why: String| Outcome {
        name: row.name,
        candidate: row.candidate,
        release: Err(why),
        verdicts: vec![Verdict::NotRun; suite::COLUMNS.len()],
        said: String::new(),
        took: start.elapsed(),
    };
    let kernel = match Kernel::of(row, folder) {
        Ok(kernel) => kernel,
        Err(error) => return not_run(format!("not fetched: {error:#}")),
    };
    let mut said = String::new();
    // Once more only if it died without a word: that is the emulator's doing, seldom.
    for _ in 0..2 {
        match machine::boot(row, &kernel, payload, folder) {
            Ok(words) => said = words,
            Err(error) => return not_run(format!("not booted: {error:#}")),
        }
        if !said.is_empty() {
            break;
        }
    }
    let (release, verdicts) = table::read(row, &said);
    tell_failures(row, &kernel, &said, &verdicts);
    let release = release.unwrap_or_else(|| format!("{} died", kernel.release));
    Outcome { name: row.name, candidate: row.candidate, release: Ok(release), verdicts, said, took: start.elapsed() }
}

/// Prints what the guest said of tests that failed.
fn tell_failures(row: &Row, kernel: &Kernel, said: &str, verdicts: &[Verdict]) {
    let mut text = String::new();
    for (column, verdict) in suite::COLUMNS.iter().zip(verdicts) {
        let part = table::part(said, column.name);
        if *verdict == Verdict::Failed || (*verdict == Verdict::NotRun && !part.is_empty()) {
            text.push_str(&format!("-- {} on {} ({})\n{part}\n", column.name, row.name, kernel.release));
        }
    }
    if !text.is_empty() {
        println!("{text}");
    }
}
