//! Two threads that only wake each other, ten frames deep in code without frame pointers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::bench::driver::{Driver, Session};
use crate::bench::load::{Load, Operations, Running};
use crate::bench::process::pinned;
use crate::run;

const ROUND_TRIPS: u64 = 100_000;
const DEPTH: &str = "10";

pub(in crate::bench) static WALK: Load = Load {
    name: "futex, depth 10",
    operation: "round trip",
    about: "two threads without frame pointers hand a token to and fro by futex, ten frames deep",
    needs: &[("cc", "gcc")],
    start,
};

/// Builds the workload that has stacks of a given depth.
pub(in crate::bench) fn compile(folder: &Path, frame_pointers: bool) -> Result<PathBuf> {
    let program = folder.join(if frame_pointers { "walk-with-frame-pointers" } else { "walk" });
    let mut compiler = Command::new("cc");
    compiler.arg(if frame_pointers { "-fno-omit-frame-pointer" } else { "-fomit-frame-pointer" });
    compiler.args(["-O2", "-g", "-pthread", "-o"]).arg(&program);
    run::run(compiler.arg(super::source("walk.c")))?;
    Ok(program)
}

fn start(folder: &Path) -> Result<Running> {
    let mut command = pinned(compile(folder, false)?);
    let session = Session::start("walk", command.args([DEPTH, "futex", &ROUND_TRIPS.to_string()]), "go")?;
    let workers = vec![session.pid()];
    let operations = Operations::Fixed(ROUND_TRIPS);
    Ok(Running { driver: Driver::Session(session), services: Vec::new(), workers, operations })
}
