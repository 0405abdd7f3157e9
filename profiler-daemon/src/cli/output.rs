//! What becomes of a window: files and the report.

use std::path::PathBuf;

use super::{CliError, Clock, OutputArgs, terminal};
use crate::model::Window;
use crate::sink::{self, Sink, report};

/// Every file is tried before the capture, not after.
pub(super) fn open(args: &OutputArgs) -> Result<Vec<Box<dyn Sink>>, CliError> {
    let clock = clock(args.clock);
    let mut sinks = Vec::new();
    for output in &args.output {
        let mut sink = sink::open(&output.path, clock).map_err(sink_error)?;
        sink.check().map_err(sink_error)?;
        sinks.push(sink);
    }
    Ok(sinks)
}

/// The clock that sinks know by this argument.
pub(super) fn clock(clock: Clock) -> sink::Clock {
    match clock {
        Clock::Wall => sink::Clock::Wall,
        Clock::Cpu => sink::Clock::Cpu,
        Clock::OffCpu => sink::Clock::OffCpu,
    }
}

/// Files first, so that the report can say what was written; a file that fails costs neither the
/// others nor the report.
pub(super) fn write(args: &OutputArgs, window: &Window, sinks: &mut [Box<dyn Sink>]) -> Result<(), CliError> {
    let mut written: Vec<(PathBuf, &str)> = Vec::new();
    let mut failed = None;
    for sink in sinks {
        match sink.write(window) {
            Ok(file) => written.push((file.path, file.open_with)),
            Err(error) => {
                let error = sink_error(error);
                if let Some(earlier) = failed.replace(error) {
                    eprint!("{earlier}");
                }
            }
        }
    }
    if !args.quiet {
        let options = terminal::report_options(args);
        let printed = super::print(|out| report::write(window, &written, &options, out));
        match (printed, &failed) {
            // Two failures: that of the report is told here, and that of the file decides.
            (Err(error), Some(_)) if !error.is_broken_pipe() => eprint!("{error}"),
            (Err(error), None) => return Err(error),
            _ => {}
        }
    }
    failed.map_or(Ok(()), Err)
}

pub(super) fn sink_error(error: sink::SinkError) -> CliError {
    let remedy = error.remedy();
    CliError::new(error).maybe_remedy(remedy)
}
