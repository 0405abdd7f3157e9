//! What the kernel told of the mappings of each process since they were last known. No I/O, no clock.

use std::collections::{HashMap, VecDeque};

use crate::model::{Mapped, MonoNs};

/// Most that is kept: some seconds of a machine that does nothing but start programs.
const MOST: usize = 32_768;

/// Executable mappings that nobody took account of yet, by process, in the order of time.
#[derive(Debug, Default)]
pub(super) struct News {
    of: HashMap<u32, VecDeque<Item>>,
    items: usize,
}

#[derive(Clone, Copy, Debug)]
enum Item {
    /// Another program began: nothing that was mapped before it is its own.
    Exec(MonoNs),
    Mapped(Mapped),
}

impl News {
    /// A process began another program. Returns as [`News::mapped`].
    #[must_use]
    pub(super) fn exec(&mut self, pid: u32, at: MonoNs) -> bool {
        self.add(pid, Item::Exec(at))
    }

    /// A process mapped code. Returns false if that was too much, and all is forgotten: then any process may have changed.
    #[must_use]
    pub(super) fn mapped(&mut self, mapped: Mapped) -> bool {
        self.add(mapped.pid, Item::Mapped(mapped))
    }

    fn add(&mut self, pid: u32, item: Item) -> bool {
        if self.items == MOST {
            *self = News::default();
            return false;
        }
        self.of.entry(pid).or_default().push_back(item);
        self.items += 1;
        true
    }

    /// Whether there is something of the program that a process was last known to run.
    pub(super) fn is_there(&self, pid: u32) -> bool {
        self.of.get(&pid).is_some_and(|items| matches!(items.front(), Some(Item::Mapped(_))))
    }

    /// Takes all that the program mapped until now that a process had begun by `at`; `None` if its beginning was not told.
    /// What the process ran before is over, and its news are dropped.
    pub(super) fn of_program(&mut self, pid: u32, at: MonoNs) -> Option<Vec<Mapped>> {
        let items = self.of.get_mut(&pid)?;
        let is_beginning = |item: &Item| matches!(item, Item::Exec(began) if *began <= at);
        let beginning = items.iter().rposition(is_beginning)?;
        items.drain(..=beginning);
        self.items -= beginning + 1;
        Some(self.since(pid))
    }

    /// Takes what a process mapped in the program that it was last known to run.
    pub(super) fn since(&mut self, pid: u32) -> Vec<Mapped> {
        let Some(items) = self.of.get_mut(&pid) else { return Vec::new() };
        let mut taken = Vec::new();
        while let Some(Item::Mapped(mapped)) = items.front() {
            taken.push(*mapped);
            items.pop_front();
        }
        if items.is_empty() {
            self.of.remove(&pid);
        }
        self.items -= taken.len();
        taken
    }

    /// Drops what was told of a process that has ended.
    pub(super) fn forget(&mut self, pid: u32) {
        self.items -= self.of.remove(&pid).map_or(0, |items| items.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process whose news are these: `x` an exec, another letter a mapping of that name. They are 10 ns apart, from 0 on.
    fn news(pid: u32, told: &str) -> News {
        let mut news = News::default();
        for (step, what) in told.bytes().enumerate() {
            let at = MonoNs(10 * step as u64);
            let inode = what.into();
            let is_kept = match what {
                b'x' => news.exec(pid, at),
                _ => {
                    news.mapped(Mapped { pid, at, start: 0, end: 1, file_offset: 0, device: 0, inode, is_vdso: false })
                }
            };
            assert!(is_kept);
        }
        news
    }

    fn names(mapped: &[Mapped]) -> String {
        mapped.iter().map(|mapped| mapped.inode as u8 as char).collect()
    }

    /// What is told, when the program is asked for that began, the answer, and what is there after it.
    #[track_caller]
    fn check(told: &str, at: u64, program: Option<&str>, after: &str) {
        let mut news = news(7, told);
        let found = news.of_program(7, MonoNs(at));
        assert_eq!(found.as_deref().map(names).as_deref(), program, "{told}");
        assert_eq!(news.is_there(7), !after.is_empty());
        assert_eq!(names(&news.since(7)), after, "{told}");
    }

    #[test]
    fn a_program_has_what_came_after_its_exec() {
        check("xabc", 5, Some("abc"), "");
        check("oxab", 15, Some("ab"), "");
        check("oxab", 5, None, "o");
        check("x", 5, Some(""), "");
        check("ab", 99, None, "ab");
        check("", 99, None, "");
    }

    #[test]
    fn of_two_execs_each_has_its_own() {
        let mut news = news(7, "oxaxbc");
        assert_eq!(names(&news.of_program(7, MonoNs(15)).unwrap_or_default()), "a");
        assert!(!news.is_there(7), "what follows is another program's");
        assert_eq!(names(&news.since(7)), "");
        assert_eq!(names(&news.of_program(7, MonoNs(45)).unwrap_or_default()), "bc");
        check("oxaxbc", 45, Some("bc"), "");
        assert!(news.of.is_empty() && news.items == 0);
    }

    #[test]
    fn what_does_not_fit_is_said_and_counts_stay_right() {
        let mut news = news(1, &"a".repeat(MOST - 2));
        assert!(news.exec(2, MonoNs(0)) && news.exec(3, MonoNs(0)));
        news.forget(2);
        assert!(news.exec(2, MonoNs(0)));
        assert!(!news.exec(4, MonoNs(0)));
        assert!(news.of.is_empty() && news.items == 0);
        assert!(news.exec(4, MonoNs(0)));
    }
}
