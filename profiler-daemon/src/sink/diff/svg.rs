//! The differential flame graph, drawn by `inferno`: width is the time of the second side, red grew, blue shrank.

use std::io::{self, Write};

use inferno::flamegraph::{self, Direction, Options};

use super::Comparison;

/// Narrowest frame that is drawn, in percent of all.
const LEAST_PERCENT: f64 = 0.05;

pub(super) fn write(comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    let stacks = comparison.stacks.as_deref().unwrap_or_default();
    let lines: Vec<String> = stacks
        .iter()
        .filter(|(_, pair)| pair.before_ns + pair.after_ns > 0)
        .map(|(stack, pair)| format!("{stack} {} {}", pair.before_ns, pair.after_ns))
        .collect();
    let mut sorted: Vec<&str> = lines.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut options = Options::default();
    options.title = format!("{} → {}", comparison.before, comparison.after);
    options.subtitle = Some("width: time of the second; red: more than in the first, blue: less".to_owned());
    options.count_name = "ns".to_owned();
    options.direction = Direction::Inverted;
    options.min_width = LEAST_PERCENT;
    if sorted.is_empty() {
        // inferno draws no empty picture.
        sorted.push("[nothing] 0 1");
    }
    flamegraph::from_lines(&mut options, sorted, out)
}
