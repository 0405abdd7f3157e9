//! One PostgreSQL session: a backend process answers a client's small queries.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::User;

use crate::bench::driver::{Driver, Session};
use crate::bench::load::{Load, Operations, Running};
use crate::bench::process::{Process, pinned};
use crate::run;

const QUERIES: u64 = 20_000;
const SETUP: &str = "\
    create table item as select n as id, n * 7 as price from generate_series(1, 10000) n;\n\
    alter table item add primary key (id);\n\
    analyze item;\n";
/// PostgreSQL refuses to run as root.
pub(in crate::bench) const USER: &str = "postgres";

pub(super) static POSTGRES: Load = Load {
    name: "postgres",
    operation: "query",
    about: "a PostgreSQL backend answers primary-key look-ups of one psql session, a Unix socket between them",
    needs: &[("psql", "postgresql")],
    start,
};

fn start(folder: &Path) -> Result<Running> {
    let (server, own) = serve(folder, pinned("setpriv"))?;
    let mut command = pinned("psql");
    command.args(["-X", "-q", "-A", "-t", "-U", USER, "-h"]).arg(&own).arg(USER);
    let (setup, batch) = (folder.join("setup.sql"), folder.join("batch.sql"));
    fs::write(&setup, SETUP)?;
    fs::write(
        &batch,
        (0..QUERIES).map(|n| format!("select price from item where id = {};\n", n % 10_000 + 1)).collect::<String>(),
    )?;
    let mut session = Session::start("psql", &mut command, &format!("\\i {}\n\\echo done", batch.display()))?;
    let backend = session.ask("select pg_backend_pid();")?.parse().context("psql did not answer with a pid")?;
    // From here on results go nowhere; only what is echoed comes back.
    session.ask(&format!("\\i {}\n\\o /dev/null\n\\echo done", setup.display()))?;
    let workers = vec![backend, session.pid()];
    let operations = Operations::Fixed(QUERIES);
    Ok(Running { driver: Driver::Session(session), services: vec![server], workers, operations })
}

/// A new, empty database server, and the folder of its socket; `setpriv` is the command to run it by.
pub(in crate::bench) fn serve(folder: &Path, mut setpriv: Command) -> Result<(Process, PathBuf)> {
    let user = User::from_name(USER)?.with_context(|| format!("there is no user `{USER}`"))?;
    let own = folder.join("postgres");
    fs::create_dir_all(&own)?;
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700))?;
    chown(&own, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    let (programs, data) = (programs()?, own.join("data"));
    run::output(
        as_postgres(&mut Command::new("setpriv")).arg(programs.join("initdb")).args(["-A", "trust", "-D"]).arg(&data),
    )?;

    as_postgres(&mut setpriv).arg(programs.join("postgres")).arg("-D").arg(&data).arg("-k").arg(&own);
    let mut server = Process::service("postgres", setpriv.args(["-c", "listen_addresses=", "-c", "autovacuum=off"]))?;
    server.wait_until("answered", || ready(&own).then_some(()))?;
    Ok((server, own))
}

fn as_postgres(setpriv: &mut Command) -> &mut Command {
    // Some programs of PostgreSQL want to return to where they were started.
    setpriv.args(["--pdeathsig", "TERM", "--reuid", USER, "--regid", USER, "--init-groups"]).current_dir("/")
}

fn ready(socket: &Path) -> bool {
    run::ask("pg_isready", &["-q", "-h", &socket.to_string_lossy()]).is_some()
}

/// Debian keeps the server's programs out of `PATH`, one folder a version.
fn programs() -> Result<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|folder| folder.join("initdb").is_file())
        .collect();
    folders.sort();
    match folders.pop() {
        Some(folder) => Ok(folder),
        None => bail!("there is no PostgreSQL server in /usr/lib/postgresql"),
    }
}
