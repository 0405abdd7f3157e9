//! Puts the finished program and what belongs to it under a prefix.

use std::path::{self, PathBuf};

use anyhow::{Context, Result};

use crate::run::say;
use crate::{build, tree};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install under this folder
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
}

/// Builds and installs.
///
/// # Errors
/// Something does not build, or the prefix cannot be written.
pub(crate) fn run(args: &Args) -> Result<()> {
    let binary = build::run()?;
    let prefix = path::absolute(&args.prefix)?;
    for file in tree::files(&binary, &prefix)? {
        let path = tree::write(&prefix, &file).with_context(|| {
            format!(
                "cannot write `{}`\n  try: run as root (sudo env PATH=\"$PATH\" cargo xtask install), \
                 or choose a folder of your own with --prefix",
                prefix.join(&file.path).display()
            )
        })?;
        say(&format!("installed {}", path.display()));
    }
    Ok(())
}
