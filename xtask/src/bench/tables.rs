//! How fast unwind tables are made, and how large they are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::table::table;
use crate::run::{self, say};
use crate::workspace;

/// What a row may take to build.
const ROW_NS: f64 = 100.0;
/// The example of the daemon that measures.
const EXAMPLE: &str = "unwind_tables";

/// Files of different kinds, by folder and the start of their names: the last one of a folder counts.
const FILES: [(&str, &str); 9] = [
    ("/usr/lib/x86_64-linux-gnu", "libc.so.6"),
    ("/usr/lib/aarch64-linux-gnu", "libc.so.6"),
    ("/usr/lib/x86_64-linux-gnu", "libpython3"),
    ("/usr/bin", "python3."),
    ("/usr/lib/x86_64-linux-gnu", "libLLVM"),
    ("/usr/lib/x86_64-linux-gnu", "librustc_driver"),
    ("/usr/lib/x86_64-linux-gnu", "libcrypto.so"),
    ("/usr/bin", "node"),
    ("/usr/lib/chromium", "chromium"),
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail if a row takes longer than its budget
    #[arg(long)]
    check: bool,
    /// These files instead of the usual ones
    files: Vec<PathBuf>,
}

/// Prints a table of all files that are there.
///
/// # Errors
/// The daemon does not build, a file has no table, or with `--check` a budget was missed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let files = if args.files.is_empty() { found() } else { args.files.clone() };
    let mut cargo = run::cargo();
    cargo.args(["run", "--release", "--package", "profiler-daemon", "--example", EXAMPLE, "--target-dir"]);
    cargo.arg(workspace::target()).arg("--").args(&files);
    let output = String::from_utf8(run::output(&mut cargo)?)?;
    let measured: Vec<Value> = output.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    println!("{}", text(&measured)?);
    let slow = measured.iter().filter(|file| ns_a_row(file).is_some_and(|ns| ns > ROW_NS));
    let slow: Vec<_> = slow.filter_map(|file| file.get("file")?.as_str()).collect();
    if !slow.is_empty() && args.check {
        bail!("a row takes more than {ROW_NS} ns to build in {}", slow.join(", "));
    }
    Ok(())
}

/// The usual files, as far as they are installed. Links are followed and the file behind counts once.
fn found() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (folder, start) in FILES {
        match newest(Path::new(folder), start) {
            Some(file) if !files.contains(&file) => files.push(file),
            Some(_) => {}
            None => say(&format!("no {folder}/{start}*")),
        }
    }
    files
}

fn newest(folder: &Path, start: &str) -> Option<PathBuf> {
    let mut named: Vec<_> = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    named.retain(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with(start) && is_elf(path)
    });
    named.sort();
    fs::canonicalize(named.last()?).ok()
}

/// Whether it is ELF: beside libraries there are linker scripts and archives, before programs scripts.
fn is_elf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

fn text(measured: &[Value]) -> Result<String> {
    let heads = ["file", "code MiB", "unwind information MiB", "descriptions", "rows", "rules", "table KiB"];
    let times = ["build ms (ns a row)", "from the cache ms", "pack ms"];
    let mut rows = vec![heads.into_iter().chain(times).map(str::to_owned).collect::<Vec<_>>()];
    for file in measured {
        let number = |name: &str| file.get(name).and_then(Value::as_f64).with_context(|| format!("no figure `{name}`"));
        let path = file.get("file").and_then(Value::as_str).unwrap_or_default();
        let name = Path::new(path).file_name().map_or(path.into(), |name| name.to_string_lossy());
        let mib = |name| Ok::<_, anyhow::Error>(format!("{:.2}", number(name)? / 1_048_576.0));
        let ms = |name| Ok::<_, anyhow::Error>(format!("{:.2}", number(name)? / 1e6));
        // A file without build id is not kept.
        let cached = file.get("cached").and_then(Value::as_bool).unwrap_or_default();
        rows.push(vec![
            name.into_owned(),
            mib("text_bytes")?,
            mib("frame_bytes")?,
            number("descriptions")?.to_string(),
            number("rows")?.to_string(),
            number("rules")?.to_string(),
            format!("{:.0}", number("table_bytes")? / 1024.0),
            format!("{} ({})", ms("build_ns")?, ns_a_row(file).map_or("–".to_owned(), |ns| format!("{ns:.0}"))),
            if cached { ms("load_ns")? } else { "not cached".to_owned() },
            ms("pack_ns")?,
        ]);
    }
    Ok(table(&rows))
}

fn ns_a_row(file: &Value) -> Option<f64> {
    let rows = file.get("rows")?.as_f64()?;
    (rows > 0.0).then_some(file.get("build_ns")?.as_f64()? / rows)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn figures_become_a_table() {
        let file = serde_json::json!({
            "file": "/usr/lib/libthing.so.1", "text_bytes": 3 << 20, "frame_bytes": 1 << 19, "descriptions": 10,
            "rows": 1000, "rules": 7, "table_bytes": 5000, "build_ns": 81_000, "load_ns": 2_000_000, "pack_ns": 1_000_000,
            "cached": true,
        });
        let text = text(&[file]).unwrap();
        let row = text.lines().last().unwrap();
        let cells: Vec<_> = row.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells, ["libthing.so.1", "3.00", "0.50", "10", "1000", "7", "5", "0.08 (81)", "2.00", "1.00"]);
        assert!(super::text(&[serde_json::json!({"file": "a"})]).is_err());
    }
}
