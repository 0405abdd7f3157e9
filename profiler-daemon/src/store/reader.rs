//! What a store holds, for those who ask. Readers need no lock: segments appear whole, and what is there does not change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StoreError;
use super::decode::{self, Wanted};
use super::filter::{Filter, Picked};
use super::layout::{self, Listing};
use super::rows;
use super::segment::Segment;
use crate::aggregate::merge::Merge;
use crate::model::{Program, Recording, UnixNs};

/// Most samples, sums and waits that are read into one recording: about 2 GB in memory.
const MOST_ROWS: u64 = 20_000_000;
/// Most rows, those of threads too, that are read ahead for one who follows the store: about 10 MB in memory.
const MOST_ROWS_AHEAD: u64 = 50_000;

/// Reads a store, while it is written or not.
#[derive(Clone, Debug)]
pub struct Reader {
    store: PathBuf,
}

/// A half-open range of wall-clock time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// First instant.
    pub since: UnixNs,
    /// End.
    pub until: UnixNs,
}

impl TimeRange {
    /// All time.
    pub const ALL: TimeRange = TimeRange { since: UnixNs(0), until: UnixNs(u64::MAX) };

    fn meets(self, start_ns: u64, end_ns: u64) -> bool {
        start_ns < self.until.0 && self.since.0 < end_ns.max(start_ns.saturating_add(1))
    }
}

/// A window as the list of windows has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredWindow {
    /// Its number: windows are numbered from 1 in the order in which they were stored, and no number is given twice.
    pub sequence: u64,
    /// Start on the wall clock.
    pub start: UnixNs,
    /// Length.
    pub duration_ns: u64,
    /// What was captured.
    pub target: Arc<str>,
    /// Place on `Detail::LADDER`, 0 is full detail; `None` if the window does not say it.
    pub detail_level: Option<u32>,
    /// Processes that had a thread.
    pub processes: u32,
    /// Threads.
    pub threads: u32,
    /// On-CPU samples.
    pub cpu_samples: u64,
    /// Sums of waits.
    pub off_cpu: u64,
    /// Long waits.
    pub waits: u64,
}

impl StoredWindow {
    /// End on the wall clock.
    pub fn end(&self) -> UnixNs {
        UnixNs(self.start.0.saturating_add(self.duration_ns))
    }
}

/// What a service did in a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its name, as [`Program::service`].
    pub name: Arc<str>,
    /// Processes that it had.
    pub processes: usize,
    /// Time of its threads.
    pub wall_ns: u64,
    /// Part of it on a CPU.
    pub on_cpu_ns: u64,
    /// Part of it runnable but not executing.
    pub run_queue_ns: u64,
    pids: BTreeSet<u32>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// All windows of the range as one; `None` if there is none.
    pub recording: Option<Recording>,
    /// These windows, by start.
    pub windows: Vec<StoredWindow>,
    /// Segments that would have belonged to it but cannot be used.
    pub damaged: Vec<StoreError>,
}

/// A window that is to be read, and the index of its segment.
struct Chosen {
    segment: usize,
    row: rows::Window,
}

/// What went wrong with which segment.
struct Failed {
    segment: usize,
    error: StoreError,
}

impl Reader {
    /// Opens the store in a directory.
    ///
    /// # Errors
    /// [`StoreError::NoStore`] if there is none, or it cannot be looked at.
    pub fn open(store: &Path) -> Result<Reader, StoreError> {
        match layout::folders(&store.join(layout::RECENT)) {
            Ok(_) => Ok(Reader { store: store.to_owned() }),
            Err(error) if error.is_gone() => Err(StoreError::NoStore { path: store.to_owned() }),
            Err(error) => Err(error),
        }
    }

    /// The windows that meet a range, by start, with what is damaged. Samples and stacks are not read.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn windows(&self, range: TimeRange) -> Result<Found, StoreError> {
        self.find(|segments| Ok((None, choose(segments, range)?)))
    }

    /// Reads all windows that meet a range into one, of them the processes that `filter` asks for. A window is read whole,
    /// so what is found may begin before the range and end after it.
    ///
    /// # Errors
    /// The store could not be read, or the range is too large for memory. A damaged segment is left out and named.
    pub fn read(&self, range: TimeRange, filter: &Filter) -> Result<Found, StoreError> {
        self.find(|segments| {
            let chosen = choose(segments, range)?;
            Ok((join(segments, &chosen, filter)?, chosen))
        })
    }

    /// How much each service ran in a range, by time on CPU, largest first. Only the ledgers are read.
    ///
    /// # Errors
    /// The store could not be read. A damaged segment is left out.
    pub fn services(&self, range: TimeRange) -> Result<Vec<Service>, StoreError> {
        let mut services: BTreeMap<Arc<str>, Service> = BTreeMap::new();
        for segment in retry(|| layout::list(&self.store))?.segments {
            if !range.meets(segment.manifest.start_ns, segment.manifest.end_ns) {
                continue;
            }
            match sum_services(&segment, range, &mut services) {
                // Sealed or removed meanwhile, or damaged: the sums are of what is there.
                Err(error) if error.is_of_segment() || error.is_gone() => {}
                result => result?,
            }
        }
        let mut services: Vec<Service> = services.into_values().collect();
        services.sort_by_key(|service| (std::cmp::Reverse(service.on_cpu_ns), service.name.clone()));
        Ok(services)
    }

    /// The bytes on disk of all segments.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn bytes(&self) -> Result<u64, StoreError> {
        Ok(layout::list(&self.store)?.segments.iter().map(|segment| segment.bytes).sum())
    }

    /// Reads the first windows with higher numbers than `sequence`: at least one if there is one, and some more of its
    /// segment, whose stacks are read but once.
    pub(super) fn after(&self, sequence: u64) -> Result<Vec<(StoredWindow, Recording)>, StoreError> {
        retry(|| {
            for (_, path) in layout::names(&self.store)?.into_iter().filter(|(range, _)| *range.end() > sequence) {
                match first_after(&path, sequence) {
                    Ok(found) if found.is_empty() => {}
                    Err(error) if error.is_of_segment() => {}
                    result => return result,
                }
            }
            Ok(Vec::new())
        })
    }

    /// Runs `read` on all segments, and again without each that turns out to be damaged.
    fn find(
        &self,
        read: impl Fn(&[Segment]) -> Result<(Option<Recording>, Vec<Chosen>), Failed>,
    ) -> Result<Found, StoreError> {
        retry(|| {
            let Listing { mut segments, damaged, .. } = layout::list(&self.store)?;
            let mut damaged: Vec<StoreError> = damaged.into_iter().map(|(_, error)| error).collect();
            loop {
                match read(&segments) {
                    Ok((recording, chosen)) => {
                        let windows = chosen.iter().map(|chosen| stored(&chosen.row)).collect();
                        return Ok(Found { recording, windows, damaged });
                    }
                    Err(failed) if failed.error.is_of_segment() => {
                        damaged.push(failed.error);
                        segments.remove(failed.segment);
                    }
                    Err(failed) => return Err(failed.error),
                }
            }
        })
    }
}

/// A writer may seal or remove a segment while it is read: then all is read again.
fn retry<T>(mut read: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    const TIMES: usize = 3;
    for _ in 1..TIMES {
        match read() {
            Err(error) if error.is_gone() => {}
            result => return result,
        }
    }
    read()
}

/// The windows that meet a range, by start.
fn choose(segments: &[Segment], range: TimeRange) -> Result<Vec<Chosen>, Failed> {
    let mut chosen = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        if range.meets(segment.manifest.start_ns, segment.manifest.end_ns) {
            let rows = segment.all::<rows::Window>().map_err(|error| Failed { segment: index, error })?;
            let meets = |row: &rows::Window| range.meets(row.start.0, row.start.0.saturating_add(row.duration_ns));
            chosen.extend(rows.into_iter().filter(meets).map(|row| Chosen { segment: index, row }));
        }
    }
    chosen.sort_by_key(|chosen| (chosen.row.start, chosen.row.window));
    Ok(chosen)
}

/// Windows as one recording.
fn join(segments: &[Segment], chosen: &[Chosen], filter: &Filter) -> Result<Option<Recording>, Failed> {
    let failed = |segment: usize| move |error: StoreError| Failed { segment, error };
    let rows = chosen.iter().map(|it| it.row.cpu_samples + it.row.off_cpu + it.row.waits).sum();
    if rows > MOST_ROWS {
        return Err(failed(0)(StoreError::TooMuch { rows, most: MOST_ROWS }));
    }
    let mut merge = [Merge::default()];
    let mut wanted: Vec<Vec<Wanted>> = vec![Vec::new(); segments.len()];
    for Chosen { segment, row } in chosen {
        wanted[*segment].push(Wanted::begin(row, 0, &mut merge));
    }
    wanted.iter_mut().for_each(|windows| windows.sort_by_key(Wanted::window));
    let used = || wanted.iter().enumerate().filter(|(_, windows)| !windows.is_empty());
    let mut programs: Vec<Program> = Vec::new();
    if !filter.is_empty() {
        for (segment, windows) in used() {
            let is_in =
                |row: &rows::Program| windows.iter().any(|it| (row.window..=row.last_window).contains(&it.window()));
            let rows = segments[segment].all::<rows::Program>().map_err(failed(segment))?;
            programs.extend(rows.iter().filter(|row| is_in(row)).map(decode::program));
        }
    }
    let picked = Picked::new(filter, &programs);
    for (segment, windows) in used() {
        decode::read(&segments[segment], windows, &picked, &mut merge).map_err(failed(segment))?;
    }
    let target = chosen.first().map(|chosen| chosen.row.target.text().into_owned());
    let [merge] = merge;
    Ok(merge.finish(target.unwrap_or_default()))
}

/// The first windows of a segment whose numbers are higher, each as it was stored.
fn first_after(path: &Path, sequence: u64) -> Result<Vec<(StoredWindow, Recording)>, StoreError> {
    let segment = Segment::open(path)?;
    let mut rows = segment.all::<rows::Window>()?;
    rows.retain(|row| row.window > sequence);
    rows.sort_by_key(|row| row.window);
    let mut sum = 0;
    let fits = |row: &&rows::Window| {
        sum += u64::from(row.threads) + row.cpu_samples + row.off_cpu + row.waits;
        sum <= MOST_ROWS_AHEAD
    };
    let count = rows.iter().take_while(fits).count().max(1);
    rows.truncate(count);
    let mut merges: Vec<Merge> = rows.iter().map(|_| Merge::default()).collect();
    let wanted: Vec<Wanted> = rows.iter().enumerate().map(|(at, row)| Wanted::begin(row, at, &mut merges)).collect();
    decode::read(&segment, &wanted, &Picked::All, &mut merges)?;
    let found = rows
        .iter()
        .zip(merges)
        .filter_map(|(row, merge)| Some((stored(row), merge.finish(row.target.text().into_owned())?)));
    Ok(found.collect())
}

/// Adds what the services did in the windows of a segment that meet a range.
fn sum_services(
    segment: &Segment,
    range: TimeRange,
    services: &mut BTreeMap<Arc<str>, Service>,
) -> Result<(), StoreError> {
    let windows = segment.all::<rows::Window>()?;
    let meets = |row: &&rows::Window| range.meets(row.start.0, row.start.0.saturating_add(row.duration_ns));
    let windows: BTreeSet<u64> = windows.iter().filter(meets).map(|row| row.window).collect();
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Ok(()) };
    let names: HashMap<(u32, u32), Arc<str>> = segment
        .all::<rows::Program>()?
        .iter()
        .map(|row| ((row.pid, row.generation), row.service.text().into()))
        .collect();
    let unknown: Arc<str> = "".into();
    for row in segment.windows::<rows::ThreadSum>(&(*first..=*last))? {
        let row = row?;
        if !windows.contains(&row.window) {
            continue;
        }
        let name = names.get(&(row.pid, row.generation)).unwrap_or(&unknown);
        let service = match services.get_mut(name) {
            Some(service) => service,
            None => services.entry(name.clone()).or_insert(Service { name: name.clone(), ..Service::default() }),
        };
        service.wall_ns += row.wall_ns;
        service.on_cpu_ns += row.on_cpu_ns;
        service.run_queue_ns += row.run_queue_ns;
        service.pids.insert(row.pid);
        service.processes = service.pids.len();
    }
    Ok(())
}

fn stored(row: &rows::Window) -> StoredWindow {
    StoredWindow {
        sequence: row.window,
        start: UnixNs(row.start.0),
        duration_ns: row.duration_ns,
        target: row.target.text().into(),
        detail_level: row.detail_level,
        processes: row.processes,
        threads: row.threads,
        cpu_samples: row.cpu_samples,
        off_cpu: row.off_cpu,
        waits: row.waits,
    }
}
