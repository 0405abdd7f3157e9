#![expect(clippy::unwrap_used, reason = "tests")]

use quick_xml::Reader;
use quick_xml::events::Event;

use super::*;
use crate::sink::sample_window::{self, HOSTILE};

fn svg(window: &Window, clock: Clock) -> String {
    let mut out = Vec::new();
    encode(window, clock, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Parses the picture; gives each frame's tooltip and fill colour.
fn frames(svg: &str) -> Vec<(String, String)> {
    let forbidden = |c: char| (c < ' ' && !"\t\n\r".contains(c)) || matches!(c, '\u{fffe}' | '\u{ffff}');
    assert!(!svg.contains(forbidden), "XML 1.0 has no such character");
    let mut reader = Reader::from_str(svg);
    reader.config_mut().check_end_names = true;
    let (mut frames, mut depth, mut text, mut title) = (Vec::new(), 0, String::new(), String::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(_) => {
                depth += 1;
                text.clear();
            }
            Event::End(end) => {
                depth -= 1;
                if end.name().as_ref() == b"title" {
                    title = text.clone();
                }
            }
            Event::Empty(tag) => {
                let attribute = |name| {
                    let found = tag.attributes().map(Result::unwrap).find(|it| it.key.as_ref() == name);
                    found.map(|it| String::from_utf8(it.value.into_owned()).unwrap())
                };
                if let (Some(_), Some(fill)) = (attribute(b"fg:w"), attribute(b"fill")) {
                    frames.push((std::mem::take(&mut title), fill));
                }
            }
            Event::Text(part) => text.push_str(&part.decode().unwrap()),
            Event::GeneralRef(part) => {
                let entity = part.decode().unwrap();
                text.push_str(quick_xml::escape::resolve_predefined_entity(&entity).unwrap());
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    frames
}

fn fill(family: Family, name: &str) -> String {
    let Color { r, g, b } = family.color(name);
    format!("rgb({r},{g},{b})")
}

#[test]
fn a_frame_has_the_colour_of_its_state() {
    let picture = svg(&sample_window::window(), Clock::Wall);
    let frames = frames(&picture);
    let expected = [
        ("sha256 (2.50 s, 6.25%)", Family::OnCpu, "sha256"),
        ("vfs_write (1.00 s, 2.50%)", Family::OnCpuKernel, "vfs_write"),
        ("futex_wait (4.00 s, 10.00%)", Family::Lock, "futex_wait"),
        ("[lock/futex] (3.99 s, 9.97%)", Family::Lock, "[lock/futex]"),
        ("[run-queue] (300 ms, 0.75%)", Family::RunQueue, "[run-queue]"),
        ("[fs-sync] (4.00 s, 10.00%)", Family::Storage, "[fs-sync]"),
        ("Cache::get (6.50 s, 16.25%)", Family::Many, "Cache::get"),
        ("[idle] (18.8 s, 47.00%)", Family::Idle, "[idle]"),
        ("do_epoll_wait (9.80 s, 24.50%)", Family::Idle, "do_epoll_wait"),
        ("[stolen] (50.0 ms, 0.12%)", Family::Stolen, "[stolen]"),
        ("[unseen] (4.95 s, 12.38%)", Family::Unseen, "[unseen]"),
    ];
    for (title, family, name) in expected {
        let frame = (title.to_owned(), fill(family, name));
        assert!(frames.contains(&frame), "{frame:?} not in {frames:#?}");
    }
}

#[test]
fn what_a_quota_made_has_a_colour_and_a_place_in_the_legend() {
    let picture = svg(&sample_window::throttled(), Clock::Wall);
    let frames = frames(&picture);
    for (title, family, name) in [
        ("[run-queue] (100 ms, 0.25%)", Family::RunQueue, "[run-queue]"),
        ("[throttled] (200 ms, 0.50%)", Family::Throttled, "[throttled]"),
    ] {
        let frame = (title.to_owned(), fill(family, name));
        assert!(frames.contains(&frame), "{frame:?} not in {frames:#?}");
    }
    assert!(picture.contains("</tspan>\u{a0}throttled"));
}

#[test]
fn what_was_asked_and_the_legend_are_above_the_picture() {
    let picture = svg(&sample_window::window(), Clock::OffCpu);
    let title = "checkout (pid 4242): off-CPU time 30.1 s, 4 threads × 10.0 s from 2026-11-18T11:06:40Z";
    assert!(picture.contains(title), "{picture}");
    assert!(picture.contains("</tspan>\u{a0}waiting for a CPU"));
    assert!(!picture.contains("</tspan>\u{a0}on-CPU"));
}

#[test]
fn hostile_names_stay_text() {
    for name in HOSTILE {
        let picture = svg(&sample_window::named(name), Clock::Wall);
        assert!(!picture.contains("<script>alert"), "{name:?}");
        let frames = frames(&picture);
        assert_eq!(frames.len(), 5, "all, process, thread and two functions of {name:?}: {frames:?}");
        let shown = if name.is_empty() { "[unnamed]".into() } else { printable(name) };
        let title = format!("{shown} (1.00 µs, 100.00%)");
        assert_eq!(frames.iter().filter(|(it, _)| *it == title).count(), 3, "{title} in {frames:?}");
    }
}

#[test]
fn no_time_is_a_picture_that_says_so() {
    let mut window = sample_window::named("<&>");
    window.samples.clear();
    let picture = svg(&window, Clock::OffCpu);
    assert!(frames(&picture).is_empty());
    assert!(picture.contains("there is no such time in this window"));
}

#[test]
fn a_long_target_keeps_both_ends() {
    let window = Window { target: format!("{} (pid 7)", "ä".repeat(80)), ..sample_window::window() };
    let expected = format!("{}…{} (pid 7): wall time", "ä".repeat(28), "ä".repeat(19));
    assert!(svg(&window, Clock::Wall).contains(&expected));
}
