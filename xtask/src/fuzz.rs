//! Fuzzing the readers of untrusted input.

use std::path::{Path, PathBuf};
use std::{fs, iter};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};

use crate::run::{self, say};
use crate::workspace;

const NAME: &str = "cargo-fuzz";
const VERSION: &str = "0.13.2";
/// A program that is on every machine, small, and has all that the readers look at.
const PROGRAM: &str = "/usr/bin/true";
const TARGETS: [&str; 3] = ["eh_frame", "elf", "maps"];
/// One input may use no more of either: they are at most 64 KiB long.
const MOST_SECONDS: u32 = 10;
const MOST_MIB: u32 = 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to run each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Run these targets only: `eh_frame`, `elf`, `maps`
    targets: Vec<String>,
}

/// Runs each target; what it found before is where it goes on from.
///
/// # Errors
/// A target does not exist, does not build, or an input broke it: it is then kept in `artifacts/`.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(unknown) = args.targets.iter().find(|name| !TARGETS.contains(&name.as_str())) {
        bail!("no fuzz target `{unknown}`; there are {}", TARGETS.join(", "));
    }
    let program = find()?;
    let daemon = workspace::root().join("profiler-daemon");
    for target in TARGETS.iter().filter(|name| args.targets.is_empty() || args.targets.iter().any(|arg| arg == *name)) {
        let corpus = daemon.join("fuzz/corpus").join(target);
        seed(target, &corpus).with_context(|| format!("cannot fill {}", run::short(&corpus)))?;
        let mut fuzz = std::process::Command::new(&program);
        // Coverage needs flags that are not stable yet; no sanitizer, since the readers are safe code.
        fuzz.current_dir(&daemon).env("RUSTC_BOOTSTRAP", "1").args(["fuzz", "run", "--sanitizer", "none", target]);
        fuzz.arg("--").arg(format!("-max_total_time={}", args.seconds)).arg(format!("-timeout={MOST_SECONDS}"));
        fuzz.arg(format!("-rss_limit_mb={MOST_MIB}")).args(["-max_len=65536", "-print_final_stats=1"]);
        run::run(&mut fuzz)?;
    }
    Ok(())
}

/// An input that is right, to begin with.
fn seed(target: &str, corpus: &Path) -> Result<()> {
    fs::create_dir_all(corpus)?;
    let program = fs::read(PROGRAM).with_context(|| format!("cannot read {PROGRAM}"))?;
    let seed = match target {
        "eh_frame" => {
            let file = object::File::parse(&*program)?;
            let section = file.section_by_name(".eh_frame").context("no section .eh_frame")?;
            // The byte that chooses machine and section, see the target.
            [&[0], section.data()?].concat()
        }
        "elf" => program,
        _ => fs::read("/proc/self/maps")?,
    };
    Ok(fs::write(corpus.join("seed"), seed)?)
}

/// The program: of `PATH`, or of our tools, where it is built if need be.
fn find() -> Result<PathBuf> {
    let tools = workspace::target().join("tools");
    let built = tools.join("bin").join(NAME);
    if let Some(found) =
        run::find_in_path(NAME).into_iter().chain(iter::once(built.clone())).find(|file| file.is_file())
    {
        return Ok(found);
    }
    say(&format!("{NAME} is missing; building it in {}", run::short(&tools)));
    let mut cargo = run::cargo();
    cargo.args(["install", &format!("{NAME}@{VERSION}"), "--locked", "--root"]).arg(&tools);
    run::run(&mut cargo)?;
    Ok(built)
}
