//! One command from a fresh clone to a profile: a sample service with real waits, profiled.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail};

use crate::run::{self, say};
use crate::{build, workspace};

const SERVICE: &str = "sample_service";
/// How long the service may take to answer its last requests once it is told to stop.
const STOP_WITHIN: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Profile this process instead of the sample service
    #[arg(long, value_name = "N")]
    pid: Option<u32>,
    /// How long to profile
    #[arg(long, value_name = "TIME", default_value = "8s")]
    duration: String,
    /// Where the flame graph and the JSON report go
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
}

/// Builds, profiles, and leaves `demo.svg` and `demo.json` in the folder asked for.
///
/// # Errors
/// Something does not build or start, profiling failed, or we are not root and there is no `sudo`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let binary = build::run()?;
    let profiler = privileged(&binary)?;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder `{}`", args.out.display()))?;
    match args.pid {
        Some(pid) => profile(profiler, pid, args),
        None => {
            let service = Service::start(&build_service()?)?;
            profile(profiler, service.process.id(), args)
            // Dropping it stops it, whatever came of the profile.
        }
    }
}

fn profile(mut profiler: Command, pid: u32, args: &Args) -> Result<()> {
    let files = ["demo.svg", "demo.json"].map(|name| args.out.join(name));
    profiler.args(["--pid", &pid.to_string(), "--duration", &args.duration]);
    profiler.arg("-o").arg(&files[0]).arg("-o").arg(&files[1]);
    run::run(&mut profiler)?;
    say(&format!("open {} in a browser; the same as numbers: {}", files[0].display(), files[1].display()));
    Ok(())
}

/// The profiler, to be run as root. Only the profiler: what cargo builds stays the user's own.
fn privileged(binary: &Path) -> Result<Command> {
    if run::is_root() {
        return Ok(Command::new(binary));
    }
    let Some(sudo) = run::find_in_path("sudo") else {
        bail!("profiling needs root, and there is no sudo here\n  try: run `cargo xtask demo` as root");
    };
    say(&format!("profiling needs root: running {} through sudo", run::short(binary)));
    let mut command = Command::new(sudo);
    command.arg("--").arg(binary);
    Ok(command)
}

/// Compiles the service with what a profiler wants of a program: frame pointers and lines. Without
/// cargo, since as an example of the daemon it would have all the daemon's dependencies compiled
/// again with these flags, and it uses none of them.
fn build_service() -> Result<PathBuf> {
    let source = workspace::root().join("profiler-daemon/examples").join(SERVICE).with_extension("rs");
    let program = workspace::target().join("demo").join(SERVICE);
    if modified(&program).is_some_and(|built| modified(&source).is_some_and(|written| built > written)) {
        return Ok(program);
    }
    fs::create_dir_all(workspace::target().join("demo"))?;
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "-O", "-C", "debuginfo=1", "-C", "force-frame-pointers=yes", "-o"]);
    run::run(rustc.arg(&program).arg(&source))?;
    Ok(program)
}

fn modified(file: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// The running service. It lives as long as the pipe to it is open, so it also ends when we are
/// killed.
struct Service {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Service {
    /// Starts it and waits for its first line: then it is under load.
    fn start(program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("--until-stdin-closes").stdin(Stdio::piped()).stdout(Stdio::piped());
        // Its journal must lie on a disk, which /tmp often is not.
        command.env("TMPDIR", program.parent().context("the service lies in no folder")?);
        let mut process = command.spawn().with_context(|| format!("cannot start `{}`", program.display()))?;
        let output = process.stdout.take().context("the service has no output")?;
        let service = Self { pipe: process.stdin.take(), process };
        let mut line = String::new();
        if BufReader::new(output).read_line(&mut line)? == 0 {
            bail!("the sample service ended before it served a request");
        }
        say(line.trim_end());
        Ok(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            match self.process.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Ok(Some(status)) => return report(status),
                Err(_) => break,
            }
        }
        // An error means that it has ended by itself just now.
        let _ = self.process.kill();
        let _ = self.process.wait();
        say("the sample service did not stop by itself and was killed");
    }
}

fn report(status: std::process::ExitStatus) {
    if !status.success() {
        let how = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
        say(&format!("the sample service ended with {how}"));
    }
}
