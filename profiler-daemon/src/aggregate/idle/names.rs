//! Names at the leaf of a wait: who only wraps it, who parks, who locks.

use crate::model::Frame;

/// What a function at the leaf says about the wait below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Waits for work to come: a condition variable, a semaphore, a join, a runtime's park.
    Parks,
    /// Waits for another thread to let go: a mutex, a lock.
    Locks,
    /// Passes the wait on and says nothing about it.
    Wraps,
    /// The program itself.
    Program,
}

/// Files that hold only the way into the kernel: C libraries and their loaders, by the start of the
/// file's name.
const LIBC_FILES: [&str; 11] = [
    "libc.so",
    "libc-2.",
    "libc.musl",
    "ld-linux",
    "ld-musl",
    "ld-2.",
    "libpthread",
    "librt.so",
    "[vdso]",
    "linux-vdso",
    "libstdc++.so",
];

/// Functions of C libraries that wait, for programs linked statically; without leading underscores.
const LIBC_WAITS: [&str; 24] = [
    "accept",
    "accept4",
    "clock_nanosleep",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "futex_wait",
    "pause",
    "poll",
    "ppoll",
    "pselect",
    "read",
    "select",
    "sigsuspend",
    "sigtimedwait",
    "sigwait",
    "sigwaitinfo",
    "syscall",
    "syscall_cancel",
    "syscall_cp_c",
    "wait",
    "wait4",
    "waitid",
    "waitpid",
];

/// Poll functions of well-known event loops: all that they do is wait.
const LOOP_WAITS: [&str; 9] = [
    "aeApiPoll",
    "uv__io_poll",
    "epoll_dispatch",
    "epoll_poll",
    "g_main_context_poll",
    "g_poll",
    "ngx_epoll_process_events",
    "select_epoll_poll_impl",
    "WaitEventSetWaitBlock",
];

/// Starts of names of runtimes' wait code, outside of which the thread is at work.
const RUNTIME_WAITS: [&str; 21] = [
    "std::thread::park",
    "std::thread::thread::Thread::park",
    "std::thread::Thread::park",
    "std::thread::Inner::park",
    "std::sys::",
    "std::sync::",
    "std::condition_variable",
    "std::_V2::condition_variable_any",
    "std::thread::join",
    "std::thread::JoinHandle",
    "std::thread::JoinInner",
    "crossbeam_channel::",
    "parking_lot",
    "lock_api::",
    "mio::",
    "tokio::runtime::driver::",
    "tokio::runtime::io::",
    "tokio::runtime::time::",
    "tokio::runtime::park::",
    "tokio::runtime::scheduler::multi_thread::park::",
    "tokio::runtime::scheduler::multi_thread::worker::Context::park",
];

/// Parts of names that lock.
const LOCKS: [&str; 11] = [
    "mutex_lock",
    "lll_lock",
    "rwlock",
    "lock_contended",
    "lock_slow",
    "RawMutex",
    "RawRwLock",
    "RwLock::",
    "take_gil",
    "Mutex::lock",
    "Mutex::Lock",
];

/// Parts of names that park.
const PARKS: [&str; 14] = [
    "pthread_cond_",
    "pthread_join",
    "pthread_clockjoin",
    "pthread_timedjoin",
    "thrd_join",
    "cnd_wait",
    "cnd_timedwait",
    "futex_abstimed_wait",
    "thread::park",
    "Thread::park",
    "ThreadParker",
    "CondVar::Wait",
    "condition_variable",
    "mpmc::context::Context::wait_until",
];

/// The role of a function at the leaf of a user stack.
pub(super) fn role(frame: &Frame) -> Role {
    let in_libc = frame.module_name().is_some_and(|file| LIBC_FILES.iter().any(|libc| file.starts_with(libc)));
    let otherwise = if in_libc { Role::Wraps } else { Role::Program };
    frame.function.as_deref().and_then(named).unwrap_or(otherwise)
}

fn named(function: &str) -> Option<Role> {
    let has = |part: &&str| function.contains(*part);
    // `<T as Trait>::f` and `<T>::f` are written by demanglers, `__GI___poll` by C libraries.
    let rust = function.trim_start_matches('<');
    let c = function.split('@').next().unwrap_or(function).trim_start_matches('_');
    let c = c.strip_prefix("GI_").unwrap_or(c).trim_start_matches('_');
    let c = c.strip_prefix("libc_").or_else(|| c.strip_prefix("new_")).unwrap_or(c);
    let semaphore = c.starts_with("sem_") && c.contains("wait");
    let condvar = function.contains("Condvar") && function.contains("wait");

    if LOCKS.iter().any(has) || function.starts_with("runtime.lock") {
        Some(Role::Locks)
    } else if PARKS.iter().any(has) || semaphore || condvar || go_parks(function) {
        Some(Role::Parks)
    } else if LIBC_WAITS.contains(&c)
        || LOOP_WAITS.contains(&function)
        || RUNTIME_WAITS.iter().any(|start| rust.starts_with(start))
        || go_runtime(function)
        || function.contains("synchronization_internal::")
    {
        Some(Role::Wraps)
    } else {
        None
    }
}

/// Go puts a thread to sleep on its scheduler's stack, under one of these.
fn go_parks(function: &str) -> bool {
    ["runtime.mPark", "runtime.stopm", "runtime.stoplockedm", "runtime.templateThread"].contains(&function)
}

/// All of Go's runtime and its system calls are written with a dot after a lower-case package.
fn go_runtime(function: &str) -> bool {
    ["runtime.", "runtime/", "internal/runtime/", "syscall."].iter().any(|start| function.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FrameKind;

    fn check(role_of: Role, names: &[&str]) {
        for name in names {
            let (function, module) = name.split_once(" in ").unwrap_or((name, "/usr/bin/program"));
            let function = (function != "?").then(|| function.into());
            let frame = Frame { kind: FrameKind::Native, function, module: Some(module.into()), ..Frame::note("") };
            assert_eq!(role(&frame), role_of, "{name}");
        }
    }

    #[test]
    fn functions_that_wait_for_work_park() {
        check(
            Role::Parks,
            &[
                "pthread_cond_wait@@GLIBC_2.3.2 in /lib/x86_64-linux-gnu/libc.so.6",
                "___pthread_cond_timedwait64",
                "__pthread_clockjoin_ex in libc.so.6",
                "__new_sem_wait_slow64.constprop.0",
                "sem_timedwait",
                "__futex_abstimed_wait_common in libc.so.6",
                "std::thread::park",
                "<std::sync::poison::condvar::Condvar>::wait_until_internal",
                "std::sys::sync::condvar::futex::Condvar::wait_optional_timeout",
                "<parking_lot_core::thread_parker::imp::ThreadParker as T>::park",
                "std::condition_variable::wait(std::unique_lock<std::mutex>&)",
                "absl::lts_20230802::CondVar::WaitCommon",
                "runtime.stopm",
                "runtime.mPark",
            ],
        );
    }

    #[test]
    fn functions_that_wait_for_a_lock_do_not_park() {
        check(
            Role::Locks,
            &[
                "__pthread_mutex_lock in libc.so.6",
                "__lll_lock_wait in libc.so.6",
                "pthread_rwlock_rdlock",
                "std::sys::sync::mutex::futex::Mutex::lock_contended",
                "parking_lot::raw_mutex::RawMutex::lock_slow",
                "take_gil in libpython3.11.so.1.0",
                "absl::lts_20230802::Mutex::LockSlow",
                "runtime.lock2",
            ],
        );
    }

    #[test]
    fn the_way_into_the_kernel_only_wraps() {
        check(
            Role::Wraps,
            &[
                "? in /usr/lib/libc.so.6",
                "qsort_r in /lib/ld-musl-x86_64.so.1",
                "__vdso_clock_gettime in [vdso]",
                "epoll_wait",
                "__GI___poll",
                "__libc_accept",
                "aeApiPoll",
                "std::sys::pal::unix::futex::futex_wait",
                "mio::poll::Poll::poll",
                "tokio::runtime::time::Driver::park_internal",
                "runtime.findRunnable",
                "internal/runtime/syscall.EpollWait",
            ],
        );
    }

    #[test]
    fn everything_else_is_the_program() {
        check(
            Role::Program,
            &["main", "aeProcessEvents", "Queue::wait", "Reader::read", "runtime_init", "? in libssl.so.3", "park_all"],
        );
    }
}
