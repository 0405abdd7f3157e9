//! From inferno's output to the picture: marks out, units in.

use inferno::flamegraph::color::Color;

use super::palette::{COUNT, Family};

/// The first of [`COUNT`] control characters, one a family. They mark names in inferno's input,
/// and no name holds one: all names are printable.
const FIRST_MARK: u32 = 0x0e;
/// Stands for `;`, which parts the frames of inferno's input.
pub(super) const SEMICOLON: char = '\u{1d}';
const _: () = assert!(FIRST_MARK + COUNT as u32 <= SEMICOLON as u32);

pub(super) fn mark(family: Family) -> char {
    char::from_u32(FIRST_MARK + family as u32).unwrap_or_default()
}

/// Takes the marks out again, or puts a coloured square in their place in the legend, and turns
/// nanoseconds into units that people read.
pub(super) fn finish(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len() + 2048);
    let (head, frames) = svg.split_at(svg.find("<svg id=\"frames\"").unwrap_or(svg.len()));
    // inferno's own style leaves the search button all but invisible.
    for c in head.replace("opacity:0.1;", "opacity:0.6;").chars() {
        match Family::ALL.into_iter().find(|family| mark(*family) == c) {
            Some(family) => {
                let Color { r, g, b } = family.plain_color();
                out.push_str(&format!(
                    "<tspan fill=\"rgb({r},{g},{b})\" stroke=\"#777\" stroke-width=\"0.6\" font-size=\"15\">\u{25a0}</tspan>"
                ));
            }
            None => out.push(c),
        }
    }
    for part in frames.split_inclusive("</title>") {
        // `name (1,234,567 ns, 1.23%)</title>`
        let time = part.strip_suffix("</title>").and_then(|title| {
            let (before, share) = title.rsplit_once(" ns, ")?;
            let (before, ns) = before.rsplit_once('(')?;
            Some((before, ns.replace(',', "").parse().ok()?, share))
        });
        match time {
            Some((before, ns, share)) => {
                unmark(before, &mut out);
                out.push_str(&format!("({}, {share}</title>", duration(ns)));
            }
            None => unmark(part, &mut out),
        }
    }
    out
}

fn unmark(text: &str, out: &mut String) {
    let text = text.chars().filter(|c| !('\u{e}'..SEMICOLON).contains(c));
    out.extend(text.map(|c| if c == SEMICOLON { ';' } else { c }));
}

/// Three significant digits with a unit.
pub(super) fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..999_500 => (ns as f64 / 1e3, "µs"),
        999_500..999_500_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_996, "10.0 µs"),
            (99_960_000, "100 ms"),
            (999_700_000, "1.00 s"),
            (120_000_000_000, "120 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }
}
