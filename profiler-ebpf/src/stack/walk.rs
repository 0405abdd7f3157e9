//! The walk of a user stack, frame by frame, by the unwind tables.
//!
//! Stack words are read through a window, a stretch that is copied at once: one read of 1 KiB costs as
//! much as two of a word. A step that misses a word says so and is repeated when it was read; so the
//! same step serves programs that may read their own memory only and those that read another's.

use core::ffi::c_void;
use profiler_common::limits::USER_FRAMES;
use profiler_common::unwind::{BUCKET_ROWS, MAPPING_WORDS, MAPPINGS, Mapping, SLAB_WORDS, cfa, saved, table};
use profiler_common::wire::{frame, outcome};
use profiler_ebpf::rules::memo::{USER_SPAN, USER_WORDS};
use profiler_ebpf::rules::unwind::{self, Cursor, For, Leaf, Step};

use crate::lend::{self, ScratchArg};
use crate::machine;
use crate::maps::{self, PROCESSES, RULES, Scratch};
use crate::memory;

/// Bytes of a window; a power of two.
pub(crate) const WINDOW_BYTES: usize = 1024;
/// Words that one step may read beside the window.
const EXTRAS: usize = 2;
/// In place of a number of words: more than a memo keeps.
const TOO_MANY: u32 = u32::MAX;
/// Frames walked by one call of `walk_some`. Three levels of loops keep the verifier's work small.
const FRAMES_A_CALL: u32 = 16;
/// Runs of so many frames made by one call of `walk_on`.
const RUNS_A_CALL: usize = 32;
const _: () = assert!((2 * USER_FRAMES).is_multiple_of(RUNS_A_CALL));

/// The state of a walk.
#[repr(C)]
pub(crate) struct Walk {
    pub(crate) cursor: Cursor,
    /// Registers of the leaf, by DWARF number.
    pub(crate) leaf: [u64; 16],
    /// Frames found so far.
    frames: u32,
    /// 1 once a step was made by the frame pointer.
    approximate: u32,
    /// 1 once code was met whose table is not there yet.
    pending: u32,
    /// Always zero.
    reserved: u32,
    /// The mapping of the last frame.
    mapping: Mapping,
    /// The process' mappings: where they lie, and how many there are.
    slab: u32,
    first: u32,
    count: u32,
    /// 1 if the mappings of this process are known.
    known: u32,
    /// 0 for a walk by frame pointers alone.
    by_tables: u32,
    /// Always zero.
    also_reserved: u32,
    /// Words that this step took so far.
    taken: u32,
    /// How often this frame's step was repeated.
    repeats: u32,
    /// The last one.
    word: u64,
    /// The word that the last step missed.
    pub(crate) missing: u64,
    /// Where the window lies, and how much of it was read.
    pub(crate) window_at: u64,
    pub(crate) window_bytes: u64,
    pub(crate) window: [u64; WINDOW_BYTES / 8],
    /// Words outside of the window.
    extra_at: [u64; EXTRAS],
    extra: [u64; EXTRAS],
}

/// What a step or a run of steps came to.
pub(crate) mod went {
    /// It may go on.
    pub(crate) const ON: u32 = 0;
    /// A word is needed: `Walk::missing`.
    pub(crate) const MISSING: u32 = 1;
    /// The walk is over.
    pub(crate) const OVER: u32 = 2;
}

/// Begins a walk at `scratch.regs` in the process of `scratch.owner`. `scratch.walk.leaf` is set.
#[inline(always)]
pub(super) fn start(scratch: &mut Scratch) {
    let walk = &mut scratch.walk;
    walk.cursor.pc = scratch.regs.ip & frame::ADDRESS;
    walk.cursor.sp = scratch.regs.sp;
    walk.cursor.fp = scratch.regs.bp;
    walk.cursor.exact = (scratch.regs.ip & frame::EXACT != 0).into();
    walk.cursor.fp_at = 0;
    walk.cursor.approximate = 0;
    walk.frames = 0;
    walk.approximate = 0;
    walk.pending = 0;
    walk.repeats = 0;
    walk.mapping.start = 0;
    walk.mapping.end = 0;
    walk.window_bytes = 0;
    walk.extra_at = [u64::MAX; EXTRAS];
    walk.known = 0;
    walk.by_tables = 1;
    scratch.words = 0;
    scratch.reach = 0;
    scratch.bp_mask = 0;
    scratch.link = 0;
    scratch.user.record.outcome = outcome::TRUNCATED;
    scratch.user.record.epoch = 0;
    if let Some(mappings) = PROCESSES.get_ptr(scratch.owner.pid) {
        // SAFETY: the daemon replaces entries whole; a stale one is as good as none.
        let mappings = unsafe { mappings.read_volatile() };
        walk.slab = mappings.slab;
        walk.first = mappings.word;
        walk.count = mappings.count;
        let is_placed = maps::slab(mappings.slab).is_some_and(|slab| {
            let stamp = mappings.word.wrapping_sub(1) as usize & (SLAB_WORDS - 1);
            // SAFETY: the mask keeps the index inside the slab.
            unsafe { slab.add(stamp).read_volatile() == mappings.stamp }
        });
        scratch.user.record.epoch = mappings.epoch;
        walk.known = (is_placed && mappings.generation == scratch.owner.generation).into();
    }
}

/// Has the walk that was begun go by frame pointers alone.
#[inline(always)]
pub(super) fn without_tables(scratch: &mut Scratch) {
    scratch.walk.by_tables = 0;
}

/// Walks the current task's stack to its end. `start` comes first.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn walk_user(scratch: ScratchArg) -> u32 {
    // SAFETY: the verifier checks the pointer; nobody else uses this working memory.
    let Some(scratch) = (unsafe { lend::scratch_of(scratch) }) else { return 0 };
    let mut turn = 0;
    // Every run of steps makes frames or fills the window.
    while turn < 2 * USER_FRAMES / RUNS_A_CALL {
        turn += 1;
        if walk_on(lend::scratch(scratch)) == went::OVER {
            break;
        }
    }
    finish(scratch);
    0
}

/// Makes up to `RUNS_A_CALL` runs of steps.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_on(scratch: ScratchArg) -> u32 {
    let mut run = 0;
    while run < RUNS_A_CALL {
        run += 1;
        let went = walk_some(scratch);
        if went == went::OVER {
            return went;
        }
        if went == went::MISSING {
            fetch_own(scratch);
        }
    }
    went::ON
}

/// The walk is over: completes the record and tells the memo whether to keep it.
#[inline(always)]
pub(super) fn finish(scratch: &mut Scratch) {
    let walk = &scratch.walk;
    let record = &mut scratch.user.record;
    record.frames = walk.frames;
    if walk.pending != 0 {
        record.outcome = outcome::PENDING;
    } else if record.outcome == outcome::COMPLETE && walk.approximate != 0 {
        record.outcome = outcome::APPROXIMATE;
    }
    // What could not be read or looked up now may be had next time.
    let is_final = record.outcome != outcome::PENDING && record.outcome != outcome::NOT_CODE;
    if !is_final || record.outcome == outcome::READ_FAULT {
        scratch.words = TOO_MANY;
    }
}

/// Makes up to `FRAMES_A_CALL` steps.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn walk_some(scratch: ScratchArg) -> u32 {
    let mut made = 0;
    while made < FRAMES_A_CALL {
        made += 1;
        let went = step(scratch);
        if went != went::ON {
            return went;
        }
    }
    went::ON
}

/// Notes the frame that the walk stands at and goes to its caller.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step(scratch: ScratchArg) -> u32 {
    // SAFETY: as in `walk_user`.
    let Some(scratch) = (unsafe { lend::scratch_of(scratch) }) else { return went::OVER };
    let at = scratch.walk.cursor;
    let frames = scratch.walk.frames as usize;
    if frames >= USER_FRAMES {
        return end(scratch, outcome::TRUNCATED);
    }
    let pc = at.lookup_pc();
    let mapping = &scratch.walk.mapping;
    if (pc < mapping.start || pc >= mapping.end) && find_mapping(lend::scratch(scratch), pc) == 0 {
        // What a rule leads to is code, and so is the leaf: it was mapped since the list was made.
        if at.approximate != 0 {
            return end(scratch, outcome::NOT_CODE);
        }
        scratch.walk.pending = 1;
    }
    let flags = if at.exact != 0 { frame::EXACT } else { 0 };
    let approximate = if at.approximate != 0 { frame::APPROXIMATE } else { 0 };
    scratch.user.frames[frames & (USER_FRAMES - 1)] = at.pc & frame::ADDRESS | flags | approximate;
    scratch.walk.frames = frames as u32 + 1;

    let has_table = scratch.walk.by_tables != 0 && scratch.walk.mapping.table == table::READY;
    let rule = if has_table { find_rule(lend::scratch(scratch), pc) } else { 0 };
    #[cfg(bpf_target_arch = "aarch64")]
    let rule = if at.approximate != 0 { without_stack_pointer(rule) } else { rule };

    scratch.walk.taken = 0;
    let leaf_register = |number: u8| {
        let is_known = frames == 0 && number < 16;
        if is_known { Some(scratch.walk.leaf[number as usize & 15]) } else { None }
    };
    let rule = if rule == 0 { None } else { RULES.get(rule) };
    let mut uses_fp = true;
    let step = match rule {
        Some(rule) => {
            uses_fp = unwind::uses_frame_pointer(rule);
            if rule.cfa == cfa::REGISTER {
                // The memo does not compare that register.
                scratch.walk.taken = TOO_MANY;
            }
            // Read for every frame: a value that is there for the leaf alone the compiler spills unset.
            let link = if machine::LINKS { scratch.regs.link } else { 0 };
            let links = machine::LINKS && frames == 0;
            if links && rule.return_address == saved::SAME {
                scratch.link = link;
            }
            let link = if links { Some(link) } else { None };
            let leaf = Leaf { register: leaf_register(rule.register), link };
            unwind::by_rule(rule, &at, leaf, |address, what| take(scratch, address, what))
        }
        None => unwind::by_frame_pointer(&at, frames == 0, |address, what| take(scratch, address, what)),
    };
    if uses_fp && !matches!(step, Step::Missing(_)) {
        note_frame_pointer(lend::scratch(scratch), at.fp_at);
    }
    match step {
        Step::Caller(caller) => {
            scratch.walk.cursor = caller;
            scratch.walk.cursor.pc = machine::user_code(caller.pc);
            scratch.walk.approximate |= caller.approximate;
            scratch.walk.repeats = 0;
            keep_words(scratch);
            went::ON
        }
        Step::Missing(address) => {
            scratch.walk.frames = frames as u32;
            scratch.walk.missing = address;
            scratch.walk.repeats += 1;
            if scratch.walk.repeats as usize > 1 + EXTRAS {
                scratch.walk.frames = frames as u32 + 1;
                return end(scratch, outcome::READ_FAULT);
            }
            went::MISSING
        }
        Step::End(why) => {
            // The words that ended it decided the walk, too.
            keep_words(scratch);
            end(scratch, why)
        }
    }
}

/// The rule, if it does without the stack pointer, else 0. Frame records lie anywhere in a frame there: behind a step by
/// frame pointer nobody knows where the stack pointer was. A function of its own, since the compiler joins its branches
/// with those of the step, at which registers are unset.
#[cfg(bpf_target_arch = "aarch64")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn without_stack_pointer(rule: u32) -> u32 {
    if RULES.get(rule).is_some_and(unwind::ignores_stack_pointer) { rule } else { 0 }
}

/// A word of the stack, if it is at hand.
#[inline(always)]
fn take(scratch: &mut Scratch, address: u64, what: For) -> Option<u64> {
    if word_at(lend::scratch(scratch), address, (what == For::Way).into()) == 0 {
        None
    } else {
        Some(scratch.walk.word)
    }
}

/// Looks for a word in the window and beside it. Returns 1 if it is there. One that is on the way is noted.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn word_at(scratch: ScratchArg, address: u64, is_on_way: u32) -> u32 {
    // SAFETY: as in `walk_user`.
    let Some(scratch) = (unsafe { lend::scratch_of(scratch) }) else { return 0 };
    let walk = &mut scratch.walk;
    let into = address.wrapping_sub(walk.window_at);
    if into & 7 == 0 && into < walk.window_bytes {
        walk.word = walk.window[(into as usize & (WINDOW_BYTES - 1)) / 8];
    } else if walk.repeats > 1 && walk.extra_at[0] == address {
        walk.word = walk.extra[0];
    } else if walk.repeats > 2 && walk.extra_at[1] == address {
        walk.word = walk.extra[1];
    } else {
        return 0;
    }
    if is_on_way != 0 {
        note(scratch, address);
    }
    1
}

/// Notes where a word lay that decided the walk, for the memo; out of its reach the count runs over.
#[inline(always)]
fn note(scratch: &mut Scratch, address: u64) {
    let above = address.wrapping_sub(scratch.regs.sp);
    let words = scratch.words.saturating_add(scratch.walk.taken) as usize;
    if above <= (USER_SPAN - 8) as u64 && above & 7 == 0 && words < USER_WORDS {
        scratch.at[words & (USER_WORDS - 1)] = above as u16;
        scratch.walk.taken += 1;
        if above as u32 > scratch.reach {
            scratch.reach = above as u32;
        }
    } else {
        scratch.walk.taken = TOO_MANY;
    }
}

/// The step looked at the frame pointer, which thus decided the walk: the register, or the word it came from.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_frame_pointer(scratch: ScratchArg, from: u64) -> u32 {
    // SAFETY: as in `walk_user`.
    let Some(scratch) = (unsafe { lend::scratch_of(scratch) }) else { return 0 };
    if from == 0 {
        scratch.bp_mask = u64::MAX;
    } else {
        note(scratch, from);
    }
    0
}

/// The words of the last step belong to the walk.
#[inline(always)]
fn keep_words(scratch: &mut Scratch) {
    let words = scratch.words.saturating_add(scratch.walk.taken);
    scratch.words = if words <= USER_WORDS as u32 { words } else { TOO_MANY };
}

#[inline(always)]
fn end(scratch: &mut Scratch, why: u32) -> u32 {
    scratch.user.record.outcome = why;
    went::OVER
}

/// [`fetch`] of the current task's memory.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn fetch_own(scratch: ScratchArg) -> u32 {
    // SAFETY: as in `walk_user`.
    let Some(scratch) = (unsafe { lend::scratch_of(scratch) }) else { return 0 };
    fetch(scratch, |into, bytes, from| {
        // SAFETY: the window has room for the bytes.
        unsafe { memory::read_user(into, bytes, from) }
    });
    0
}

/// Reads the missing word, and what lies above it, by `read` (to, bytes, from), which returns whether it
/// could. If it could not, the step that missed the word gives up.
#[inline(always)]
pub(super) fn fetch(scratch: &mut Scratch, read: impl Fn(*mut c_void, u32, u64) -> bool) {
    const GIVE_UP: u32 = 1 + EXTRAS as u32;
    let walk = &mut scratch.walk;
    let from = walk.missing;
    if walk.repeats > 1 {
        // The window cannot hold all words of the step at once.
        let extra = (walk.repeats as usize - 2) & (EXTRAS - 1);
        walk.extra_at[extra] = from;
        if !read((&raw mut walk.extra[extra]).cast(), 8, from) {
            walk.extra_at[extra] = !from;
            walk.repeats = GIVE_UP;
        }
        return;
    }
    walk.window_at = from;
    walk.window_bytes = WINDOW_BYTES as u64;
    let window = walk.window.as_mut_ptr().cast();
    if read(window, WINDOW_BYTES as u32, from) {
        return;
    }
    // The stack may end within the window, but not within a page.
    const PAGE_BYTES: u64 = 4096;
    let bytes = (PAGE_BYTES - (from & (PAGE_BYTES - 1))) & (WINDOW_BYTES as u64 - 1);
    walk.window_bytes = bytes & !7;
    if bytes == 0 || !read(window, bytes as u32, from) {
        walk.window_bytes = 0;
        walk.repeats = GIVE_UP;
    }
}

/// Finds the mapping that holds `pc`. Returns 0 if there is none, though all are known.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_mapping(scratch: ScratchArg, pc: u64) -> u32 {
    // SAFETY: as in `walk_user`.
    let Some(scratch) = (unsafe { lend::scratch_of(scratch) }) else { return 0 };
    let walk = &mut scratch.walk;
    walk.mapping.table = table::NONE;
    walk.mapping.start = pc;
    walk.mapping.end = pc;
    if walk.known == 0 {
        walk.pending = 1;
        return 1;
    }
    let Some(slab) = maps::slab(walk.slab) else {
        walk.pending = 1;
        return 1;
    };
    // The first mapping that ends above pc.
    let (mut low, mut length) = (0, walk.count);
    let mut turn = 0;
    while turn <= MAPPINGS.ilog2() {
        turn += 1;
        if length == 0 {
            break;
        }
        let half = length / 2;
        let entry = walk.first.wrapping_add((low + half).wrapping_mul(MAPPING_WORDS));
        // SAFETY: `entry_at` masks its index.
        if unsafe { entry_at(slab, entry, 1) } <= pc {
            low += half + 1;
            length -= half + 1;
        } else {
            length = half;
        }
    }
    if low >= walk.count {
        return 0;
    }
    let entry = walk.first.wrapping_add(low.wrapping_mul(MAPPING_WORDS));
    // SAFETY: as above.
    unsafe {
        let start = entry_at(slab, entry, 0);
        if pc < start {
            return 0;
        }
        walk.mapping.start = start;
        walk.mapping.end = entry_at(slab, entry, 1);
        walk.mapping.origin = entry_at(slab, entry, 2);
        let place = entry_at(slab, entry, 3);
        walk.mapping.word = place as u32;
        walk.mapping.slab = (place >> 32) as u16;
        walk.mapping.shift = (place >> 48) as u8;
        walk.mapping.table = (place >> 56) as u8;
    }
    if walk.mapping.table == table::PENDING {
        walk.pending = 1;
    }
    if walk.mapping.table == table::READY
        && let Some(slab) = maps::slab(u32::from(walk.mapping.slab))
    {
        // Tells the daemon that the part is in use, see `unwind`.
        let used = (walk.mapping.word.wrapping_sub(1)) as usize & (SLAB_WORDS - 1);
        // SAFETY: the mask keeps the index inside the slab.
        unsafe {
            if slab.add(used).read_volatile() == 0 {
                slab.add(used).write_volatile(1);
            }
        }
    }
    1
}

/// The 64-bit member `member` of the mapping at word `entry`.
///
/// # Safety
/// `slab` is a slab.
#[inline(always)]
unsafe fn entry_at(slab: *mut u32, entry: u32, member: u32) -> u64 {
    let word = entry.wrapping_add(member * 2) as usize & (SLAB_WORDS - 2);
    // SAFETY: the mask keeps the pair of words inside the slab; the mapping is aligned to eight bytes.
    unsafe { slab.add(word).cast::<u64>().read_volatile() }
}

/// The number of the rule for `pc`, which lies in the mapping that was found last. 0, the gap, if there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_rule(scratch: ScratchArg, pc: u64) -> u32 {
    // SAFETY: as in `walk_user`.
    let Some(scratch) = (unsafe { lend::scratch_of(scratch) }) else { return 0 };
    let mapping = &scratch.walk.mapping;
    let Some(slab) = maps::slab(u32::from(mapping.slab)) else { return 0 };
    let first = mapping.word;
    let word = |index: u32| {
        // SAFETY: the mask keeps the index inside the slab.
        unsafe { slab.add(first.wrapping_add(index) as usize & (SLAB_WORDS - 1)).read_volatile() }
    };
    let position = pc.wrapping_sub(mapping.origin) as u32;
    let bucket = position >> (mapping.shift & 31);
    let (mut low, mut length) = (word(bucket), 0);
    let end = word(bucket.wrapping_add(1));
    if end > low {
        length = end - low;
    }
    // The first row of the bucket above the position; the row before it holds.
    let mut turn = 0;
    while turn <= BUCKET_ROWS.ilog2() {
        turn += 1;
        if length == 0 {
            break;
        }
        let half = length / 2;
        if word(low + half) >> 16 <= position & 0xffff {
            low += half + 1;
            length -= half + 1;
        } else {
            length = half;
        }
    }
    word(low.wrapping_sub(1)) & 0xffff
}
