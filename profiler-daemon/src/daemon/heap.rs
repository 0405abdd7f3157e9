//! Memory that a service no longer needs goes back to the system.
//!
//! Tables of large files are built in parallel and thrown away, and windows come and go: left to itself the allocator
//! keeps the peaks of all of these, each in the arena of the thread that had it.

/// Buffers of this size and more are mappings of their own, and gone once they are freed.
const MAPPED_BYTES: i32 = 128 << 10;
/// How much the heap grows by, and how much may be free at its end before that is given back, in bytes: some air between
/// the two, or each window's work would take and give back the same pages all the time.
const GROW_BYTES: i32 = 512 << 10;
const TRIM_BYTES: i32 = 4 << 20;
/// Heaps that threads share. Any but the first one grows page by page, with a call each.
const ARENAS: i32 = 1;

/// Sets the allocator up. To be called before there are other threads.
pub(super) fn stay_small() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, MAPPED_BYTES),
        (libc::M_TOP_PAD, GROW_BYTES),
        (libc::M_TRIM_THRESHOLD, TRIM_BYTES),
        (libc::M_ARENA_MAX, ARENAS),
    ] {
        // SAFETY: plain numbers; what the allocator refuses stays as it was.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives back what is free. Takes about a millisecond.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; the allocator locks itself.
    unsafe {
        libc::malloc_trim(0);
    }
}
