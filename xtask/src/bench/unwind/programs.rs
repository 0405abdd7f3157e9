//! The programs that are profiled, one row each.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::bench::loads::{self, postgres};
use crate::bench::process::{Process, bound_to_us};
use crate::{run, workspace};

/// Time for what a service does once, at its start.
const SERVICE: Duration = Duration::from_secs(3);
/// A compiler's start is part of its work; only the first children should be there.
const COMPILER: Duration = Duration::from_millis(500);

/// One row of the table.
pub(super) struct Program {
    /// As `--only` takes it.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// What must be installed.
    pub(super) needs: &'static [&'static str],
    /// What of its start is left out.
    pub(super) settle: Duration,
    /// Starts it; the folder is for its files.
    pub(super) start: fn(&Path) -> Result<Running>,
}

/// A program at work; it ends with its value.
pub(super) struct Running {
    // Dropped in this order: who asks ends before who answers.
    _load: Option<Process>,
    program: Process,
}

impl Running {
    /// The process to profile, with all its children.
    pub(super) fn profiled(&self) -> u32 {
        self.program.pid()
    }
}

pub(super) static ALL: &[Program] = &[
    Program {
        name: "rustc",
        about: "cargo builds profilerd's daemon and all that it needs",
        needs: &["cargo"],
        settle: COMPILER,
        start: |folder| {
            let mut command = bounded("cargo");
            command.args(["build", "--package", "profiler-daemon", "--manifest-path"]);
            command.arg(workspace::root().join("Cargo.toml")).arg("--target-dir").arg(folder.join("target"));
            alone("cargo", &mut command)
        },
    },
    Program {
        name: "cc1plus",
        about: "g++ -O2 compiles a file of templates, over and over",
        needs: &["g++"],
        settle: COMPILER,
        start: |folder| {
            let mut command = bounded("sh");
            command.args(["-c", "while g++ -std=c++17 -O2 -c -o \"$1\" \"$0\"; do :; done"]);
            command.arg(loads::source("templates.cpp")).arg(folder.join("templates.o"));
            alone("g++", &mut command)
        },
    },
    Program {
        name: "node",
        about: "node runs JavaScript: recursion, objects, JSON, expressions, hashing",
        needs: &["node"],
        settle: SERVICE,
        start: |_| alone("node", bounded("node").arg(loads::source("work.js"))),
    },
    Program {
        name: "python3",
        about: "Debian's python3 with two threads: recursion, JSON, expressions, SQLite",
        needs: &[PYTHON],
        settle: SERVICE,
        start: |_| alone("python3", bounded(PYTHON).arg(loads::source("work.py"))),
    },
    Program {
        name: "postgres",
        about: "PostgreSQL under pgbench with four clients",
        needs: &["psql", "pgbench"],
        settle: SERVICE,
        start: postgres,
    },
    Program {
        name: "chromium",
        about: "chromium without a window shows a page that paints and changes",
        needs: &["chromium"],
        settle: SERVICE,
        start: |folder| {
            let mut command = bounded("chromium");
            // The port keeps it running; the sandbox does not work for root.
            command.args(["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]);
            let profile = folder.join("profile").display().to_string();
            command.arg(format!("--user-data-dir={profile}"));
            alone("chromium", command.arg(format!("file://{}", loads::source("work.html").display())))
        },
    },
];

/// Debian's own: a newer one elsewhere in `PATH` may be built in another way.
const PYTHON: &str = "/usr/bin/python3";

fn postgres(folder: &Path) -> Result<Running> {
    let (server, socket) = postgres::serve(folder, bound_to_us("setpriv"))?;
    let pgbench = |mut command: Command, args: &[&str]| {
        command.args(["-U", postgres::USER, "-h"]).arg(&socket).args(args).arg(postgres::USER);
        command
    };
    run::run(&mut pgbench(bound_to_us("pgbench"), &["-i", "-q", "-s", "2"]))?;
    let mut load = pgbench(bounded("pgbench"), &["-c", "4", "-T", "600"]);
    let load = Process::start("pgbench", &mut load, Signal::SIGTERM, PATIENCE)?;
    Ok(Running { _load: Some(load), program: server })
}

/// How long a program and its children may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A command that ends with all its children, when it is told to, when we end, or after ten minutes.
fn bounded(program: impl AsRef<OsStr>) -> Command {
    let mut command = bound_to_us("timeout");
    command.arg("600").arg(program);
    command
}

fn alone(name: &str, command: &mut Command) -> Result<Running> {
    Ok(Running { _load: None, program: Process::start(name, command, Signal::SIGTERM, PATIENCE)? })
}
