//! What the kernel tells of mappings: which calls write an event and which do not, how soon, and at what
//! price.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use profilerd::capture::mappings::{MappingEvent, MappingEvents, RING_BYTES};
use profilerd::model::{Mapped, MonoNs};
use support::workload;

/// What the pipeline promises is its tick. The events themselves are there at once.
const SOON: Duration = Duration::from_millis(100);

fn open(ring_bytes: usize) -> Option<MappingEvents> {
    if !nix::unistd::geteuid().is_root() {
        return support::skip("needs root");
    }
    Some(MappingEvents::open(&aya::util::online_cpus().unwrap(), ring_bytes).unwrap())
}

/// The workload that maps on command.
struct Mapper {
    child: Child,
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Mapper {
    fn start() -> Mapper {
        let mut child = Command::new(workload("mapper")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (words, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut mapper = Mapper { child, words, answers };
        assert_eq!(mapper.answer(), "ready");
        mapper
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn ask(&mut self, word: &str) -> String {
        writeln!(self.words, "{word}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Asks for something that answers with a range.
    fn map(&mut self, word: &str) -> Event {
        let range = self.ask(word);
        let (start, end) = range.split_once(' ').unwrap();
        Event::Mapped { pid: self.pid(), start: hex(start), end: hex(end) }
    }

    /// Executable ranges of a file as /proc tells them.
    fn code_of(&self, name: &str) -> Vec<Event> {
        let range = |mapped: &Mapped| Event::Mapped { pid: mapped.pid, start: mapped.start, end: mapped.end };
        self.maps(name).iter().map(range).collect()
    }

    /// The same with what lies behind them, at no time.
    fn maps(&self, name: &str) -> Vec<Mapped> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap();
        let lines = maps.lines().filter(|line| line.contains(" r-xp ") && line.contains(name));
        let mapped = |line: &str| {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let ((start, end), (major, minor)) =
                (fields[0].split_once('-').unwrap(), fields[3].split_once(':').unwrap());
            Mapped {
                pid: self.pid(),
                at: MonoNs(0),
                start: hex(start),
                end: hex(end),
                file_offset: hex(fields[2]),
                device: libc::makedev(hex(major) as u32, hex(minor) as u32),
                inode: fields[4].parse().unwrap(),
                is_vdso: fields.get(5) == Some(&"[vdso]"),
            }
        };
        lines.map(mapped).collect()
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One test at a time: what the others map, and how many processes they start, would be in each other's rings.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hex(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).unwrap()
}

/// What an event is of, without what lies behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Mapped { pid: u32, start: u64, end: u64 },
    Exec { pid: u32 },
    Ended { pid: u32, tid: u32 },
}

impl From<MappingEvent> for Event {
    fn from(event: MappingEvent) -> Event {
        match event {
            MappingEvent::Mapped(Mapped { pid, start, end, .. }) => Event::Mapped { pid, start, end },
            MappingEvent::Exec { pid, .. } => Event::Exec { pid },
            MappingEvent::Ended { pid, tid } => Event::Ended { pid, tid },
        }
    }
}

/// Everything that has happened until now.
fn drained(events: &mut MappingEvents) -> Vec<Event> {
    let mut all = Vec::new();
    assert!(events.drain(|event| all.push(event.into())), "nothing is missing");
    all
}

/// Waits for all of these, in any order. Returns how long that took.
fn wait_for(events: &mut MappingEvents, wanted: &[Event]) -> Duration {
    assert!(!wanted.is_empty());
    let start = Instant::now();
    let mut left = wanted.to_vec();
    loop {
        let seen = drained(events);
        left.retain(|event| !seen.contains(event));
        if left.is_empty() {
            return start.elapsed();
        }
        assert!(start.elapsed() < SOON, "not seen: {left:x?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn code_that_is_mapped_is_told_with_its_process_and_range() {
    let _alone = alone();
    let Some(mut events) = open(RING_BYTES) else { return };
    let mut mapper = Mapper::start();
    for word in ["anonymous", "file", "protect"] {
        let wanted = mapper.map(word);
        println!("{word}: seen within {:?}", wait_for(&mut events, &[wanted]));
    }
    assert_eq!(mapper.ask("dlopen"), "loaded");
    let wanted = mapper.code_of("libm.so");
    println!("dlopen: {} ranges seen within {:?}", wanted.len(), wait_for(&mut events, &wanted));
    assert_eq!(mapper.ask("exec"), "ready");
    let code = ["mapper", "libc.so", "ld-linux", "[vdso]"].map(|name| mapper.code_of(name)).concat();
    let wanted = [&[Event::Exec { pid: mapper.pid() }], &code[..]].concat();
    println!("exec: {} ranges seen within {:?}", wanted.len(), wait_for(&mut events, &wanted));
    assert_eq!(events.lost(), 0);
}

#[test]
fn code_that_is_loaded_late_is_named_although_its_process_is_gone() {
    let _alone = alone();
    let Some(kernel) = support::kernel() else { return };
    let mut mapper = Mapper::start();
    let (pid, folder) = (mapper.pid(), support::folder());
    let json = folder.path().join("report.json");
    let mut command = kernel.profilerd(["-q", "--pid", &pid.to_string(), "--duration", "4s", "-o"]);
    let mut profilerd = support::Program::start(command.arg(&json).stdout(Stdio::null()));
    // Far from the start, and over long before the end.
    std::thread::sleep(Duration::from_millis(2_000));
    writeln!(mapper.words, "burn").unwrap();
    mapper.child.wait().unwrap();
    assert!(profilerd.has_ended().is_none_or(|status| status.success()));
    assert!(profilerd.wait(Duration::from_secs(30)).is_some_and(|status| status.success()));
    let report = support::Report::read(&json);
    let all_ns: u64 = report.on_cpu.iter().map(|on| on.self_ns).sum();
    let in_libm = |on: &&support::OnCpu| on.module.as_deref().is_some_and(|module| module.contains("libm.so"));
    let libm_ns: u64 = report.on_cpu.iter().filter(in_libm).map(|on| on.self_ns).sum();
    assert!(libm_ns > 0 && libm_ns * 4 > all_ns * 3, "{libm_ns} of {all_ns} ns in libm: {:?}", report.on_cpu);
}

/// What is told of a program, from its exec on, in the order of time, is what /proc says that it has mapped: without a
/// reading. Its threads may run anywhere.
#[test]
fn what_is_told_since_an_exec_is_what_is_mapped() {
    let _alone = alone();
    let Some(mut events) = open(RING_BYTES) else { return };
    let mut mapper = Mapper::start();
    let pid = mapper.pid();
    for _ in 0..20 {
        let _ = drained(&mut events);
        assert_eq!(mapper.ask("exec"), "ready");
        let mut all = Vec::new();
        assert!(events.drain(|event| all.push(event)));
        let is_exec = |event: &MappingEvent| matches!(event, MappingEvent::Exec { pid: of, .. } if *of == pid);
        let exec = all.iter().rposition(is_exec).unwrap();
        let MappingEvent::Exec { at: began, .. } = all[exec] else { unreachable!() };
        let mapped = |event: &MappingEvent| match event {
            MappingEvent::Mapped(mapped) if mapped.pid == pid => Some(*mapped),
            _ => None,
        };
        let told: Vec<_> = all[exec..].iter().filter_map(mapped).collect();
        assert!(told.iter().all(|mapped| mapped.at >= began) && told.is_sorted_by_key(|mapped| mapped.at));
        let mut told: Vec<_> = told.into_iter().map(|mapped| Mapped { at: MonoNs(0), ..mapped }).collect();
        told.sort_by_key(|mapped| mapped.start);
        assert_eq!(told, mapper.maps(""));
    }
}

#[test]
fn data_and_what_is_taken_away_or_moved_is_not_told() {
    let _alone = alone();
    let Some(mut events) = open(RING_BYTES) else { return };
    let mut mapper = Mapper::start();
    let pid = mapper.pid();
    for word in ["data", "anonymous", "unmap", "anonymous", "move"] {
        let _ = drained(&mut events);
        let range = mapper.map(word);
        let seen = drained(&mut events);
        let ours: Vec<_> =
            seen.into_iter().filter(|event| matches!(event, Event::Mapped { pid: of, .. } if *of == pid)).collect();
        assert_eq!(ours, if word == "anonymous" { vec![range] } else { Vec::new() }, "{word}");
    }
}

#[test]
fn ends_are_told_for_threads_and_processes() {
    let _alone = alone();
    let Some(mut events) = open(RING_BYTES) else { return };
    let mut mapper = Mapper::start();
    let child = mapper.ask("fork").parse().unwrap();
    wait_for(&mut events, &[Event::Ended { pid: child, tid: child }]);
    let (pid, tid) = (mapper.pid(), mapper.ask("thread").parse().unwrap());
    wait_for(&mut events, &[Event::Ended { pid, tid }]);
    // The first thread ends, the process does not.
    writeln!(mapper.words, "leader").unwrap();
    wait_for(&mut events, &[Event::Ended { pid, tid: pid }]);
    assert!(!profilerd::process::has_ended(pid) && !profilerd::process::exists(pid));
    let wanted = mapper.map("anonymous");
    wait_for(&mut events, &[wanted]);
    mapper.child.kill().unwrap();
    assert!(support::poll(SOON, || profilerd::process::has_ended(pid)));
}

#[test]
fn what_does_not_fit_is_counted() {
    let _alone = alone();
    let Some(mut events) = open(4096) else { return };
    let mut mapper = Mapper::start();
    // Some 100 bytes each: several rings full, on however many CPUs.
    for _ in 0..400 {
        mapper.ask("anonymous");
    }
    assert!(!events.drain(|_| ()), "full");
    // With the next records the kernel says how many it dropped.
    let says_so = || {
        mapper.ask("anonymous");
        let _ = events.drain(|_| ());
        events.lost() > 0
    };
    assert!(support::poll(Duration::from_secs(5), says_so));
    println!("{} of 400 lost in rings of 4 KiB", events.lost());
}

#[test]
fn a_ring_that_fills_asks_to_be_read() {
    let _alone = alone();
    let Some(mut events) = open(RING_BYTES) else { return };
    let mut mapper = Mapper::start();
    let is_readable = |events: &MappingEvents| {
        let mut fds = [PollFd::new(events.fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    };
    // What others do meanwhile may fill a half, but not each time.
    let sleeps_on = || {
        let _ = drained(&mut events);
        is_readable(&events);
        mapper.ask("anonymous");
        !is_readable(&events)
    };
    assert!(support::poll(SOON, sleeps_on), "one event does not wake anybody");
    let mut asked = 0;
    while !is_readable(&events) {
        mapper.ask("file");
        asked += 1;
        assert!(asked < RING_BYTES / 100 * aya::util::online_cpus().unwrap().len(), "never readable");
    }
    assert!(asked > 50, "{asked}");
    println!("readable after {asked} mappings, {} records", drained(&mut events).len());
}

#[test]
fn cpus_come_and_go() {
    let _alone = alone();
    let Some(_) = open(RING_BYTES) else { return };
    let cpus = aya::util::online_cpus().unwrap();
    let mut events = MappingEvents::open(&cpus[..1], RING_BYTES).unwrap();
    assert!(!events.follow(&cpus[..1]).unwrap(), "nothing new");
    assert_eq!(events.follow(&cpus).unwrap(), cpus.len() > 1);
    let mut mapper = Mapper::start();
    let wanted = mapper.map("anonymous");
    wait_for(&mut events, &[wanted]);
    let error = events.follow(&[cpus[0], 4_000]).unwrap_err();
    assert_eq!(error.to_string(), "cannot follow the mappings of processes on CPU 4000");
    assert!(!events.follow(&[]).unwrap());
    mapper.map("anonymous");
    assert_eq!(drained(&mut events), []);
}

#[test]
fn a_storm_of_processes_costs_little() {
    let _alone = alone();
    let Some(mut events) = open(RING_BYTES) else { return };
    let mut storm = support::Program::start(
        Command::new("sh").args(["-c", "while :; do /bin/true; /bin/true; done"]).stdin(Stdio::null()),
    );
    let own_cpu = || nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap();
    let (start, before, mut drains) = (Instant::now(), own_cpu(), 0);
    let (mut mapped, mut ended, mut whole) = (0u32, 0u32, true);
    while start.elapsed() < Duration::from_secs(2) {
        // As the pipeline does: by the clock, or when a ring asks.
        let mut fds = [PollFd::new(events.fd(), PollFlags::POLLIN)];
        poll(&mut fds, 100u16).unwrap();
        whole &= events.drain(|event| match event {
            MappingEvent::Mapped(_) => mapped += 1,
            MappingEvent::Ended { .. } => ended += 1,
            MappingEvent::Exec { .. } => {}
        });
        drains += 1;
    }
    let (took, cost) = (start.elapsed().as_secs_f64(), (own_cpu() - before).as_secs_f64());
    let per_event = cost * 1e9 / f64::from(mapped + ended);
    println!(
        "{:.0} processes and {:.0} mappings a second, {drains} drains: {:.2} % of a CPU, {per_event:.0} ns an event, {} lost",
        f64::from(ended) / took,
        f64::from(mapped) / took,
        cost / took * 100.0,
        events.lost(),
    );
    assert!(storm.has_ended().is_none() && ended > 100);
    assert!(whole && events.lost() == 0);
    // 2,000 processes with five mappings each come to 12,000 events: 1 % of a CPU is 830 ns each, in a
    // program that is not optimized as well.
    assert!(per_event < 3_000.0, "{per_event} ns an event");
}
