//! One file a format. Sinks get finished, symbolized windows and only encode: no sink aggregates
//! or symbolizes for itself.

pub mod diff;
mod error;
mod file;
mod flame_tree;
mod folded;
mod json;
pub mod otlp;
mod pprof;
pub mod report;
#[cfg(test)]
mod sample_window;
mod svg;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::model::Window;

pub use error::SinkError;
pub use json::schema as report_schema;

/// Takes finished windows somewhere: a file, a collector, a browser.
pub trait Sink: Send {
    /// Tries what `write` will need (folder writable, address answers); sends no data.
    ///
    /// # Errors
    /// What would make `write` fail now, before a capture is spent on it.
    fn check(&mut self) -> Result<(), SinkError>;

    /// Takes one window. The caller counts and logs an error and still offers the next
    /// window: a sink that is down never stops the capture.
    ///
    /// # Errors
    /// Why this window is not there. A file that existed before is then unchanged.
    fn write(&mut self, window: &Window) -> Result<Written, SinkError>;
}

/// What a sink wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// How a person opens it, such as `open it in a browser`.
    pub open_with: &'static str,
}

/// Which time flame graphs and folded stacks show as width. pprof and JSON hold all of them.
///
/// Idle waits count, below a root `[idle]` of their own: a click on a process in the flame graph, or
/// `grep -v '^\[idle\];'` on folded stacks, leaves what is not idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Clock {
    /// All of it: on-CPU, off-CPU, stolen, unseen.
    #[default]
    Wall,
    /// Time executed.
    Cpu,
    /// Run-queue wait and blocked.
    OffCpu,
}

/// One file format: a row of [`ALL`].
#[derive(Debug)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// What a person gets from it.
    pub about: &'static str,
    /// End of the file names that ask for it.
    pub suffix: &'static str,
    /// How a person opens it.
    pub open_with: &'static str,
    /// Writes one window.
    encode: fn(&Window, Clock, &mut dyn Write) -> io::Result<()>,
}

/// Every file format.
pub static ALL: [Format; 4] = [
    Format {
        name: "flame graph",
        about: "picture of where time went: width is time, colour is the state",
        suffix: ".svg",
        open_with: "open it in a browser",
        encode: svg::encode,
    },
    Format {
        name: "folded stacks",
        about: "one line a stack with its nanoseconds, for flamegraph.pl, speedscope and grep",
        suffix: ".folded",
        open_with: "open it with flamegraph.pl or speedscope",
        encode: folded::encode,
    },
    Format {
        name: "pprof profile",
        about: "all times by thread, stack and reason, for go tool pprof",
        suffix: ".pb.gz",
        open_with: "open it with `go tool pprof -http :`",
        encode: pprof::encode,
    },
    Format {
        name: "JSON report",
        about: "everything that the report says, for scripts",
        suffix: ".json",
        open_with: "read it with jq",
        encode: json::encode,
    },
];

/// The sink for a file, by the end of its name. Touches nothing yet.
///
/// # Errors
/// [`SinkError::UnknownFormat`] if no format ends like this.
pub fn open(path: &Path, clock: Clock) -> Result<Box<dyn Sink>, SinkError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let format = ALL.iter().find(|format| name.ends_with(format.suffix));
    let format = format.ok_or_else(|| SinkError::UnknownFormat { path: path.to_owned() })?;
    Ok(Box::new(file::FileSink { path: path.to_owned(), format, clock }))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_end_of_the_name_picks_the_format() {
        for name in ["a.svg", "a.folded", "x/y.z.pb.gz", "/dev/shm/report.json"] {
            assert!(open(Path::new(name), Clock::Wall).is_ok(), "{name}");
        }
        for name in ["a.gz", "svg", "a.svg.txt", "a", "", "/"] {
            assert!(open(Path::new(name), Clock::Wall).is_err(), "{name}");
        }
    }

    #[test]
    fn an_unknown_format_says_which_are_known() {
        let Err(error) = open(Path::new("out/wall\n.pdf"), Clock::Wall) else { panic!("no such format") };
        assert_eq!(error.to_string(), "cannot write `out/wall\\n.pdf`: no file format ends like this");
        assert_eq!(error.remedy().as_deref(), Some("end the name in .svg, .folded, .pb.gz or .json"));
    }
    /// An optimized build takes 100,000 of these in 0.2 to 0.5 s a format; what is not linear fails here.
    #[test]
    fn many_distinct_stacks_are_soon_written() {
        let window = sample_window::large(10_000);
        for format in &ALL {
            let start = Instant::now();
            (format.encode)(&window, Clock::Wall, &mut io::sink()).expect("nothing can fail here");
            assert!(start.elapsed().as_secs() < 5, "{}: {:?}", format.name, start.elapsed());
        }
    }
}
