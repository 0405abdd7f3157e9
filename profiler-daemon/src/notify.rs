//! What systemd is told: that the service is ready, what it does, that it still runs.
//!
//! Without systemd there is nobody to tell, and nothing happens.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::model::text::printable;

/// Longest status in bytes: one line of `systemctl status`.
const MOST_STATUS: usize = 200;

/// Tells systemd.
#[derive(Debug)]
pub struct Notifier {
    watchdog: Option<Watchdog>,
    /// Whether telling failed before: then that was said.
    failed: AtomicBool,
}

/// Signs of life that systemd waits for.
#[derive(Debug)]
struct Watchdog {
    every: Duration,
    last: Option<Instant>,
}

impl Notifier {
    /// Asks the environment whether systemd listens, and how often it wants a sign of life.
    pub fn new() -> Notifier {
        // Half of the time that systemd waits, as it recommends: one sign may come late.
        let watchdog = sd_notify::watchdog_enabled().map(|patience| Watchdog { every: patience / 2, last: None });
        Notifier { watchdog, failed: AtomicBool::new(false) }
    }

    /// The service does its work now.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&line(status))]);
    }

    /// What the service does, for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.tell(&[NotifyState::Status(&line(status))]);
    }

    /// The configuration is being read again. [`Notifier::ready`] says that this is done, whether or
    /// not the new one is taken.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            // `Type=notify-reload` knows by the time that this answers its signal.
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// The service ends, which takes at most so long.
    pub fn stopping(&self, status: &str, longest: Duration) {
        let microseconds = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
        let status = line(status);
        self.tell(&[NotifyState::Stopping, NotifyState::Status(&status), NotifyState::ExtendTimeoutUsec(microseconds)]);
    }

    /// A sign of life. To be called from the loop whose standstill is to restart the service, at
    /// least every [`Notifier::interval`]; what is too early costs nothing.
    pub fn alive(&mut self) {
        let Some(watchdog) = &mut self.watchdog else { return };
        // A little before its time, so that a loop with this very interval does not skip every other one.
        if watchdog.last.is_none_or(|last| last.elapsed() >= watchdog.every * 9 / 10) {
            watchdog.last = Some(Instant::now());
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// How often a sign of life is wanted; `None` if not at all.
    pub fn interval(&self) -> Option<Duration> {
        self.watchdog.as_ref().map(|watchdog| watchdog.every)
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let told: io::Result<()> = sd_notify::notify(states);
        if let Err(error) = told
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(error = &error as &(dyn std::error::Error + 'static), "systemd cannot be told anything");
        }
    }
}

impl Default for Notifier {
    fn default() -> Notifier {
        Notifier::new()
    }
}

/// The status as one line: a line feed would begin another message.
fn line(status: &str) -> String {
    let line = printable(status);
    line[..line.floor_char_boundary(MOST_STATUS)].to_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::net::UnixDatagram;

    /// The environment belongs to the whole process, so one test has all of it.
    #[test]
    fn systemd_hears_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let heard = || {
            let mut buffer = [0; 1024];
            socket.recv(&mut buffer).map(|length| String::from_utf8(buffer[..length].to_vec()).unwrap()).ok()
        };
        // SAFETY: the tests of this crate use the environment through the standard library alone, which locks it.
        unsafe {
            std::env::set_var("NOTIFY_SOCKET", &path);
            std::env::set_var("WATCHDOG_USEC", "60000000");
            std::env::set_var("WATCHDOG_PID", std::process::id().to_string());
        }
        let mut notifier = Notifier::new();
        assert_eq!(notifier.interval(), Some(Duration::from_secs(30)));
        notifier.ready("profiling\nREADY=0");
        assert_eq!(heard().as_deref(), Some("READY=1\nSTATUS=profiling\\nREADY=0\n"));
        notifier.reloading();
        let reloading = heard().unwrap();
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        notifier.stopping("ending", Duration::from_secs(5));
        assert_eq!(heard().as_deref(), Some("STOPPING=1\nSTATUS=ending\nEXTEND_TIMEOUT_USEC=5000000\n"));
        notifier.alive();
        assert_eq!(heard().as_deref(), Some("WATCHDOG=1\n"));
        notifier.alive();
        assert_eq!(heard(), None, "too early");

        drop(folder);
        notifier.status("nobody listens");
        assert!(notifier.failed.load(Ordering::Relaxed));
        // SAFETY: as above.
        unsafe {
            std::env::remove_var("NOTIFY_SOCKET");
            std::env::remove_var("WATCHDOG_USEC");
            std::env::remove_var("WATCHDOG_PID");
        }
        let mut without = Notifier::new();
        without.ready("nobody asked");
        without.alive();
        assert!(without.interval().is_none() && !without.failed.load(Ordering::Relaxed));
    }
}
