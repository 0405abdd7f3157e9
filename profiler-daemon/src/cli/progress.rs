//! The progress line: on stderr, and only if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::model::text::printable;

/// A line that says how far the capture is. In a pipe it does nothing.
///
/// Dropping it removes the line, so an error message starts on a clean one.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    total: Option<Duration>,
}

impl Progress {
    /// Shows the line: `label` says what is being done, such as `profiling nginx (pid 42, 3 threads)`.
    /// Without a `duration` the capture ends when its target does, or by Ctrl-C.
    pub fn start(label: &str, duration: Option<Duration>) -> Progress {
        // indicatif hides the line by itself if stderr is no terminal.
        Progress::start_on(ProgressDrawTarget::stderr(), label, duration)
    }

    fn start_on(target: ProgressDrawTarget, label: &str, total: Option<Duration>) -> Progress {
        let bar = ProgressBar::with_draw_target(total.map(|total| total.as_millis() as u64), target);
        bar.set_style(style(total.is_some()));
        bar.set_prefix(short(&printable(label)));
        let progress = Progress { bar, total };
        progress.tick(Duration::ZERO);
        progress
    }

    /// Moves the line on; call it a few times a second.
    pub fn tick(&self, elapsed: Duration) {
        let position = self.total.map_or(elapsed, |total| elapsed.min(total));
        self.bar.set_message(message(position, self.total));
        self.bar.set_position(position.as_millis() as u64);
    }

    /// Removes the line.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A line that wraps cannot be drawn over, so a long label is cut.
fn short(label: &str) -> String {
    const LONGEST: usize = 52;
    if label.chars().count() <= LONGEST {
        return label.to_owned();
    }
    label.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn message(elapsed: Duration, total: Option<Duration>) -> String {
    let seconds = elapsed.as_secs_f64();
    match total {
        Some(total) => format!("{seconds:.1} s of {} s · Ctrl-C ends early", total.as_secs_f64()),
        None => format!("{seconds:.1} s · Ctrl-C ends it"),
    }
}

fn style(bounded: bool) -> ProgressStyle {
    let template = if bounded { "{prefix} ▕{bar:20}▏ {wide_msg}" } else { "{prefix} · {wide_msg}" };
    let style = ProgressStyle::with_template(template).expect("both templates are constant and tested");
    style.progress_chars("█▉▊▋▌▍▎▏ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is_and_how_to_end_it() {
        let seconds = Duration::from_secs_f64;
        assert_eq!(message(seconds(5.24), Some(seconds(10.0))), "5.2 s of 10 s · Ctrl-C ends early");
        assert_eq!(message(seconds(5.24), Some(seconds(2.5))), "5.2 s of 2.5 s · Ctrl-C ends early");
        assert_eq!(message(seconds(61.0), None), "61.0 s · Ctrl-C ends it");
    }

    #[test]
    fn a_long_label_is_cut() {
        assert_eq!(short("profiling x"), "profiling x");
        assert_eq!(short(&"x".repeat(80)).chars().count(), 52);
    }

    #[test]
    fn nothing_is_drawn_where_nobody_looks() {
        for total in [None, Some(Duration::from_secs(1))] {
            let progress = Progress::start_on(ProgressDrawTarget::hidden(), "profiling \x1b[2J", total);
            progress.tick(Duration::from_secs(5));
            assert!(progress.bar.is_hidden());
            assert_eq!(progress.bar.prefix(), "profiling \\u{1b}[2J");
            progress.finish();
        }
    }
}
