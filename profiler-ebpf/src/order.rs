//! Memory that one CPU writes while another looks at it, without a lock: in what order it is seen.
//!
//! x86-64 keeps the order of stores and that of loads, so that only the compiler has to be held to it. aarch64 keeps
//! neither; of what kernel programs can do there, an atomic operation that returns a value holds both.

pub use by::{load_first, raise, store_last};

#[cfg(not(bpf_target_arch = "aarch64"))]
mod by {
    use core::sync::atomic::{Ordering, compiler_fence};

    /// Writes a word. Who sees it sees all that was written before.
    #[inline(always)]
    pub fn store_last(word: &mut u32, value: u32) {
        compiler_fence(Ordering::Release);
        // SAFETY: from a reference.
        unsafe { (&raw mut *word).write_volatile(value) };
    }

    /// Reads a word before all that is read afterwards.
    #[inline(always)]
    pub fn load_first(word: &u32) -> u32 {
        // SAFETY: from a reference.
        let value = unsafe { (&raw const *word).read_volatile() };
        compiler_fence(Ordering::Acquire);
        value
    }

    /// Adds 1 to a word that nobody else writes, between all that is written before and after.
    #[inline(always)]
    pub fn raise(word: &mut u32) {
        // SAFETY: from a reference.
        unsafe { (&raw mut *word).write_volatile(*word + 1) };
    }
}

#[cfg(all(bpf_target_arch = "aarch64", target_arch = "bpf"))]
mod by {
    use core::arch::asm;

    /// As on x86-64.
    #[inline(always)]
    pub fn store_last(word: &mut u32, value: u32) {
        // SAFETY: from a reference.
        unsafe {
            asm!("{value} = xchg32_32({word} + 0, {value})", value = inout(wreg) value => _, word = in(reg) &raw mut *word);
        }
    }

    /// As on x86-64.
    #[inline(always)]
    pub fn load_first(word: &u32) -> u32 {
        // SAFETY: the word lies in a map, whose memory may be written; it gets the value that it has.
        unsafe { fetch_add((&raw const *word).cast_mut(), 0) }
    }

    /// As on x86-64.
    #[inline(always)]
    pub fn raise(word: &mut u32) {
        // SAFETY: from a reference.
        unsafe { fetch_add(word, 1) };
    }

    /// Written as an instruction, since the compiler turns one whose result is not used into another, which orders
    /// nothing.
    #[inline(always)]
    unsafe fn fetch_add(word: *mut u32, more: u32) -> u32 {
        let before;
        // SAFETY: the caller vouches for the word.
        unsafe {
            asm!(
                "{more} = atomic_fetch_add((u32 *)({word} + 0), {more})",
                more = inout(wreg) more => before,
                word = in(reg) word,
            );
        }
        before
    }
}

// Where the host only type-checks the programs and runs their rules.
#[cfg(all(bpf_target_arch = "aarch64", not(target_arch = "bpf")))]
mod by {
    use core::sync::atomic::{AtomicU32, Ordering};

    /// As on x86-64.
    pub fn store_last(word: &mut u32, value: u32) {
        // SAFETY: from a reference.
        unsafe { AtomicU32::from_ptr(word) }.store(value, Ordering::SeqCst);
    }

    /// As on x86-64.
    pub fn load_first(word: &u32) -> u32 {
        // SAFETY: from a reference.
        unsafe { AtomicU32::from_ptr((&raw const *word).cast_mut()) }.load(Ordering::SeqCst)
    }

    /// As on x86-64.
    pub fn raise(word: &mut u32) {
        // SAFETY: from a reference.
        unsafe { AtomicU32::from_ptr(word) }.fetch_add(1, Ordering::SeqCst);
    }
}
