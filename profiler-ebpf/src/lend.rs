//! How working memory and thread state are handed to global functions: by pointer, or, for kernels before 5.13, whose
//! global functions take only numbers, by a number that each of them looks up again.

#[cfg(not(feature = "hashed-threads"))]
mod by {
    use crate::maps::{Scratch, Thread};

    /// Stands for working memory.
    pub(crate) type ScratchArg = *mut Scratch;
    /// Stands for a thread's state.
    pub(crate) type ThreadArg = *mut Thread;

    #[inline(always)]
    pub(crate) fn scratch(scratch: &mut Scratch) -> ScratchArg {
        scratch
    }

    #[inline(always)]
    pub(crate) fn thread(thread: &mut Thread) -> ThreadArg {
        thread
    }

    /// The working memory that was lent.
    ///
    /// # Safety
    /// Nobody else uses it: it belongs to this program run.
    #[inline(always)]
    pub(crate) unsafe fn scratch_of<'a>(arg: ScratchArg) -> Option<&'a mut Scratch> {
        // SAFETY: the verifier checks the pointer, and the caller vouches for the rest.
        unsafe { arg.as_mut() }
    }

    /// The thread's state that was lent.
    ///
    /// # Safety
    /// The thread is being switched by this program.
    #[inline(always)]
    pub(crate) unsafe fn thread_of<'a>(arg: ThreadArg) -> Option<&'a mut Thread> {
        // SAFETY: as above.
        unsafe { arg.as_mut() }
    }
}

#[cfg(feature = "hashed-threads")]
mod by {
    use crate::maps::{self, Scratch, Thread};
    use crate::threads;

    /// The number of the working memory.
    pub(crate) type ScratchArg = u32;
    /// The thread's id.
    pub(crate) type ThreadArg = u32;

    #[inline(always)]
    pub(crate) fn scratch(scratch: &mut Scratch) -> ScratchArg {
        scratch.number
    }

    #[inline(always)]
    pub(crate) fn thread(thread: &mut Thread) -> ThreadArg {
        thread.tid
    }

    /// The working memory of this CPU that has the number.
    ///
    /// # Safety
    /// Nobody else uses it: it belongs to this program run.
    #[inline(always)]
    pub(crate) unsafe fn scratch_of<'a>(arg: ScratchArg) -> Option<&'a mut Scratch> {
        // SAFETY: the caller vouches for it.
        maps::scratch_numbered(arg).map(|scratch| unsafe { &mut *scratch })
    }

    /// The state of the thread that has the id.
    ///
    /// # Safety
    /// The thread is being switched by this program.
    #[inline(always)]
    pub(crate) unsafe fn thread_of<'a>(arg: ThreadArg) -> Option<&'a mut Thread> {
        // SAFETY: the caller vouches for it.
        threads::by_tid(arg).map(|thread| unsafe { &mut *thread })
    }
}

pub(crate) use by::*;

/// A number that is at most `most`. Verifiers before 6.8 forget that while it lies on the stack, so it is said once more,
/// where it is used; the compiler is not told that it knows.
#[inline(always)]
pub(crate) fn at_most(value: u32, most: usize) -> u32 {
    // SAFETY: a reference is valid to read.
    let value = unsafe { (&raw const value).read_volatile() };
    if value > most as u32 { most as u32 } else { value }
}
