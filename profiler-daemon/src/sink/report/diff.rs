//! The differential report: where time went in both, and what changed most.

use std::io::{self, Write};

use super::units::{signed_time, time};
use crate::sink::diff::{Comparison, Pair};

/// Columns of a name; longer ones are cut in the middle, since both ends say something.
const NAME: usize = 60;

/// Writes the report of a comparison with at most `top` rows a table.
///
/// # Errors
/// Those of `out`.
pub fn write_diff(comparison: &Comparison, top: usize, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "before  {}\nafter   {}", comparison.before, comparison.after)?;
    if comparison.scale != 1.0 {
        writeln!(out, "the times of the second are multiplied by {:.3}, to the length of the first", comparison.scale)?;
    }
    let states = comparison.states.iter().map(|(state, pair)| (state.clone(), *pair));
    table("where time went (idle waits left out)", states.collect(), usize::MAX, out)?;
    let functions = comparison.functions.iter().map(|(name, pair)| (name.clone(), *pair));
    table("functions by time on CPU of their own", functions.collect(), top, out)?;
    let gaps = comparison.gaps.iter().map(|((state, place), pair)| (format!("[{state}] {place}"), *pair));
    table("off-CPU places", gaps.collect(), top, out)
}

fn table(title: &str, rows: Vec<(String, Pair)>, top: usize, out: &mut dyn Write) -> io::Result<()> {
    let changed = rows.iter().filter(|(_, pair)| pair.change_ns() != 0).count();
    let rows: Vec<_> = rows.into_iter().filter(|(_, pair)| *pair != Pair::default()).take(top).collect();
    writeln!(out, "\n{title:<NAME$}  {:>10}  {:>10}  {:>11}  {:>9}", "before", "after", "change", "")?;
    if rows.is_empty() {
        return writeln!(out, "nothing");
    }
    for (name, pair) in &rows {
        let (before, after) = (time(pair.before_ns), time(pair.after_ns));
        let percent = match pair.percent() {
            _ if pair.after_ns == 0 => "gone".to_owned(),
            None => "new".to_owned(),
            Some(percent) => format!("{percent:+.1} %").replace('-', "−"),
        };
        let change = signed_time(pair.change_ns());
        writeln!(out, "{:<NAME$}  {before:>10}  {after:>10}  {change:>11}  {percent:>9}", shortened(name))?;
    }
    if changed > rows.len() {
        writeln!(out, "({} more changed; --top shows them)", changed - rows.len())?;
    }
    Ok(())
}

fn shortened(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= NAME {
        return name.to_owned();
    }
    let half = NAME / 2;
    chars[..half].iter().chain(&['…']).chain(&chars[chars.len() - half + 1..]).collect()
}
