use std::fs;

use crate::sink::otlp::Host;

/// This machine. Without a machine id it is known by its name.
pub fn host() -> Host {
    let name = first_line("/proc/sys/kernel/hostname");
    let ids = ["/etc/machine-id", "/var/lib/dbus/machine-id"].map(first_line);
    let id = ids.into_iter().find(|id| !id.is_empty() && id != "uninitialized").unwrap_or_else(|| name.clone());
    Host { name, id }
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}
