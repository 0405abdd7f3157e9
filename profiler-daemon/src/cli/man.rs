//! The man page: one page for all commands, made from the same definitions as `--help`.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::capture::btf::BTF_VARIABLE;

use super::args::{COMMAND_EXIT, Cli, EXAMPLES, EXIT_CODES};

/// Writes the page in roff.
///
/// # Errors
/// Those of `out`.
pub(super) fn write(out: &mut dyn Write) -> io::Result<()> {
    let page = Man::new(Cli::command());
    // By hand: without a date the generator leaves its field out, and the fields after it take the wrong places.
    writeln!(out, ".TH profilerd 1 \"\" \"profilerd {}\" \"User Commands\"", env!("CARGO_PKG_VERSION"))?;
    page.render_name_section(out)?;
    synopsis(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    subcommands(out)?;
    exit_status(out)?;
    environment(out)?;
    examples(out)?;
    see_also(out)
}

fn section(title: &str) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", [title]);
    roff
}

fn synopsis(out: &mut dyn Write) -> io::Result<()> {
    let mut roff = section("SYNOPSIS");
    let kinds = "--pid N... | --comm NAME... | --cgroup PATH... | --all";
    roff.text([bold("profilerd"), roman(" "), roman(kinds), italic(" [OPTIONS]")]);
    roff.control("br", []);
    roff.text([bold("profilerd"), italic(" [OPTIONS]"), bold(" -- "), italic("COMMAND [ARGS...]")]);
    for (name, rest) in [
        ("serve", " [--config FILE] [OPTIONS]"),
        ("config", " [--check FILE]"),
        ("query", " --since TIME [--until TIME] [OPTIONS]"),
        ("ls", " [OPTIONS]"),
        ("diff", " BEFORE AFTER [OPTIONS]"),
        ("explain", " [TERM]"),
        ("doctor", " [--pid N]"),
        ("completions", " SHELL"),
    ] {
        roff.control("br", []);
        roff.text([bold(format!("profilerd {name}")), italic(rest)]);
    }
    roff.to_writer(out)
}

fn subcommands(out: &mut dyn Write) -> io::Result<()> {
    let mut roff = section("SUBCOMMANDS");
    let command = Cli::command();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        roff.control("TP", []);
        roff.text([bold(sub.get_name())]);
        roff.text([roman(sentence(sub.get_about().map(ToString::to_string)))]);
        for arg in sub.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help") {
            let name = match arg.get_long() {
                Some(long) => format!("--{long} {}", arg.get_value_names().map_or("", |names| names[0].as_str())),
                None => arg.get_id().to_string().to_uppercase(),
            };
            roff.control("RS", []);
            roff.control("TP", []);
            roff.text([bold(name)]);
            roff.text([roman(sentence(arg.get_help().map(ToString::to_string)))]);
            roff.control("RE", []);
        }
    }
    roff.to_writer(out)
}

fn exit_status(out: &mut dyn Write) -> io::Result<()> {
    let mut roff = section("EXIT STATUS");
    for (code, what) in EXIT_CODES {
        roff.control("TP", []);
        roff.text([bold(*code)]);
        roff.text([roman(sentence(Some((*what).to_owned())))]);
    }
    roff.control("PP", []);
    roff.text([roman(COMMAND_EXIT)]);
    roff.to_writer(out)
}

fn environment(out: &mut dyn Write) -> io::Result<()> {
    let mut roff = section("ENVIRONMENT");
    roff.control("TP", []);
    roff.text([bold("NO_COLOR")]);
    roff.text([roman("If set and not empty, nothing is coloured unless --color always is given.")]);
    roff.control("TP", []);
    roff.text([bold(BTF_VARIABLE)]);
    roff.text([roman(
        "File with the types of this kernel, to be used in place of those that the kernel shows: its vmlinux with a section .BTF, \
         or what pahole --btf_encode_detached made of it.",
    )]);
    roff.to_writer(out)
}

fn examples(out: &mut dyn Write) -> io::Result<()> {
    let mut roff = section("EXAMPLES");
    for (command, what) in EXAMPLES {
        roff.control("TP", []);
        roff.text([bold(*command)]);
        roff.text([roman(sentence(Some((*what).to_owned())))]);
    }
    roff.to_writer(out)
}

fn see_also(out: &mut dyn Write) -> io::Result<()> {
    let mut roff = section("SEE ALSO");
    roff.text([bold("perf"), roman("(1), "), bold("bpftrace"), roman("(8), "), bold("capabilities"), roman("(7)")]);
    roff.to_writer(out)
}

/// Help texts have neither a capital letter everywhere nor a full stop; sentences of a page do.
fn sentence(text: Option<String>) -> String {
    let text = text.unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with(['.', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn page() -> String {
        let mut page = Vec::new();
        write(&mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    /// Options as the page has them, below its heading for the command.
    #[test]
    fn every_command_has_its_place_with_all_of_its_options() {
        let page = page();
        let (main, commands) = page.split_once(".SH SUBCOMMANDS").unwrap();
        let check = |command: &clap::Command, text: &str| {
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let Some(long) = arg.get_long() else { continue };
                let name = format!("\\-\\-{}", long.replace('-', "\\-"));
                assert!(text.contains(&name), "`{} --{long}` is not in:\n{text}", command.get_name());
            }
        };
        let command = Cli::command();
        check(&command, main);
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let name = sub.get_name();
            assert!(page.contains(&format!("\\fBprofilerd {name}\\fR")), "`{name}` is not in the synopsis");
            let (_, text) = commands.split_once(&format!(".TP\n\\fB{name}\\fR\n")).unwrap_or_else(|| panic!("{name}"));
            // The options are indented, so the next heading is one that no `.RS` precedes.
            let next = text.match_indices("\n.TP\n").map(|(at, _)| at).find(|at| !text[..*at].ends_with(".RS"));
            check(sub, &text[..next.unwrap_or(text.len())]);
        }
    }

    #[test]
    fn the_page_holds_every_section() {
        let page = page();
        for needle in [
            ".TH profilerd 1",
            ".SH SYNOPSIS",
            ".SH DESCRIPTION",
            "\\-\\-min\\-wait",
            ".SH \"EXIT STATUS\"",
            ".SH ENVIRONMENT",
            ".SH EXAMPLES",
        ] {
            assert!(page.contains(needle), "{needle}\n{page}");
        }
        assert!(!page.contains("verify"), "hidden options stay hidden");
    }
}
