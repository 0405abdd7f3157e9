//! Which processes of a range are asked for.

use std::collections::HashSet;

use crate::model::Program;

/// What a process must be to be read. An empty list asks for nothing; of a list one entry must match, and every list that
/// is not empty must have one that does.
///
/// A process is taken with all programs that it was in the range if one of them matches, so that what it did before and
/// after an exec stays together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Process ids.
    pub pids: Vec<u32>,
    /// Names of processes, as `ps -o comm` shows them.
    pub comms: Vec<String>,
    /// Systemd units, with or without `.service`.
    pub units: Vec<String>,
    /// Container ids, whole or their first characters.
    pub containers: Vec<String>,
    /// Services, as [`Program::service`].
    pub services: Vec<String>,
}

impl Filter {
    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether this program is asked for.
    pub fn matches(&self, program: &Program) -> bool {
        let unit = program.unit.as_deref().unwrap_or_default();
        let container = program.container_id.as_deref().unwrap_or_default();
        let any = |list: &[String], is: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|entry| is(entry));
        (self.pids.is_empty() || self.pids.contains(&program.pid))
            && any(&self.comms, &|comm| comm == &*program.comm)
            && any(&self.units, &|asked| asked == unit || unit.strip_suffix(".service") == Some(asked))
            && any(&self.containers, &|id| !id.is_empty() && container.starts_with(id))
            && any(&self.services, &|service| service == &*program.service)
    }
}

/// The processes that a filter picks in a range.
#[derive(Debug)]
pub(super) enum Picked {
    /// All of them.
    All,
    /// Those programs, by pid and generation, and those pids whatever they ran.
    Some { programs: HashSet<(u32, u32)>, pids: Vec<u32> },
}

impl Picked {
    /// What `filter` picks of all programs of a range.
    pub(super) fn new(filter: &Filter, programs: &[Program]) -> Picked {
        if filter.is_empty() {
            return Picked::All;
        }
        let process = |program: &Program| (program.pid, program.born);
        let asked: HashSet<_> = programs.iter().filter(|program| filter.matches(program)).map(process).collect();
        let picked = programs.iter().filter(|program| asked.contains(&process(program)));
        let only_pids = Filter { pids: Vec::new(), ..filter.clone() }.is_empty();
        Picked::Some {
            programs: picked.map(|program| (program.pid, program.generation)).collect(),
            // A pid needs no program to be known by.
            pids: if only_pids { filter.pids.clone() } else { Vec::new() },
        }
    }

    /// Whether the rows of this program are asked for.
    pub(super) fn has(&self, pid: u32, generation: u32) -> bool {
        match self {
            Picked::All => true,
            Picked::Some { programs, pids } => programs.contains(&(pid, generation)) || pids.contains(&pid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixNs;

    #[test]
    fn every_kind_must_match_and_one_of_each_is_enough() {
        let nginx = Program {
            pid: 7,
            comm: "nginx".into(),
            unit: Some("nginx.service".into()),
            container_id: Some("0123456789abcdef".into()),
            service: "web".into(),
            ..Program::default()
        };
        let list = |entries: &[&str]| entries.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let all = Filter::default();
        for (filter, expected) in [
            (all.clone(), true),
            (Filter { pids: vec![1, 7], ..all.clone() }, true),
            (Filter { pids: vec![1], ..all.clone() }, false),
            (Filter { pids: vec![7], comms: list(&["redis", "nginx"]), ..all.clone() }, true),
            (Filter { pids: vec![7], comms: list(&["redis"]), ..all.clone() }, false),
            (Filter { units: list(&["nginx"]), ..all.clone() }, true),
            (Filter { units: list(&["nginx.service"]), ..all.clone() }, true),
            (Filter { units: list(&["ngin"]), ..all.clone() }, false),
            (Filter { containers: list(&["0123456789ab"]), ..all.clone() }, true),
            (Filter { containers: list(&["123"]), ..all.clone() }, false),
            (Filter { containers: list(&[""]), ..all.clone() }, false),
            (Filter { services: list(&["web"]), ..all.clone() }, true),
        ] {
            assert_eq!(filter.matches(&nginx), expected, "{filter:?}");
        }
    }

    #[test]
    fn a_process_stays_together_over_its_execs() {
        let program = |pid: u32, generation: u32, born: u64, comm: &str| Program {
            pid,
            generation,
            born: UnixNs(born),
            comm: comm.into(),
            ..Program::default()
        };
        let programs =
            [program(7, 1, 50, "sh"), program(7, 2, 50, "nginx"), program(8, 1, 60, "nginx"), program(7, 9, 99, "top")];
        let picked = Picked::new(&Filter { comms: vec!["sh".into()], ..Filter::default() }, &programs);
        let found: Vec<bool> = programs.iter().map(|it| picked.has(it.pid, it.generation)).collect();
        assert_eq!(found, [true, true, false, false]);
        let by_pid = Picked::new(&Filter { pids: vec![42], ..Filter::default() }, &programs);
        assert!(by_pid.has(42, 5) && !by_pid.has(7, 1));
    }
}
