//! redis under its own benchmark.

use std::path::Path;

use anyhow::Result;

use crate::bench::driver::Driver;
use crate::bench::load::{Load, Operations, Running};
use crate::bench::process::{Process, pinned};

const REQUESTS: u64 = 25_000;

pub(super) static REDIS: Load = Load {
    name: "redis",
    operation: "request",
    about: "redis-server answers GET from redis-benchmark, one connection on loopback",
    needs: &[("redis-server", "redis-server"), ("redis-benchmark", "redis-tools")],
    start,
};

fn start(folder: &Path) -> Result<Running> {
    let port = super::free_port()?;
    let mut command = pinned("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
    let mut server = Process::service("redis-server", command.arg(folder))?;
    super::wait_for_port(&mut server, port)?;
    let driver = move || {
        let mut command = pinned("redis-benchmark");
        command.args(["-q", "-t", "get", "-c", "1", "-n", &REQUESTS.to_string(), "-p", &port.to_string()]);
        command
    };
    Ok(Running {
        driver: Driver::Command(Box::new(driver)),
        workers: vec![server.pid()],
        services: vec![server],
        operations: Operations::Fixed(REQUESTS),
    })
}
