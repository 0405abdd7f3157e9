//! One step of walking a user stack by frame pointers.
//!
//! A function that keeps a frame pointer starts with `push rbp; mov rbp, rsp`: at `rbp` lies the
//! caller's frame pointer, above it the return address. The walk knows where each word lay, which
//! the memo needs.

use profiler_common::wire::outcome;

/// A frame pointer further than this above the stack pointer is no frame pointer.
pub const MAX_STACK_BYTES: u64 = 16 << 20;

/// Whether `frame_pointer` can point to the next saved pair, with the stack pointer at `stack_pointer`.
#[inline(always)]
pub fn plausible(frame_pointer: u64, stack_pointer: u64) -> bool {
    frame_pointer >= stack_pointer && frame_pointer & 7 == 0 && frame_pointer - stack_pointer <= MAX_STACK_BYTES
}

/// How the walk goes on after reading the pair at the frame pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Another frame: its return address was read; continue at the saved frame pointer.
    Frame,
    /// The walk ends here, with an outcome of [`outcome`].
    End(u32),
}

/// Judges the pair that was read: the saved frame pointer and the return address.
#[inline(always)]
pub fn step(return_address: u64) -> Step {
    // The first frame of a thread has return address 0.
    if return_address == 0 { Step::End(outcome::COMPLETE) } else { Step::Frame }
}

/// The outcome when the frame pointer is not plausible: the ABI zeroes it in the outermost frame.
#[inline(always)]
pub fn stop(frame_pointer: u64, frames: usize) -> u32 {
    if frame_pointer == 0 && frames > 1 { outcome::COMPLETE } else { outcome::NO_FRAME_POINTER }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks a drawn stack: words from `base` upwards.
    fn walk(base: u64, words: &[u64], mut frame_pointer: u64) -> (Vec<u64>, u32) {
        let (mut frames, mut stack_pointer) = (vec![0xa11], base);
        loop {
            if !plausible(frame_pointer, stack_pointer) {
                return (frames.clone(), stop(frame_pointer, frames.len()));
            }
            let at = ((frame_pointer - base) / 8) as usize;
            let (Some(saved), Some(ret)) = (words.get(at), words.get(at + 1)) else {
                return (frames, outcome::READ_FAULT);
            };
            if let Step::End(end) = step(*ret) {
                return (frames, end);
            }
            frames.push(*ret);
            (stack_pointer, frame_pointer) = (frame_pointer + 16, *saved);
        }
    }

    #[test]
    fn walks_end_as_the_stack_says() {
        const BASE: u64 = 0x7fff_0000;
        type Case = (&'static str, &'static [u64], u64, &'static [u64], u32);
        let cases: &[Case] = &[
            ("two frames, zero at the root", &[BASE + 16, 0x1, 0, 0x2], BASE, &[0xa11, 0x1, 0x2], outcome::COMPLETE),
            ("return address zero", &[BASE + 16, 0x1, 0, 0], BASE, &[0xa11, 0x1], outcome::COMPLETE),
            ("saved pointer below the stack", &[BASE - 8, 0x1], BASE, &[0xa11, 0x1], outcome::NO_FRAME_POINTER),
            ("odd pointer", &[0; 4], BASE + 4, &[0xa11], outcome::NO_FRAME_POINTER),
            ("no frame pointer at all", &[0; 4], 0, &[0xa11], outcome::NO_FRAME_POINTER),
            ("beyond what is mapped", &[BASE + 4096, 0x1], BASE, &[0xa11, 0x1], outcome::READ_FAULT),
        ];
        for (name, words, frame_pointer, frames, end) in cases {
            assert_eq!(walk(BASE, words, *frame_pointer), (frames.to_vec(), *end), "{name}");
        }
    }
}
