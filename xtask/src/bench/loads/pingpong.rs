//! Two threads that only wake each other: the worst case for whoever watches switches.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::bench::driver::{Driver, Session};
use crate::bench::load::{Load, Operations, Running};
use crate::bench::process::pinned;
use crate::run;

const ROUND_TRIPS: u64 = 100_000;
const NEEDS: &[(&str, &str)] = &[("cc", "gcc")];

pub(super) static FUTEX: Load = Load {
    name: "futex",
    operation: "round trip",
    about: "two threads hand a token to and fro by futex",
    needs: NEEDS,
    start: |folder| start(folder, "futex"),
};

pub(super) static PIPE: Load = Load {
    name: "pipe",
    operation: "round trip",
    about: "the same by two pipes",
    needs: NEEDS,
    start: |folder| start(folder, "pipe"),
};

fn start(folder: &Path, by: &str) -> Result<Running> {
    let program = folder.join("pingpong");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-g", "-fno-omit-frame-pointer", "-pthread", "-o"]).arg(&program);
    run::run(compiler.arg(super::source("pingpong.c")))?;
    let mut command = pinned(&program);
    let session = Session::start("pingpong", command.args([by, &ROUND_TRIPS.to_string()]), "go")?;
    let workers = vec![session.pid()];
    let operations = Operations::Fixed(ROUND_TRIPS);
    Ok(Running { driver: Driver::Session(session), services: Vec::new(), workers, operations })
}
