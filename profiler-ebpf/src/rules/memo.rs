//! Is this the stack of last time? A walk is a function of the registers and of the words that it
//! read from the stack. So a slot keeps where those words lay and a hash of them: if the registers
//! are equal and the same places hash alike, a new walk would find the same stack.

/// Slots of each kind that a thread has.
pub const SLOTS: usize = 4;
/// Most words of a user stack that a slot verifies; longer walks are not kept.
pub const USER_WORDS: usize = 128;
/// Bytes above the stack pointer within which those words must lie. A power of two.
pub const USER_SPAN: usize = 8192;
/// Most words of a kernel stack that a slot verifies.
pub const KERNEL_WORDS: usize = 32;
/// Bytes of kernel stack that are read to verify. A power of two.
pub const KERNEL_SPAN: usize = 2048;
/// Frames at the root of a kernel stack inside a system call that are not verified: the kernel
/// moves them by a random distance at every call, and they follow from the rest.
pub const KERNEL_ENTRY_FRAMES: usize = if cfg!(bpf_target_arch = "aarch64") { 5 } else { 2 };

/// In place of a descriptor: the system call names none.
pub const NO_DESCRIPTOR: u64 = u64::MAX;
/// In place of a file's mode: has to be asked for.
pub const MODE_UNKNOWN: u32 = u32::MAX;

/// A remembered user stack. `stack` is 0 in an empty slot.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UserSlot {
    /// Id of the stack.
    pub stack: u64,
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer, as far as the walk looked at it.
    pub bp: u64,
    /// All ones if it did, else 0: code without frame pointers keeps anything there.
    pub bp_mask: u64,
    /// Where the leaf returned to by its register, if the walk looked at that; else 0.
    pub link: u64,
    /// [`hash`] of the words.
    pub hash: u64,
    /// Generation of the process, see `wire::Exec`.
    pub generation: u32,
    /// Bytes from the stack pointer that hold all words.
    pub span: u32,
    /// Number of words.
    pub words: u32,
    /// Epoch of mappings in which it was walked, see `unwind::ProcessMappings`.
    pub epoch: u32,
    /// Where each word lies, in bytes above the stack pointer; multiples of eight. The rest is as [`hash`] wants it.
    pub at: [u16; USER_WORDS],
}

/// A remembered kernel stack. `stack` is 0 in an empty slot.
///
/// With it the kind of file is known: reading and writing go through the functions of the file's own kind, so the
/// same stack at the same descriptor is a wait for the same kind.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KernelSlot {
    /// Id of the stack.
    pub stack: u64,
    /// [`hash`] of the words.
    pub hash: u64,
    /// System call, or negative in an exception.
    pub syscall: i32,
    /// Task state at the switch.
    pub state: u32,
    /// In an exception the distance to the saved registers, else 0.
    pub length: u32,
    /// Where the first word lies, in bytes above the program's context.
    pub first: u32,
    /// Bytes from the first word that hold all words.
    pub span: u32,
    /// Number of words.
    pub words: u32,
    /// Mode of the file behind `descriptor`, see `class::wait`.
    pub file_mode: u32,
    /// Descriptor that was read or written, [`NO_DESCRIPTOR`] in other calls.
    pub descriptor: u64,
    /// Always zero.
    pub reserved: u32,
    /// Where each word lies, in bytes above the first one; multiples of eight. The rest is as [`hash`] wants it.
    pub at: [u16; KERNEL_WORDS],
}

/// The memo of one thread. Zeroed memory is an empty memo.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Memo {
    /// Which user slot is overwritten next.
    pub next_user: u32,
    /// Which kernel slot is overwritten next.
    pub next_kernel: u32,
    /// User stacks.
    pub user: [UserSlot; SLOTS],
    /// Kernel stacks.
    pub kernel: [KernelSlot; SLOTS],
}

/// Start value of [`hash`].
pub const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Adds one word to a hash: multiplication spreads upwards, the shift brings it down again.
#[inline(always)]
pub fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// Sums the words at `at[..words]` of `stretch`, each times a factor of its own, which both sides of a
/// comparison read afresh. Factors are odd, so that one changed word always shows; and the products
/// do not wait for each other, as the steps of [`mix`] do.
///
/// Four words a turn, since the turns cost as much as the words: behind the last one `at` names the first one again,
/// see [`pad`].
///
/// # Safety
/// `stretch` points to at least `SPAN` readable bytes, aligned to eight.
#[inline(always)]
pub unsafe fn hash<const SPAN: usize, const WORDS: usize>(stretch: *const u64, at: &[u16; WORDS], words: u32) -> u64 {
    const STEP: u64 = 0xd6e8_feb8_6659_fd92;
    let mut sum = u64::from(words);
    let mut factor = SEED;
    let mut index = 0;
    while index < WORDS {
        if index as u32 >= words {
            break;
        }
        let mut lane = 0;
        while lane < LANES {
            let offset = at[index + lane] as usize & (SPAN - 8);
            // SAFETY: the mask keeps the offset below SPAN, which the caller vouches for.
            let word = unsafe { stretch.byte_add(offset).read_volatile() };
            sum = sum.wrapping_add(word.wrapping_mul(factor));
            factor = factor.wrapping_add(STEP);
            lane += 1;
        }
        index += LANES;
    }
    sum
}

/// Words that [`hash`] takes at once; divides the number of places in a slot.
const LANES: usize = 4;
const _: () = assert!(USER_WORDS.is_multiple_of(LANES) && KERNEL_WORDS.is_multiple_of(LANES));

/// Makes the places of a slot such as [`hash`] wants them.
#[inline(always)]
pub fn pad<const WORDS: usize>(at: &mut [u16; WORDS], words: u32) {
    let first = at[0];
    let mut lane = 0;
    while lane < LANES - 1 {
        if let Some(place) = at.get_mut(words as usize + lane) {
            *place = first;
        }
        lane += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(stack: &[u64; 16], at: &[u16]) -> u64 {
        let mut places = [0xfff8; USER_WORDS];
        places[..at.len()].copy_from_slice(at);
        pad(&mut places, at.len() as u32);
        // SAFETY: a stretch of 16 words has 128 bytes.
        unsafe { hash::<128, USER_WORDS>(stack.as_ptr(), &places, at.len() as u32) }
    }

    #[test]
    fn only_the_words_of_the_walk_count() {
        let stack: [u64; 16] = core::array::from_fn(|n| 0x5555_0000 + n as u64 * 0x40);
        let at = [0, 8, 64, 72];
        for changed in 0..16 {
            let mut other = stack;
            other[changed] ^= 1;
            let is_read = at.contains(&(changed as u16 * 8));
            assert_eq!(sum(&stack, &at) != sum(&other, &at), is_read, "word {changed}");
        }
    }

    #[test]
    fn order_and_number_of_words_count() {
        let stack: [u64; 16] = core::array::from_fn(|n| n as u64);
        assert_ne!(sum(&stack, &[8, 16]), sum(&stack, &[16, 8]));
        assert_ne!(sum(&stack, &[8]), sum(&stack, &[8, 16]));
        let zeros = [0; 16];
        assert_ne!(sum(&zeros, &[8]), sum(&zeros, &[8, 16]), "a run of zeros has a length");
    }
}
