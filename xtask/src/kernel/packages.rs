//! Debian packages that the build needs: installed where that is ours to do, else named.

use std::process::Command;

use anyhow::{Result, bail};

use crate::run::{self, say};

/// Installs packages for `what`. `otherwise` are the commands for a system without apt.
///
/// # Errors
/// Not root, no apt, or apt refused: with the commands that a person can run.
pub(crate) fn install(what: &str, packages: &[&str], otherwise: &[String]) -> Result<()> {
    // Without --no-remove apt would put another compiler of the system out of the way.
    let install = format!("apt-get install -y --no-install-recommends --no-remove {}", packages.join(" "));
    let has_apt = run::find_in_path("apt-get").is_some();
    if has_apt && run::is_root() {
        say(&format!("{what} is missing; running: apt-get update && {install}"));
        let done = apt_get("update").and_then(|()| apt_get(install.trim_start_matches("apt-get ")));
        return done.map_err(|error| error.context(remedy(what, &[], otherwise)));
    }
    let sudo = if has_apt { vec![format!("sudo apt-get update && sudo {install}")] } else { Vec::new() };
    bail!(remedy(what, &sudo, otherwise))
}

fn apt_get(args: &str) -> Result<()> {
    run::run(Command::new("apt-get").args(args.split(' ')).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Says what is missing and each way to get it, one command a line.
fn remedy(what: &str, debian: &[String], otherwise: &[String]) -> String {
    let mut text = format!("{what} is missing and was not installed");
    for (name, commands) in [("Debian", debian), ("any system", otherwise)] {
        for command in commands {
            text.push_str(&format!("\n  on {name}: {command}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_has_one_command_a_line() {
        let text = remedy("a linker", &["sudo apt-get install x".into()], &["cargo install y".into()]);
        assert_eq!(
            text,
            "a linker is missing and was not installed\n  on Debian: sudo apt-get install x\n  \
             on any system: cargo install y"
        );
    }
}
