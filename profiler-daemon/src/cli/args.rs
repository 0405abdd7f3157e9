//! What can be typed: the arguments of every command, their help and their limits.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::CliError;
use super::value::{self, Output};

const ABOUT: &str = "Where did the wall-clock time go? An eBPF profiler for Linux";

const LONG_ABOUT: &str = "\
Where did the wall-clock time go?

profilerd watches running programs through eBPF and accounts for every moment of every thread: on a CPU, waiting for \
one, or blocked, and then by what. It needs root, or CAP_BPF and CAP_PERFMON, and changes nothing in the programs. \
It runs until --duration is over, until Ctrl-C, or until what it profiles has ended; then it prints a report and writes \
the files that were asked for.";

/// Shown at the end of `--help` and in the man page.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("sudo profilerd --pid 4242 --duration 10s", "where did ten seconds of process 4242 go?"),
    ("sudo profilerd --pid 4242 -o wall.svg", "until Ctrl-C, with a flame graph"),
    ("sudo profilerd --comm nginx --comm php-fpm -o all.json", "every process of these names"),
    ("sudo profilerd -o build.pb.gz -- make -j8", "start a command and profile all of it"),
    ("sudo profilerd --all --duration 30s", "the whole machine, one line a process"),
    ("sudo profilerd doctor", "what do this kernel and my rights allow?"),
    ("profilerd query --since 15:00 --until 15:05", "what happened at three? asks the store of `profilerd serve`"),
    ("profilerd explain stolen", "what does this word of the report mean?"),
];

/// Shown at the end of `--help` and in the man page.
pub(super) const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "the report was made"),
    ("1", "it was not, or a file could not be written; stderr says why"),
    ("2", "the arguments are wrong"),
];

/// Shown under the exit codes.
pub(super) const COMMAND_EXIT: &str = "With `-- COMMAND` the exit code is the command's own: its status, 128 plus the \
    signal's number if a signal ended it, 126 if it cannot be executed, 127 if it was not found.";

fn after_long_help() -> String {
    let mut text = String::from("Examples:\n");
    for (command, what) in EXAMPLES {
        text.push_str(&format!("  {command}\n      {what}\n"));
    }
    text.push_str("\nExit codes:\n");
    for (code, what) in EXIT_CODES {
        text.push_str(&format!("  {code}  {what}\n"));
    }
    text.push('\n');
    text.push_str(COMMAND_EXIT);
    text
}

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "profilerd",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = "Try `profilerd --help` for examples and exit codes, `profilerd explain` for the words of the report.",
    after_long_help = after_long_help(),
    override_usage = "profilerd <--pid N… | --comm NAME… | --cgroup PATH… | --all> [OPTIONS]\n       \
                      profilerd [OPTIONS] -- COMMAND [ARGS…]\n       \
                      profilerd query --since TIME [OPTIONS]\n       \
                      profilerd ls | diff | explain [TERM]\n       \
                      profilerd doctor [--pid N]",
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do instead of profiling.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Without a subcommand: profile.
    #[command(flatten)]
    pub record: RecordArgs,
}

/// Everything but profiling itself.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a word of the report means, how it is measured and what it leaves out
    Explain(ExplainArgs),
    /// Say what this kernel and these privileges allow
    ///
    /// The exit code is 0 only if the main job can run.
    Doctor(DoctorArgs),
    /// Profile the whole machine all the time, and keep what was seen
    ///
    /// Runs in the foreground until it is told to stop; systemd runs it as `profilerd.service`.
    Serve(ServeArgs),
    /// Check a configuration of the service and print what counts
    Config(ConfigArgs),
    /// Show a stored range as if it had just been captured
    Query(QueryArgs),
    /// Show what the store holds
    Ls(LsArgs),
    /// Compare two ranges, processes or files
    Diff(DiffArgs),
    /// Print the completion script for a shell
    #[command(after_help = "Example: profilerd completions bash > /etc/bash_completion.d/profilerd")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the man page
    #[command(hide = true)]
    Man,
}

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// A word of the report, such as `stolen` or `lock/futex`; without it, all of them
    pub term: Option<String>,
    /// Print the whole table as Markdown
    #[arg(long, hide = true, conflicts_with = "term")]
    pub markdown: bool,
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Also say what can be seen of this process
    #[arg(long, value_name = "N", value_parser = value::pid)]
    pub pid: Option<u32>,
}

/// Arguments of `serve`. What is given here comes before the environment, which comes before the file.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Read this configuration; without it, only the environment and the defaults count
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Keep windows in this folder
    #[arg(long, value_name = "DIR")]
    pub store: Option<String>,
    /// Send windows to this OpenTelemetry collector; may be repeated
    #[arg(long, value_name = "URL")]
    pub otlp: Vec<String>,
    /// Show metrics for Prometheus at this address, such as `127.0.0.1:9464`
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
}

/// Arguments of `config`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// Read this file; without it, only the environment and the defaults count
    ///
    /// The exit code is 0 only if nothing is wrong with it. Each mistake is told with its line and column.
    #[arg(long, value_name = "FILE")]
    pub check: Option<PathBuf>,
}

/// Arguments of the main job: watch, then report.
#[derive(Args, Debug)]
#[group(id = "record")]
#[command(group = clap::ArgGroup::new("target").multiple(false))]
pub struct RecordArgs {
    /// Profile this process; may be repeated
    #[arg(long, short, value_name = "N", group = "target", help_heading = WHAT, value_parser = value::pid)]
    pub pid: Vec<u32>,
    /// Profile every process of this name, as `ps -o comm` shows it; may be repeated
    #[arg(long, value_name = "NAME", group = "target", help_heading = WHAT, value_parser = value::comm)]
    pub comm: Vec<String>,
    /// Profile everything in this cgroup (v2), given as its folder; may be repeated
    #[arg(long, value_name = "PATH", group = "target", help_heading = WHAT)]
    pub cgroup: Vec<PathBuf>,
    /// Profile every process of this machine
    #[arg(long, group = "target", help_heading = WHAT)]
    pub all: bool,
    /// With --pid: also the children that these processes have already
    ///
    /// Children that are born during the capture are always followed.
    #[arg(long, help_heading = WHAT, requires = "pid",
          conflicts_with_all = ["comm", "cgroup", "all", "command_line"])]
    pub tree: bool,
    /// Start this command and profile it from its first instruction; under sudo it runs as the invoking user
    #[arg(last = true, value_name = "COMMAND", group = "target", help_heading = WHAT)]
    pub command_line: Vec<OsString>,

    /// Stop after this time: `10s`, `2m`, `1m30s` or plain seconds
    #[arg(long, short, value_name = "TIME", help_heading = HOW, value_parser = value::duration)]
    pub duration: Option<Duration>,
    /// CPU samples a second on each CPU, 1 to 10000; waits are measured exactly at any rate
    #[arg(long, short, value_name = "HZ", default_value_t = 99, help_heading = HOW,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Keep single waits of at least this length: `1ms`, `500us`
    ///
    /// All waits are in the sums whatever their length; this bounds only the list of single ones.
    #[arg(long, value_name = "TIME", default_value = "1ms", help_heading = HOW, value_parser = value::wait)]
    pub min_wait: Duration,
    /// Walk every stack that the memo recognises as well, and count differences
    #[arg(long, hide = true)]
    pub verify_memo: bool,
    /// Walk the stack of every wait that the memo does not recognise, whatever that costs
    #[arg(long, hide = true)]
    pub walk_all: bool,
    /// Walk by frame pointers alone beside each on-CPU sample, and report how that ends
    #[arg(long, hide = true)]
    pub compare_walks: bool,
    /// Keep thread state in a hash, as on kernels before 5.11
    #[arg(long, hide = true)]
    pub hashed_threads: bool,
    /// Most kernel memory for unwind tables: `16MiB`
    #[arg(long, hide = true, value_name = "SIZE", value_parser = value::mebibytes)]
    pub tables_memory: Option<u64>,

    /// What comes of it.
    #[command(flatten)]
    pub out: OutputArgs,
}

/// What becomes of a window: the report and files.
#[derive(Args, Debug)]
pub struct OutputArgs {
    /// Write a file; its ending says what: .svg (flame graph), .folded, .pb.gz (pprof), .json; may be repeated
    #[arg(long, short, value_name = "NAME", help_heading = OUT, value_parser = value::output)]
    pub output: Vec<Output>,
    /// Which time is the width of a flame graph and the weight of folded stacks
    #[arg(long, value_enum, default_value_t = Clock::Wall, help_heading = OUT)]
    pub clock: Clock,
    /// Report every thread on a line of its own
    #[arg(long, help_heading = OUT)]
    pub threads: bool,
    /// Report whole stacks: every frame, and kernel frames too
    #[arg(long, help_heading = OUT)]
    pub full: bool,
    /// How many gaps, functions and processes the report lists
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = OUT, value_parser = value::count)]
    pub top: usize,
    /// When to colour the report
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Color::Auto, help_heading = OUT)]
    pub color: Color,
    /// No report on the terminal, only files
    #[arg(long, short, requires = "output", help_heading = OUT)]
    pub quiet: bool,
}

/// Where the store is.
#[derive(Args, Debug)]
pub struct StoreArgs {
    /// Directory of the store
    #[arg(long, value_name = "DIR", default_value = "/var/lib/profilerd", help_heading = STORE)]
    pub store: PathBuf,
}

/// Arguments of `query`.
#[derive(Args, Debug)]
#[command(after_help = RANGES)]
pub struct QueryArgs {
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
    /// From this instant on: `15:00`, `10m ago`, `yesterday 9:30`
    #[arg(long, value_name = "TIME", help_heading = STORE)]
    pub since: String,
    /// Up to this instant
    #[arg(long, value_name = "TIME", default_value = "now", help_heading = STORE)]
    pub until: String,
    /// Only this process; may be repeated, as all of these
    #[arg(long, short, value_name = "N", help_heading = ONLY, value_parser = value::pid)]
    pub pid: Vec<u32>,
    /// Only processes of this name, as `ps -o comm` shows it
    #[arg(long, value_name = "NAME", help_heading = ONLY, value_parser = value::comm)]
    pub comm: Vec<String>,
    /// Only processes of this systemd unit
    #[arg(long, value_name = "UNIT", help_heading = ONLY)]
    pub unit: Vec<String>,
    /// Only processes of this container: its id or the start of it
    #[arg(long, value_name = "ID", help_heading = ONLY)]
    pub container: Vec<String>,
    /// Only processes of this service, as `profilerd ls` shows it
    #[arg(long, value_name = "NAME", help_heading = ONLY)]
    pub service: Vec<String>,
    /// What comes of it.
    #[command(flatten)]
    pub out: OutputArgs,
}

/// Arguments of `ls`.
#[derive(Args, Debug)]
#[command(after_help = RANGES)]
pub struct LsArgs {
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
    /// From this instant on; without it, from the start
    #[arg(long, value_name = "TIME", help_heading = STORE)]
    pub since: Option<String>,
    /// Up to this instant
    #[arg(long, value_name = "TIME", default_value = "now", help_heading = STORE)]
    pub until: String,
}

/// Arguments of `diff`.
#[derive(Args, Debug)]
#[command(after_help = DIFF_SIDES)]
pub struct DiffArgs {
    /// What it is compared with: `SINCE..UNTIL`, one process of it as `SINCE..UNTIL@NAME`, or a file
    pub before: String,
    /// What is compared
    pub after: String,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
    /// Write the differential flame graph (.svg), or stacks with both times (.folded)
    #[arg(long, short, value_name = "NAME", help_heading = OUT, value_parser = value::differential)]
    pub output: Option<PathBuf>,
    /// Which time is compared in the flame graph and the stacks
    #[arg(long, value_enum, default_value_t = Clock::Wall, help_heading = OUT)]
    pub clock: Clock,
    /// How many functions and gaps the report lists
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = OUT, value_parser = value::count)]
    pub top: usize,
}

const STORE: &str = "Which time";
const ONLY: &str = "Only some of it (of one kind any, of several kinds all must match)";
const RANGES: &str = "Times are local: `15:00`, `15:00:30`, `yesterday 9:30`, `2026-03-14 15:00`, `10m ago`, `now`; \
    or with an offset, as RFC 3339: `2026-03-14T15:00:00Z`. A window of the store is shown whole or not at all.";
const DIFF_SIDES: &str = "\
A side is a range of the store, `14:00..14:05` or `10m ago..5m ago`; one process of it by name or pid, \
`14:00..14:05@nginx`; or a .folded or .json file that profilerd wrote.

Examples:
  profilerd diff 14:00..14:05 15:00..15:05 -o diff.svg
  profilerd diff 15:00..15:05@4242 15:00..15:05@4243
  profilerd diff before.folded after.folded";

const WHAT: &str = "What to profile (exactly one kind)";
const HOW: &str = "How";
const OUT: &str = "Output";

/// Which time weighs a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Clock {
    /// All time: on-CPU, waiting for a CPU and blocked
    Wall,
    /// Time on CPU
    Cpu,
    /// Time off CPU
    OffCpu,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to profile: exactly one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// These processes and all children born from now on.
    Pids {
        /// Process ids, each once, in the order given.
        pids: Vec<u32>,
        /// Whether their present children count too.
        tree: bool,
    },
    /// Every process of one of these names.
    Comms(Vec<String>),
    /// Everything in one of these cgroup folders.
    Cgroups(Vec<PathBuf>),
    /// Every process.
    All,
    /// A command that profilerd starts itself: program and arguments.
    Command(Vec<OsString>),
}

impl RecordArgs {
    /// What is to be profiled.
    ///
    /// # Errors
    /// A usage error if nothing was named. Two kinds at once are refused while parsing.
    pub fn target(&self) -> Result<Target, CliError> {
        if !self.pid.is_empty() {
            let mut pids = Vec::new();
            for pid in &self.pid {
                if !pids.contains(pid) {
                    pids.push(*pid);
                }
            }
            return Ok(Target::Pids { pids, tree: self.tree });
        }
        if !self.comm.is_empty() {
            return Ok(Target::Comms(self.comm.clone()));
        }
        if !self.cgroup.is_empty() {
            return Ok(Target::Cgroups(self.cgroup.clone()));
        }
        if self.all {
            return Ok(Target::All);
        }
        if !self.command_line.is_empty() {
            return Ok(Target::Command(self.command_line.clone()));
        }
        Err(CliError::usage("nothing to profile was named")
            .remedy("`profilerd --pid N`, `--comm NAME`, `--cgroup PATH`, `--all`, or `profilerd -- COMMAND`"))
    }
}

impl OutputArgs {
    /// What parsing alone cannot see: the same file named twice.
    ///
    /// # Errors
    /// A usage error that names it.
    pub fn check(&self) -> Result<(), CliError> {
        for (index, output) in self.output.iter().enumerate() {
            if self.output[..index].iter().any(|earlier| earlier.path == output.path) {
                return Err(CliError::usage(format!("output `{}` is named twice", output.path.display())));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("profilerd").chain(line.split_whitespace()))
    }

    fn target(line: &str) -> Target {
        parse(line).unwrap().record.target().unwrap()
    }

    /// What clap says, without its usage lines.
    fn refusal(line: &str) -> String {
        parse(line).unwrap_err().to_string().lines().next().unwrap().to_owned()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_kind_of_target_is_understood() {
        assert_eq!(target("--pid 7 -p 9 --pid 7"), Target::Pids { pids: vec![7, 9], tree: false });
        assert_eq!(target("--pid 7 --tree"), Target::Pids { pids: vec![7], tree: true });
        assert_eq!(target("--comm nginx"), Target::Comms(vec!["nginx".into()]));
        assert_eq!(target("--cgroup /sys/fs/cgroup/a"), Target::Cgroups(vec!["/sys/fs/cgroup/a".into()]));
        assert_eq!(target("--all"), Target::All);
        assert_eq!(
            target("--duration 3 -- ls --all -o x"),
            Target::Command(["ls", "--all", "-o", "x"].map(OsString::from).to_vec())
        );
    }

    #[test]
    fn two_kinds_at_once_are_refused() {
        assert_eq!(refusal("--pid 1 --comm x"), "error: the argument '--pid <N>' cannot be used with '--comm <NAME>'");
        assert_eq!(refusal("--all -- ls"), "error: the argument '--all' cannot be used with '[COMMAND]...'");
        assert!(parse("--comm x --tree").is_err());
    }

    #[test]
    fn no_target_says_how_to_name_one() {
        let error = parse("--duration 10s").unwrap().record.target().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(
            error.to_string(),
            "error: nothing to profile was named\n  \
               try: `profilerd --pid N`, `--comm NAME`, `--cgroup PATH`, `--all`, or `profilerd -- COMMAND`\n"
        );
    }

    #[test]
    fn the_same_output_twice_is_refused() {
        assert!(parse("--all -o a.svg -o a.json").unwrap().record.out.check().is_ok());
        assert!(parse("--all -o a.svg -o a.svg").unwrap().record.out.check().is_err());
    }

    #[test]
    fn limits_are_told() {
        assert_eq!(
            refusal("--all --rate 20000"),
            "error: invalid value '20000' for '--rate <HZ>': 20000 is not in 1..=10000"
        );
        assert_eq!(refusal("--pid 0"), "error: invalid value '0' for '--pid <N>': a process id is a number from 1 up");
        assert!(parse("--all --quiet").is_err(), "quiet without a file would do nothing");
    }

    #[test]
    fn help_names_examples_and_exit_codes() {
        let help = Cli::command().render_long_help().to_string();
        for needle in ["Examples:", "Exit codes:", "-- make -j8", "127 if it was not found", "[default: 99]"] {
            assert!(help.contains(needle), "{needle}\n{help}");
        }
        assert!(!help.contains("verify-memo"), "{help}");
        assert!(!help.contains("tables-memory"), "{help}");
    }
}
