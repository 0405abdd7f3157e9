use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::names::Names;
use crate::model::text;

/// More of a file is not read. Node and the JVM write a few megabytes.
const MOST_BYTES: u64 = 64 << 20;

/// What a JIT compiler calls its code: `/tmp/perf-PID.map`.
///
/// Source: tools/perf/Documentation/jit-interface.txt: lines of `START SIZE name`, both in hex.
#[derive(Debug, Default)]
pub(super) struct PerfMap {
    /// Start, end and name by start; of entries with the same start the last one written counts.
    entries: Vec<(u64, u64, Arc<str>)>,
}

impl PerfMap {
    pub(super) fn read(file: &File, names: &mut Names) -> PerfMap {
        let bytes = file.metadata().map_or(0, |metadata| metadata.len()).min(MOST_BYTES);
        let mut content = vec![0; bytes as usize];
        // The compiler goes on writing, and may truncate: take what is there.
        let mut filled = 0;
        while let Ok(more @ 1..) = file.read_at(&mut content[filled..], filled as u64) {
            filled += more;
        }
        PerfMap::parse(&content[..filled], names)
    }

    fn parse(content: &[u8], names: &mut Names) -> PerfMap {
        let mut entries = Vec::new();
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            entries.extend(line.strip_suffix(b"\n").and_then(|line| entry(line, names)));
        }
        entries.sort_by_key(|(start, ..)| *start);
        entries.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                std::mem::swap(next, kept);
            }
            same
        });
        PerfMap { entries }
    }

    pub(super) fn at(&self, address: u64) -> Option<&Arc<str>> {
        let next = self.entries.partition_point(|(start, ..)| *start <= address);
        let (_, end, name) = self.entries.get(next.checked_sub(1)?)?;
        (address < *end).then_some(name)
    }
}

fn entry(line: &[u8], names: &mut Names) -> Option<(u64, u64, Arc<str>)> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let mut number = || {
        let digits = str::from_utf8(parts.next()?).ok()?;
        u64::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16).ok()
    };
    let (start, size) = (number()?, number()?);
    let name = parts.next().filter(|name| !name.is_empty())?;
    Some((start, start.checked_add(size)?, names.plain(&text::from_bytes(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_name_last_written_for_it() {
        let mut names = Names::default();
        let map = PerfMap::parse(
            b"2000 10 later\n1000 100 LazyCompile:~run /app/a b.js:3\n0x1000 80 Function:run\nbad\n3000 zz bad\n\
              ffffffffffffffff 10 wraps\n4000 10\n5000 10 \n6000 10 torn",
            &mut names,
        );
        let seen: Vec<_> = [0xfff, 0x1000, 0x107f, 0x1080, 0x2000, 0x2010, 0x3000, 0x4000, 0x5000, 0x6000, u64::MAX]
            .into_iter()
            .map(|address| map.at(address).map_or("-", |name| name))
            .collect();
        assert_eq!(seen, ["-", "Function:run", "Function:run", "-", "later", "-", "-", "-", "-", "-", "-"]);
    }
}
