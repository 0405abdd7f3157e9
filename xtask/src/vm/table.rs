//! What the guests said, as a table of kernels and tests.

use std::time::Duration;

use super::suite::COLUMNS;

/// What became of one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    Failed,
    /// The guest died before or in it.
    NotRun,
}

/// What became of one kernel.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    /// A release candidate: told, and not counted.
    pub(super) candidate: bool,
    /// What the guest called itself, or why there was none.
    pub(super) release: Result<String, String>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) took: Duration,
}

/// Reads a guest's words: the verdict of each column. The release is `None` if it died before it said anything.
pub(super) fn read(said: &str) -> (Option<String>, Vec<Verdict>) {
    let release = said.lines().find_map(|line| line.strip_prefix("RELEASE ")).map(str::to_owned);
    let of = |name: &str| {
        let end = said.lines().filter_map(|line| line.strip_prefix("END ")).find_map(|end| {
            let (of, status) = end.split_once(' ')?;
            (of == name).then_some(status)
        });
        match end {
            Some("0") => Verdict::Passed,
            Some(_) => Verdict::Failed,
            None => Verdict::NotRun,
        }
    };
    (release, COLUMNS.iter().map(|column| of(column.name)).collect())
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
                Verdict::Failed => "FAIL",
                Verdict::NotRun => "-",
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
    text.push_str(&format!("\n{passed} passed, {failed} failed\n"));
    text
}

/// Tests that passed and failed, of kernels that are released. One that did not run has failed.
pub(super) fn sums(outcomes: &[Outcome]) -> (usize, usize) {
    let counted = outcomes.iter().filter(|outcome| !outcome.candidate && outcome.release.is_ok());
    let verdicts: Vec<_> = counted.flat_map(|outcome| &outcome.verdicts).collect();
    let passed = verdicts.iter().filter(|verdict| ***verdict == Verdict::Passed).count();
    (passed, verdicts.len() - passed)
}

/// Kernels that ran at all.
pub(super) fn ran(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| outcome.release.is_ok()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str =
        "RELEASE 6.1.0\nBEGIN load\nhello\nEND load 0\nBEGIN doctor\nno\nEND doctor 101\nBEGIN ledger\nhalf";

    #[test]
    fn a_guest_that_dies_has_run_what_it_ended() {
        let (release, verdicts) = read(SAID);
        assert_eq!(release.as_deref(), Some("6.1.0"));
        assert_eq!(verdicts[..3], [Verdict::Passed, Verdict::Failed, Verdict::NotRun]);
        assert_eq!(part(SAID, "load"), "hello\n");
        assert_eq!(part(SAID, "ledger"), "half");
        assert_eq!(read("").0, None);
    }

    #[test]
    fn what_did_not_run_has_failed_and_candidates_do_not_count() {
        let outcome = |candidate, release: Result<&str, &str>| {
            let release = release.map(str::to_owned).map_err(str::to_owned);
            Outcome { name: "6.1", candidate, release, verdicts: read(SAID).1, took: Duration::from_secs(9) }
        };
        let outcomes = [outcome(false, Ok("6.1.0")), outcome(true, Ok("7.3")), outcome(false, Err("not fetched"))];
        assert_eq!(sums(&outcomes), (1, COLUMNS.len() - 1));
        assert_eq!(ran(&outcomes), 2);
        let text = render(&outcomes);
        assert!(text.contains("6.1      6.1.0        ok    FAIL    -"), "{text}");
        assert!(text.ends_with(&format!("1 passed, {} failed\n", COLUMNS.len() - 1)), "{text}");
    }
}
