//! `profilerd doctor`: what this kernel and these privileges allow.

use std::process::ExitCode;

use super::args::{Color, DoctorArgs};
use super::{CliError, terminal};
use crate::capture::preflight;
use crate::model::text::printable;
use crate::model::{Capability, Support};
use unicode_width::UnicodeWidthStr;

/// Prints the verdicts. The exit code is 0 only if the main job can run.
///
/// # Errors
/// If `--pid` names no process.
pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode, CliError> {
    let mut capabilities = preflight::probe();
    if let Some(pid) = args.pid {
        let of_process = preflight::probe_process(pid).map_err(|error| {
            CliError::new(error).remedy("pgrep -a NAME to find it; a pid inside a container is not its pid here")
        })?;
        capabilities.extend(of_process);
    }
    let is_ready = missing(&capabilities).is_none();
    let color = terminal::stdout_colors(Color::Auto);
    let mut text = render(&headline(), &capabilities, args.pid, color);
    if let Some(how) = preflight::how_to_grant() {
        text.push_str(&format!("\n{how}"));
    }
    super::print(|out| {
        out.extend_from_slice(text.as_bytes());
        Ok(())
    })?;
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The first thing that keeps the main job from running. Those after it often follow from it.
fn missing(capabilities: &[Capability]) -> Option<&'static str> {
    capabilities
        .iter()
        .find(|capability| capability.required && capability.support == Support::No)
        .map(|capability| capability.name)
}

fn headline() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let user = match nix::unistd::geteuid() {
        root if root.is_root() => "root".to_owned(),
        uid => nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name),
    };
    match nix::sys::utsname::uname() {
        Ok(system) => {
            let part = |part: &std::ffi::OsStr| printable(&part.to_string_lossy()).into_owned();
            let (release, machine) = (part(system.release()), part(system.machine()));
            format!("profilerd {version} on Linux {release} {machine}, as {user}")
        }
        Err(_) => format!("profilerd {version}, as {user}"),
    }
}

fn render(headline: &str, capabilities: &[Capability], pid: Option<u32>, color: bool) -> String {
    let mut text = format!("{headline}\n\n");
    let names = capabilities.iter().map(|capability| capability.name.width()).max().unwrap_or(0);
    for capability in capabilities {
        let (word, ansi) = match capability.support {
            Support::Yes => ("yes", "32"),
            Support::Partly => ("partly", "33"),
            Support::No => ("no", "31"),
        };
        let word_pad = " ".repeat(6 - word.len());
        let word = if color { format!("\x1b[{ansi}m{word}\x1b[0m") } else { word.to_owned() };
        let pad = " ".repeat(names - capability.name.width());
        let line = format!("  {}{pad}   {word}{word_pad}   {}", capability.name, printable(&capability.reason));
        text.push_str(line.trim_end());
        text.push('\n');
        if let Some(remedy) = &capability.remedy {
            text.push_str(&format!("  {}   try: {}\n", " ".repeat(names + 9), printable(remedy)));
        }
    }
    text.push('\n');
    text.push_str(&match (missing(capabilities), pid) {
        (None, Some(pid)) => format!("ready: `profilerd --pid {pid}` will work\n"),
        (None, None) => "ready: `profilerd --pid N` will work\n".to_owned(),
        (Some(name), _) => format!("not ready, because of `{name}`\n"),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(name: &'static str, support: Support, reason: &str, remedy: Option<&str>) -> Capability {
        Capability { name, support, reason: reason.to_owned(), remedy: remedy.map(str::to_owned), required: false }
    }

    #[test]
    fn verdicts_stand_in_columns_with_their_remedy_below() {
        let found = [
            capability("kernel programs", Support::Yes, "", None),
            capability("cpu", Support::Yes, "software clock", None),
            capability("kernel symbols", Support::No, "hidden", Some("sysctl kernel.kptr_restrict=1")),
        ];
        assert_eq!(
            render("profilerd 0.1.0", &found, None, false),
            "profilerd 0.1.0\n\n  \
               kernel programs   yes\n  \
               cpu               yes      software clock\n  \
               kernel symbols    no       hidden\n  \
\x20                          try: sysctl kernel.kptr_restrict=1\n\n\
             ready: `profilerd --pid N` will work\n"
        );
    }

    #[test]
    fn only_what_is_required_decides() {
        let optional = capability("x", Support::No, "", None);
        let required = Capability { required: true, name: "y", ..optional.clone() };
        let partly = Capability { required: true, support: Support::Partly, ..optional.clone() };
        assert_eq!(missing(&[optional.clone(), partly]), None);
        assert_eq!(missing(&[optional, required.clone()]), Some("y"));
        assert!(render("", &[required], Some(7), false).ends_with("\nnot ready, because of `y`\n"));
    }
}
