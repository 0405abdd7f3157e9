//! Chains as text, and whether a stack is one.
//!
//! Root first, parts by `; `: `main; descend*20; @libc*1-4; compare; leaf`. A part is
//! * a function's name, of frames of that name and no others;
//! * `@file`, any functions of the file of this name (a library's without `.so` and what follows), but none
//!   that has a part of its own;
//! * `%std`, any functions of the standard library of Rust or C++, wherever they were compiled to;
//!
//! followed by how often it is there: once, `*20`, or `*1-4`, where the number differs from one build of
//! a system library to the next.

use std::ops::RangeInclusive;

use crate::programs::Known;

/// One frame of a real stack: a place in a file, with the function that the code belongs to. Functions
/// that the compiler inlined there are not frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Empty if it has none.
    pub(crate) function: String,
    /// Path of the executable or library; empty for a note.
    pub(crate) file: String,
    pub(crate) offset: u64,
}

impl Place {
    /// The last part of the path, of a library up to its versions.
    pub(crate) fn file_name(&self) -> &str {
        let name = self.file.rsplit('/').next().unwrap_or_default();
        name.split_once(".so").map_or(name, |(library, _)| library)
    }
}

#[derive(Debug)]
enum Part {
    Function(String),
    File(String),
    Std,
}

/// A parsed chain, root first.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) text: String,
    parts: Vec<(Part, RangeInclusive<usize>)>,
}

/// How much of a chain a stack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Extent {
    /// Its root side: the program was on its way to the end, or back.
    OnTheWay,
    Whole,
}

/// All chains of one program.
#[derive(Debug)]
pub(crate) struct Chains {
    pub(crate) all: Vec<Chain>,
    own: Vec<String>,
}

impl Chains {
    /// The chains of a program; those that must be met come first.
    pub(crate) fn of(known: &Known, libc: &str) -> Chains {
        Chains::parse(known.met.iter().chain(&known.seldom).map(String::as_str), libc)
    }

    /// `libc` is the file that `@libc` stands for.
    fn parse<'a>(texts: impl IntoIterator<Item = &'a str>, libc: &str) -> Chains {
        let all: Vec<Chain> = texts.into_iter().map(|text| Chain::parse(text, libc)).collect();
        let parts = all.iter().flat_map(|chain| &chain.parts);
        let own = parts.filter_map(|(part, _)| if let Part::Function(name) = part { Some(name.clone()) } else { None });
        let own = own.collect();
        Chains { all, own }
    }

    /// Which chain this stack is, and how much of it; leaf first and without kernel frames.
    pub(crate) fn find(&self, stack: &[Place]) -> Option<(usize, Extent)> {
        let root_first: Vec<&Place> = stack.iter().rev().collect();
        let chains = self.all.iter().enumerate().filter(|_| !stack.is_empty());
        let extents = chains.filter_map(|(index, chain)| Some((index, self.extent(&chain.parts, &root_first)?)));
        // The first one of those that it is more of.
        extents.rev().max_by_key(|(_, extent)| *extent)
    }

    fn extent(&self, parts: &[(Part, RangeInclusive<usize>)], stack: &[&Place]) -> Option<Extent> {
        if stack.is_empty() {
            let is_whole = parts.iter().all(|(_, times)| *times.start() == 0);
            return Some(if is_whole { Extent::Whole } else { Extent::OnTheWay });
        }
        let ((part, times), parts) = parts.split_first()?;
        let most = stack.iter().take(*times.end()).take_while(|place| self.fits(part, place)).count();
        if most < *times.start() {
            return (most == stack.len()).then_some(Extent::OnTheWay);
        }
        (*times.start()..=most).filter_map(|taken| self.extent(parts, &stack[taken..])).max()
    }

    fn fits(&self, part: &Part, place: &Place) -> bool {
        match part {
            Part::Function(name) => place.function == *name,
            _ if self.own.contains(&place.function) => false,
            Part::File(name) => place.file_name() == name,
            Part::Std => ["std::", "core::", "alloc::", "__rust"].iter().any(|std| place.function.contains(std)),
        }
    }
}

impl Chain {
    fn parse(text: &str, libc: &str) -> Chain {
        let part = |word: &str| {
            let (name, times) = match word.rsplit_once('*').and_then(|(name, times)| Some((name, range(times)?))) {
                Some(both) => both,
                None => (word, 1..=1),
            };
            let part = match (name.strip_prefix('@'), name) {
                (Some("libc"), _) => Part::File(libc.to_owned()),
                (Some(file), _) => Part::File(file.to_owned()),
                (None, "%std") => Part::Std,
                (None, name) => Part::Function(name.to_owned()),
            };
            (part, times)
        };
        Chain { text: text.to_owned(), parts: text.split("; ").map(part).collect() }
    }
}

fn range(times: &str) -> Option<RangeInclusive<usize>> {
    let (least, most) = times.split_once('-').unwrap_or((times, times));
    Some(least.parse().ok()?..=most.parse().ok()?)
}

/// A stack is a line like a chain: `main; libc.so.6!; compare`, with `file!function` where the file matters.
fn check(chains: &[&str], stack: &str, expected: Option<(usize, Extent)>) {
    let place = |word: &str| {
        let (file, function) = word.split_once('!').unwrap_or(("program", word));
        Place { function: function.to_owned(), file: format!("/usr/lib/{file}"), offset: 0 }
    };
    let stack: Vec<_> = stack.rsplit("; ").map(place).collect();
    assert_eq!(Chains::parse(chains.iter().copied(), "libc").find(&stack), expected, "{chains:?}, {stack:?}");
}

const WHOLE: Option<(usize, Extent)> = Some((0, Extent::Whole));
const ON_THE_WAY: Option<(usize, Extent)> = Some((0, Extent::OnTheWay));

#[test]
fn every_frame_counts() {
    let chain = ["main; down*3; leaf"];
    check(&chain, "main; down; down; down; leaf", WHOLE);
    for wrong in ["main; down; down; leaf", "main; down; down; down; down; leaf", "down; down; down; leaf"] {
        check(&chain, wrong, None);
    }
    check(&chain, "_start; main; down; down; down; leaf", None);
    check(&chain, "main; down; down; down; leaf; burn", None);
    check(&chain, "[unwinding stopped: read fault]; main; down; down; down; leaf", None);
}

#[test]
fn a_stack_on_the_way_begins_at_the_root() {
    let chain = ["main; down*3; @libc*2; leaf*0-1"];
    for stack in ["main", "main; down; down", "main; down; down; down; libc.so.6!a"] {
        check(&chain, stack, ON_THE_WAY);
    }
    check(&chain, "main; down; down; down; libc.so.6!a; libc.so.6!b", WHOLE);
    check(&chain, "main; down; down; libc.so.6!a", None);
    check(&chain, "down; down", None);
    assert_eq!(Chains::parse(chain, "libc").find(&[]), None, "no stack is nowhere");
}

#[test]
fn frames_of_a_library_need_no_names_but_their_file() {
    let chain = ["main; @libc*1-3; compare"];
    check(&chain, "main; libc.so.6!; libc.so.6!msort; compare", WHOLE);
    check(&chain, "main; libc.so.6!a; libc.so.6!b; libc.so.6!c; libc.so.6!d; compare", None);
    check(&chain, "main; compare", None);
    check(&chain, "main; other.so!; compare", None);
}

#[test]
fn a_function_with_a_part_of_its_own_is_no_part_of_a_library() {
    let chain = ["@program*1-4; main; @program*1-4; compare"];
    check(&chain, "_start; main; sort; compare", WHOLE);
    check(&chain, "_start; main; sort; main; compare", None);
}

#[test]
fn ranges_give_back_what_the_next_part_needs() {
    check(&["@libc*0-4; @libc*1; leaf"], "libc.so.6!a; libc.so.6!b; leaf", WHOLE);
    check(&["x*1-9; x; y"], "x; x; x; y", WHOLE);
    check(&["x*1-9; x; y"], "x; y", None);
}

#[test]
fn a_whole_chain_is_preferred_to_a_part_of_another() {
    check(&["main; a; b", "main; a", "main; a"], "main; a", Some((1, Extent::Whole)));
    check(&["main; a; b", "main; a; c"], "main; a", ON_THE_WAY);
    check(&["%std*1-9; run"], "std::rt::start; <F as core::ops::FnOnce>::call_once; run", WHOLE);
}
