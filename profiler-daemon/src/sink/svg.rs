//! A flame graph for the browser, drawn by `inferno`: root on top, width is time, colour is state.
//!
//! inferno colours by name alone and shows plain numbers. So every name goes in between two marks
//! that stand for its colour, and what comes out is made readable in `finish`.

mod finish;
mod palette;
mod states;

use std::cmp::Reverse;
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{self, Direction, Options};

use self::finish::{SEMICOLON, duration, finish, mark};
use self::palette::Family;
use self::states::{LEAST_PERCENT, States};
use super::Clock;
use super::flame_tree::{FlameTree, Role};
use crate::model::Window;
use crate::model::text::printable;

pub(super) fn encode(window: &Window, clock: Clock, out: &mut dyn Write) -> io::Result<()> {
    let tree = FlameTree::new(window, clock);
    let title = title(window, clock, tree.total_ns(FlameTree::ROOT));
    if tree.total_ns(FlameTree::ROOT) == 0 {
        return nothing(&title, out);
    }
    let states = States::new(&tree);
    let (lines, mut colors) = lines(&tree, &states);

    let mut options = Options::default();
    options.palette_map = Some(&mut colors);
    options.bgcolors = Some(BackgroundColor::Flat(Color { r: 253, g: 253, b: 252 }));
    options.title = title;
    options.subtitle = Some(legend(&states));
    options.count_name = "ns".to_owned();
    options.name_type = String::new();
    options.direction = Direction::Inverted;
    options.min_width = LEAST_PERCENT;
    options.frame_height = 17;
    // Takes the lines last first and merges neighbours only: the one way to choose their order.
    options.flame_chart = true;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().rev().map(String::as_str), &mut svg)?;
    out.write_all(finish(&String::from_utf8_lossy(&svg)).as_bytes())
}

/// inferno's input, largest first and idle last, and the colour of every name in it.
fn lines(tree: &FlameTree, states: &States) -> (Vec<String>, PaletteMap) {
    let (mut lines, mut colors) = (Vec::new(), PaletteMap::default());
    colors.insert("", Family::Many.plain_color());
    let mut path = String::new();
    // Depth first without recursion: stacks may be deep. Each entry has the length of its caller's path.
    let mut todo = vec![(FlameTree::ROOT, Family::Many, 0)];
    while let Some((node, family, caller)) = todo.pop() {
        path.truncate(caller);
        if node != FlameTree::ROOT {
            if caller > 0 {
                path.push(';');
            }
            let (label, mark) = (tree.label(node), mark(family));
            let name = format!("{mark}{}{mark}", label.name.replace(';', SEMICOLON.encode_utf8(&mut [0; 4])));
            path.push_str(&name);
            if colors.get(&name).is_none() {
                colors.insert(&name, family.color(&label.name));
            }
        }
        // What is too small to draw stays in its caller's width.
        let mut own = tree.self_ns(node);
        let first = todo.len();
        for child in tree.children(node) {
            match states.family(tree, child) {
                Some(family) => todo.push((child, family, path.len())),
                None => own += tree.total_ns(child),
            }
        }
        if own > 0 && !path.is_empty() {
            lines.push(format!("{path} {own}"));
        }
        // The work list is taken from its end: last what comes first.
        todo[first..].sort_unstable_by_key(|(child, ..)| {
            let label = tree.label(*child);
            (label.role != Role::Idle, tree.total_ns(*child), Reverse(label))
        });
    }
    (lines, colors)
}

fn title(window: &Window, clock: Clock, total_ns: u64) -> String {
    let clock = match clock {
        Clock::Wall => "wall time",
        Clock::Cpu => "on-CPU time",
        Clock::OffCpu => "off-CPU time",
    };
    let (threads, start) = (window.threads.len(), UNIX_EPOCH + Duration::from_nanos(window.start.0));
    format!(
        "{}: {clock} {}, {threads} thread{} × {} from {}",
        shortened(&printable(&window.target)),
        duration(total_ns),
        if threads == 1 { "" } else { "s" },
        duration(window.duration_ns),
        humantime::format_rfc3339_seconds(start),
    )
}

/// A long target would run into the buttons beside the title; both of its ends say something.
fn shortened(target: &str) -> String {
    const LONGEST: usize = 56;
    let chars: Vec<char> = target.chars().collect();
    if chars.len() <= LONGEST {
        return target.to_owned();
    }
    let half = LONGEST / 2;
    chars[..half].iter().chain(&['…']).chain(&chars[chars.len() - half + 1..]).collect()
}

/// The families that occur, each after the mark that becomes its colour.
fn legend(states: &States) -> String {
    let entries: Vec<_> = states.shown().map(|family| format!("{}\u{a0}{}", mark(family), family.name())).collect();
    entries.join("\u{a0}\u{a0} ")
}

/// inferno draws no empty picture.
fn nothing(title: &str, out: &mut dyn Write) -> io::Result<()> {
    let title = title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    writeln!(
        out,
        "<?xml version=\"1.0\" standalone=\"no\"?>\n\
         <svg version=\"1.1\" width=\"1200\" height=\"80\" xmlns=\"http://www.w3.org/2000/svg\" \
         font-family=\"monospace\">\n\
         <text x=\"10\" y=\"30\" font-size=\"17\">{title}</text>\n\
         <text x=\"10\" y=\"55\" font-size=\"12\">there is no such time in this window</text>\n</svg>"
    )
}

#[cfg(test)]
mod tests;
