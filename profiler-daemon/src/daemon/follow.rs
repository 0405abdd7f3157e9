//! Whose mappings have changed, and when to look: events in, looks out. No I/O, no clock.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::model::MonoNs;

/// A process is looked at again when it has twice the age that it had at the look before, but not more often than this:
/// most of what a program loads it loads in its first moments, and all of it at once.
const LEAST_PAUSE_NS: u64 = 1_000_000;
/// And at least this often if it maps code all the time: a program that loads a hundred libraries costs a few looks.
const MOST_PAUSE_NS: u64 = 50_000_000;
/// A thread tells its end before /proc does: so long it is asked about again.
const ENDING_NS: u64 = 1_000_000_000;
/// All processes are read at most this often because events were missed.
const EVERYONE_NS: u64 = 1_000_000_000;

/// The processes that are followed, and what the kernel told of them since they were last looked at.
#[derive(Debug, Default)]
pub(super) struct Followers {
    processes: HashMap<u32, Follower>,
    /// Those of them that something was told of.
    pending: BTreeSet<u32>,
    /// Forks since the last look: (parent, child).
    born: Vec<(u32, u32)>,
    /// Processes that something was told of and that are not followed, since the last look and in the one before it: the
    /// record of a fork may come later than what the child does.
    strangers: [HashSet<u32>; 2],
    /// Whether events were missed since everyone was read for that, and when that was.
    has_missed: bool,
    everyone_at: MonoNs,
}

#[derive(Debug)]
struct Follower {
    generation: u32,
    /// When its program was first seen, and its mappings were first read.
    first_seen: MonoNs,
    looked_at: MonoNs,
    since: Since,
    /// When its first thread ended, or another one after that.
    ending: Option<MonoNs>,
}

/// What a process has mapped since it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Since {
    /// Nothing.
    Nothing,
    /// What the kernel told.
    Told,
    /// Anything: only a reading tells.
    Anything,
}

impl Follower {
    fn pause_ns(&self) -> u64 {
        self.looked_at.since(self.first_seen).clamp(LEAST_PAUSE_NS, MOST_PAUSE_NS)
    }
}

/// What is to be done about a process now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) pid: u32,
    pub(super) generation: u32,
    pub(super) since: Since,
    /// It may have ended: ask, and [`Followers::forget`] it if so.
    pub(super) may_have_ended: bool,
}

impl Followers {
    /// Follows a process, whose mappings are known as they are now, or the next program of it.
    pub(super) fn follow(&mut self, pid: u32, generation: u32, now: MonoNs) {
        // A late stack of its former program is nothing new.
        if self.processes.get(&pid).is_some_and(|follower| follower.generation > generation) {
            return;
        }
        let follower = Follower { generation, first_seen: now, looked_at: now, since: Since::Nothing, ending: None };
        self.processes.insert(pid, follower);
        self.pending.remove(&pid);
    }

    /// Follows a child, for which the mappings of its parent count until it maps code of its own.
    pub(super) fn born(&mut self, parent: u32, child: u32, generation: u32, now: MonoNs) {
        self.follow(child, generation, now);
        if self.strangers.iter().any(|strangers| strangers.contains(&child)) {
            self.mapped(child, Since::Anything);
            self.ended(child, child, now);
        }
        self.born.push((parent, child));
    }

    /// Whether a process is followed.
    pub(super) fn has(&self, pid: u32) -> bool {
        self.processes.contains_key(&pid)
    }

    /// A process mapped code, or may have.
    pub(super) fn mapped(&mut self, pid: u32, since: Since) {
        match self.processes.get_mut(&pid) {
            Some(follower) => {
                follower.since = follower.since.max(since);
                self.pending.insert(pid);
            }
            None => {
                self.strangers[0].insert(pid);
            }
        }
    }

    /// A thread ended. Its process has not unless it was the last one, which nobody says: so from the end
    /// of the first thread on each one counts.
    pub(super) fn ended(&mut self, pid: u32, tid: u32, now: MonoNs) {
        match self.processes.get_mut(&pid) {
            Some(follower) if pid == tid || follower.ending.is_some() => {
                follower.ending = Some(now);
                self.pending.insert(pid);
            }
            Some(_) => {}
            None => {
                self.strangers[0].insert(pid);
            }
        }
    }

    /// Events were missed: anything may have happened to anyone.
    pub(super) fn missed(&mut self) {
        self.has_missed = true;
    }

    /// Takes what is due now, in ascending order. To be called when all that has happened until now was told.
    pub(super) fn due(&mut self, now: MonoNs) -> Vec<Look> {
        if self.has_missed && now.since(self.everyone_at) >= EVERYONE_NS {
            (self.has_missed, self.everyone_at) = (false, now);
            for (pid, follower) in &mut self.processes {
                (follower.since, follower.ending) = (Since::Anything, Some(now));
                self.pending.insert(*pid);
            }
        }
        for (parent, child) in std::mem::take(&mut self.born) {
            // What the parent mapped before the fork, but is not known yet, the child has as well.
            if self.processes.get(&parent).is_some_and(|parent| parent.since != Since::Nothing) {
                self.mapped(child, Since::Anything);
            }
        }
        self.strangers.swap(0, 1);
        self.strangers[0].clear();
        let mut looks = Vec::new();
        let processes = &mut self.processes;
        self.pending.retain(|pid| {
            let Some(follower) = processes.get_mut(pid) else { return false };
            if now.since(follower.looked_at) < follower.pause_ns() {
                return true;
            }
            let since = std::mem::replace(&mut follower.since, Since::Nothing);
            let may_have_ended = follower.ending.is_some();
            looks.push(Look { pid: *pid, generation: follower.generation, since, may_have_ended });
            follower.looked_at = now;
            follower.ending.is_some_and(|since| now.since(since) < ENDING_NS)
        });
        looks
    }

    /// A process has ended.
    pub(super) fn forget(&mut self, pid: u32) {
        self.processes.remove(&pid);
        self.pending.remove(&pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_NS: u64 = 10_000_000;
    const PID: u32 = 10;
    const CHILD: u32 = 20;

    /// One character is 10 ms. Told: `m` code mapped, `u` code perhaps mapped, `e` the first thread ended, `t` another one did, `l`
    /// events lost, `x` an exec (read by it), `o` a late stack of before
    /// it, `.` nothing. Done: `T` took what was told, `R` read, `?` asked for its end, `t` and `r` both.
    fn play(told: &str) -> String {
        let mut followers = Followers::default();
        let start = MonoNs(2_000_000_000);
        // It has been there for long.
        followers.follow(PID, 0, MonoNs(start.0 - 1_000_000_000));
        followers.mapped(PID, Since::Told);
        followers.due(MonoNs(start.0 - 500_000_000));
        let mut done = String::new();
        for (step, what) in told.chars().enumerate() {
            let now = MonoNs(start.0 + step as u64 * STEP_NS);
            match what {
                'm' => followers.mapped(PID, Since::Told),
                'u' => followers.mapped(PID, Since::Anything),
                'e' => followers.ended(PID, PID, now),
                't' => followers.ended(PID, PID + 1, now),
                'l' => followers.missed(),
                'x' => followers.follow(PID, 1, now),
                'o' => followers.follow(PID, 0, now),
                _ => {}
            }
            done.push(match followers.due(now)[..] {
                [] => '.',
                [Look { pid: PID, since, may_have_ended, .. }] => match (since, may_have_ended) {
                    (Since::Told, false) => 'T',
                    (Since::Told, true) => 't',
                    (Since::Anything, false) => 'R',
                    (Since::Anything, true) => 'r',
                    (Since::Nothing, _) => '?',
                },
                ref other => panic!("{other:?}"),
            });
        }
        done
    }

    fn check(told: &str, done: &str) {
        assert_eq!(play(told), done, "{told}");
    }

    #[test]
    fn the_first_mapping_is_taken_at_once_and_a_burst_at_a_steady_pace() {
        check("..m.......", "..T.......");
        check("m........m", "T........T");
        check("mm........", "T....T....");
        check("mmmmmmmmmmmmmmm", "T....T....T....");
        check("mmmmmm....", "T....T....");
        check("m...m.....", "T....T....");
        check("mum.......", "T....R....");
        check("mmmmmmmmmm....................", "T....T....T...................");
    }

    #[test]
    fn an_exec_has_been_read_and_its_libraries_follow() {
        check("x.........", "..........");
        check("xm........", ".T........");
        check("xmmmmmmmmmmmmmmm....", ".TT.T...T....T....T.");
        // What was told of the program before it is settled.
        check("mmx.......", "T.........");
        check("e.x.......", "?.........");
        check("xmmo......", ".TT.......");
    }

    #[test]
    fn only_what_may_be_the_end_of_the_process_is_asked_about() {
        check("t..t.t....", "..........");
        let second = ".".repeat(94);
        check(&format!("e.....{second}........"), &format!("{}?.......", "?....".repeat(20)));
        // Long after its first thread, another one ends.
        let early = format!("e{}", ".".repeat(120));
        assert!(play(&early).ends_with(&".".repeat(20)));
        assert!(play(&format!("{early}t")).ends_with(".?"));
        check("me...m....", "T....t....");
    }

    #[test]
    fn what_was_lost_may_have_been_anything() {
        check("..l..", "..r..");
        let done = play(&"l".repeat(250));
        assert_eq!(done.matches('r').count(), 3, "one a second: {done}");
    }

    /// What is due at an instant long after everything.
    fn pids(followers: &mut Followers, at_s: u64) -> Vec<u32> {
        followers.due(MonoNs(at_s * 1_000_000_000)).iter().map(|look| look.pid).collect()
    }

    #[test]
    fn a_child_has_what_its_parent_had_mapped_before_the_fork() {
        for mapped_first in [true, false] {
            let mut followers = Followers::default();
            followers.follow(PID, 0, MonoNs(0));
            // The event of the mapping and the record of the fork come on different ways.
            if mapped_first {
                followers.mapped(PID, Since::Told);
            }
            followers.born(PID, CHILD, 7, MonoNs(1));
            if !mapped_first {
                followers.mapped(PID, Since::Told);
            }
            assert_eq!(pids(&mut followers, 1), [PID, CHILD]);
            followers.mapped(PID, Since::Told);
            assert_eq!(pids(&mut followers, 2), [PID], "after the fork they go their own ways");
        }
    }

    #[test]
    fn what_a_child_maps_before_its_fork_is_known_counts() {
        for looks_between in 0..3 {
            let mut followers = Followers::default();
            followers.follow(PID, 0, MonoNs(0));
            followers.mapped(CHILD, Since::Told);
            for look in 0..looks_between {
                assert!(pids(&mut followers, 1 + look).is_empty());
            }
            followers.born(PID, CHILD, 7, MonoNs(1));
            let expected: &[u32] = if looks_between < 2 { &[CHILD] } else { &[] };
            assert_eq!(pids(&mut followers, 9), expected, "{looks_between}");
        }
    }

    #[test]
    fn what_is_not_followed_is_never_due() {
        let mut followers = Followers::default();
        followers.mapped(PID, Since::Told);
        followers.ended(PID, PID, MonoNs(1));
        assert!(pids(&mut followers, 1).is_empty());
        followers.follow(PID, 0, MonoNs(0));
        followers.mapped(PID, Since::Told);
        followers.forget(PID);
        followers.missed();
        assert!(pids(&mut followers, 2).is_empty());
    }
}
