//! The words of the report: one table, read by `profilerd explain` and by `docs/words.md`.

/// Which part of the report a word belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Time,
    Wait,
    Place,
    Quality,
    Stack,
    Loss,
}

impl Group {
    pub(super) const ALL: [Group; 6] =
        [Group::Time, Group::Wait, Group::Place, Group::Quality, Group::Stack, Group::Loss];

    pub(super) fn title(self) -> &'static str {
        match self {
            Group::Time => "time",
            Group::Wait => "classes of waits",
            Group::Place => "places and columns",
            Group::Quality => "how good the numbers are",
            Group::Stack => "how a stack walk ended",
            Group::Loss => "losses, by cause",
        }
    }
}

/// One word.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) name: &'static str,
    /// Other words for it, such as the key in the JSON report.
    pub(super) aliases: &'static [&'static str],
    pub(super) group: Group,
    /// What it is. The first sentence stands alone in the list of all words.
    pub(super) meaning: &'static str,
    /// How the number comes about; empty if there is no number.
    pub(super) measured: &'static str,
    /// What one might think is in it and is not; empty if nothing.
    pub(super) leaves_out: &'static str,
}

const fn term(
    group: Group,
    name: &'static str,
    aliases: &'static [&'static str],
    meaning: &'static str,
    measured: &'static str,
    leaves_out: &'static str,
) -> Term {
    Term { name, aliases, group, meaning, measured, leaves_out }
}

/// Every word, by group and in the order in which the report shows them.
pub(super) static TERMS: &[Term] = &[
    term(
        Group::Time,
        "wall",
        &["wall time", "wall_ns"],
        "Clock time that a thread existed inside the window. Of a process it is the sum over its threads: twelve threads \
         in ten seconds have 120 s.",
        "The window's start, or the thread's birth, up to the window's end, or the thread's end, by CLOCK_MONOTONIC. \
         wall = on-CPU + waiting for a CPU + blocked + idle + stolen + unseen.",
        "Time that the machine was suspended.",
    ),
    term(
        Group::Time,
        "on-CPU",
        &["on_cpu", "on_cpu_ns", "cpu"],
        "Time executed, in the program or in the kernel on its behalf.",
        "The scheduler's own count for each thread, `se.sum_exec_runtime`: exact, not sampled. Which functions it went \
         to is sampled.",
        "Time taken by the hypervisor or by interrupts, which is `stolen`.",
    ),
    term(
        Group::Time,
        "user",
        &["user_ns", "user time"],
        "The part of on-CPU time executed in the program and its libraries.",
        "The exact on-CPU time, split in the proportion of the kernel's user and system time (`utime`, `stime`), which \
         the kernel counts by timer ticks. So the sum is exact and the split an estimate, rough below some 100 ms.",
        "",
    ),
    term(
        Group::Time,
        "kernel",
        &["kernel_ns", "system time"],
        "The part of on-CPU time executed in the kernel for the program: system calls and page faults.",
        "As for `user`.",
        "Kernel threads and interrupts, which belong to no program.",
    ),
    term(
        Group::Time,
        "waiting for a CPU",
        &["run-queue", "run_queue", "run-queue wait", "run_queue_ns", "waiting"],
        "Time that a thread was ready to run while no CPU ran it. Too few CPUs, a CPU quota, or neighbours of higher \
         priority cause it.",
        "From the switch-out of a preempted thread, or from the wake-up of a blocked one (tracepoint `sched_waking`), to \
         its next switch-in. It is the sum of `preempted` and `after a wake-up`.",
        "Time inside a CPU taken away by the hypervisor, which is `stolen`.",
    ),
    term(
        Group::Time,
        "preempted",
        &["preempted_ns"],
        "Waiting for a CPU without having blocked: the thread was switched out for another one.",
        "From switch-out to switch-in of a thread that stayed runnable all the time.",
        "The wait after a wake-up.",
    ),
    term(
        Group::Time,
        "throttled",
        &["throttled_ns", "cpu.max", "quota"],
        "The part of waiting for a CPU that a quota made: the thread's cgroup had used up its time of the period (`cpu.max`, \
         CFS quota, a container's CPU limit), and no CPU may run it until the next one. More CPUs do not help; a higher \
         limit, or less work at once, does.",
        "The kernel counts for each CPU how long a cgroup was throttled on it. A wait for a CPU is throttled for as long as \
         that count grew while it lasted. Flame graph and folded stacks show it as a frame `[throttled]` where the thread \
         waited, and not in `[run-queue]` there; in pprof it is a value of its own, and part of `run_queue`.",
        "Before Linux 6.6 the kernel counts in a clock that is slower on a CPU of lower frequency, so it may come out short \
         there. Under lockdown a thread that goes to another CPU while it waits counts as waiting only from then on.",
    ),
    term(
        Group::Time,
        "after a wake-up",
        &["wake-up wait", "wakeup wait", "wake-up"],
        "Waiting for a CPU after a wait had ended: what the thread waited for was there, a CPU was not.",
        "From the wake-up (`sched_waking`) to the switch-in. The text report books it under `waiting for a CPU`, also \
         after idle waits; in the JSON report `off_cpu_by_class` and a gap's `total_ns` include it.",
        "",
    ),
    term(
        Group::Time,
        "blocked",
        &["blocked_ns"],
        "Time that a thread could not run because it waited for something else than a CPU. In the report it is split by \
         class, and means the waits in the middle of work: idle waits have a line of their own.",
        "From the switch-out to the wake-up, on every switch: exact, not sampled.",
        "The wait for a CPU after the wake-up, and idle waits. `blocked_ns` in the JSON report has both idle and other \
         waits.",
    ),
    term(
        Group::Time,
        "off-CPU",
        &["off_cpu", "off_cpu_by_class", "off-cpu time"],
        "Not executing: blocked, idle, or waiting for a CPU.",
        "Every switch-out up to the next switch-in, summed in the kernel by thread, stack and class.",
        "Stolen time: the scheduler takes the thread for running.",
    ),
    term(
        Group::Time,
        "idle",
        &["idle_ns", "parked"],
        "Waiting for work to do: blocked where the thread always returns to when it has nothing to do. It is most of the \
         time in most services and rarely a problem, so it is kept apart and taken out of the shares below it.",
        "A wait is idle if it is a wait in poll, epoll or select, in accept, for a condition variable, a semaphore, a parked \
         or joined thread, a signal or a child process, and if its stack, without the libc wrappers at its leaf, ends at the \
         thread's root loop: the function where all stacks of the thread meet. `idle_ns` in the JSON report is the same \
         number, as a part of its `blocked_ns`.",
        "The wait for a CPU after the wake-up, which is `waiting for a CPU`. Mutexes, sleeps, reads and devices: they are never idle. A thread that waits for another one's answer at its root \
         loop looks idle.",
    ),
    term(
        Group::Time,
        "stolen",
        &["stolen_ns", "steal"],
        "On a CPU by the clock, yet not executed: taken by the hypervisor or by interrupts.",
        "The time between switch-in and switch-out less the scheduler's run time. The difference is carried with its sign: \
         a net positive one is stolen; a net negative one, from very many short runs, is taken off the next wait for a \
         CPU, so that the sum stays exact.",
        "",
    ),
    term(
        Group::Time,
        "unseen",
        &["unseen_ns"],
        "Wall time for which there is no record of what the thread did. Losses land here and never make another part \
         grow.",
        "The rest of an interval whose switch-out was missed, beyond what the scheduler counted as run time. A missed \
         switch-in leaves none: the thread was off the CPU, and what it waited for is known.",
        "",
    ),
    term(
        Group::Time,
        "residual",
        &["parts − wall", "parts - wall", "residual_ns"],
        "The sum of the parts minus the wall time: how far the ledger is from closing.",
        "Wall time is measured on its own, so this is a check and not a remainder. It should be below a thousandth of the \
         wall time.",
        "",
    ),
    term(
        Group::Wait,
        "lock/futex",
        &["lock", "futex", "mutex"],
        "Waiting in futex: for a mutex, a condition variable, a semaphore, or the end of a thread.",
        "Blocked in the system call futex or one of its kin.",
        "Spinning for a lock, which is on-CPU; locks inside the kernel, which belong to the call that takes them.",
    ),
    term(
        Group::Wait,
        "socket-recv",
        &["recv"],
        "Waiting for bytes from a socket: the other side has not answered yet.",
        "Blocked in recv and its kin, or in read on a descriptor that is a socket.",
        "Waiting for the same bytes in epoll, poll or select, which is `poll-idle`.",
    ),
    term(
        Group::Wait,
        "socket-send",
        &["send"],
        "Waiting for room in a socket: the other side or the network does not keep up.",
        "Blocked in send and its kin, or in write on a descriptor that is a socket.",
        "Time on the wire after the kernel took the bytes.",
    ),
    term(
        Group::Wait,
        "socket-accept",
        &["accept", "connect"],
        "Waiting for a connection: for the next one to come (accept) or for one's own to be answered (connect).",
        "Blocked in accept, accept4 or connect.",
        "Connections that do not block.",
    ),
    term(
        Group::Wait,
        "poll-idle",
        &["poll", "epoll", "select"],
        "Waiting in poll, select or epoll for any of several descriptors. The class alone does not make a wait idle: see \
         `idle`.",
        "Blocked in one of these calls, also without a descriptor: some programs sleep by select.",
        "",
    ),
    term(
        Group::Wait,
        "disk-io",
        &["disk", "block-io", "io"],
        "Waiting for a block device: reading, writing back, or making data durable.",
        "Blocked while the kernel flags the thread as waiting for I/O, and always in fsync and fdatasync.",
        "Page faults that read a file, which are `page-fault`.",
    ),
    term(
        Group::Wait,
        "fs-sync",
        &["fs", "journal"],
        "Waiting for the file system itself: its journal, an inode's lock, or sync of everything.",
        "Sleeping in a call on a regular file, or in sync or syncfs, without the kernel's flag for device I/O.",
        "fsync and fdatasync, which count as `disk-io`.",
    ),
    term(
        Group::Wait,
        "pipe",
        &["fifo"],
        "Waiting for a pipe to fill or to drain.",
        "Blocked in read, write or one of their kin on a descriptor that is a pipe.",
        "",
    ),
    term(
        Group::Wait,
        "sleep",
        &["nanosleep", "timer", "sleep/timer"],
        "Sleeping for a time that the program chose. Never idle: a sleep in a loop is often a poll that could be a wait.",
        "Blocked in nanosleep and its kin.",
        "Time limits of other waits.",
    ),
    term(
        Group::Wait,
        "page-fault",
        &["fault", "page fault"],
        "Blocked in a page fault, most often until a piece of a mapped file is read.",
        "Blocked outside of a system call: the thread touched memory that was not there.",
        "Faults that need no wait: they are on-CPU time in the kernel.",
    ),
    term(
        Group::Wait,
        "wait-child",
        &["wait4", "child"],
        "Waiting for a child process to end or to change.",
        "Blocked in wait4 or waitid.",
        "",
    ),
    term(
        Group::Wait,
        "other",
        &[],
        "Blocked in anything else: a signal, a character device such as a terminal, an eventfd, a device's own call.",
        "No rule for another class fits.",
        "",
    ),
    term(
        Group::Place,
        "gap",
        &["gaps", "longest gaps"],
        "A place in the program where it waits: waits of one class at one stack, over all threads of the process.",
        "The time shown is the blocked time, so that the gaps of a class add up to its line in the ledger, and the share is \
         of all blocked time. The wait for a CPU after the wake-ups is named if it is large.",
        "Idle waits, which are folded at the end, and preemptions, which say nothing about the place.",
    ),
    term(
        Group::Place,
        "waits",
        &["count"],
        "How often a thread was switched out at this place.",
        "Counted on every switch. A wait that is still open when the window ends counts, with its time so far.",
        "",
    ),
    term(
        Group::Place,
        "p50",
        &["p50_ns", "median"],
        "Half of the waits were at most this long.",
        "An estimate from a histogram filled in the kernel, two buckets for each doubling: right within a factor of 1.5. \
         Lengths include the wait for a CPU at the end.",
        "",
    ),
    term(Group::Place, "p99", &["p99_ns"], "99 of 100 waits were at most this long.", "As for `p50`.", ""),
    term(
        Group::Place,
        "max",
        &["max_ns"],
        "The longest wait, exact.",
        "Kept in the kernel beside the histogram. It includes the wait for a CPU at the end.",
        "",
    ),
    term(
        Group::Place,
        "▸",
        &["own code", "own frame"],
        "Marks the first function of the program's own code, from the leaf: the place that a person can change.",
        "The first frame that is neither of the C library, the dynamic linker or the language's runtime and standard \
         library, by the file it lies in and by its name.",
        "",
    ),
    term(
        Group::Place,
        "more",
        &["frames", "cut"],
        "Frames of the stack that are not shown: what lies beyond five, the wrappers inside the C library, and the thread's \
         start. `--full` shows all.",
        "",
        "",
    ),
    term(
        Group::Place,
        "kernel function",
        &["kernel_function", "→"],
        "Where in the kernel the thread slept: after the arrow, behind the call that led there.",
        "From the kernel stack at the switch-out, without the scheduler's own frames.",
        "",
    ),
    term(
        Group::Place,
        "woken by",
        &["waker", "wakers"],
        "The threads that ended waits at this place, such as the one that let go of the lock, with the share of the \
         waits' time that each ended.",
        "The thread that ran when `sched_waking` fired, of waits at least `--min-wait` long and blocked for at least half \
         of that.",
        "Waits that reached `--min-wait` mostly by waiting for a CPU. A thread that an interrupt happened to interrupt may \
         be named; an idle CPU's interrupt is shown as the kernel.",
    ),
    term(
        Group::Place,
        "self",
        &["self_ns"],
        "On-CPU time with this function at the leaf of the stack.",
        "CPU samples, scaled so that each thread's samples add up to its exact on-CPU time.",
        "",
    ),
    term(
        Group::Place,
        "with callees",
        &["total", "total_ns"],
        "On-CPU time with this function anywhere on the stack: itself and what it calls.",
        "As for `self`; a recursive function counts once for each sample.",
        "",
    ),
    term(
        Group::Place,
        "busy with",
        &[],
        "What the process or thread spent most of its time on that was not idle.",
        "The largest of on-CPU, waiting for a CPU, and the classes of blocked time; empty if all of them together are below \
         a hundredth of its wall time.",
        "",
    ),
    term(
        Group::Place,
        "min-wait",
        &["--min-wait", "long waits"],
        "Waits of at least this length are also kept one by one, with the thread that ended them.",
        "1 ms unless `--min-wait` says otherwise. The list is bounded, and what did not fit is counted as a loss.",
        "It bounds only that list: shorter waits are in all sums.",
    ),
    term(
        Group::Quality,
        "whole stack",
        &["stack quality", "stack_quality", "complete stack"],
        "A stack that was walked up to its root.",
        "Share of the time whose walk ended as `complete`, for on-CPU and off-CPU time apart.",
        "Whether its functions have names: see `module+0xoffset`.",
    ),
    term(
        Group::Quality,
        "approximate",
        &["estimate", "~"],
        "An estimate. Exact are on-CPU, waiting for a CPU, blocked, stolen, counts and maxima; approximate are the split into \
         user and kernel, p50 and p99, functions on CPU, and our own cost.",
        "",
        "",
    ),
    term(
        Group::Quality,
        "sample",
        &["samples", "rate", "--rate"],
        "One look at what a CPU executes.",
        "The kernel's software CPU clock on each CPU, `--rate` times a second. The samples of a \
         thread are scaled to its exact on-CPU time. A function with n samples is known to about 1/√n of its time.",
        "Waits: they are measured on every switch and not sampled. Only their stacks may be, see `sampled stack`.",
    ),
    term(
        Group::Quality,
        "sampled stack",
        &["sampled stacks", "[stack not sampled]", "sampled_off_cpu_ns", "not_walked"],
        "A stack that was walked by chance and stands for others: of a thread whose waits never repeat some stacks are walked, \
         and the time of the other waits is shared out among these.",
        "Walking a new stack costs microseconds, and one that met code without unwind tables yet is new each time. New stacks of a thread's waits may cost 1.6 % of its wall time, reckoned over \
         67 ms with 2 µs a stack and 0.1 µs a frame; beyond that one in 2, 4, … 1,024 is walked, drawn by chance. What was \
         not walked goes to the walked ones of the same thread, class, system call and, where there are such, kernel stack, in \
         proportion to their own time. A place with n walked stacks is known to about 1/√n of its time; its p50, p99 and \
         longest wait are those of the walked ones. A wait without any like it shows as `[stack not sampled]`.",
        "Times, counts, classes, threads and kernel stacks: they are exact for every wait, and the sums with them.",
    ),
    term(
        Group::Quality,
        "memo",
        &["stack memo", "user_memo", "kernel_memo"],
        "Stacks that were recognised instead of walked again, because the thread waits at the same place as before.",
        "A stack is recognised if the registers and every word that the walk read are as they were: compared word by word on \
         each wait, never guessed.",
        "",
    ),
    term(
        Group::Quality,
        "module+0xoffset",
        &["unresolved", "[unknown]", "unknown"],
        "Code without a symbol: the file it lies in and where. Symbols of the file's package give it a name.",
        "",
        "",
    ),
    term(
        Group::Quality,
        "overhead",
        &["profilerd itself", "cost"],
        "What the capture cost: CPU time of our kernel programs and of the daemon, as a share of one CPU, and the daemon's \
         peak memory.",
        "Kernel programs: their run time as the kernel counts it, from measured slices of the window. Daemon: its own CPU \
         time during the window, without the work on symbols after it.",
        "Caches and branch predictors that our programs make colder.",
    ),
    term(
        Group::Quality,
        "losses",
        &["lost"],
        "Events that became no sample or no record, by cause. Their time stays in the totals or in `unseen`.",
        "Counted in the kernel and in the daemon; a cause that did not happen is 0.",
        "",
    ),
    term(Group::Stack, "complete", &[], "The walk reached the root of the stack.", "", ""),
    term(
        Group::Stack,
        "complete-approximate",
        &["complete approximate"],
        "The walk reached the root, but some of its steps went by the frame pointer, through code that no unwind table \
         describes: what a JIT compiler wrote, hand-written assembly. A frame may be missing there.",
        "",
        "",
    ),
    term(
        Group::Stack,
        "frame-pointers-only",
        &["frame pointers only", "lockdown=confidentiality", "lockdown"],
        "The kernel walked the stack, by frame pointers alone, since under lockdown=confidentiality our programs read no memory. \
         Callers may be missing anywhere, and nobody knows whether it is whole.",
        "",
        "There too: what `read` and `write` waited for, which is `other`; idle waits, which are told by whole stacks.",
    ),
    term(
        Group::Stack,
        "truncated",
        &[],
        "The stack was deeper than the limit of 256 frames: the leaf side was kept.",
        "",
        "",
    ),
    term(
        Group::Stack,
        "read-fault",
        &["read fault"],
        "The next frame lay in memory that could not be read: not mapped, or not in memory just then.",
        "",
        "",
    ),
    term(
        Group::Stack,
        "no-unwind-info",
        &["no unwind info", "no frame pointer"],
        "No unwind table describes the code (.eh_frame is missing from its file, or it is generated code), and its \
         frame pointer did not lead to a caller either. Building with -fasynchronous-unwind-tables, or keeping frame \
         pointers (Rust: -C force-frame-pointers=yes; Java: -XX:+PreserveFramePointer), makes such stacks whole.",
        "",
        "",
    ),
    term(
        Group::Stack,
        "no-unwind-info-yet",
        &["no unwind info yet"],
        "The process or its library was so new that its unwind tables were not loaded yet: the stack was walked by \
         frame pointers, keeps its weight, and may lack callers. Tables come within 200 ms, later for the largest files when they are met for the first time and for those that had made room for others.",
        "",
        "",
    ),
    term(
        Group::Stack,
        "bad-rule",
        &["bad rule"],
        "An unwind table has a rule that the walk cannot follow, or that did not lead up the stack.",
        "",
        "",
    ),
    term(
        Group::Stack,
        "not-code",
        &["not code"],
        "What should have been a return address points to no executable memory: the walk had left the stack's real \
         frames before, mostly in a step by frame pointer.",
        "",
        "",
    ),
    term(Group::Stack, "missing", &[], "There is no stack: none could be taken, or it was lost on the way.", "", ""),
    term(
        Group::Loss,
        "ring_full_stack",
        &[],
        "The ring to the daemon was full and a stack was not sent. It is sent again at its next use; until then its \
         time has no place.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "ring_full_sample",
        &[],
        "The ring to the daemon was full and a CPU sample was lost. On-CPU time stays exact, its places get coarser.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "ring_full_wait",
        &[],
        "The ring to the daemon was full and a single long wait was not kept. Its time is in all sums.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "ring_full_thread",
        &[],
        "The ring to the daemon was full and the totals of an ended thread were lost: its time is missing from the \
         ledger. Or, at the very end, waits that it had summed: those are missing from the gaps.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "ring_full_exec",
        &[],
        "The ring to the daemon was full and an exec was not reported, so names of that process may be those of its \
         former program.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "off_cpu_map_full",
        &[],
        "The kernel's table of waits was full. The wait is in its thread's totals, but at no place.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "thread_state_full",
        &[],
        "There was no memory for a thread's state: the thread is missing from the ledger.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "missed_switch_in",
        &[],
        "A switch-in was not seen, as on hosts that hide threads: the one after a hidden thread is hidden too. How long \
         the thread ran is exact all the same, by the scheduler's own count; the rest of the time since its switch-out \
         is off-CPU time of the class that it waited for, and if its wake-up was hidden as well, blocked.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "missed_switch_out",
        &[],
        "A switch-out was not seen. What the thread did not run of that time is `unseen`.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "kernel_stack_failed",
        &[],
        "The kernel stack of a wait could not be read: the place lacks its kernel function.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "user_stack_failed",
        &[],
        "The user stack could not be started because there were no user registers, as in a thread that is ending.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "memo_mismatch",
        &[],
        "The memo recognised a stack and a full walk beside it disagreed. Only counted in the test mode that walks \
         both; it should be 0.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "torn_read",
        &[],
        "A thread's totals changed while they were read, each time it was tried, and that read was given up.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "undecodable_records",
        &[],
        "A record from the kernel programs made no sense and was dropped. It should be 0.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "failed_rounds",
        &[],
        "A look of every second failed: at the sums of waits, or for new members of a cgroup. The next look makes up for it.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "mapping_events_lost",
        &[],
        "The kernel could not say that a process mapped code or that a thread ended: too much of that happened at once. \
         All processes were read again, so code is named late at worst.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "cpu_samples_over_bound",
        &[],
        "More CPU samples than are kept, 2,000,000: places on CPU rest on the first ones. Times are exact.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "stacks_over_bound",
        &[],
        "More different stacks than are kept, 200,000: the time of the others shows under `[stack not seen]`.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "off_cpu_over_bound",
        &[],
        "More different places of waits than are kept, 500,000: the time of the others shows under `[stack not seen]`.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "waits_over_bound",
        &[],
        "More single long waits than are kept, 10,000: the shorter ones are not listed. Their time is in all sums.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "off_cpu_over_ledger_ns",
        &[],
        "Nanoseconds by which the places of waits exceed their thread's exact total: a wait was booked while the window closed.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "cpu_samples_without_thread",
        &[],
        "A CPU sample belongs to a thread whose totals never came: it is left out.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "off_cpu_without_thread",
        &[],
        "A wait belongs to a thread whose totals never came: it is left out.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "process_maps_unreadable",
        &[],
        "The mappings of a process could not be read: it ended first, or rights are missing. Its code has no names.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "process_maps_read_after_exec",
        &[],
        "Mappings were read only after the process had called exec again, and were taken away from the earlier program.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "process_limit_reached",
        &[],
        "More programs than are remembered: the code of the others has no names.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "module_not_opened",
        &[],
        "An executable or library could not be opened: its code has no names.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "unwind_tables_evicted",
        &[],
        "Unwind tables that made room for others in the kernel. They are loaded again when a stack needs them.",
        "",
        "Until then such stacks end as `no-unwind-info-yet`.",
    ),
    term(
        Group::Loss,
        "unwind_tables_over_budget",
        &[],
        "Unwind tables that found no room in the kernel, since all others were in use: the code is walked by frame pointers until there is room.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "unwind_file_unreadable",
        &[],
        "Executables and libraries that could not be read as ELF files of this machine: their code is walked by frame pointers.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "unwind_mappings_left_out",
        &[],
        "Executable mappings beyond the 16,384 that are kept of one process.",
        "",
        "Stacks through them end as `not-code`.",
    ),
    term(
        Group::Loss,
        "unwind_maps_not_written",
        &[],
        "Unwind tables or mappings that the kernel did not take: no memory, or more than 4,096 processes.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "unwind_rules_refused",
        &[],
        "Rows of unwind tables whose rule has no number, since there are more than 16,384 rules: stacks through them end as `bad-rule`.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "unwind_cache_unusable",
        &[],
        "1 if the cache of unwind tables, /var/cache/profilerd/unwind, could not be used: tables were made anew.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "unwind_cache_damaged",
        &[],
        "Cached unwind tables that were damaged or of another version: removed, and made anew.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "unwind_cache_not_written",
        &[],
        "Unwind tables that could not be written to the cache, for instance on a full disk.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "module_limit_reached",
        &[],
        "More executables and libraries than are held open, 4,096: the code of the others has no names.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "symbol_address_unmapped",
        &[],
        "A thread ran or waited at an address that no mapping of its process holds.",
        "",
        "Where a step by frame pointer took data for a caller: there the stack is cut, see `not-code`.",
    ),
    term(
        Group::Loss,
        "symbol_process_gone",
        &[],
        "An address belongs to a process that ended before its mappings were read.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "symbol_missing",
        &[],
        "Code of a file that has symbols, but none there: it shows as file and offset.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "symbol_debug_info_failed",
        &[],
        "Debug information could not be read: names come from the symbol table, without lines and inlined functions.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "symbol_file_changed",
        &[],
        "A file was overwritten after it was first seen: its code shows as file and offset.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "symbol_file_failed",
        &[],
        "A file could not be parsed: its code shows as file and offset.",
        "",
        "",
    ),
    term(
        Group::Loss,
        "symbol_kernel_missing",
        &[],
        "A kernel address has no name: see `profilerd doctor`, kernel symbols.",
        "",
        "",
    ),
];
