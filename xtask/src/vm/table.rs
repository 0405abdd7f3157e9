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

/// What a guest said of one test.
pub(super) fn part<'a>(said: &'a str, name: &str) -> &'a str {
    let rest = said.split_once(&format!("BEGIN {name}\n")).map_or("", |(_, rest)| rest);
    rest.split_once(&format!("END {name} ")).map_or(rest, |(part, _)| part)
}

/// The table, and below it the sum in words.
pub(super) fn render(outcomes: &[Outcome]) -> String {
    let release = |outcome: &Outcome| match &outcome.release {
        Ok(release) => release.clone(),
        Err(why) => why.clone(),
    };
    let width = outcomes.iter().map(|outcome| release(outcome).chars().count()).max().unwrap_or(0).max(7);
    let mut text = format!("{:7}  {:width$}", "kernel", "release");
    COLUMNS.iter().for_each(|column| text.push_str(&format!("  {}", column.name)));
    text.push_str("      s\n");
    for outcome in outcomes {
        text.push_str(&format!("{:7}  {:width$}", outcome.name, release(outcome)));
        for (column, verdict) in COLUMNS.iter().zip(&outcome.verdicts) {
            let word = match verdict {
                Verdict::Passed => "ok",
                Verdict::PassedAgain => "ok/2",
                Verdict::Failed => "FAIL",
                Verdict::NotRun => "-",
                Verdict::Left => "",
            };
            text.push_str(&format!("  {word:<width$}", width = column.name.len()));
        }
        text.push_str(&format!("  {:5.0}", outcome.took.as_secs_f64()));
        if outcome.candidate {
            text.push_str("  a release candidate: told, not counted");
        }
        text.push('\n');
    }
    let (passed, failed) = sums(outcomes);
    let again = outcomes.iter().flat_map(|outcome| &outcome.verdicts).filter(|it| **it == Verdict::PassedAgain).count();
    if again > 0 {
        text.push_str(&format!("\nok/2: passed at the second try only, {again} of them\n"));
    }
    text.push_str(&format!("\n{passed} passed, {failed} failed\n"));
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

    const SAID: &str =
        "RELEASE 6.1.0\nBEGIN load\nhello\nEND load 0\nBEGIN doctor\nno\nEND doctor 101\nBEGIN ledger\nhalf";

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
                said: String::new(),
                took: Duration::from_secs(9),
            }
        };
        let outcomes = [outcome(false, Ok("6.1.0")), outcome(true, Ok("7.3")), outcome(false, Err("not fetched"))];
        let tried = COLUMNS.iter().filter(|column| column.is_for(&ROWS[1])).count();
        assert_eq!(sums(&outcomes), (1, tried - 1));
        assert_eq!(ran(&outcomes), 2);
        let text = render(&outcomes);
        assert!(text.contains("6.1      6.1.0        ok    FAIL    -"), "{text}");
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
        assert_eq!(left, 2, "neither faults nor rights");
        let release = Ok("6.1".to_owned());
        let outcome =
            Outcome { name: "6.1", candidate: false, release, verdicts, said: String::new(), took: Duration::ZERO };
        assert_eq!(sums(&[outcome]), (1, COLUMNS.len() - 1 - left));
    }
}
