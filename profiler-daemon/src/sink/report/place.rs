//! Which frames of a stack a person wants to see, and which of them is their own.

use crate::model::{Frame, FrameKind, StackId, Stacks};

/// How near a frame is to the person who reads the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nearness {
    /// The C library, the dynamic linker, the language's runtime and standard library.
    Runtime,
    /// A library of the system.
    Library,
    /// Code that its owner can change.
    Own,
}

/// File names of what every program runs on.
const RUNTIME_FILES: [&str; 16] = [
    "libc.so",
    "libc-",
    "libc.musl",
    "libpthread",
    "ld-linux",
    "ld-musl",
    "ld-2",
    "libm.so",
    "libm-",
    "librt.",
    "libdl",
    "libstdc++",
    "libc++",
    "libgcc_s",
    "libunwind",
    "[vdso]",
];
/// Functions of the same in programs that are linked statically, and of standard libraries that are
/// always compiled in.
const RUNTIME_PREFIXES: [&str; 18] = [
    "__libc_",
    "__GI_",
    "__pthread_",
    "pthread_",
    "___pthread_",
    "__futex_",
    "__lll_",
    "__nptl_",
    "__internal_",
    "__clone",
    "__rust_",
    "__gthread_",
    "__cxa_",
    "std::",
    "core::",
    "alloc::",
    "<std::",
    "<core::",
];
const RUNTIME_NAMES: [&str; 30] = [
    "_start",
    "clone",
    "clone3",
    "start_thread",
    "syscall",
    "accept",
    "accept4",
    "connect",
    "epoll_wait",
    "epoll_pwait",
    "fdatasync",
    "fsync",
    "futex_wait",
    "nanosleep",
    "clock_nanosleep",
    "poll",
    "ppoll",
    "pread64",
    "pwrite64",
    "read",
    "readv",
    "recv",
    "recvfrom",
    "recvmsg",
    "select",
    "sem_wait",
    "send",
    "sendmsg",
    "write",
    "writev",
];

fn nearness(frame: &Frame) -> Nearness {
    let module = frame.module_name().unwrap_or_default();
    if RUNTIME_FILES.iter().any(|file| module.starts_with(file)) {
        return Nearness::Runtime;
    }
    let function = frame.function.as_deref().unwrap_or_default();
    let function = function.split('@').next().unwrap_or_default();
    if RUNTIME_NAMES.contains(&function)
        || RUNTIME_PREFIXES.iter().any(|prefix| function.starts_with(prefix))
        || function.starts_with("<alloc::")
    {
        return Nearness::Runtime;
    }
    let path = frame.module.as_deref().unwrap_or_default();
    let of_system = path.starts_with("/lib") || path.starts_with("/usr/lib");
    if of_system && module.contains(".so") { Nearness::Library } else { Nearness::Own }
}

/// A frame to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub(super) frame: &'a Frame,
    /// The first one of the program's own code.
    pub(super) own: bool,
}

/// What to show of a stack.
#[derive(Debug, Default)]
pub(super) struct Place<'a> {
    /// The call into the C library or the runtime that led to the kernel.
    pub(super) entry: Option<&'a Frame>,
    /// Leaf first, without `entry`.
    pub(super) frames: Vec<Shown<'a>>,
    /// Frames of the program that are not in `entry` and `frames`.
    pub(super) hidden: usize,
}

impl<'a> Place<'a> {
    /// The program's frames without what everyone knows, at most `limit` of them. Notes, such as
    /// `[unwinding stopped: …]`, are kept beyond the limit: they say that something is missing.
    pub(super) fn of(stacks: &'a Stacks, id: StackId, limit: usize) -> Place<'a> {
        let frames: Vec<&Frame> = stacks.get(id).filter(|frame| frame.kind != FrameKind::Kernel).collect();
        let own = own_index(&frames);
        // Wrappers at the leaf: the outermost is the call that the program wrote.
        let wrappers = frames.iter().take_while(|frame| is_runtime(frame)).count();
        let all_runtime = wrappers == frames.iter().filter(|frame| frame.kind == FrameKind::Native).count();
        // Nothing but the runtime: then its frames are all there is to see.
        let entry = if all_runtime { None } else { wrappers.checked_sub(1).map(|last| frames[last]) };
        let start = if all_runtime { 0 } else { wrappers };
        let mut shown: Vec<Shown> = Vec::new();
        let mut functions = usize::from(entry.is_some());
        for (index, frame) in frames.iter().enumerate().skip(start) {
            let note = frame.kind == FrameKind::Note;
            if !note && (functions >= limit || (is_runtime(frame) && !all_runtime)) {
                continue;
            }
            functions += usize::from(!note);
            shown.push(Shown { frame, own: own == Some(index) });
        }
        let hidden = frames.len() - shown.len() - usize::from(entry.is_some());
        Place { entry, frames: shown, hidden }
    }

    /// Every frame, the kernel's too.
    pub(super) fn whole(stacks: &'a Stacks, id: StackId) -> Place<'a> {
        let frames: Vec<&Frame> = stacks.get(id).collect();
        let own = own_index(&frames);
        let frames = frames.iter().enumerate().map(|(index, frame)| Shown { frame, own: own == Some(index) });
        Place { entry: None, frames: frames.collect(), hidden: 0 }
    }

    /// The frame that a person can change.
    pub(super) fn own(&self) -> Option<&'a Frame> {
        self.frames.iter().find(|shown| shown.own).map(|shown| shown.frame)
    }
}

/// Whether a function belongs to the program itself.
pub(super) fn is_own(frame: &Frame) -> bool {
    frame.kind == FrameKind::Native && nearness(frame) == Nearness::Own
}

fn is_runtime(frame: &Frame) -> bool {
    frame.kind == FrameKind::Native && nearness(frame) == Nearness::Runtime
}

/// The first own frame; where there is none, the first one of a library.
fn own_index(frames: &[&Frame]) -> Option<usize> {
    let first =
        |wanted: Nearness| frames.iter().position(|frame| frame.kind == FrameKind::Native && nearness(frame) == wanted);
    first(Nearness::Own).or_else(|| first(Nearness::Library))
}

/// The name without what the linker added: `pthread_cond_wait@@GLIBC_2.3.2` is `pthread_cond_wait`.
pub(super) fn function_name(frame: &Frame) -> String {
    let name = frame.name();
    let name = name.split_once('@').filter(|(_, version)| version.contains("GLIBC")).map_or(&*name, |(name, _)| name);
    name.strip_prefix("__GI_").unwrap_or(name).to_owned()
}

/// `cache.cpp:118`, or the file that the code lies in; empty where the name says it already.
pub(super) fn location(frame: &Frame) -> String {
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    match (&frame.file, frame.line, frame.kind) {
        (_, _, FrameKind::Note) => String::new(),
        (Some(file), Some(line), _) => format!("{}:{line}", base(file)),
        (Some(file), None, _) => base(file),
        _ if frame.function.is_none() => String::new(),
        _ => frame.module_name().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: FrameKind, function: &str, module: &str) -> Frame {
        Frame { kind, module: Some(module.into()), ..Frame::note(function) }
    }

    fn native(function: &str, module: &str) -> Frame {
        frame(FrameKind::Native, function, module)
    }

    /// `entry | frame, ▸frame, … +hidden`
    #[track_caller]
    fn check(frames: Vec<Frame>, limit: usize, expected: &str) {
        let indices = (0..frames.len() as u32).collect();
        let frames = frames.into_iter().map(Into::into).collect();
        let stacks = Stacks { frames, stacks: vec![indices] };
        let place = Place::of(&stacks, StackId(0), limit);
        let entry = place.entry.map(function_name).unwrap_or_default();
        let mark = |shown: &Shown| format!("{}{}", if shown.own { "▸" } else { "" }, function_name(shown.frame));
        let frames: Vec<String> = place.frames.iter().map(mark).collect();
        assert_eq!(format!("{entry} | {} +{}", frames.join(", "), place.hidden), expected);
    }

    const LIBC: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";

    #[test]
    fn wrappers_and_thread_starts_are_left_out_and_counted() {
        check(
            vec![
                frame(FrameKind::Kernel, "futex_wait", "[kernel]"),
                native("__futex_abstimed_wait_common", LIBC),
                native("pthread_cond_wait@@GLIBC_2.3.2", LIBC),
                native("Pool::take", "/opt/app/app"),
                native("Pool::run", "/opt/app/app"),
                native("start_thread", LIBC),
                native("clone3", LIBC),
            ],
            5,
            "pthread_cond_wait | ▸Pool::take, Pool::run +3",
        );
    }

    #[test]
    fn a_system_library_is_shown_but_is_not_ones_own() {
        check(
            vec![
                native("fdatasync", LIBC),
                native("sqlite3_step", "/usr/lib/libsqlite3.so.0"),
                native("save", "/opt/app"),
            ],
            5,
            "fdatasync | sqlite3_step, ▸save +0",
        );
        check(
            vec![native("poll", LIBC), native("uv_run", "/usr/lib/libuv.so.1"), native("clone3", LIBC)],
            5,
            "poll | ▸uv_run +1",
        );
    }

    #[test]
    fn a_standard_library_that_is_compiled_in_counts_as_runtime() {
        check(
            vec![
                native("syscall", LIBC),
                native("std::sys::sync::futex_wait", "/opt/app"),
                native("std::sync::mutex::Mutex<T>::lock", "/opt/app"),
                native("<app::Job as core::ops::FnOnce<()>>::call_once", "/opt/app"),
                native("std::panicking::try", "/opt/app"),
                native("app::main", "/opt/app"),
            ],
            5,
            "std::sync::mutex::Mutex<T>::lock | ▸<app::Job as core::ops::FnOnce<()>>::call_once, app::main +3",
        );
    }

    #[test]
    fn the_limit_counts_functions_and_keeps_notes() {
        let mut frames: Vec<Frame> = (1..=7).map(|n| native(&format!("f{n}"), "/opt/app")).collect();
        frames.push(Frame::note("[unwinding stopped: no unwind info]"));
        check(frames, 3, " | ▸f1, f2, f3, [unwinding stopped: no unwind info] +4");
    }

    #[test]
    fn where_there_is_only_runtime_it_is_shown() {
        check(vec![native("read", LIBC), native("main_loop", "/lib/libc.so.6")], 5, " | read, main_loop +0");
        check(vec![], 5, " |  +0");
    }

    #[test]
    fn a_location_is_as_near_as_it_is_known() {
        let mut known = native("f", "/usr/bin/app");
        assert_eq!(location(&known), "app");
        known.file = Some("/src/deep/cache.cpp".into());
        known.line = Some(118);
        assert_eq!(location(&known), "cache.cpp:118");
        assert_eq!(location(&Frame { function: None, ..native("", "/usr/bin/app") }), "");
    }
}
