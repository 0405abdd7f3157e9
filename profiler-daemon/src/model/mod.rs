//! Our words as plain values. No I/O, no kernel, no formats: every stage knows these and nothing
//! of the other stages.

mod capability;
mod capture;
mod class;
mod detail;
mod frame;
mod frames;
mod ledger;
mod mapped;
pub mod nearest;
pub mod note;
mod plumbing;
mod recording;
pub mod text;
mod time;
mod window;

pub use capability::{Capability, Support};
pub use capture::{Capture, RawStack, ThreadTime};
pub use class::WaitClass;
pub use detail::{Detail, DetailLevels};
pub use frame::{Frame, FrameKind};
pub use frames::Frames;
pub use ledger::Ledger;
pub use mapped::Mapped;
pub use plumbing::is_plumbing;
pub use recording::{Context, Program, Recording};
pub use time::{MonoNs, UnixNs};
pub use window::{
    FunctionTime, Gap, Losses, Overhead, Process, Sample, StackId, StackQuality, Stacks, State, Thread, Wait, Waker,
    Window,
};
