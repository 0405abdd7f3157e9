//! The programs of known chains: how each is built, and what its stacks are.

/// A program of `tests/workloads/chains`, or a way to build one.
pub(crate) struct Program {
    /// Of the row, and of the executable.
    pub(crate) name: &'static str,
    /// Command lines, see [`crate::build::build`].
    pub(crate) build: &'static [&'static str],
    pub(crate) arguments: &'static [&'static str],
    /// How long it is profiled.
    pub(crate) seconds: u32,
    /// Whether libc is part of the executable.
    pub(crate) is_static: bool,
    pub(crate) chains: fn() -> Known,
    /// Stacks with this leaf say nothing.
    pub(crate) excused_leaf: Option<&'static str>,
    /// The only thread of interest, if there is one.
    pub(crate) thread: Option<&'static str>,
}

impl Program {
    /// The file that libc's functions are in.
    pub(crate) fn libc(&self) -> &'static str {
        if self.is_static { self.name } else { "libc" }
    }
}

/// The chains of a program, see [`crate::pattern`].
#[derive(Default)]
pub(crate) struct Known {
    /// Each of them must be met.
    pub(crate) met: Vec<String>,
    /// Right as well, but of few instructions, or seldom.
    pub(crate) seldom: Vec<String>,
}

/// How the main thread begins, and how another one.
const MAIN: &str = "_start; @libc*2; main";
const THREAD: &str = "@libc*2";

const BASE: Program = Program {
    name: "",
    build: &[],
    arguments: &[],
    seconds: 6,
    is_static: false,
    chains: Known::default,
    excused_leaf: None,
    thread: None,
};

/// Each chain with its end on a CPU, and with that off it.
fn both_ends(chains: &[String]) -> Known {
    let ends = |chain| [format!("{chain}; burn"), format!("{chain}; doze; @libc*1-3")];
    Known { met: chains.iter().flat_map(ends).collect(), seldom: Vec::new() }
}

fn crossing() -> Known {
    both_ends(&[
        format!("{MAIN}; outward*10; library_sort*10; @libc*1-4; compare; descend*20; sort_leaf"),
        format!("{MAIN}; outward*7; library_find*10; @libc*1-2; equal; descend*17; find_leaf"),
    ])
}

fn callback() -> Known {
    both_ends(&[
        format!("{MAIN}; outward*20; @libc*1-4; compare; descend*20; leaf"),
        format!("{THREAD}; second; outward*15; @libc*1-4; compare; descend*20; leaf"),
    ])
}

fn deep() -> Known {
    both_ends(&[format!("{MAIN}; down*110; leaf_of_110"), format!("{MAIN}; further*200; leaf_of_200")])
}

/// Those of each path in a row: on-CPU, off-CPU.
fn twins() -> Known {
    let path = |path: usize| {
        let turns = [2, 1, 0].map(|bit| if path >> bit & 1 == 1 { "turn; right" } else { "turn; left" }).join("; ");
        format!("{MAIN}; {turns}; turn; descend*10; leaf")
    };
    both_ends(&(0..8).map(path).collect::<Vec<_>>())
}

fn nested() -> Known {
    let layers = "<nested::Thin as nested::Layer>::enter; <nested::Thick as nested::Layer>::enter; ".repeat(10);
    let core = "<nested::Core as nested::Layer>::enter";
    let chain = format!("{THREAD}; %std*1-8; nested::worker; {layers}{core}; %std*0-4; nested::leaf");
    Known { met: vec![format!("{chain}; nested::burn"), format!("{chain}; %std*0-3; @libc*1-3")], seldom: Vec::new() }
}

fn shapes() -> Known {
    let visits = "Round::visit(unsigned int) const; Flat::visit(unsigned int) const; ".repeat(10);
    let mut known = both_ends(&[format!("{MAIN}; {visits}called; %std*0-2; sorted; %std*0-3; compare; leaf")]);
    // The unwinder at work, above the frames that it has not left yet; it asks the language's library, and
    // is asked back.
    let unwinder = "@libgcc_s*0-9; @libstdc++*0-6; @libgcc_s*0-3; @ld-linux-x86-64*0-2; @libc*0-4";
    let catcher = format!("{MAIN}; {visits}catcher");
    known.met.push(format!("{catcher}; passing*8; thrower; @libstdc++*1-3; {unwinder}"));
    known.seldom = vec![
        format!("{catcher}; passing*8; thrower; @libstdc++*0-3; {unwinder}"),
        format!("{catcher}; passing*1-8; {unwinder}"),
        format!("{catcher}; passing*1-8; destroyed"),
        format!("{catcher}; @libstdc++*0-3; {unwinder}"),
        format!("{MAIN}; {visits}called; %std*0-2; sorted; %std*0-3; @libc*1"),
        // Jumps through the procedure linkage table.
        format!("{catcher}; passing*0-8; @shapes*1"),
        format!("{catcher}; passing*8; thrower; @shapes*1"),
    ];
    known
}

fn handlers() -> Known {
    let caller = format!("{MAIN}; caller*10");
    // The frame through which a handler returns is one of libc's.
    let mut known = both_ends(&[
        format!("{caller}; interrupted_loop; @libc*1; on_alarm; handler_leaf"),
        format!("{caller}; interrupted_entries; empty; @libc*1; on_alarm; handler_leaf"),
        format!("{caller}; interrupted_sleep; doze; @libc*2-4; on_alarm; handler_leaf"),
    ]);
    known.met.extend([
        format!("{caller}; interrupted_loop"),
        format!("{caller}; interrupted_entries"),
        format!("{caller}; interrupted_entries; empty"),
        format!("{caller}; interrupted_sleep; doze; @libc*1-3"),
    ]);
    known.seldom = both_ends(&[format!("{caller}; interrupted_entries; @libc*1; on_alarm; handler_leaf")]).met;
    known
}

fn late() -> Known {
    let mut known = both_ends(&[
        format!("{MAIN}; before*10; leaf"),
        format!("{MAIN}; through; enter; first*10; leaf"),
        format!("{MAIN}; through; enter; second*10; leaf"),
    ]);
    // Asking for the time, and loading.
    let loading = "@libc*1-6; @ld-linux-x86-64*0-12; @libc*0-3; @ld-linux-x86-64*0-9";
    known.seldom = vec![format!("{MAIN}; @libc*0-1; @[vdso]*0-2"), format!("{MAIN}; {loading}")];
    known
}

fn frames() -> Known {
    let chain = format!(
        "{MAIN}; of_nine_words; of_half_a_megabyte; of_any_size; realigned; realigned_at_entry; \
         realigned_of_any_size; leaves"
    );
    let mut known = both_ends(std::slice::from_ref(&chain));
    known.met.extend(["tiny_a", "tiny_b", "tiny_c"].map(|tiny| format!("{chain}; stub_leaf; {tiny}")));
    // A stub is code of the executable without a name.
    known.met.push(format!("{chain}; stub_leaf; @frames*1"));
    known.met.push(format!("{chain}; vdso_leaf; @libc*0-1; @[vdso]*1-2"));
    known.seldom = ["stub_leaf", "vdso_leaf", "vdso_leaf; @frames*1", "vdso_leaf; @libc*1"]
        .map(|leaf| format!("{chain}; {leaf}"))
        .to_vec();
    known
}

macro_rules! cc {
    ($rest:literal) => {
        concat!("cc -O2 -fomit-frame-pointer -Wall -Wextra -Werror ", $rest)
    };
}

/// The program of this name.
pub(crate) fn named(name: &str) -> &'static Program {
    ALL.iter().find(|program| program.name == name).unwrap()
}

/// All of them, or those that `PROFILERD_CHAINS` names: in an emulated machine there is no time for more.
pub(crate) fn wanted() -> impl Iterator<Item = &'static Program> {
    let names = std::env::var("PROFILERD_CHAINS").ok();
    let is_wanted = move |name| names.as_ref().is_none_or(|names| names.split(',').any(|wanted| wanted == name));
    ALL.iter().filter(move |program| is_wanted(program.name))
}

pub(crate) static ALL: &[Program] = &[
    Program {
        name: "crossing",
        build: &[
            cc!("-shared -fPIC -o libcrossing.so @crossing_library.c"),
            cc!("-o crossing @crossing.c -L. -lcrossing -Wl,-rpath,$ORIGIN"),
        ],
        chains: crossing,
        ..BASE
    },
    Program { name: "deep", build: &[cc!("-o deep @deep.c")], chains: deep, ..BASE },
    Program { name: "twins", build: &[cc!("-o twins @twins.c")], chains: twins, ..BASE },
    Program {
        name: "nested",
        build: &["rustc --edition 2024 -O -C force-frame-pointers=no -o nested @nested.rs"],
        chains: nested,
        thread: Some("nested-worker"),
        ..BASE
    },
    Program {
        name: "shapes",
        build: &["g++ -std=c++17 -O2 -fomit-frame-pointer -Wall -Wextra -Werror -o shapes @shapes.cpp"],
        chains: shapes,
        ..BASE
    },
    Program {
        name: "handlers",
        build: &[cc!("-o handlers @handlers.c")],
        arguments: &["here"],
        chains: handlers,
        ..BASE
    },
    Program {
        name: "handlers-apart",
        build: &[cc!("-o handlers-apart @handlers.c")],
        arguments: &["elsewhere"],
        chains: handlers,
        ..BASE
    },
    Program {
        name: "static",
        build: &[cc!("-static -o static @callback.c")],
        is_static: true,
        chains: callback,
        ..BASE
    },
    Program {
        name: "static-pie",
        build: &[cc!("-static-pie -o static-pie @callback.c")],
        is_static: true,
        chains: callback,
        ..BASE
    },
    Program { name: "no-pie", build: &[cc!("-no-pie -o no-pie @callback.c")], chains: callback, ..BASE },
    Program {
        // What start files bring along is all that its .eh_frame describes.
        name: "debug-frame",
        build: &[cc!("-g -fno-asynchronous-unwind-tables -fno-unwind-tables -o debug-frame @callback.c")],
        chains: callback,
        ..BASE
    },
    Program {
        name: "late",
        build: &[
            cc!("-shared -fPIC -DSTEP=first -DROOM=40 -o first.so @late_library.c"),
            cc!("-shared -fPIC -DSTEP=second -DROOM=400 -o second.so @late_library.c"),
            cc!("-o late @late.c"),
        ],
        arguments: &["./first.so", "./second.so"],
        seconds: 5,
        chains: late,
        excused_leaf: Some("young"),
        ..BASE
    },
    Program {
        name: "frames",
        build: &[
            cc!("-shared -fPIC -o libtiny.so @frames_library.c"),
            cc!("-Wl,-z,lazy -o frames @frames.c -L. -ltiny -Wl,-rpath,$ORIGIN"),
        ],
        chains: frames,
        ..BASE
    },
];

/// How the program of ten blocked threads is built.
pub(crate) static SLEEPERS: &[&str] = &[cc!("-o sleepers @sleepers.c")];
