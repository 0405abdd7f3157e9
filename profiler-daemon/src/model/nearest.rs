//! How far a typed word is from a known one.

/// Letters to insert, remove or replace to get from one word to the other.
pub fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::edits;

    #[test]
    fn each_wrong_letter_counts_once() {
        for (from, to, expected) in [
            ("", "", 0),
            ("stolen", "stolen", 0),
            ("stollen", "stolen", 1),
            ("exlain", "explain", 1),
            ("", "abc", 3),
            ("größe", "grosse", 3),
        ] {
            assert_eq!(edits(from, to), expected, "{from} {to}");
            assert_eq!(edits(to, from), expected, "{to} {from}");
        }
    }
}
