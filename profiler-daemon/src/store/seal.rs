//! Several segments as one: stacks and frames are kept once, rows are sorted so that neighbours are alike, and
//! compressed harder.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::path::Path;

use parquet::basic::{Compression, ZstdLevel};

use super::StoreError;
use super::rows;
use super::segment::{Draft, Segment};
use super::table::{Row, Text};

/// Length of a row group: a query of some minutes reads few others.
pub(super) const SLICE_NS: u64 = 300_000_000_000;

/// Why segments were not sealed.
#[derive(Debug)]
pub(super) struct SealError {
    /// Index of the segment that is at fault, if one is.
    pub(super) segment: Option<usize>,
    pub(super) error: StoreError,
}

impl From<StoreError> for SealError {
    fn from(error: StoreError) -> SealError {
        SealError { segment: None, error }
    }
}

/// Makes one segment of several, which follow each other, in `scratch`. `level` says how hard it is compressed, by zstd's
/// measure.
pub(super) fn seal(segments: &[Segment], level: i32, scratch: &Path) -> Result<Draft, SealError> {
    let (first, last) = match segments {
        [first, .., last] => (first.manifest.first, last.manifest.last),
        [only] => (only.manifest.first, only.manifest.last),
        [] => unreachable!("the caller has at least one"),
    };
    let level = ZstdLevel::try_new(level).map_err(|error| StoreError::table("compress", scratch, error))?;
    let mut draft = Draft::begin(scratch, first..=last, Compression::ZSTD(level))?;
    let windows: Vec<rows::Window> = all(segments)?;
    draft.contains(&windows);
    draft.table(&windows)?;
    draft.table(&programs(all(segments)?, &windows))?;
    let numbers = dictionary(segments, &mut draft)?;
    let sealing = Sealing { segments, numbers };

    sealing.table::<rows::Thread, _>(&mut draft, |_, _| (), |row| (row.pid, row.tid, row.window))?;
    let map = |row: &mut rows::CpuSample, numbers: &[u32]| {
        renumber(&mut row.user_stack, numbers);
        renumber(&mut row.kernel_stack, numbers);
    };
    let key = |row: &rows::CpuSample| (row.pid, row.tid, row.user_stack, row.kernel_stack, row.time);
    sealing.table(&mut draft, map, key)?;
    let map = |row: &mut rows::OffCpu, numbers: &[u32]| {
        renumber(&mut row.user_stack, numbers);
        renumber(&mut row.kernel_stack, numbers);
    };
    let key = |row: &rows::OffCpu| (row.pid, row.tid, row.kernel_stack, row.user_stack, row.syscall, row.window);
    sealing.table(&mut draft, map, key)?;
    let map = |row: &mut rows::Wait, numbers: &[u32]| {
        renumber(&mut row.user_stack, numbers);
        renumber(&mut row.kernel_stack, numbers);
    };
    sealing.table(&mut draft, map, |row: &rows::Wait| (row.pid, row.tid, row.start))?;
    Ok(draft)
}

/// All rows of a table.
fn all<R: Row>(segments: &[Segment]) -> Result<Vec<R>, SealError> {
    let mut rows = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        rows.extend(segment.all::<R>().map_err(of(index))?);
    }
    Ok(rows)
}

fn of(index: usize) -> impl Fn(StoreError) -> SealError {
    move |error| SealError { segment: Some(index), error }
}

/// A stack's number in the new segment, in place of that in its old one. What the old one did not have is none.
fn renumber(number: &mut u32, numbers: &[u32]) {
    *number = numbers.get(*number as usize).copied().unwrap_or(0);
}

struct Sealing<'a> {
    segments: &'a [Segment],
    /// For each segment the new number of each of its stacks; number 0, none, stays 0.
    numbers: Vec<Vec<u32>>,
}

impl Sealing<'_> {
    /// Writes a table slice by slice, so that memory holds the rows of one.
    fn table<R: Row, K: Ord>(
        &self,
        draft: &mut Draft,
        map: impl Fn(&mut R, &[u32]),
        key: impl Fn(&R) -> K,
    ) -> Result<(), SealError> {
        let mut writer = draft.writer::<R>()?;
        let numbered: Vec<(usize, &Segment)> = self.segments.iter().enumerate().collect();
        for slice in numbered.chunk_by(|(_, a), (_, b)| a.start().0 / SLICE_NS == b.start().0 / SLICE_NS) {
            let mut rows = Vec::new();
            for (index, segment) in slice {
                let from = rows.len();
                rows.extend(segment.all::<R>().map_err(of(*index))?);
                rows[from..].iter_mut().for_each(|row| map(row, &self.numbers[*index]));
            }
            rows.sort_by_key(&key);
            draft.write(&mut writer, &rows)?;
        }
        draft.finish(writer)?;
        Ok(())
    }
}

/// Programs with the same labels in windows that follow each other are one row.
fn programs(rows: Vec<rows::Program>, windows: &[rows::Window]) -> Vec<rows::Program> {
    let before: HashMap<u64, u64> = windows.windows(2).map(|pair| (pair[1].window, pair[0].window)).collect();
    let mut joined: Vec<rows::Program> = Vec::new();
    let mut newest: HashMap<(u32, u32), usize> = HashMap::new();
    for row in rows {
        let known = newest.get(&(row.pid, row.generation)).copied();
        let goes_on = known.filter(|index| {
            let last = &joined[*index];
            let same = rows::Program { window: row.window, last_window: row.last_window, ..last.clone() } == row;
            same && before.get(&row.window) == Some(&last.last_window)
        });
        match goes_on {
            Some(index) => joined[index].last_window = row.last_window,
            None => {
                newest.insert((row.pid, row.generation), joined.len());
                joined.push(row);
            }
        }
    }
    joined.sort_by_key(|row| (row.pid, row.generation, row.window));
    joined
}

/// Writes the stacks and frames of all segments, each once, and gives for each segment the new numbers of its stacks.
fn dictionary(segments: &[Segment], draft: &mut Draft) -> Result<Vec<Vec<u32>>, SealError> {
    let mut frames: HashMap<Place, u32> = HashMap::new();
    let mut stacks: Vec<rows::Stack> = Vec::new();
    let mut by_id: HashMap<u64, u32> = HashMap::new();
    let mut numbers = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let mut own = vec![0];
        let mut new = Vec::new();
        for row in segment.all::<rows::Stack>().map_err(of(index))? {
            let next = stacks.len() as u32;
            let place = *by_id.entry(row.stack_id).or_insert(next);
            own.push(place + 1);
            match stacks.get_mut(place as usize) {
                None => {
                    new.push(place);
                    stacks.push(row);
                }
                // It was only named before, and arrived later.
                Some(known) if known.frames.is_empty() && !row.frames.is_empty() => {
                    new.push(place);
                    *known = row;
                }
                Some(_) => {}
            }
        }
        numbers.push(own);
        // Only what new stacks have: most stacks are in many windows.
        let mut rows: Vec<Option<rows::Frame>> =
            segment.all::<rows::Frame>().map_err(of(index))?.into_iter().map(Some).collect();
        let mut moved: Vec<Option<u32>> = vec![None; rows.len()];
        for frame in new.iter().flat_map(|place| stacks[*place as usize].frames.iter()) {
            let unknown = || StoreError::damaged(&segment.path, format!("there is no frame {frame}"));
            let number = moved.get_mut(*frame as usize).ok_or_else(unknown).map_err(of(index))?;
            if let Some(mut row) = rows[*frame as usize].take() {
                row.frame = 0;
                let (next, row) = (frames.len() as u32, Place(row));
                *number = Some(match frames.get(&row) {
                    Some(known) => *known,
                    None => {
                        frames.insert(row.alone(), next);
                        next
                    }
                });
            }
        }
        for place in new {
            let moved = |frame: &mut u32| *frame = moved[*frame as usize].expect("each of them was moved");
            stacks[place as usize].frames.iter_mut().for_each(moved);
        }
    }

    let frame_numbers = write_frames(frames, draft)?;
    for stack in &mut stacks {
        stack.frames.iter_mut().for_each(|frame| *frame = frame_numbers[*frame as usize]);
    }
    let order = write_stacks(stacks, draft)?;
    for number in numbers.iter_mut().flatten().filter(|number| **number > 0) {
        *number = order[*number as usize - 1];
    }
    Ok(numbers)
}

/// Writes frames sorted by name, and gives their new numbers.
fn write_frames(frames: HashMap<Place, u32>, draft: &mut Draft) -> Result<Vec<u32>, SealError> {
    let mut frames: Vec<(rows::Frame, u32)> = frames.into_iter().map(|(place, number)| (place.0, number)).collect();
    frames.sort_by(|(a, _), (b, _)| {
        let key = |row: &rows::Frame| (row.offset, row.line, row.inlined);
        (&a.kind, &a.module, &a.function, &a.file)
            .cmp(&(&b.kind, &b.module, &b.function, &b.file))
            .then_with(|| key(a).cmp(&key(b)))
    });
    let mut numbers = vec![0; frames.len()];
    let mut rows = Vec::with_capacity(frames.len());
    for (number, (mut row, old)) in (0..).zip(frames) {
        numbers[old as usize] = number;
        row.frame = number;
        rows.push(row);
    }
    draft.table(&rows)?;
    Ok(numbers)
}

/// Writes stacks so that those which begin alike at the root are neighbours, and gives their new numbers.
fn write_stacks(stacks: Vec<rows::Stack>, draft: &mut Draft) -> Result<Vec<u32>, SealError> {
    let mut stacks: Vec<(usize, rows::Stack)> = stacks.into_iter().enumerate().collect();
    stacks.sort_by(|(_, a), (_, b)| {
        (a.in_kernel, a.pid, a.generation)
            .cmp(&(b.in_kernel, b.pid, b.generation))
            .then_with(|| a.frames.iter().rev().cmp(b.frames.iter().rev()))
            .then_with(|| a.stack_id.cmp(&b.stack_id))
    });
    let mut numbers = vec![0; stacks.len()];
    let mut rows = Vec::with_capacity(stacks.len());
    for (number, (old, mut row)) in (1..).zip(stacks) {
        numbers[old] = number;
        row.stack = number;
        rows.push(row);
    }
    draft.table(&rows)?;
    Ok(numbers)
}

/// A frame to look up, its number left out. The hash reads the address only, where there is one.
#[derive(PartialEq)]
struct Place(rows::Frame);

impl Eq for Place {}

impl Place {
    /// The same without its pages: those of all windows together are many times the names.
    fn alone(&self) -> Place {
        let alone = |text: &Option<Text>| text.as_ref().map(Text::alone);
        let Place(row) = self;
        Place(rows::Frame {
            kind: row.kind.alone(),
            function: alone(&row.function),
            file: alone(&row.file),
            module: alone(&row.module),
            build_id: alone(&row.build_id),
            ..*row
        })
    }
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0.offset, self.0.line).hash(state);
        if self.0.offset.is_none() {
            self.0.function.hash(state);
        }
    }
}
