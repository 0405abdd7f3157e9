//! Names made short: the middle of a long one goes, many like ones become a range.

use std::collections::BTreeMap;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::model::text::printable;

/// The printable name in at most `width` columns; a longer one loses its middle, never its end.
pub(super) fn fit(name: &str, width: usize) -> String {
    let name = printable(name);
    if name.width() <= width {
        return name.into_owned();
    }
    let room = width.saturating_sub(1);
    let head = take(name.chars(), room / 2);
    let tail: String = take(name.chars().rev(), room - head.width()).chars().rev().collect();
    format!("{head}…{tail}")
}

fn take(letters: impl Iterator<Item = char>, width: usize) -> String {
    let mut room = width;
    let mut out = String::new();
    for letter in letters {
        let wide = letter.width().unwrap_or(0);
        if wide > room {
            break;
        }
        room -= wide;
        out.push(letter);
    }
    out
}

/// Names that differ only in a number at their end become one: `worker-1 … worker-8`; equal ones are
/// counted: `nginx ×4`. The larger groups come first; ties by name. With each how many names it stands for.
pub(super) fn collapse<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(String, usize)> {
    let mut groups: BTreeMap<String, BTreeMap<(u64, String), usize>> = BTreeMap::new();
    for name in names {
        let name = printable(name);
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = name[stem.len()..].parse().unwrap_or(0);
        *groups.entry(stem.to_owned()).or_default().entry((number, name.clone().into_owned())).or_default() += 1;
    }
    let mut groups: Vec<(String, usize)> =
        groups.into_values().map(|members| (group(&members), members.values().sum())).collect();
    groups.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    groups
}

fn group(members: &BTreeMap<(u64, String), usize>) -> String {
    if let (Some(((low, first), 1)), Some(((high, last), 1))) = (members.first_key_value(), members.last_key_value())
        && members.len() > 2
        && members.values().all(|count| *count == 1)
    {
        // A range with holes says how many it stands for.
        let holes = high - low + 1 != members.len() as u64;
        let count = if holes { format!(" ({})", members.len()) } else { String::new() };
        return format!("{first} … {last}{count}");
    }
    let one = |((_, name), count): (&(u64, String), &usize)| match count {
        1 => name.clone(),
        count => format!("{name} ×{count}"),
    };
    members.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A list in at most `width` columns, each item with how many things it stands for; what does not fit
/// is counted: `a, b, and 3 more`.
pub(super) fn list(items: &[(String, usize)], width: usize) -> String {
    for shown in (1..=items.len()).rev() {
        let (shown, rest) = items.split_at(shown);
        let mut text = shown.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(", ");
        if !rest.is_empty() {
            text.push_str(&format!(", and {} more", rest.iter().map(|(_, count)| count).sum::<usize>()));
        }
        if text.width() <= width {
            return text;
        }
    }
    items.first().map(|(text, _)| fit(text, width)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_loses_its_middle() {
        assert_eq!(fit("core::ptr::drop_in_place<Vec<u8>>::{{closure}}", 30), "core::ptr::dro…>>::{{closure}}");
        assert_eq!(fit("short", 30), "short");
        assert_eq!(fit("日本語日本語", 7), "日…本語");
        assert!(fit("a\x1bb", 30).contains("\\u{1b}"));
    }

    #[track_caller]
    fn check(names: &[&str], expected: &str) {
        assert_eq!(list(&collapse(names.iter().copied()), usize::MAX), expected);
    }

    #[test]
    fn like_names_become_one() {
        check(&["worker-10", "worker-1", "worker-2", "main"], "worker-1 … worker-10 (3), main");
        check(&["worker-1", "worker-2", "worker-3"], "worker-1 … worker-3");
        check(&["worker-1", "worker-2"], "worker-1, worker-2");
        check(&["nginx", "nginx", "redis"], "nginx ×2, redis");
        check(&["a\n", "b"], "a\\n, b");
        check(&["x99999999999999999999999", "x1", "x2"], "x99999999999999999999999 … x2");
        check(&[], "");
    }

    #[test]
    fn a_list_counts_what_does_not_fit() {
        let items = ["epoll_wait (8)", "poll (1)", "sem_wait (1)"].map(|text| (text.to_owned(), 1));
        assert_eq!(list(&items, 40), "epoll_wait (8), poll (1), sem_wait (1)");
        assert_eq!(list(&items, 30), "epoll_wait (8), and 2 more");
        assert_eq!(list(&items, 8), "epo… (8)");
    }

    #[test]
    fn a_range_that_does_not_fit_counts_all_its_threads() {
        let names = ["peer-1", "peer-2", "peer-3", "worker-1", "worker-2", "worker-3", "worker-4"];
        assert_eq!(list(&collapse(names.into_iter()), 34), "worker-1 … worker-4, and 3 more");
    }
}
