use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::names::Names;
use crate::model::text;

/// More of all files together is not read: whoever runs a process writes its file. Node and the JVM
/// write a few megabytes each.
pub(super) const MOST_BYTES: u64 = 32 << 20;

/// What a JIT compiler calls its code: `/tmp/perf-PID.map`.
///
/// Source: tools/perf/Documentation/jit-interface.txt: lines of `START SIZE name`, both in hex.
#[derive(Debug, Default)]
pub(super) struct PerfMap {
    content: Vec<u8>,
    /// Start, end and where the name lies in `content`, by start; of entries with the same start the
    /// last one written counts.
    entries: Vec<(u64, u64, Range<u32>)>,
}

impl PerfMap {
    /// Reads as much as `budget` allows, and takes it off.
    pub(super) fn read(file: &File, budget: &mut u64) -> PerfMap {
        let bytes = file.metadata().map_or(0, |metadata| metadata.len()).min(*budget);
        *budget -= bytes;
        let mut content = vec![0; bytes as usize];
        // The compiler goes on writing, and may truncate: take what is there.
        let mut filled = 0;
        while let Ok(more @ 1..) = file.read_at(&mut content[filled..], filled as u64) {
            filled += more;
        }
        content.truncate(filled);
        PerfMap::parse(content)
    }

    fn parse(content: Vec<u8>) -> PerfMap {
        let mut entries = Vec::new();
        let mut end = 0;
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            if let Some((start, size, name_bytes)) = line.strip_suffix(b"\n").and_then(entry) {
                let name_end = end as u32 - 1;
                entries.push((start, size, name_end - name_bytes as u32..name_end));
            }
        }
        entries.sort_by_key(|(start, ..)| *start);
        entries.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                std::mem::swap(next, kept);
            }
            same
        });
        PerfMap { content, entries }
    }

    pub(super) fn at(&self, address: u64, names: &mut Names) -> Option<Arc<str>> {
        let next = self.entries.partition_point(|(start, ..)| *start <= address);
        let (_, end, name) = self.entries.get(next.checked_sub(1)?)?;
        let name = self.content.get(name.start as usize..name.end as usize)?;
        (address < *end).then(|| names.plain(&text::from_bytes(name)))
    }
}

/// Start, end, and the length of the name, which ends the line.
fn entry(line: &[u8]) -> Option<(u64, u64, usize)> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let mut number = || {
        let digits = str::from_utf8(parts.next()?).ok()?;
        u64::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16).ok()
    };
    let (start, size) = (number()?, number()?);
    let name = parts.next().filter(|name| !name.is_empty())?;
    Some((start, start.checked_add(size)?, name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_name_last_written_for_it() {
        let mut names = Names::default();
        let map = PerfMap::parse(
            b"2000 10 later\n1000 100 LazyCompile:~run /app/a b.js:3\n0x1000 80 Function:run\nbad\n3000 zz bad\n\
              ffffffffffffffff 10 wraps\n4000 10\n5000 10 \n6000 10 torn"
                .to_vec(),
        );
        let seen: Vec<_> = [0xfff, 0x1000, 0x107f, 0x1080, 0x2000, 0x2010, 0x3000, 0x4000, 0x5000, 0x6000, u64::MAX]
            .into_iter()
            .map(|address| map.at(address, &mut names).map_or("-".to_owned(), |name| name.to_string()))
            .collect();
        assert_eq!(seen, ["-", "Function:run", "Function:run", "-", "later", "-", "-", "-", "-", "-", "-"]);
    }
}
