//! What the place of a process in the cgroup hierarchy says: its unit and its container.
//!
//! Sources: systemd 257, `src/basic/cgroup-util.c` (units, slices, the escaping underscore) and
//! `docs/CGROUP_DELEGATION.md`; the folder names that Docker 28, Podman 5, CRI-O 1.33, containerd 2.1
//! (with runc's cgroupfs and systemd drivers), LXC 6 and systemd-nspawn give their containers.

use crate::model::text;

/// The paths of one process, as `/proc/PID/cgroup` lists them.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// In the unified hierarchy; raw but valid UTF-8.
    pub(super) unified: Option<String>,
    /// In those of version 1: the one of systemd first, then the longest.
    older: Vec<String>,
}

/// What a path says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Innermost unit, such as `nginx.service`.
    pub(super) unit: Option<String>,
    /// What the unit calls its service: its name without the suffix. None for a unit that a container
    /// runtime made up, since its name is an id.
    pub(super) service: Option<String>,
    /// Innermost container.
    pub(super) container: Option<String>,
}

impl Paths {
    /// Lines are `number:controllers:path`; the unified hierarchy is `0::path`.
    pub(super) fn parse(cgroup: &[u8]) -> Paths {
        let mut paths = Paths::default();
        let mut systemd = None;
        for line in cgroup.split(|byte| *byte == b'\n') {
            let mut parts = line.splitn(3, |byte| *byte == b':');
            let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            // The folder was removed under a process that has not ended yet.
            let path = text::from_bytes(path.strip_suffix(b" (deleted)").unwrap_or(path));
            match (number, controllers) {
                (b"0", b"") => paths.unified = Some(path),
                (_, b"name=systemd") => systemd = Some(path),
                _ => paths.older.push(path),
            }
        }
        paths.older.sort_by_key(|path| std::cmp::Reverse(path.len()));
        paths.older.splice(0..0, systemd);
        paths
    }

    /// Unit and container, from the first path that knows each. Where both versions of cgroups are in
    /// use, the unified path may be bare.
    pub(super) fn place(&self) -> Place {
        let mut place = Place::default();
        for path in self.unified.iter().chain(&self.older) {
            let here = Place::of(path);
            if place.unit.is_none() {
                (place.unit, place.service) = (here.unit, here.service);
            }
            place.container = place.container.or(here.container);
        }
        place
    }
}

impl Place {
    fn of(path: &str) -> Place {
        let mut place = Place::default();
        let mut above = "";
        for folder in path.split('/').filter(|folder| !folder.is_empty()) {
            let container = container(above, folder);
            if let Some(unit) = unit(folder) {
                let made_up = container.is_some() || hex_id(unit).is_some();
                let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
                place.service = (!made_up).then(|| stem.to_owned());
                place.unit = Some(unit.to_owned());
            } else if container.is_some() {
                // What runs in a container is not the service of the runtime that started it.
                place.service = None;
            }
            place.container = container.or(place.container);
            above = folder;
        }
        place
    }
}

/// The unit of a folder, if it is one that runs processes. An underscore in front escapes names that
/// the kernel might take for its own files.
fn unit(folder: &str) -> Option<&str> {
    let name = folder.strip_prefix('_').unwrap_or(folder);
    let (stem, kind) = name.rsplit_once('.')?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let valid = !stem.is_empty() && !stem.starts_with('@') && name.len() < 256 && stem.chars().all(is_plain);
    (valid && ["service", "scope"].contains(&kind)).then_some(name)
}

/// The container of a folder, given the one above it.
fn container(above: &str, folder: &str) -> Option<String> {
    // The monitor of a container runs beside it, in a folder with the same id.
    if ["libpod-conmon-", "crio-conmon-"].iter().any(|monitor| folder.starts_with(monitor)) {
        return None;
    }
    if let Some(id) = hex_id(folder) {
        return Some(id.to_owned());
    }
    // On AWS Fargate: the id of the task and a number.
    if above == "ecs" || hex_run(above).is_some_and(|run| run.len() == 32) {
        let task =
            folder.split_once('-').filter(|(id, number)| is_hex(id, 32) && number.bytes().all(|b| b.is_ascii_digit()));
        if task.is_some() {
            return Some(folder.to_owned());
        }
    }
    if above == "lxc" || above == "garden" {
        return Some(folder.to_owned());
    }
    let named = folder.strip_prefix("lxc.payload.").map(str::to_owned);
    // Machines of systemd: started by hand, or by machined's unit.
    let machine = |prefix, suffix| Some(unescaped(folder.strip_prefix(prefix)?.strip_suffix(suffix)?));
    let named = named.or_else(|| machine("machine-", ".scope")).or_else(|| machine("systemd-nspawn@", ".service"));
    named.filter(|name| !name.is_empty())
}

/// An id of 64 hexadecimal digits that stands alone or at the end, behind the name of a runtime:
/// `docker-ID.scope`, `crio-ID`, `kubepods-…slice:cri-containerd:ID`.
fn hex_id(folder: &str) -> Option<&str> {
    hex_run(folder).filter(|run| run.len() == 64)
}

/// The last part of a folder's name, if it is hexadecimal.
fn hex_run(folder: &str) -> Option<&str> {
    let stem = folder.strip_suffix(".scope").or_else(|| folder.strip_suffix(".service")).unwrap_or(folder);
    let run = stem.rsplit(['-', ':']).next()?;
    is_hex(run, run.len()).then_some(run)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A name with systemd's `\xNN` undone. What does not become text again stays as it is.
fn unescaped(name: &str) -> String {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("\\x") {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let code = rest.get(at + 2..at + 4).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => out.push(byte),
            None => return name.to_owned(),
        }
        rest = &rest[at + 4..];
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).unwrap_or_else(|_| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const INNER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

    /// `ID` and `INNER` stand for ids; `-` for nothing.
    #[track_caller]
    fn check(path: &str, unit: &str, service: &str, container: &str) {
        let whole = |text: &str| (text != "-").then(|| text.replace("INNER", INNER).replace("ID", ID));
        let expected = Place { unit: whole(unit), service: whole(service), container: whole(container) };
        assert_eq!(Place::of(&path.replace("INNER", INNER).replace("ID", ID)), expected, "{path}");
    }

    #[test]
    fn the_innermost_unit_counts() {
        check("/", "-", "-", "-");
        check("/init.scope", "init.scope", "init", "-");
        check("/system.slice/nginx.service", "nginx.service", "nginx", "-");
        check("/system.slice/nginx.service/worker/7", "nginx.service", "nginx", "-");
        check("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", "getty@tty1", "-");
        check("/user.slice/user-1000.slice/session-3.scope", "session-3.scope", "session-3", "-");
        let user = "/user.slice/user-1000.slice/user@1000.service";
        check(user, "user@1000.service", "user@1000", "-");
        check(&format!("{user}/init.scope"), "init.scope", "init", "-");
        check(&format!("{user}/app.slice/a\\x2db.service"), "a\\x2db.service", "a\\x2db", "-");
        check("/system.slice/_cpu.service", "cpu.service", "cpu", "-");
        check("/../../system.slice/x.service", "x.service", "x", "-");
    }

    #[test]
    fn what_only_looks_like_a_unit_is_none() {
        for path in
            ["/.service", "/a b.service", "/@x.service", "/dev-sda.device", "/é.service", "/service", "/a.slice"]
        {
            check(path, "-", "-", "-");
        }
        check(&format!("/{}.service", "x".repeat(300)), "-", "-", "-");
    }

    #[test]
    fn containers_are_known_by_their_runtimes_names() {
        check("/docker/ID", "-", "-", "ID");
        check("/docker/buildx/ID", "-", "-", "ID");
        check("/system.slice/docker-ID.scope", "docker-ID.scope", "-", "ID");
        check("/machine.slice/libpod-ID.scope/container", "libpod-ID.scope", "-", "ID");
        check("/machine.slice/libpod-conmon-ID.scope", "libpod-conmon-ID.scope", "-", "-");
        let user = "/user.slice/user-1000.slice/user@1000.service/user.slice";
        check(&format!("{user}/libpod-ID.scope/container"), "libpod-ID.scope", "-", "ID");
        check("/ecs/fargate/0123456789abcdef0123456789abcdef/ID", "-", "-", "ID");
        let task = "0123456789abcdef0123456789abcdef-1234567890";
        check(&format!("/ecs/{}/{task}", &task[..32]), "-", "-", task);
        check("/lxc/web/system.slice/nginx.service", "nginx.service", "nginx", "web");
        check("/lxc.payload.web/init.scope", "init.scope", "init", "web");
        check("/lxc.monitor.web", "-", "-", "-");
        check("/machine.slice/machine-my\\x2dbox.scope/payload", "machine-my\\x2dbox.scope", "-", "my-box");
        check("/machine.slice/systemd-nspawn@box.service/payload/system.slice/a.service", "a.service", "a", "box");
    }

    #[test]
    fn pods_of_kubernetes() {
        let pod = "pod12345678-1234-1234-1234-123456789abc";
        check(&format!("/kubepods/burstable/{pod}/ID"), "-", "-", "ID");
        let slices = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12345678_1234.slice";
        for runtime in ["cri-containerd", "crio", "docker"] {
            check(&format!("{slices}/{runtime}-ID.scope"), &format!("{runtime}-ID.scope"), "-", "ID");
        }
        check(&format!("{slices}/crio-conmon-ID.scope"), "crio-conmon-ID.scope", "-", "-");
        check(
            "/system.slice/containerd.service/kubepods-besteffort-podx.slice:cri-containerd:ID",
            "containerd.service",
            "-",
            "ID",
        );
        check(&format!("/kubepods/{pod}"), "-", "-", "-");
    }

    #[test]
    fn the_innermost_container_counts() {
        check("/docker/ID/docker/INNER", "-", "-", "INNER");
        check("/docker/ID/kubepods/burstable/podx/INNER", "-", "-", "INNER");
        check("/system.slice/docker-ID.scope/system.slice/nginx.service", "nginx.service", "nginx", "ID");
        check("/docker/ID/libpod-conmon-INNER.scope", "libpod-conmon-INNER.scope", "-", "ID");
    }

    #[test]
    fn an_id_has_64_digits() {
        check(&format!("/docker/{}", &ID[1..]), "-", "-", "-");
        check(&format!("/docker/{ID}0"), "-", "-", "-");
        check(&format!("/docker/{}", ID.to_uppercase()), "-", "-", "-");
        check(&format!("/docker/x{ID}"), "-", "-", "-");
    }

    #[test]
    fn the_unified_path_counts_first() {
        let both = Paths::parse(
            format!(
                "12:pids:/docker/{ID}\n1:name=systemd:/system.slice/a.service\n0::/system.slice/b.service (deleted)\n"
            )
            .as_bytes(),
        );
        assert_eq!(both.unified.as_deref(), Some("/system.slice/b.service"));
        assert_eq!(both.place().unit.as_deref(), Some("b.service"));
        assert_eq!(both.place().container.as_deref(), Some(ID));

        let bare = Paths::parse(b"2:cpu,cpuacct:/\n1:name=systemd:/system.slice/a.service\n0::/\n");
        assert_eq!((bare.unified.as_deref(), bare.place().unit.as_deref()), (Some("/"), Some("a.service")));
    }

    #[test]
    fn nonsense_is_no_place() {
        for nonsense in [&b""[..], b"\n\n", b"0:", b"0::", b":::::", b"\xff\xff:\xff:\xff"] {
            let place = Paths::parse(nonsense).place();
            assert_eq!(place, Place::default(), "{nonsense:?}");
        }
    }
}
