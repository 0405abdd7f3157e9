//! A program that is started for profiling: held before its first instruction until the hooks are
//! attached, and run as the user who asked, not as root.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::thread::JoinHandle;

use nix::unistd::{Gid, Uid, User, getgrouplist, pipe2};
use tokio::sync::oneshot;

/// Whom the program runs as: the user behind `sudo`.
#[derive(Clone, Debug)]
pub struct Invoker {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    name: String,
    home: OsString,
}

impl Invoker {
    /// The user who called `sudo`, if we run under it as root.
    ///
    /// # Errors
    /// There is one, but whose groups and home cannot be found out: a command of theirs must not run as root instead.
    pub fn of_sudo() -> Result<Option<Invoker>, UnknownUser> {
        match std::env::var_os("SUDO_UID") {
            Some(uid) if Uid::effective().is_root() => Invoker::of(&uid.to_string_lossy()),
            _ => Ok(None),
        }
    }

    /// The user of a number; `None` is root.
    fn of(text: &str) -> Result<Option<Invoker>, UnknownUser> {
        let unknown = || UnknownUser(text.to_owned());
        let uid = Uid::from_raw(text.parse().map_err(|_| unknown())?);
        if uid.is_root() {
            return Ok(None);
        }
        // Files that cannot be read are no reason not to ask others.
        let found = Invoker::of_files(uid).or_else(|| Invoker::of_directory(uid));
        found.map(Some).ok_or_else(unknown)
    }

    /// A user of `/etc/passwd`.
    fn of_files(uid: Uid) -> Option<Invoker> {
        let user = User::from_uid(uid).ok()??;
        let name = std::ffi::CString::new(user.name.as_str()).ok()?;
        let groups = getgrouplist(&name, user.gid).ok()?;
        Some(Invoker { uid, gid: user.gid, groups, name: user.name, home: user.dir.into() })
    }

    /// A user whom the machine knows from a network. A program that is linked statically, as the finished one is, finds
    /// only those in files; the machine's own programs find all.
    fn of_directory(uid: Uid) -> Option<Invoker> {
        let ask = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output().ok()?;
            output.status.success().then(|| String::from_utf8(output.stdout).ok())?
        };
        let (name, gid, home) = passwd_entry(&ask("getent", &["passwd", &uid.to_string()])?)?;
        let groups = ask("id", &["--groups", &name])?;
        let groups =
            groups.split_whitespace().map(|gid| gid.parse().map(Gid::from_raw)).collect::<Result<_, _>>().ok()?;
        Some(Invoker { uid, gid, groups, name, home })
    }
}

/// Nobody knows the user who called `sudo`, so there is nobody to run a command as.
#[derive(Debug, thiserror::Error)]
#[error("the user behind sudo is not known: no name, groups and home for SUDO_UID={0}")]
pub struct UnknownUser(String);

impl UnknownUser {
    /// What a person can do about it.
    pub const REMEDY: &str = "`getent passwd UID` must find the user; to run the command as root: \
                              sudo env -u SUDO_UID profilerd -- COMMAND";
}

/// Name, group and home of `name:password:uid:gid:gecos:home:shell`.
fn passwd_entry(line: &str) -> Option<(String, Gid, OsString)> {
    let fields: Vec<_> = line.trim_end().split(':').collect();
    let [name, _, _, gid, _, home, _] = fields[..] else { return None };
    Some((name.to_owned(), Gid::from_raw(gid.parse().ok()?), home.into()))
}

/// A program that waits at the gate.
pub struct Held {
    pid: u32,
    gate: File,
    waiter: JoinHandle<io::Result<ExitStatus>>,
    ended: oneshot::Receiver<()>,
}

impl Held {
    /// Forks and holds the child right before its exec.
    ///
    /// # Errors
    /// When no pipe or no process can be made. Whether the program exists shows at the exec: see
    /// [`Released::finish`].
    pub fn start(command: &[OsString], invoker: Option<Invoker>) -> io::Result<Held> {
        let (gate_read, gate_write) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (mut pid_read, pid_write) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map(|(r, w)| (File::from(r), w))?;
        let mut child = build(command, invoker.as_ref())?;
        let gate_write_raw = gate_write.as_raw_fd();
        let ids = invoker.map(|user| (user.uid, user.gid, user.groups));
        let hold = move || wait_at_gate(&gate_read, gate_write_raw, &pid_write, ids.as_ref());
        // SAFETY: between fork and exec only system calls are made, on memory prepared before.
        unsafe { child.pre_exec(hold) };
        let (tell_end, ended) = oneshot::channel();
        // `spawn` returns only after the exec, so it has a thread of its own.
        let waiter = std::thread::Builder::new().name("command".to_owned()).spawn(move || {
            let spawned = child.spawn();
            // With the command go our copies of what the closure holds: the pid pipe closes.
            drop(child);
            let status = spawned.and_then(|mut child| child.wait());
            // Nobody listens any more if the capture has ended before the program.
            let _ = tell_end.send(());
            status
        })?;
        let mut pid = [0; 4];
        match pid_read.read_exact(&mut pid) {
            Ok(()) => Ok(Held { pid: u32::from_ne_bytes(pid), gate: gate_write.into(), waiter, ended }),
            // The fork itself failed: the waiter knows why.
            Err(error) => Err(join(waiter).err().unwrap_or(error)),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it run.
    pub fn release(mut self) -> io::Result<Released> {
        self.gate.write_all(&[1])?;
        Ok(Released { waiter: self.waiter, ended: Some(self.ended) })
    }
}

/// A program that runs.
pub struct Released {
    waiter: JoinHandle<io::Result<ExitStatus>>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Released {
    /// Is done when the program has ended, or could not be executed. To be asked for once.
    pub fn ended(&mut self) -> impl Future<Output = ()> + use<> {
        let ended = self.ended.take();
        async move {
            match ended {
                // An error is an end, too: the waiter is gone.
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.waiter.is_finished()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it could not be executed: not found, not permitted.
    pub fn finish(self) -> io::Result<ExitStatus> {
        join(self.waiter)
    }
}

fn join(waiter: JoinHandle<io::Result<ExitStatus>>) -> io::Result<ExitStatus> {
    waiter.join().unwrap_or_else(|_| Err(io::Error::other("the thread that waits for the program failed")))
}

fn build(command: &[OsString], invoker: Option<&Invoker>) -> io::Result<Command> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
    let mut child = Command::new(program);
    child.args(arguments);
    if let Some(user) = invoker {
        child.env("USER", &user.name).env("LOGNAME", &user.name).env("HOME", &user.home);
    }
    Ok(child)
}

/// Runs in the child, between fork and exec: says who it is, waits for the word, drops privileges.
fn wait_at_gate(
    gate: &OwnedFd,
    gate_write: std::os::fd::RawFd,
    pid_pipe: &OwnedFd,
    ids: Option<&(Uid, Gid, Vec<Gid>)>,
) -> io::Result<()> {
    // Our copy of the writing end would keep the gate from closing if the profiler dies.
    nix::unistd::close(gate_write)?;
    nix::unistd::write(pid_pipe, &std::process::id().to_ne_bytes())?;
    let mut word = [0];
    if nix::unistd::read(gate, &mut word)? != 1 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    if let Some((uid, gid, groups)) = ids {
        nix::unistd::setgroups(groups)?;
        nix::unistd::setgid(*gid)?;
        nix::unistd::setuid(*uid)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn run(command: &[&str]) -> io::Result<ExitStatus> {
        let command: Vec<_> = command.iter().map(OsString::from).collect();
        let held = Held::start(&command, None)?;
        let stat = std::fs::read_to_string(format!("/proc/{}/comm", held.pid())).unwrap();
        assert!(!stat.starts_with("sh\n"), "it must not have called exec yet");
        held.release()?.finish()
    }

    #[test]
    fn a_command_waits_for_the_word_and_ends_with_its_own_status() {
        assert_eq!(run(&["sh", "-c", "exit 7"]).unwrap().code(), Some(7));
    }

    #[test]
    fn a_command_that_is_not_there_is_an_error_of_its_kind() {
        assert_eq!(run(&["/no/such/program"]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_entry_of_a_directory_has_seven_fields() {
        let ann = ("ann".to_owned(), Gid::from_raw(1002), "/home/ann".into());
        assert_eq!(passwd_entry("ann:*:1001:1002:Ann, of sales:/home/ann:/bin/bash\n"), Some(ann));
        for broken in ["", "ann:*:1001", "ann:*:1001:many:Ann:/home/ann:/bin/bash"] {
            assert_eq!(passwd_entry(broken), None, "{broken}");
        }
    }

    /// Users in files are in the machine's directory, too.
    #[test]
    fn the_directory_knows_users_with_home_and_groups() {
        let daemon = User::from_name("daemon").unwrap().unwrap();
        let found = Invoker::of_directory(daemon.uid).unwrap();
        assert_eq!((found.gid, found.name, found.home), (daemon.gid, daemon.name, daemon.dir.into()));
        assert!(found.groups.contains(&daemon.gid));
        assert!(Invoker::of_directory(Uid::from_raw(4_000_000_000)).is_none());
    }

    #[test]
    fn only_root_and_users_that_are_known_run_commands() {
        let daemon = User::from_name("daemon").unwrap().unwrap();
        assert_eq!(Invoker::of(&daemon.uid.to_string()).unwrap().unwrap().name, "daemon");
        assert!(Invoker::of("0").unwrap().is_none());
        for nobody in ["4000000000", "-1", "", "daemon"] {
            assert!(Invoker::of(nobody).unwrap_err().to_string().ends_with(&format!("SUDO_UID={nobody}")));
        }
    }

    #[test]
    fn a_command_that_is_never_released_ends_with_us() {
        let held = Held::start(&["true".into()], None).unwrap();
        let Held { gate, waiter, .. } = held;
        drop(gate);
        assert!(join(waiter).is_err());
    }
}
