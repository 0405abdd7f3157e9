//! The idle rule: a thread parked at its loop's root is idle, the same wait in the middle of work is
//! not.
//!
//! **Which waits can be idle.** Waiting in poll, select or epoll; in accept; for a child; in a futex
//! under a function that parks (a condition variable, a semaphore, a join, a runtime's park), never
//! under one that locks; for a signal, or in a read of an eventfd or the like. A mutex, a sleep, a
//! socket, a pipe or a disk is never idle: the thread wanted to go on.
//!
//! **Where they must be.** Of each user stack only the program's own calls count: the wrappers around
//! the wait at its leaf (libc, the runtime's park functions) are taken off first. The thread's *root
//! loop* is the way from the root of its stacks that at each step follows the one callee with 99 % of
//! the time below it, on-CPU or not; the rest is start-up and strays. A wait that can be idle is idle
//!
//! 1. if its calls end on the root loop, or
//! 2. if they leave it by at most three calls, such as the event loop's own poll function, and 90 %
//!    of the time under the first of them is such waiting, or running on the very way to it.
//!
//! **Torn stacks.** A stack without its root cannot be judged so. Then waiting in poll, in accept, for
//! a child or for a signal is idle; a futex under a function that parks is idle only where the thread
//! spent 99 % of its time, that is if it did nothing else. A walk by frame pointers may lose callers of
//! libc's leaf functions; what is left are true callers, since symbolizing cuts a stack where one is no
//! code. So such a stack reads as ending a call or two earlier and breaks neither the root loop nor the
//! way to the wait.
//!
//! **What it gets wrong.** It cannot ask what a wait is for. A loop whose own body waits for a reply,
//! by a condition variable or by poll and within three calls, looks like a loop that waits for work,
//! and so does a thread that does next to nothing but wait in one place.

mod names;
mod path;

pub(super) use path::{Paths, paths};

use super::FastMap;
use super::visit::Visit;
use crate::model::{State, WaitClass};

/// Of the time below a call of the root loop, the percentage in its one callee.
const LOOP_PERCENT: u128 = 99;
/// Most calls that a parked wait goes beyond the root loop.
const BEYOND: usize = 3;
/// Of the time under the first call beyond the root loop, the percentage that must be parked.
const PARKED_PERCENT: u128 = 90;

/// What a thread did at a place, as far as the rule asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Executing, or runnable: it did not want to wait.
    Running,
    /// A wait that is never idle.
    Blocked,
    /// A wait that is idle at the root loop; `alone` also without a whole stack.
    Parked { alone: bool },
}

/// One place of a thread.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    /// The program's own calls, root first, as function numbers; `None` if the stack is not whole.
    path: Option<&'a [u32]>,
    doing: Doing,
    ns: u64,
}

/// Marks the idle ones of `visits`, which are sorted by thread.
pub(super) fn mark(visits: &mut [Visit<'_>], paths: &Paths) {
    for visits in visits.chunk_by_mut(|a, b| a.thread == b.thread) {
        let seen: Vec<Seen<'_>> = visits
            .iter()
            .map(|visit| {
                let stack = paths.get(&visit.user_stack);
                let syscall = visit.waits.map_or(-1, |(key, _)| key.syscall);
                Seen {
                    path: stack.and_then(|stack| stack.calls.as_deref()),
                    doing: doing(visit.state, syscall, stack.is_some_and(|stack| stack.parks)),
                    ns: visit.ns(),
                }
            })
            .collect();
        let idle = idle(&seen);
        visits.iter_mut().zip(idle).for_each(|(visit, idle)| visit.idle = idle);
    }
}

/// System call numbers of the machine that is watched.
mod syscall {
    pub(super) const READ: i32 = libc::SYS_read as i32;
    pub(super) const ACCEPT: i32 = libc::SYS_accept as i32;
    pub(super) const ACCEPT4: i32 = libc::SYS_accept4 as i32;
    pub(super) const RT_SIGTIMEDWAIT: i32 = libc::SYS_rt_sigtimedwait as i32;
    pub(super) const RT_SIGSUSPEND: i32 = libc::SYS_rt_sigsuspend as i32;
    #[cfg(target_arch = "x86_64")]
    pub(super) const PAUSE: i32 = libc::SYS_pause as i32;
    /// No call: C libraries use another one.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) const PAUSE: i32 = i32::MIN;
}

/// Which waits can be idle: by class, system call, and whether the stack's leaf parks.
fn doing(state: State, syscall: i32, parks: bool) -> Doing {
    let State::OffCpu(class) = state else { return Doing::Running };
    match (class, syscall) {
        (WaitClass::Preempted, _) => Doing::Running,
        (WaitClass::PollIdle | WaitClass::WaitChild, _)
        | (WaitClass::SocketAccept, syscall::ACCEPT | syscall::ACCEPT4)
        | (WaitClass::Other, syscall::PAUSE | syscall::RT_SIGTIMEDWAIT | syscall::RT_SIGSUSPEND) => {
            Doing::Parked { alone: true }
        }
        (WaitClass::Lock, _) if parks => Doing::Parked { alone: false },
        // Sockets, pipes and files have classes of their own: what is left is eventfd and its kin.
        (WaitClass::Other, syscall::READ) => Doing::Parked { alone: false },
        _ => Doing::Blocked,
    }
}

/// Whether a wait of which only class and system call are known is idle, as one with a torn stack is.
pub(super) fn is_idle_alone(class: WaitClass, syscall: i32) -> bool {
    doing(State::OffCpu(class), syscall, false) == Doing::Parked { alone: true }
}

/// Which places of one thread are idle.
fn idle(seen: &[Seen<'_>]) -> Vec<bool> {
    let root = root_loop(seen);
    let beyond = Beyond::new(seen, root);
    let all: u128 = seen.iter().map(|seen| u128::from(seen.ns)).sum();
    let judge = |seen: &Seen<'_>| match (seen.doing, seen.path) {
        (Doing::Parked { .. }, Some(path)) => beyond.is_parked_at(path),
        (Doing::Parked { alone }, None) => alone || u128::from(seen.ns) * 100 >= all * LOOP_PERCENT,
        _ => false,
    };
    seen.iter().map(judge).collect()
}

/// The calls from the root that nearly all time of the thread is under.
fn root_loop<'a>(seen: &[Seen<'a>]) -> &'a [u32] {
    // A place without time still says where the thread was: it weighs the least there is.
    let mut under: Vec<(&'a [u32], u128)> =
        seen.iter().filter_map(|seen| Some((seen.path?, u128::from(seen.ns.max(1))))).collect();
    let mut root: &'a [u32] = &[];
    loop {
        let depth = root.len();
        under.retain(|(path, _)| path.len() > depth);
        let mut callees: FastMap<u32, u128> = FastMap::default();
        for (path, ns) in &under {
            *callees.entry(path[depth]).or_default() += ns;
        }
        let all: u128 = callees.values().sum();
        let Some((callee, _)) = callees.into_iter().find(|(_, ns)| ns * 100 >= all * LOOP_PERCENT) else {
            return root;
        };
        under.retain(|(path, _)| path[depth] == callee);
        root = under.first().map_or(root, |(path, _)| &path[..=depth]);
    }
}

/// Time beyond the root loop, by the calls that lead there.
struct Beyond<'a> {
    root: &'a [u32],
    /// By the way up to the first call beyond the root loop: all time under it, and parked time.
    under: FastMap<&'a [u32], (u128, u128)>,
    /// Time running at the very end of these calls, where that is near enough to the root loop.
    running: FastMap<&'a [u32], u128>,
}

impl<'a> Beyond<'a> {
    fn new(seen: &[Seen<'a>], root: &'a [u32]) -> Beyond<'a> {
        let mut beyond = Beyond { root, under: FastMap::default(), running: FastMap::default() };
        for seen in seen {
            let Some(path) = seen.path else { continue };
            let on_root = beyond.on_root(path);
            let Some(first) = path.get(..=on_root) else { continue };
            let ns = u128::from(seen.ns);
            let (all, parked) = beyond.under.entry(first).or_default();
            *all += ns;
            match seen.doing {
                Doing::Parked { .. } => *parked += ns,
                Doing::Running if path.len() - on_root <= BEYOND => *beyond.running.entry(path).or_default() += ns,
                Doing::Running | Doing::Blocked => {}
            }
        }
        beyond
    }

    /// How many calls of `path` lie on the root loop.
    fn on_root(&self, path: &[u32]) -> usize {
        path.iter().zip(self.root).take_while(|(a, b)| a == b).count()
    }

    /// Whether a wait that can be idle is idle after these calls.
    fn is_parked_at(&self, path: &[u32]) -> bool {
        let on_root = self.on_root(path);
        let beyond = path.len() - on_root;
        if beyond == 0 || beyond > BEYOND {
            return beyond == 0;
        }
        let (all, parked) = self.under.get(&path[..=on_root]).copied().unwrap_or_default();
        let on_the_way: u128 = (on_root + 1..=path.len()).filter_map(|end| self.running.get(&path[..end])).sum();
        (parked + on_the_way) * 100 >= all * PARKED_PERCENT
    }
}

#[cfg(test)]
mod tests;
