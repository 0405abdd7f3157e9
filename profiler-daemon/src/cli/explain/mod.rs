//! `profilerd explain`: what the words of the report mean.

mod terms;

use std::process::ExitCode;

use super::args::{Color, ExplainArgs};
use super::{CliError, terminal};
use crate::model::nearest::edits;
use crate::model::text::printable;
use terms::{Group, TERMS, Term};
use unicode_width::UnicodeWidthStr;

/// Texts read best at about this many columns.
const READABLE_COLUMNS: usize = 100;

/// Prints one term, or all of them.
///
/// # Errors
/// A usage error for an unknown term, with the nearest ones as remedy.
pub(super) fn run(args: &ExplainArgs) -> Result<ExitCode, CliError> {
    let width = terminal::columns().min(READABLE_COLUMNS);
    let color = terminal::stdout_colors(Color::Auto);
    let text = match &args.term {
        _ if args.markdown => markdown(),
        None => list(width, color),
        Some(word) => match find(word) {
            Some(term) => one(term, width, color),
            None => return Err(unknown(word)),
        },
    };
    super::print(|out| {
        out.extend_from_slice(text.as_bytes());
        Ok(())
    })
}

/// Case, spaces, `-` and `_` do not matter: `Run_Queue` is `run-queue`.
fn normal(word: &str) -> String {
    word.to_lowercase().chars().map(|c| if matches!(c, ' ' | '_' | '-') { '-' } else { c }).collect()
}

fn words(term: &Term) -> impl Iterator<Item = &'static str> {
    std::iter::once(term.name).chain(term.aliases.iter().copied())
}

fn find(word: &str) -> Option<&'static Term> {
    let wanted = normal(word.trim());
    // A name goes before another term's alias.
    TERMS
        .iter()
        .find(|term| normal(term.name) == wanted)
        .or_else(|| TERMS.iter().find(|term| term.aliases.iter().any(|alias| normal(alias) == wanted)))
}

fn unknown(word: &str) -> CliError {
    let error = CliError::usage(format!("the report has no word `{word}`"));
    let nearest = nearest(word);
    if nearest.is_empty() {
        return error.remedy("`profilerd explain` lists all words");
    }
    let nearest: Vec<String> = nearest.iter().map(|name| format!("`profilerd explain {}`", quoted(name))).collect();
    error.remedy(nearest.join(" or "))
}

fn quoted(name: &str) -> String {
    if name.contains(' ') { format!("'{name}'") } else { name.to_owned() }
}

/// Up to three terms that could have been meant, best first.
fn nearest(word: &str) -> Vec<&'static str> {
    let wanted = normal(word);
    let mut found: Vec<(usize, &'static str)> = TERMS
        .iter()
        .filter_map(|term| {
            let best = words(term).map(|candidate| edits(&wanted, &normal(candidate))).min()?;
            // A third of the letters wrong is still a guess at the word, more is another word.
            (best * 3 <= wanted.chars().count()).then_some((best, term.name))
        })
        .collect();
    if found.is_empty() && wanted.len() >= 3 {
        let holds = |term: &&Term| words(term).any(|candidate| normal(candidate).contains(&wanted));
        found = TERMS.iter().filter(holds).map(|term| (0, term.name)).collect();
    }
    found.sort();
    found.into_iter().map(|(_, name)| name).take(3).collect()
}

fn one(term: &Term, width: usize, color: bool) -> String {
    let mut text = format!("{}\n", bold(term.name, color));
    wrap(&mut text, "  ", "  ", term.meaning, width);
    let parts = [("measured", term.measured), ("leaves out", term.leaves_out), ("also", &term.aliases.join(", "))];
    for (label, part) in parts.iter().filter(|(_, part)| !part.is_empty()) {
        text.push('\n');
        wrap(&mut text, &format!("  {label:<12}"), &" ".repeat(14), part, width);
    }
    text
}

fn list(width: usize, color: bool) -> String {
    let mut text = String::new();
    let names = TERMS.iter().map(|term| term.name.width()).max().unwrap_or(0);
    for group in Group::ALL {
        text.push_str(&format!("{}\n", bold(group.title(), color)));
        for term in TERMS.iter().filter(|term| term.group == group) {
            let pad = " ".repeat(names - term.name.width());
            wrap(&mut text, &format!("  {}{pad}  ", term.name), &" ".repeat(names + 4), first_sentence(term), width);
        }
        text.push('\n');
    }
    text.push_str("`profilerd explain TERM` says more: how it is measured and what it leaves out.\n");
    text
}

fn first_sentence(term: &Term) -> &'static str {
    term.meaning.split_once(". ").map_or(term.meaning, |(first, _)| first).trim_end_matches('.')
}

fn bold(text: &str, color: bool) -> String {
    if color { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// Appends words up to `width`; `first` starts the first line, `rest` the others.
fn wrap(text: &mut String, first: &str, rest: &str, words: &str, width: usize) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in words.split_whitespace() {
        if !empty && line.width() + 1 + word.width() > width {
            text.push_str(&line);
            text.push('\n');
            line = rest.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(&printable(word));
        empty = false;
    }
    text.push_str(&line);
    text.push('\n');
}

/// The table for `docs/words.md`.
fn markdown() -> String {
    let mut text = String::from(
        "# The words of the report\n\n\
         Generated by `profilerd explain --markdown > docs/words.md`; a test compares. `profilerd explain TERM` shows \
         one of them.\n",
    );
    for group in Group::ALL {
        text.push_str(&format!("\n## {}\n\n", capitalised(group.title())));
        for term in TERMS.iter().filter(|term| term.group == group) {
            text.push_str(&format!("### {}\n\n{}\n", term.name, term.meaning));
            let also: Vec<String> = term.aliases.iter().map(|alias| format!("`{alias}`")).collect();
            for (label, part) in
                [("Measured", term.measured), ("Leaves out", term.leaves_out), ("Also", &also.join(", "))]
            {
                if !part.is_empty() {
                    text.push_str(&format!("- **{label}:** {part}\n"));
                }
            }
            text.push('\n');
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn capitalised(title: &str) -> String {
    let (first, rest) = title.split_at(1);
    first.to_uppercase() + rest
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::model::WaitClass;
    use profiler_common::{fault, wire::outcome};
    use std::collections::BTreeMap;

    #[test]
    fn every_word_that_the_program_can_say_is_explained() {
        let classes = WaitClass::ALL.iter().map(|class| class.name());
        let said = classes.chain(fault::NAMES).chain(outcome::NAMES);
        for name in said {
            assert!(TERMS.iter().any(|term| term.name == name), "no term `{name}`");
        }
    }

    #[test]
    fn no_word_means_two_things() {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for term in TERMS {
            for word in words(term) {
                if let Some(other) = seen.insert(normal(word), term.name) {
                    assert_eq!(other, term.name, "`{word}` stands for `{other}` and `{}`", term.name);
                }
            }
        }
    }

    #[test]
    fn a_word_is_found_however_it_is_written() {
        for (word, name) in [
            ("stolen", "stolen"),
            ("Run_Queue", "waiting for a CPU"),
            ("run queue", "waiting for a CPU"),
            ("preempted", "preempted"),
            ("futex", "lock/futex"),
            ("cpu", "on-CPU"),
            ("--min-wait", "min-wait"),
        ] {
            assert_eq!(find(word).map(|term| term.name), Some(name), "{word}");
        }
    }

    #[test]
    fn an_unknown_word_leads_to_the_nearest() {
        assert_eq!(nearest("stollen"), ["stolen"]);
        assert_eq!(nearest("sokcet-send")[0], "socket-send");
        assert_eq!(nearest("wake"), ["woken by"]);
        assert_eq!(nearest("ring_full"), ["ring_full_exec", "ring_full_sample", "ring_full_stack"]);
        assert!(nearest("banana").is_empty());
        let error = unknown("stollen");
        assert_eq!(error.exit_code(), 2);
        assert_eq!(error.to_string(), "error: the report has no word `stollen`\n  try: `profilerd explain stolen`\n");
    }

    #[test]
    fn a_term_reads_like_this() {
        let text = one(find("pipe").unwrap(), 60, false);
        assert_eq!(
            text,
            "pipe\n  Waiting for a pipe to fill or to drain.\n\n  \
             measured    Blocked in read, write or one of their kin on\n              \
             a descriptor that is a pipe.\n\n  \
             also        fifo\n"
        );
    }

    #[test]
    fn nothing_is_wider_than_asked_for() {
        for width in [60, 80, 100] {
            let all = TERMS.iter().map(|term| one(term, width, false)).collect::<String>() + &list(width, false);
            for line in all.lines() {
                assert!(line.width() <= width.max(78), "{} columns: {line}", line.width());
            }
        }
    }

    #[test]
    fn the_words_in_the_docs_are_these() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/words.md");
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(committed == markdown(), "run `profilerd explain --markdown > docs/words.md`");
    }
}
