//! The man page: one page for all commands, made from the same definitions as `--help`.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::args::{COMMAND_EXIT, Cli, EXAMPLES, EXIT_CODES};

/// Writes the page in roff.
///
/// # Errors
/// Those of `out`.
pub(super) fn write(out: &mut dyn Write) -> io::Result<()> {
    let page = Man::new(Cli::command()).section("1").manual("User Commands");
    page.render_title(out)?;
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

    #[test]
    fn the_page_holds_every_section_and_command() {
        let mut page = Vec::new();
        super::write(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for needle in [
            ".TH profilerd 1",
            ".SH SYNOPSIS",
            ".SH DESCRIPTION",
            "\\-\\-min\\-wait",
            "\\fBexplain\\fR",
            "\\fBdoctor\\fR",
            "\\fBcompletions\\fR",
            ".SH \"EXIT STATUS\"",
            ".SH ENVIRONMENT",
            ".SH EXAMPLES",
        ] {
            assert!(page.contains(needle), "{needle}\n{page}");
        }
        assert!(!page.contains("verify"), "hidden options stay hidden");
    }
}
