//! Ring bytes to records.
//!
//! Whatever arrives is checked before it is believed: length, tag, counts and every number that
//! later picks a table row. Nothing here panics, and an error names the field that was wrong.

mod error;
mod plain;
mod stream;

pub use error::DecodeError;
pub use stream::{Records, records, totals};

use crate::model::RawStack;
use plain::{Plain, read};
use profiler_common::limits::{KERNEL_FRAMES, USER_FRAMES};
use profiler_common::wire::{
    CpuSample, Exec, Header, OffCpu, StackRecord, ThreadTotals, Wait, cpu_mode, outcome, stack_kind, tag,
};

/// One message from the kernel programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A stack that samples and waits name by its id from now on.
    Stack {
        /// The kernel-side id, never 0.
        id: u64,
        /// Its addresses.
        stack: RawStack,
    },
    /// What a CPU was executing.
    CpuSample(CpuSample),
    /// One long wait.
    Wait(Wait),
    /// All time of one thread; boxed, since it is several times as large as most.
    Thread(Box<ThreadTotals>),
    /// A process called exec.
    Exec(Exec),
    /// A process was born.
    Fork(Exec),
    /// Waits that a thread had summed when the window closed.
    OffCpu(Box<OffCpu>),
}

impl Record {
    /// The word for its kind, as errors use it.
    pub fn name(&self) -> &'static str {
        match self {
            Record::Stack { .. } => "stack",
            Record::CpuSample(_) => "cpu sample",
            Record::Wait(_) => "wait",
            Record::Thread(_) => "thread",
            Record::Exec(_) => "exec",
            Record::Fork(_) => "fork",
            Record::OffCpu(_) => "off-CPU sum",
        }
    }
}

/// Decodes exactly one record, which fills `bytes` to the last byte.
///
/// # Errors
/// Names the first thing that is wrong; the bytes are then worth nothing.
pub fn record(bytes: &[u8]) -> Result<Record, DecodeError> {
    let header = header(bytes)?;
    match header.tag {
        tag::STACK => stack(bytes),
        tag::CPU_SAMPLE => cpu_sample(bytes),
        tag::WAIT => whole("wait", bytes).map(Record::Wait),
        tag::THREAD => whole("thread", bytes).map(|totals| Record::Thread(Box::new(totals))),
        tag::EXEC => whole("exec", bytes).map(Record::Exec),
        tag::FORK => whole("fork", bytes).map(Record::Fork),
        tag::OFF_CPU => whole("off-CPU sum", bytes).map(|sum| Record::OffCpu(Box::new(sum))),
        tag => Err(DecodeError::UnknownTag { tag }),
    }
}

/// Length of the record that `bytes` starts with; the record itself may be cut short.
fn length(bytes: &[u8]) -> Result<usize, DecodeError> {
    let header = header(bytes)?;
    Ok(match header.tag {
        tag::STACK => {
            let start = stack_start(bytes)?;
            size_of::<StackRecord>() + start.frames as usize * size_of::<u64>()
        }
        tag::CPU_SAMPLE => size_of::<CpuSample>(),
        tag::WAIT => size_of::<Wait>(),
        tag::THREAD => size_of::<ThreadTotals>(),
        tag::EXEC | tag::FORK => size_of::<Exec>(),
        tag::OFF_CPU => size_of::<OffCpu>(),
        tag => return Err(DecodeError::UnknownTag { tag }),
    })
}

fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    read(bytes).ok_or(DecodeError::NoHeader { length: bytes.len() })
}

/// A record of fixed size that must fill `bytes`.
fn whole<T: Plain>(record: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    let wrong = DecodeError::Length { record, expected: size_of::<T>(), actual: bytes.len() };
    if bytes.len() == size_of::<T>() { read(bytes).ok_or(wrong) } else { Err(wrong) }
}

fn cpu_sample(bytes: &[u8]) -> Result<Record, DecodeError> {
    let sample: CpuSample = whole("cpu sample", bytes)?;
    match sample.mode {
        cpu_mode::USER | cpu_mode::KERNEL => Ok(Record::CpuSample(sample)),
        mode => Err(DecodeError::CpuMode { mode }),
    }
}

/// The fixed part of a stack record, its numbers checked.
fn stack_start(bytes: &[u8]) -> Result<StackRecord, DecodeError> {
    let expected = size_of::<StackRecord>();
    let start: StackRecord =
        read(bytes).ok_or(DecodeError::Length { record: "stack", expected, actual: bytes.len() })?;
    let limit = match start.kind {
        stack_kind::USER => USER_FRAMES,
        stack_kind::KERNEL => KERNEL_FRAMES,
        kind => return Err(DecodeError::StackKind { kind }),
    };
    if start.frames as usize > limit {
        return Err(DecodeError::FrameCount { frames: start.frames, limit });
    }
    if start.outcome as usize >= outcome::COUNT {
        return Err(DecodeError::StackOutcome { outcome: start.outcome });
    }
    if start.id == 0 {
        return Err(DecodeError::NoStackId);
    }
    Ok(start)
}

fn stack(bytes: &[u8]) -> Result<Record, DecodeError> {
    let start = stack_start(bytes)?;
    let (_, frames) = bytes.split_at(size_of::<StackRecord>());
    let expected = start.frames as usize * size_of::<u64>();
    if frames.len() != expected {
        let fixed = size_of::<StackRecord>();
        return Err(DecodeError::Length { record: "stack", expected: fixed + expected, actual: bytes.len() });
    }
    let (addresses, _) = frames.as_chunks();
    let stack = RawStack {
        pid: start.pid,
        generation: start.generation,
        epoch: start.epoch,
        kernel: start.kind == stack_kind::KERNEL,
        outcome: start.outcome,
        addresses: addresses.iter().map(|address| u64::from_ne_bytes(*address)).collect(),
    };
    Ok(Record::Stack { id: start.id, stack })
}

#[cfg(test)]
mod tests;
