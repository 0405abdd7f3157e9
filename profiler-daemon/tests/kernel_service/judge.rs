//! Whether windows add up.

use std::collections::{BTreeMap, HashMap, HashSet};

use profiler_common::class::COUNT;
use profilerd::model::Ledger;

use crate::serve::Stored;

/// A switch or two between two readings of a thread.
const SWITCH_NS: u64 = 50_000;

/// A thread: pid, tid, birth.
pub(crate) type Id = (u32, u32, u64);

/// What a thread did in all windows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    pub(crate) comm: String,
    pub(crate) ledger: Ledger,
    /// Sum of its waits by place.
    pub(crate) off_cpu_ns: u64,
    /// Last instant that was told, CLOCK_MONOTONIC.
    pub(crate) to_ns: u64,
    pub(crate) windows: usize,
    pub(crate) ended: bool,
}

/// Fails unless every thread's parts sum to its wall time in every window, to the nanosecond, unless its waits by place
/// are those of its ledger within 0.1 % of the time, and unless windows and threads' times follow each other without gap
/// or overlap. Returns what each thread did in all of them.
pub(crate) fn lives(windows: &[Stored]) -> BTreeMap<Id, Life> {
    assert!(!windows.is_empty(), "nothing is stored");
    let mut lives: BTreeMap<Id, Life> = BTreeMap::new();
    let mut before: Option<&Stored> = None;
    let mut worst = (0, String::new());
    let shared = shared(windows);
    for stored @ (window, recording) in windows {
        let capture = &recording.capture;
        if let Some((last, earlier)) = before {
            assert_eq!(capture.start.0, earlier.capture.end.0, "window {} does not follow", window.sequence);
            assert_eq!(window.sequence, last.sequence + 1);
        }
        for time in &capture.threads {
            let ledger = &time.ledger;
            let whose = format!("{} ({}/{}) in window {}", time.comm, time.pid, time.tid, window.sequence);
            assert_eq!(ledger.residual_ns(), 0, "{whose}: {ledger:?}");
            assert_eq!(ledger.user_ns + ledger.kernel_ns, ledger.on_cpu_ns, "{whose}: {ledger:?}");
            let classes: u64 = ledger.off_cpu_ns.iter().sum();
            assert_eq!(classes, ledger.run_queue_ns + ledger.blocked_ns, "{whose}: {ledger:?}");
            let from_ns = capture.start.0 + time.start_ns;
            let life = lives
                .entry((time.pid, time.tid, time.born_ns))
                .or_insert_with(|| Life { to_ns: from_ns, ..Life::default() });
            assert!(!life.ended, "{whose} had ended");
            assert_eq!(from_ns, life.to_ns, "{whose} does not begin where the last window left it");
            life.to_ns = from_ns + ledger.wall_ns;
            life.comm = time.comm.to_string();
            life.ledger.add(ledger);
            life.windows += 1;
            life.ended = time.ended;
        }
        let mut waits: HashMap<(u32, u32), [u64; COUNT]> = HashMap::new();
        for (key, value) in &capture.off_cpu {
            let classes = waits.entry((key.pid, key.tid)).or_default();
            classes[key.class as usize] += value.blocked_ns + value.run_queue_ns;
        }
        for time in &capture.threads {
            let waited = waits.remove(&(time.pid, time.tid)).unwrap_or_default();
            let life = lives.get_mut(&(time.pid, time.tid, time.born_ns)).unwrap();
            life.off_cpu_ns += waited.iter().sum::<u64>();
            for (class, (places, ledger)) in (0..).zip(waited.into_iter().zip(time.ledger.off_cpu_ns)) {
                let difference_ns = places.abs_diff(ledger);
                let bound_ns = SWITCH_NS + time.ledger.wall_ns / 1_000;
                assert!(
                    difference_ns <= bound_ns || shared.contains(&(time.pid, time.tid)),
                    "window {}, class {class}: {difference_ns} ns between places and {time:?}, {:?}",
                    window.sequence,
                    recording.context.losses
                );
                worst = worst.max((difference_ns, time.comm.to_string()));
            }
        }
        assert!(waits.is_empty(), "window {}: waits of threads that are not there: {waits:?}", window.sequence);
        before = Some(stored);
    }
    println!("in a window the places and the ledger of a thread differ by {worst:?} ns at most");
    lives
}

/// Ids that one thread took over from another by exec: places do not tell the two apart.
fn shared(windows: &[Stored]) -> HashSet<(u32, u32)> {
    let mut ended = HashSet::new();
    let mut shared = HashSet::new();
    for time in windows.iter().flat_map(|(_, recording)| &recording.capture.threads) {
        if ended.contains(&(time.pid, time.tid)) {
            shared.insert((time.pid, time.tid));
        }
        if time.ended {
            ended.insert((time.pid, time.tid));
        }
    }
    shared
}

/// Fails unless what each thread waited by place is what it waited by its ledger, all windows and all threads of one id
/// together, missed switches and all. Returns the largest difference in parts of a thousand.
pub(crate) fn assert_waits_have_places(lives: &BTreeMap<Id, Life>) -> f64 {
    let mut by_id: BTreeMap<(u32, u32), (u64, u64)> = BTreeMap::new();
    for ((pid, tid, _), life) in lives {
        let (places_ns, ledger_ns) = by_id.entry((*pid, *tid)).or_default();
        *places_ns += life.off_cpu_ns;
        *ledger_ns += life.ledger.run_queue_ns + life.ledger.blocked_ns;
    }
    let mut worst = 0.0f64;
    for (id, (places_ns, ledger_ns)) in by_id {
        let difference_ns = places_ns.abs_diff(ledger_ns).saturating_sub(SWITCH_NS);
        let share = difference_ns as f64 / ledger_ns.max(1) as f64;
        assert!(share < 0.001, "{id:?}: {places_ns} ns by place, {ledger_ns} by ledger");
        worst = worst.max(share * 1e3);
    }
    worst
}

/// The life of the thread with this id.
pub(crate) fn of_tid(lives: &BTreeMap<Id, Life>, tid: u64) -> &Life {
    let found = lives.iter().find(|((_, id, _), _)| u64::from(*id) == tid);
    found.unwrap_or_else(|| panic!("no thread {tid}")).1
}
