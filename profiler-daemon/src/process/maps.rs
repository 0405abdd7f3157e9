use std::borrow::Cow;

/// One executable mapping as `/proc/PID/maps` tells it.
///
/// Source: `show_map_vma`, fs/proc/task_mmu.c: `start-end perms offset major:minor inode   path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// First address, and the first one after it.
    pub(super) start: u64,
    pub(super) end: u64,
    /// Where in the file `start` lies; meaningless without a file.
    pub(super) file_offset: u64,
    /// Device and inode of the file, 0 without one.
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Path, `[name]`, or empty; a deleted file ends in ` (deleted)`.
    pub(super) path: Cow<'a, [u8]>,
}

impl Entry<'_> {
    /// Whether a file backs it: shared memory and memfds count, `[heap]` does not.
    pub(super) fn has_file(&self) -> bool {
        self.inode != 0
    }

    pub(super) fn is_vdso(&self) -> bool {
        !self.has_file() && self.path.as_ref() == b"[vdso]"
    }
}

/// The executable mappings in a maps file, in its order. A line that is none is skipped, and so is
/// a last line without its end.
pub(super) fn executable(maps: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    maps.split_inclusive(|byte| *byte == b'\n').filter_map(|line| entry(line.strip_suffix(b"\n")?))
}

fn entry(line: &[u8]) -> Option<Entry<'_>> {
    let (range, rest) = word(line)?;
    let (permissions, rest) = word(rest)?;
    if permissions.get(2) != Some(&b'x') {
        return None;
    }
    let (file_offset, rest) = word(rest)?;
    let (device, rest) = word(rest)?;
    let (inode, rest) = word(rest)?;
    let (start, end) = pair(range, b'-')?;
    let (major, minor) = pair(device, b':')?;
    if start >= end {
        return None;
    }
    Some(Entry {
        start,
        end,
        file_offset: number(file_offset, 16)?,
        device: libc::makedev(u32::try_from(major).ok()?, u32::try_from(minor).ok()?),
        inode: number(inode, 10)?,
        path: unescape(rest.trim_ascii_start()),
    })
}

/// Cuts at the first space. The space after the inode is there even without a path.
fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b' ')?;
    Some((&line[..at], &line[at + 1..]))
}

fn pair(text: &[u8], separator: u8) -> Option<(u64, u64)> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((number(&text[..at], 16)?, number(&text[at + 1..], 16)?))
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.first() == Some(&b'+') {
        return None;
    }
    u64::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()
}

/// The kernel escapes a newline as `\012` and nothing else, not even the backslash itself.
fn unescape(path: &[u8]) -> Cow<'_, [u8]> {
    const NEWLINE: &[u8] = b"\\012";
    if !path.windows(NEWLINE.len()).any(|part| part == NEWLINE) {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(NEWLINE) {
            out.push(b'\n');
            rest = after;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(maps: &[u8]) -> Vec<String> {
        executable(maps).map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
    }

    #[test]
    fn a_line_says_where_what_and_which_part() {
        let maps = b"7f389baba000-7f389bc10000 r-xp 00026000 fe:00 326269                     /usr/lib/libc.so.6\n";
        let expected = Entry {
            start: 0x7f38_9bab_a000,
            end: 0x7f38_9bc1_0000,
            file_offset: 0x26000,
            device: libc::makedev(0xfe, 0),
            inode: 326_269,
            path: Cow::Borrowed(b"/usr/lib/libc.so.6"),
        };
        assert_eq!(executable(maps).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn only_executable_mappings_are_kept() {
        let maps = b"1000-2000 r--p 00000000 fe:00 7   /bin/a\n\
                     2000-3000 r-xp 00001000 fe:00 7   /bin/a\n\
                     3000-4000 rw-p 00000000 00:00 0   [heap]\n\
                     4000-5000 rwxp 00000000 00:00 0 \n\
                     5000-6000 --xp 00000000 00:00 0   [vsyscall]\n";
        assert_eq!(paths(maps), ["/bin/a", "", "[vsyscall]"]);
    }

    #[test]
    fn strange_paths_arrive_as_they_are() {
        for (line, expected) in [
            ("/tmp/a\\012b c", "/tmp/a\nb c"),
            ("/tmp/gone (deleted)", "/tmp/gone (deleted)"),
            ("/memfd:doublemapper (deleted)", "/memfd:doublemapper (deleted)"),
            ("/dev/zero (deleted)", "/dev/zero (deleted)"),
            ("/SYSV00000000 (deleted)", "/SYSV00000000 (deleted)"),
            ("/tmp/\x1b[31m;\u{202e}", "/tmp/\x1b[31m;\u{202e}"),
            ("//anon", "//anon"),
            ("[anon:jit cache]", "[anon:jit cache]"),
            ("[vdso]", "[vdso]"),
            ("/tmp/\\01", "/tmp/\\01"),
        ] {
            let maps = format!("1000-2000 r-xp 00000000 00:05 9                 {line}\n");
            assert_eq!(paths(maps.as_bytes()), [expected]);
        }
    }

    #[test]
    fn lines_that_are_none_cost_only_themselves() {
        let good = "1000-2000 r-xp 00000000 fe:00 7   /bin/good\n";
        for bad in [
            "",
            "\n",
            "   \n",
            "1000-2000\n",
            "1000-2000 r-xp\n",
            "1000-2000 r-xp 0 fe:00\n",
            "zz-2000 r-xp 0 fe:00 7 /bad\n",
            "2000-1000 r-xp 0 fe:00 7 /bad\n",
            "1000-1000 r-xp 0 fe:00 7 /bad\n",
            "1000-2000 r-xp -1 fe:00 7 /bad\n",
            "1000-2000 r-xp 0 fe00 7 /bad\n",
            "1000-2000 r-xp 0 fffffffff:00 7 /bad\n",
            "1000-2000 r-xp 0 fe:00 99999999999999999999999 /bad\n",
            "11111111111111111111-2000 r-xp 0 fe:00 7 /bad\n",
            "+1000-2000 r-xp 0 fe:00 7 /bad\n",
            "\u{fffd}\0-2000 r-xp 0 fe:00 7 /bad\n",
        ] {
            assert_eq!(paths(format!("{bad}{good}").as_bytes()), ["/bin/good"], "{bad:?}");
        }
        assert!(paths(b"1000-2000 r-xp 00000000 fe:00 7   /bin/cut").is_empty(), "a torn last line");
        assert_eq!(paths(b"1000-2000 r-xp 00000000 fe:00 7   /\xff\xfe\n"), ["/\u{fffd}\u{fffd}"]);
    }
}
