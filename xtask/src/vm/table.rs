//! What the guests said, as a table of kernels and tests.

use std::time::Duration;

use super::catalog::Row;
use super::suite::{COLUMNS, Column};

/// What became of one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// At the second try, which the table says.
    PassedAgain,
    Failed,
    /// The guest died before or in it.
    NotRun,
    /// It is not tried on this kernel.
    Left,
}

/// What became of one kernel.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    /// A release candidate: told, and not counted.
    pub(super) candidate: bool,
    /// What the guest called itself, or why there was none.
    pub(super) release: Result<String, String>,
    pub(super) verdicts: Vec<Verdict>,
    /// The guest's words.
    pub(super) said: String,
    pub(super) took: Duration,
}

/// Reads the words of a row's guest: the verdict of each column. The release is `None` if it died before it said anything.
pub(super) fn read(row: &Row, said: &str) -> (Option<String>, Vec<Verdict>) {
    let release = said.lines().find_map(|line| line.strip_prefix("RELEASE ")).map(str::to_owned);
    let of = |name: &str| {
        let end = said.lines().filter_map(|line| line.strip_prefix("END ")).find_map(|end| {
            let (of, status) = end.split_once(' ')?;
            (of == name).then_some(status)
        });
        let is_again = said.lines().any(|line| line.strip_prefix("AGAIN ") == Some(name));
        match end {
            Some("0") if is_again => Verdict::PassedAgain,
            Some("0") => Verdict::Passed,
            Some(_) => Verdict::Failed,
            None => Verdict::NotRun,
        }
    };
    let verdict = |column: &Column| if column.is_for(row) { of(column.name) } else { Verdict::Left };
    (release, COLUMNS.iter().map(verdict).collect())
}

/// How long the guest took to boot, and for each column, in its own seconds; `None` for what it did not come to the end of.
fn times(said: &str) -> (Option<f64>, Vec<Option<f64>>) {
    let (mut boot, mut columns) = (None, vec![None; COLUMNS.len()]);
    // What the next time is the end of, and the last one.
    let (mut ended, mut before) = (&mut boot, 0.0);
    for line in said.lines() {
        if let Some(end) = line.strip_prefix("END ") {
            let name = end.split(' ').next();
            let Some(index) = COLUMNS.iter().position(|column| Some(column.name) == name) else { continue };
            ended = &mut columns[index];
        } else if let Some(now) = line.strip_prefix("AT ").and_then(|seconds| seconds.parse::<f64>().ok()) {
            *ended = Some(now - before);
            before = now;
        }
    }
    (boot, columns)
}

/// What a guest said of one test.
pub(super) fn part<'a>(said: &'a str, name: &str) -> &'a str {
    let rest = said.split_once(&format!("BEGIN {name}\n")).map_or("", |(_, rest)| rest);
    rest.split_once(&format!("END {name} ")).map_or(rest, |(part, _)| part)
}

/// The table, with the seconds that each took, and below it the sum in words.
pub(super) fn render(outcomes: &[Outcome]) -> String {
    let release = |outcome: &Outcome| match &outcome.release {
        Ok(release) => release.clone(),
        Err(why) => why.clone(),
    };
    let mut lines = vec![vec!["kernel".to_owned(), "release".to_owned(), "boot".to_owned()]];
    lines[0].extend(COLUMNS.iter().map(|column| column.name.to_owned()));
    lines[0].push("s".to_owned());
    for outcome in outcomes {
        let (boot, columns) = times(&outcome.said);
        let seconds = |time: Option<f64>| time.map_or(String::new(), |time| format!("{time:.0}"));
        let mut line = vec![outcome.name.to_owned(), release(outcome), seconds(boot)];
        for (verdict, time) in outcome.verdicts.iter().zip(columns) {
            let word = match verdict {
                Verdict::Passed => "ok",
                Verdict::PassedAgain => "ok/2",
                Verdict::Failed => "FAIL",
                Verdict::NotRun => "-",
                Verdict::Left => "",
            };
            line.push(format!("{word} {}", seconds(time)).trim_end().to_owned());
        }
        line.push(format!("{:.0}", outcome.took.as_secs_f64()));
        if outcome.candidate {
            line.push("a release candidate: told, not counted".to_owned());
        }
        lines.push(line);
    }
    let mut text = aligned(&lines);
    let (passed, failed) = sums(outcomes);
    let again = outcomes.iter().flat_map(|outcome| &outcome.verdicts).filter(|it| **it == Verdict::PassedAgain).count();
    if again > 0 {
        text.push_str(&format!("\nok/2: passed at the second try only, {again} of them\n"));
    }
    text.push_str(&format!("\n{passed} passed, {failed} failed\n"));
    text
}

/// Lines of cells, each below that of the line before.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| lines.iter().filter_map(|line: &Vec<String>| Some(line.get(column)?.chars().count())).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// What guests said of faults, as a table: what was expected of each, and what came. Empty if there were none.
pub(super) fn faults(outcomes: &[Outcome]) -> String {
    let mut rows = Vec::new();
    for outcome in outcomes {
        for line in outcome.said.lines().filter_map(|line| line.split_once("FAULT\t").map(|(_, line)| line)) {
            rows.push((outcome.name, line.split('\t').collect::<Vec<_>>()));
        }
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|(_, row)| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (fault, expected) = (width(0), width(1));
    let mut text = String::new();
    for (kernel, row) in &rows {
        if let [name, wanted, measured, verdict] = row[..] {
            text.push_str(&format!("{kernel:7}  {name:fault$}  {wanted:expected$}  {verdict:5}  {measured}\n"));
        }
    }
    text
}

/// Tests that passed and failed, of kernels that are released. One that did not run has failed.
pub(super) fn sums(outcomes: &[Outcome]) -> (usize, usize) {
    let counted = outcomes.iter().filter(|outcome| !outcome.candidate && outcome.release.is_ok());
    let verdicts: Vec<_> = counted.flat_map(|outcome| &outcome.verdicts).collect();
    let count = |of: Verdict| verdicts.iter().filter(|verdict| ***verdict == of).count();
    (count(Verdict::Passed) + count(Verdict::PassedAgain), count(Verdict::Failed) + count(Verdict::NotRun))
}

/// Kernels that ran at all.
pub(super) fn ran(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| outcome.release.is_ok()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::catalog::ROWS;

    const SAID: &str = "RELEASE 6.1.0\nAT 5.01\nBEGIN load\nhello\nEND load 0\nAT 9.04\nBEGIN doctor\nno\nEND doctor 101\nAT 10.00\nBEGIN ledger\nhalf";

    #[test]
    fn a_guest_that_dies_has_run_what_it_ended() {
        let (release, verdicts) = read(&ROWS[0], SAID);
        assert_eq!(release.as_deref(), Some("6.1.0"));
        assert_eq!(verdicts[..3], [Verdict::Passed, Verdict::Failed, Verdict::NotRun]);
        assert_eq!(part(SAID, "load"), "hello\n");
        assert_eq!(part(SAID, "ledger"), "half");
        assert_eq!(read(&ROWS[0], "").0, None);
    }

    #[test]
    fn what_passes_at_the_second_try_is_told_so() {
        let said = "RELEASE 6.1.0\nBEGIN load\nlate\nAGAIN load\nEND load 0\nBEGIN doctor\nno\nAGAIN doctor\nno\nEND doctor 101";
        assert_eq!(read(&ROWS[0], said).1[..2], [Verdict::PassedAgain, Verdict::Failed]);
    }

    #[test]
    fn what_did_not_run_has_failed_and_candidates_do_not_count() {
        let outcome = |candidate, release: Result<&str, &str>| {
            let release = release.map(str::to_owned).map_err(str::to_owned);
            Outcome {
                name: "6.1",
                candidate,
                release,
                verdicts: read(&ROWS[1], SAID).1,
                said: SAID.to_owned(),
                took: Duration::from_secs(9),
            }
        };
        let outcomes = [outcome(false, Ok("6.1.0")), outcome(true, Ok("7.3")), outcome(false, Err("not fetched"))];
        let tried = COLUMNS.iter().filter(|column| column.is_for(&ROWS[1])).count();
        assert_eq!(sums(&outcomes), (1, tried - 1));
        assert_eq!(ran(&outcomes), 2);
        let text = render(&outcomes);
        assert!(text.contains("6.1     6.1.0        5     ok 4  FAIL 1  -       -"), "{text}");
        assert!(text.ends_with(&format!("1 passed, {} failed\n", tried - 1)), "{text}");
    }

    #[test]
    fn faults_are_told_by_kernel() {
        // The harness writes the name of a test before its first line.
        let said =
            "BEGIN faults\ntest a ... FAULT\tslow disk\t20 ms\t20.1 ms\tok\nFAULT\toom\tends\thangs\tWRONG\nmore\n";
        let outcome = Outcome {
            name: "6.1",
            candidate: false,
            release: Ok(String::new()),
            verdicts: Vec::new(),
            said: said.to_owned(),
            took: Duration::ZERO,
        };
        let table = faults(&[outcome]);
        assert_eq!(table, "6.1      slow disk  20 ms  ok     20.1 ms\n6.1      oom        ends   WRONG  hangs\n");
    }

    #[test]
    fn what_is_not_tried_on_a_kernel_is_no_failure() {
        let (_, verdicts) = read(&ROWS[1], SAID);
        let left = verdicts.iter().filter(|verdict| **verdict == Verdict::Left).count();
        assert_eq!(left, 5, "neither stacks nor shares nor throttling nor faults nor rights");
        let release = Ok("6.1".to_owned());
        let outcome =
            Outcome { name: "6.1", candidate: false, release, verdicts, said: String::new(), took: Duration::ZERO };
        assert_eq!(sums(&[outcome]), (1, COLUMNS.len() - 1 - left));
    }
}
