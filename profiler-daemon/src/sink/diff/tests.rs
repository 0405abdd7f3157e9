#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::sink::report::write_diff;
use crate::sink::{Clock, sample_window};

/// A profile of folded lines, through a file as a person has it.
fn folded(lines: &[&str]) -> Profile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    Profile { name: "side".to_owned(), ..Profile::of_file(file.path()).unwrap() }
}

fn report(comparison: &Comparison) -> String {
    let mut text = Vec::new();
    write_diff(comparison, 10, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn what_changed_most_comes_first_with_its_sign() {
    let before = folded(&[
        "web (7);w;main;parse 4000000000",
        "web (7);w;main;render 1000000000",
        "web (7);w;main;get;lock;futex_wait_[k];[lock/futex] 500000000",
        "[idle];web (7);w;main;epoll_[k];[poll-idle] 9000000000",
    ]);
    let after = folded(&[
        "web (8);w;main;parse 1000000000",
        "web (8);w;main;render 1000000000",
        "web (8);w;main;get;lock;futex_wait_[k];[lock/futex] 2500000000",
        "web (8);w;main;[run-queue] 300000000",
    ]);
    let comparison = Comparison::new(&before, &after);
    let functions: Vec<_> = comparison.functions.iter().map(|(name, pair)| (name.as_str(), pair.change_ns())).collect();
    assert_eq!(functions, [("parse", -3_000_000_000), ("main", 0), ("render", 0)]);
    let gaps: Vec<_> =
        comparison.gaps.iter().map(|((state, place), it)| (&**state, &**place, it.change_ns())).collect();
    assert_eq!(
        gaps,
        [("lock/futex", "lock < get < main", 2_000_000_000), ("run-queue", "main", 300_000_000)],
        "kernel frames and idle waits are no place"
    );
    let states: u64 = comparison.states.iter().map(|(_, pair)| pair.before_ns).sum();
    assert_eq!(states, 5_500_000_000, "states sum to all that is not idle");
    let text = report(&comparison);
    for line in ["−3.00 s", "−75.0 %", "+400.0 %", "new", "[lock/futex] lock < get < main"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn another_length_is_scaled_and_said() {
    let line = ["web (7);w;main 1000"];
    let (mut before, mut after) = (folded(&line), folded(&line));
    (before.duration_ns, after.duration_ns) = (Some(10_000), Some(20_000));
    let comparison = Comparison::new(&before, &after);
    assert_eq!(comparison.functions[0].1, Pair { before_ns: 1_000, after_ns: 500 });
    assert!(report(&comparison).contains("multiplied by 0.500"));
    after.duration_ns = Some(10_050);
    assert_eq!(Comparison::new(&before, &after).scale, 1.0);
}

#[test]
fn a_window_is_the_same_as_its_files() {
    let window = sample_window::window();
    let of_window = Profile::of_window(&window, Clock::Wall).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, has_stacks) in [("a.folded", true), ("a.json", false)] {
        let path = folder.path().join(name);
        crate::sink::open(&path, Clock::Wall).unwrap().write(&window).unwrap();
        let of_file = Profile::of_file(&path).unwrap();
        let comparison = Comparison::new(&of_window, &of_file);
        assert_eq!(comparison.stacks.is_some(), has_stacks);
        // The sample's table of functions is not made of its stacks: it lacks one.
        let listed = |function: &str| window.on_cpu.iter().any(|time| function.starts_with(&time.frame.name()));
        for (function, pair) in comparison.functions.iter().filter(|(function, _)| has_stacks || listed(function)) {
            assert_eq!(pair.change_ns(), 0, "{name}: {function}");
        }
        assert!(comparison.functions.iter().any(|(function, _)| function == "vfs_write_[k]"), "{name}");
    }
    let same = Comparison::new(&of_window, &of_window);
    assert!(same.gaps.iter().all(|(_, pair)| pair.change_ns() == 0) && !same.gaps.is_empty());
}

#[test]
fn the_flame_graph_has_both_colours_and_survives_hostile_names() {
    let before = folded(&["a (1);t;main;<script>x</script> 100", "a (1);t;main;old 900"]);
    let after = folded(&["a (1);t;main;<script>x</script> 1000", "a (1);t;main;old 100", "a (1);t;7 8 50"]);
    let mut svg = Vec::new();
    Comparison::new(&before, &after).svg(&mut svg).unwrap();
    let svg = String::from_utf8(svg).unwrap();
    assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script>x"), "names are escaped");
    assert!(svg.contains("+") && svg.contains("-"), "changes are told");
    let mut empty = Vec::new();
    Comparison::new(&folded(&[]), &folded(&[])).svg(&mut empty).unwrap();
    assert!(!empty.is_empty());
}

#[test]
fn what_is_no_profile_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (text, said) in [("{}", "schema_version"), ("hello world", "line 1 has no time"), ("{\"a\":", "EOF")] {
        let path = folder.path().join("x");
        std::fs::write(&path, text).unwrap();
        let error = Profile::of_file(&path).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    assert!(matches!(Profile::of_file(&folder.path().join("none")), Err(ProfileError::Unreadable { .. })));
}
