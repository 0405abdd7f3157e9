//! Names come from strangers: thread names, paths and symbols may hold anything. Raw names stay raw
//! in the model; whoever shows one goes through here.

use std::borrow::Cow;

/// The name without anything that could act on a terminal or break a line: control characters,
/// escape sequences, bidirectional overrides and unassigned specials become `\u{…}` escapes.
pub fn printable(name: &str) -> Cow<'_, str> {
    if name.chars().all(is_plain) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if is_plain(c) { out.push(c) } else { out.extend(c.escape_default()) }
    }
    Cow::Owned(out)
}

/// A name from the kernel: bytes up to the first NUL, invalid UTF-8 as `\xNN`.
pub fn from_bytes(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let mut out = String::with_capacity(end);
    for chunk in bytes[..end].utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_overrides_become_visible() {
        assert_eq!(printable("a\x1b[31mb\n"), "a\\u{1b}[31mb\\n");
        assert_eq!(printable("evil\u{202e}cod"), "evil\\u{202e}cod");
        assert_eq!(printable("no\u{ffff}character"), "no\\u{ffff}character");
        assert_eq!(printable("größe::λ"), "größe::λ");
    }

    #[test]
    fn bytes_that_are_no_text_stay_distinguishable() {
        assert_eq!(from_bytes(b"wor\xffker\0junk"), "wor\\xffker");
    }
}
