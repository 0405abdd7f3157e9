//! Measures how unwind tables are made of the files given: one JSON object a line, for
//! `cargo xtask bench tables`.

use std::error::Error;
use std::fs::File;
use std::time::Duration;
use std::{env, fs};

use nix::time::{ClockId, clock_gettime};
use profilerd::unwind::{Cache, Dictionary, FileTable, build, pack};
use serde_json::json;

/// Each figure is the median of this many.
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::temp_dir().join(format!("unwind-tables.{}", std::process::id()));
    for path in env::args().skip(1) {
        let cache = Cache::open(&directory, Cache::LIMIT_BYTES)?;
        let measured = measure(&path, &cache);
        fs::remove_dir_all(&directory)?;
        println!("{}", measured?);
    }
    Ok(())
}

fn measure(path: &str, cache: &Cache) -> Result<serde_json::Value, Box<dyn Error>> {
    let file = File::open(path)?;
    let (table, build) = median(|| build(&file))?;
    // The first time stores it.
    cache.table(&file)?;
    let (_, load) = median(|| cache.table(&file))?;
    let (words, pack) = median(|| Ok::<_, Box<dyn Error>>(pack_all(&table)))?;
    let bytes: u64 = table.segments.iter().map(|segment| segment.bytes).sum();
    Ok(json!({
        "file": path,
        "text_bytes": bytes,
        "frame_bytes": table.counts.frame_bytes,
        "descriptions": table.counts.descriptions,
        "rows": table.rows.len(),
        "rules": table.rules.len(),
        "unsupported": table.counts.unsupported,
        "table_bytes": words * 4,
        "build_ns": build.as_nanos() as u64,
        "load_ns": load.as_nanos() as u64,
        "pack_ns": pack.as_nanos() as u64,
        "cached": cache.counts().loaded > 0,
    }))
}

fn pack_all(table: &FileTable) -> usize {
    let ids = Dictionary::new().ids(&table.rules);
    pack(table, &ids).iter().map(|part| part.words.len()).sum()
}

/// What it returns at last, and the median of the CPU times that it takes: other programs may run.
fn median<T, E: Into<Box<dyn Error>>>(mut work: impl FnMut() -> Result<T, E>) -> Result<(T, Duration), Box<dyn Error>> {
    let mut times = Vec::with_capacity(ROUNDS);
    loop {
        let start = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        let result = work().map_err(Into::into)?;
        times.push(Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)? - start));
        if times.len() == ROUNDS {
            times.sort();
            return Ok((result, times[ROUNDS / 2]));
        }
    }
}
