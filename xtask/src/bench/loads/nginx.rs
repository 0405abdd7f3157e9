//! nginx with one worker under wrk.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::bench::driver::Driver;
use crate::bench::load::{Load, Operations, Running};
use crate::bench::process::{Process, pinned};

pub(super) static NGINX: Load = Load {
    name: "nginx",
    operation: "request",
    about: "one nginx worker serves a small file to wrk, one connection on loopback",
    needs: &[("nginx", "nginx"), ("wrk", "wrk")],
    start,
};

fn start(folder: &Path) -> Result<Running> {
    let port = super::free_port()?;
    let here = folder.display();
    fs::write(folder.join("index.html"), "hello\n")?;
    let configuration = folder.join("nginx.conf");
    fs::write(
        &configuration,
        format!(
            "daemon off; worker_processes 1; pid {here}/nginx.pid; error_log {here}/nginx.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; server {{ listen 127.0.0.1:{port}; location / {{ root {here}; }} }} }}\n"
        ),
    )?;
    let mut master = Process::service("nginx", pinned("nginx").arg("-c").arg(&configuration))?;
    super::wait_for_port(&mut master, port)?;
    let children = format!("/proc/{0}/task/{0}/children", master.pid());
    let worker = master.wait_until("made a worker", || fs::read_to_string(&children).ok()?.trim().parse().ok())?;
    let driver = move || {
        let mut command = pinned("wrk");
        command.args(["-t1", "-c1", "-d1s", &format!("http://127.0.0.1:{port}/")]);
        command
    };
    Ok(Running {
        driver: Driver::Command(Box::new(driver)),
        services: vec![master],
        workers: vec![worker],
        operations: Operations::Printed(requests),
    })
}

/// Reads a line like `  52340 requests in 1.10s, 12.33MB read`.
fn requests(printed: &str) -> Option<u64> {
    printed.split_once(" requests in")?.0.rsplit(char::is_whitespace).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::requests;

    #[test]
    fn the_number_of_requests_is_read() {
        let printed = "  1 threads and 16 connections\n  Latency 1ms\n  52340 requests in 1.10s, 12.33MB read\n";
        assert_eq!(requests(printed), Some(52_340));
        assert_eq!(requests("unable to connect"), None);
    }
}
