//! A machine of its own for a test: a real systemd in a container, on a throw-away copy of this system's files.
//!
//! The root is an overlay on `/` whose upper layer is in memory, made in a mount namespace that ends with the
//! container. `systemd-nspawn` runs in a cgroup of our own, which is removed afterwards. Nothing else is
//! shared: processes, network, mounts and host name are the container's.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use profilerd::process;

use super::{Program, installed, poll, public_folder, skip};

/// What is not started: nothing in the container listens, waits or updates but what the test wants.
const MASKED: &[&str] = &["sockets.target", "timers.target", "paths.target", "swap.target", "getty.target"];
/// Where units are, below the folder.
const UNITS: &str = "etc/systemd/system";
/// What the container boots into.
const TARGET: &str = "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n";
/// Makes the root and becomes nspawn, with a folder and nspawn's arguments as its own.
const BOOT: &str = r#"
set -e
folder=$1; shift
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$folder/layers"
mkdir "$folder/layers/upper" "$folder/layers/work" "$folder/layers/root"
cp -r "$folder/etc" "$folder/layers/upper/etc"
mount -t overlay -o "lowerdir=/,upperdir=$folder/layers/upper,workdir=$folder/layers/work" overlay "$folder/layers/root"
exec systemd-nspawn --directory="$folder/layers/root" "$@"
"#;

/// A running container with the unit installed. It ends with this value.
pub(crate) struct Machine {
    // Dropped in this order: the container leaves its cgroups before they are removed.
    _nspawn: Program,
    _cgroups: Cgroups,
    folder: tempfile::TempDir,
    init: u32,
}

impl Machine {
    /// Boots a machine on which `program` is `/usr/bin/profilerd`, with the unit and configuration of this
    /// repository and a drop-in for the unit. `None` if that cannot be done here, which has been said then.
    pub(crate) fn boot(program: &Path, drop_in: &str) -> Option<Machine> {
        let folder = prepare()?;
        let systemd = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
        fs::copy(systemd.join("profilerd.service"), at(&folder, &format!("{UNITS}/profilerd.service"))).unwrap();
        fs::write(at(&folder, &format!("{UNITS}/profilerd.service.d/test.conf")), drop_in).unwrap();
        fs::copy(systemd.join("profilerd.toml"), at(&folder, "config/profilerd.toml")).unwrap();
        let config = format!("--bind={}:/etc/profilerd", folder.path().join("config").display());
        Some(Machine::start(folder, &[read_only(program, "/usr/bin/profilerd"), config]))
    }

    /// Boots a machine with nothing of ours but these files: where they are, and where they are to be.
    pub(crate) fn boot_bare(files: &[(&Path, &str)]) -> Option<Machine> {
        let folder = prepare()?;
        let files: Vec<_> = files.iter().map(|(outside, inside)| read_only(outside, inside)).collect();
        Some(Machine::start(folder, &files))
    }

    fn start(folder: tempfile::TempDir, binds: &[String]) -> Machine {
        let name = format!(
            "profilerd-test-{}",
            folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches("profilerd")
        );
        let cgroups = Cgroups::make(&name);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{}exec unshare --mount sh -c \"$0\" sh \"$@\"", cgroups.enter())]);
        command.arg(BOOT).arg(folder.path());
        command.args(["--boot", "--quiet", "--register=no", "--keep-unit", "--private-network", "--console=pipe"]);
        command.args(["--capability=all", "--system-call-filter=bpf perf_event_open", "--link-journal=no"]);
        command.arg(format!("--machine={name}")).args(binds);
        command.args(["--", "systemd.unit=test.target"]);
        let log = fs::File::create(folder.path().join("console")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut nspawn = Program::start(&mut command);

        let mut init = None;
        let booted = poll(Duration::from_secs(60), || {
            init = init.or_else(|| child(nspawn.pid()));
            nspawn.has_ended().is_some() || init.is_some_and(|init| state(init) == "running")
        });
        let machine = Machine { _cgroups: cgroups, folder, init: init.unwrap_or(0), _nspawn: nspawn };
        assert!(booted && machine.init != 0 && state(machine.init) == "running", "{}", machine.console());
        machine
    }

    /// Runs a program inside to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        inside(self.init, words)
    }

    /// The same, which must end well; what it printed.
    #[track_caller]
    pub(crate) fn well(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{words:?}: {}{}", text(&output.stderr), self.journal());
        text(&output.stdout).trim_end().to_owned()
    }

    /// A property of the unit, as `systemctl show` has it.
    #[track_caller]
    pub(crate) fn property(&self, name: &str) -> String {
        self.well(&["systemctl", "show", "--value", "--property", name, "profilerd.service"])
    }

    /// Waits until a property has a value, for so long.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, value: &str, deadline: Duration) {
        let holds = poll(deadline, || self.property(name) == value);
        assert!(holds, "{name}={}, not {value}\n{}", self.property(name), self.journal());
    }

    /// What the unit wrote into the journal, as text.
    pub(crate) fn journal(&self) -> String {
        let output = self.run(&["journalctl", "--no-pager", "--unit=profilerd.service", "--output=short-monotonic"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The pid outside of a process that the container's first one started, by its name.
    pub(crate) fn host_pid(&self, comm: &str) -> Option<u32> {
        process::children(self.init).into_iter().find(|pid| process::comm(*pid).as_deref() == Some(comm))
    }

    /// The configuration that the unit reads. Whoever writes to it changes it.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config/profilerd.toml")
    }

    /// The answer of the page of metrics to a path, headers included.
    pub(crate) fn page(&self, path: &str) -> String {
        let script = "exec 3<>/dev/tcp/127.0.0.1/9750; printf 'GET %s HTTP/1.0\\r\\n\\r\\n' \"$0\" >&3; cat <&3";
        self.well(&["bash", "-c", script, path])
    }

    fn console(&self) -> String {
        fs::read_to_string(self.folder.path().join("console")).unwrap_or_default()
    }
}

/// A folder for what the machine is made of: so far what it boots into and what it does not start.
/// `None` if no machine can be booted here, which has been said then.
fn prepare() -> Option<tempfile::TempDir> {
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root");
    }
    installed(&["systemd-nspawn"])?;
    let folder = public_folder();
    fs::create_dir(folder.path().join("layers")).unwrap();
    fs::write(at(&folder, &format!("{UNITS}/test.target")), TARGET).unwrap();
    for masked in MASKED {
        std::os::unix::fs::symlink("/dev/null", at(&folder, &format!("{UNITS}/{masked}"))).unwrap();
    }
    Some(folder)
}

/// A path below the folder, whose own folder is there.
fn at(folder: &tempfile::TempDir, path: &str) -> PathBuf {
    let path = folder.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

/// The argument with which nspawn shows a file of ours inside.
fn read_only(outside: &Path, inside: &str) -> String {
    format!("--bind-ro={}:{inside}", outside.display())
}

fn inside(init: u32, words: &[&str]) -> Output {
    let mut command = Command::new("nsenter");
    command.args(["--target", &init.to_string(), "--all", "--"]).args(words).stdin(Stdio::null());
    command.output().unwrap()
}

fn state(init: u32) -> String {
    let output = inside(init, &["systemctl", "is-system-running"]);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The first process inside: nspawn's only child that has a process namespace of its own.
fn child(nspawn: u32) -> Option<u32> {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let mut children = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
    children.find(|child| namespace(*child).is_some_and(|own| Some(own) != namespace(std::process::id())))
}

/// A cgroup of our own in each hierarchy that systemd uses: nspawn makes its own below, and leaves them.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn make(name: &str) -> Cgroups {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let is_used = |line: &&str| {
            line.contains(" - cgroup2 ") || (line.contains(" - cgroup ") && line.contains("name=systemd"))
        };
        let points = mounts.lines().filter(is_used).filter_map(|line| line.split(' ').nth(4));
        let groups: Vec<_> = points.map(|point| Path::new(point).join(name)).collect();
        for group in &groups {
            fs::create_dir(group).unwrap_or_else(|error| panic!("{}: {error}", group.display()));
        }
        Cgroups(groups)
    }

    /// Shell commands with which a shell enters them.
    fn enter(&self) -> String {
        self.0.iter().map(|group| format!("echo $$ > {}/cgroup.procs; ", group.display())).collect()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for group in &self.0 {
            if !poll(Duration::from_secs(5), || remove(group)) {
                // A panic here would hide the one that the test ended with.
                let _ = writeln!(std::io::stderr(), "cannot remove {}", group.display());
            }
        }
    }
}

/// Removes a cgroup and all below it. Returns whether it is gone.
fn remove(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}
