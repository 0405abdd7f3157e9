//! The colour of a state: on-CPU warm, waiting for a CPU grey, blocked cool by class, idle faint.

use inferno::flamegraph::color::Color;

use crate::model::WaitClass;
use crate::sink::flame_tree::{Role, Time};

/// States that share a colour, in the order of the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    OnCpu,
    OnCpuKernel,
    RunQueue,
    Throttled,
    Lock,
    Socket,
    Storage,
    Process,
    Timer,
    OtherBlocked,
    ManyBlocked,
    Many,
    Idle,
    Stolen,
    Unseen,
}

/// Number of families.
pub(super) const COUNT: usize = 15;

impl Family {
    pub(super) const ALL: [Family; COUNT] = [
        Family::OnCpu,
        Family::OnCpuKernel,
        Family::RunQueue,
        Family::Throttled,
        Family::Lock,
        Family::Socket,
        Family::Storage,
        Family::Process,
        Family::Timer,
        Family::OtherBlocked,
        Family::ManyBlocked,
        Family::Many,
        Family::Idle,
        Family::Stolen,
        Family::Unseen,
    ];

    /// The family of self time.
    pub(super) fn of(time: Time, role: Role) -> Family {
        match time {
            Time::OnCpu if role == Role::Kernel => Family::OnCpuKernel,
            Time::OnCpu => Family::OnCpu,
            Time::RunQueue => Family::RunQueue,
            Time::Throttled => Family::Throttled,
            Time::Stolen => Family::Stolen,
            Time::Unseen => Family::Unseen,
            Time::Blocked(class) => match class {
                WaitClass::Lock => Family::Lock,
                WaitClass::SocketRecv | WaitClass::SocketSend | WaitClass::SocketAccept => Family::Socket,
                WaitClass::DiskIo | WaitClass::FsSync | WaitClass::PageFault => Family::Storage,
                WaitClass::Pipe | WaitClass::WaitChild => Family::Process,
                WaitClass::Sleep | WaitClass::PollIdle => Family::Timer,
                WaitClass::Other | WaitClass::Preempted => Family::OtherBlocked,
            },
        }
    }

    pub(super) fn is_blocked(self) -> bool {
        (Family::Lock as usize..=Family::ManyBlocked as usize).contains(&(self as usize))
    }

    /// What the legend says.
    pub(super) fn name(self) -> &'static str {
        match self {
            Family::OnCpu => "on-CPU",
            Family::OnCpuKernel => "on-CPU in the kernel",
            Family::RunQueue => "waiting for a CPU",
            Family::Throttled => "throttled",
            Family::Lock => "lock",
            Family::Socket => "socket",
            Family::Storage => "disk, file system",
            Family::Process => "pipe, child",
            Family::Timer => "sleep, poll",
            Family::OtherBlocked => "other block",
            Family::ManyBlocked => "several blocks",
            Family::Many => "several states",
            Family::Idle => "idle",
            Family::Stolen => "stolen",
            Family::Unseen => "unseen",
        }
    }

    /// The family's colour; `name` varies the shade a little, so that neighbours can be told apart
    /// and one function looks the same everywhere.
    pub(super) fn color(self, name: &str) -> Color {
        // Hue in degrees, saturation and lightness in percent, spread of the lightness.
        // All are light enough for black text.
        let (hue, saturation, lightness, spread) = match self {
            Family::OnCpu => (34.0, 95.0, 64.0, 9.0),
            Family::OnCpuKernel => (12.0, 88.0, 67.0, 6.0),
            Family::RunQueue => (0.0, 0.0, 71.0, 3.0),
            Family::Throttled => (75.0, 38.0, 66.0, 3.0),
            Family::Lock => (217.0, 80.0, 74.0, 5.0),
            Family::Socket => (178.0, 48.0, 66.0, 5.0),
            Family::Storage => (268.0, 62.0, 79.0, 4.0),
            Family::Process => (135.0, 40.0, 70.0, 5.0),
            Family::Timer => (198.0, 65.0, 85.0, 2.5),
            Family::OtherBlocked => (230.0, 22.0, 76.0, 3.0),
            Family::ManyBlocked => (212.0, 35.0, 84.0, 2.0),
            Family::Many => (44.0, 32.0, 88.0, 2.0),
            Family::Idle => (210.0, 20.0, 95.0, 1.0),
            Family::Stolen => (20.0, 18.0, 62.0, 2.0),
            Family::Unseen => (330.0, 45.0, 90.0, 1.0),
        };
        let shade = f64::from(fnv(name) % 1024) / 512.0 - 1.0;
        rgb(hue, saturation / 100.0, (lightness + shade * spread) / 100.0)
    }

    /// The colour in the legend.
    pub(super) fn plain_color(self) -> Color {
        // A name that hashes to the middle shade.
        self.color("cs")
    }
}

/// FNV-1a, folded: the standard library's hash may change between releases, and colours should not.
fn fnv(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash ^ (hash >> 15)
}

fn rgb(hue: f64, saturation: f64, lightness: f64) -> Color {
    let chroma = saturation * lightness.min(1.0 - lightness);
    let channel = |offset: f64| {
        let sector = (offset + hue / 30.0) % 12.0;
        let value = lightness - chroma * (sector - 3.0).min(9.0 - sector).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    };
    Color { r: channel(0.0), g: channel(8.0), b: channel(4.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_state() {
        for name in ["main", "futex_wait", "a", ""] {
            let on_cpu = Family::OnCpu.color(name);
            assert!(on_cpu.r > on_cpu.b + 60, "warm: {on_cpu}");
            for family in Family::ALL.into_iter().filter(|family| family.is_blocked()) {
                let color = family.color(name);
                assert!(color.b > color.r || color.g > color.r, "{family:?} is cool: {color}");
            }
            let grey = Family::RunQueue.color(name);
            assert!(grey.r == grey.g && grey.g == grey.b);
            for family in Family::ALL {
                let Color { r, g, b } = family.color(name);
                let luma = (u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114) / 1000;
                assert!(luma > 130, "{family:?}: black text on {luma}");
            }
        }
    }
}
