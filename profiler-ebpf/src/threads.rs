//! Where the state of threads lives: one room with two doors. Task storage, which the kernel frees with
//! the task, or a hash by thread id on kernels that have none.

use crate::maps::Thread;
use crate::task::Task;

#[cfg(feature = "hashed-threads")]
pub(crate) use place::by_tid;

/// The state of a thread, if it is accounted.
#[inline(always)]
pub(crate) fn get(task: Task) -> Option<*mut Thread> {
    place::get(task)
}

/// The state of a thread; if it has none, a copy of `initial`. `None` if there is no memory.
#[inline(always)]
pub(crate) fn create(task: Task, initial: *mut Thread) -> Option<*mut Thread> {
    place::create(task, initial)
}

/// The thread has ended and its totals are out.
#[inline(always)]
pub(crate) fn end(task: Task) {
    place::end(task);
}

#[cfg(not(feature = "hashed-threads"))]
mod place {
    use super::{Task, Thread};
    use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
    use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE;
    use aya_ebpf::helpers::generated::bpf_task_storage_get;
    use aya_ebpf::macros::btf_map;
    use core::ffi::c_void;

    /// State of every accounted thread; a thread without an entry is not accounted. Freed by the
    /// kernel with the task. No memory: `fault::THREAD_STATE`.
    #[btf_map]
    static THREADS: TaskStorage<Thread> = TaskStorage::new();

    /// A `BPF_MAP_TYPE_TASK_STORAGE` map, for which aya-ebpf has no type.
    #[repr(C)]
    struct TaskStorage<T> {
        r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
        key: *const i32,
        value: *const T,
        max_entries: *const [i32; 0],
        map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
    }

    // SAFETY: the members only describe the map to the loader and are never followed.
    unsafe impl<T> Sync for TaskStorage<T> {}

    impl<T> TaskStorage<T> {
        const fn new() -> Self {
            TaskStorage {
                r#type: core::ptr::null(),
                key: core::ptr::null(),
                value: core::ptr::null(),
                max_entries: core::ptr::null(),
                map_flags: core::ptr::null(),
            }
        }
    }

    #[inline(always)]
    pub(super) fn get(task: Task) -> Option<*mut Thread> {
        lookup(task, core::ptr::null_mut(), 0)
    }

    #[inline(always)]
    pub(super) fn create(task: Task, initial: *mut Thread) -> Option<*mut Thread> {
        const CREATE: u64 = 1;
        lookup(task, initial, CREATE)
    }

    #[inline(always)]
    pub(super) fn end(_: Task) {}

    #[inline(always)]
    fn lookup(task: Task, initial: *mut Thread, flags: u64) -> Option<*mut Thread> {
        let map: *mut c_void = (&raw const THREADS).cast_mut().cast();
        // SAFETY: the verifier checks that the task is one and that `initial` is a whole value or null.
        let value = unsafe { bpf_task_storage_get(map, task, initial.cast(), flags) };
        (!value.is_null()).then_some(value.cast())
    }
}

#[cfg(feature = "hashed-threads")]
mod place {
    use super::{Task, Thread};
    use crate::task;
    use aya_ebpf::bindings::BPF_NOEXIST;
    use aya_ebpf::btf_maps::HashMap;
    use aya_ebpf::macros::btf_map;
    use profiler_common::limits::HASHED_THREADS;

    /// State of every accounted thread, by thread id. Removed at the thread's last switch. Full:
    /// `fault::THREAD_STATE`.
    #[btf_map]
    static THREADS: HashMap<u32, Thread, { HASHED_THREADS as usize }> = HashMap::new();

    #[inline(always)]
    pub(super) fn get(task: Task) -> Option<*mut Thread> {
        THREADS.get_ptr_mut(task::tid(task))
    }

    /// The state of the thread with this id.
    #[inline(always)]
    pub(crate) fn by_tid(tid: u32) -> Option<*mut Thread> {
        THREADS.get_ptr_mut(tid)
    }

    #[inline(always)]
    pub(super) fn create(task: Task, initial: *mut Thread) -> Option<*mut Thread> {
        let tid = task::tid(task);
        // SAFETY: a whole value of working memory. One that exists already stays.
        let _ = THREADS.insert(tid, unsafe { &*initial }, BPF_NOEXIST.into());
        THREADS.get_ptr_mut(tid)
    }

    #[inline(always)]
    pub(super) fn end(task: Task) {
        // One that is not there was never accounted.
        let _ = THREADS.remove(task::tid(task));
    }
}
