//! On what the figures were measured.

use std::fs;
use std::path::Path;

use super::load::Load;
use super::tracers::Tracer;
use crate::run;

/// Date, machine, kernel, system, and how busy the machine was before we began.
pub(super) fn machine() -> String {
    let date = run::ask("date", &["-u", "+%F"]).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{} on {cpus} CPUs ({}), Linux {}, {}, load average {}",
        date.trim(),
        field("/proc/cpuinfo", "model name", ':').unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        read("/proc/sys/kernel/osrelease"),
        field("/etc/os-release", "PRETTY_NAME", '=').unwrap_or_else(|| "Linux".to_owned()),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
    )
}

/// One line: the versions of what was run.
pub(super) fn versions(profilerd: &Path, tracers: &[&Tracer], loads: &[&Load]) -> String {
    let ours = run::ask(profilerd, &["--version"]).unwrap_or_default();
    let mut packages: Vec<_> = tracers.iter().filter_map(|tracer| tracer.needs).map(|(_, package)| package).collect();
    packages.extend(loads.iter().flat_map(|load| load.needs).map(|(_, package)| *package));
    packages.sort_unstable();
    packages.dedup();
    let theirs = packages.iter().filter_map(|package| {
        let version = run::ask("dpkg-query", &["--showformat=${Version}", "--show", package])?;
        Some(format!("{package} {version}"))
    });
    std::iter::once(ours.trim().to_owned()).chain(theirs).collect::<Vec<_>>().join(", ")
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

/// The value of the first line `name…separator value`, without quotes.
fn field(file: &str, name: &str, separator: char) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let (_, value) = text.lines().find(|line| line.starts_with(name))?.split_once(separator)?;
    Some(value.trim().trim_matches('"').to_owned())
}
