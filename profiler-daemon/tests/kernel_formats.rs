//! The files of a real capture, read by what other people wrote, say the same as the JSON report.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use quick_xml::events::Event;
use support::{Report, Speedscope, folder, installed, kernel, workload};

const FILES: [&str; 4] = ["report.json", "wall.svg", "wall.folded", "wall.pb.gz"];

/// A capture of this workload in every format, and the text report.
fn capture(kernel: &support::Kernel, folder: &Path, command: &[&str]) -> (Report, String) {
    let mut profilerd = kernel.profilerd(["--threads", "--full", "--top", "100"]);
    for file in FILES {
        profilerd.arg("-o").arg(folder.join(file));
    }
    let outcome = support::run(profilerd.arg("--").args(command)).well();
    let report = Report::read(&folder.join("report.json"));
    report.assert_closes();
    (report, outcome.stdout)
}

fn assert_valid(report: &Report) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/report-v1.schema.json");
    let schema = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let value = serde_json::from_str(&report.text).unwrap();
    let errors: Vec<_> = validator.iter_errors(&value).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// Who reads of a loss at night wants to know what it means.
fn assert_losses_are_explained(kernel: &support::Kernel, report: &Report) {
    let value: serde_json::Value = serde_json::from_str(&report.text).unwrap();
    let losses = value["losses"].as_object().unwrap();
    assert!(losses.len() > 20, "{losses:?}");
    let explained = support::run(&mut kernel.profilerd(["explain"])).well().stdout;
    for loss in losses.keys() {
        assert!(explained.contains(loss.as_str()), "`profilerd explain` does not know `{loss}`");
    }
}

/// Well-formed, and without anything that XML has no way to say. Returns its text.
fn svg_text(path: &Path) -> String {
    let svg = fs::read_to_string(path).unwrap();
    let mut reader = quick_xml::Reader::from_str(&svg);
    reader.config_mut().check_end_names = true;
    let mut text = String::new();
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
            Event::Eof => break,
            Event::Text(part) => text.push_str(&part.decode().unwrap()),
            _ => {}
        }
    }
    assert!(svg.chars().all(|c| !c.is_control() || "\n\r\t".contains(c)), "a control character in the SVG");
    if let Some(xmllint) = installed(&["xmllint"]) {
        support::run(Command::new(xmllint).arg("--noout").arg("--nonet").arg(path)).well();
    }
    text
}

/// The sums of the five values of a pprof file, as Go's own reader sees it.
fn pprof_sums(go: &Path, path: &Path) -> [u64; 6] {
    let raw = support::run(Command::new(go).args(["tool", "pprof", "-raw"]).arg(path)).well().stdout;
    let samples = raw.split_once("Samples:\n").unwrap().1.split_once("\nLocations").unwrap().0;
    let (types, samples) = samples.split_once('\n').unwrap();
    assert_eq!(
        types.trim().replace("[dflt]", ""),
        "samples/count cpu/nanoseconds off_cpu/nanoseconds run_queue/nanoseconds throttled/nanoseconds wall/nanoseconds"
    );
    let mut sums = [0; 6];
    for line in samples.lines() {
        let Some((values, _)) = line.split_once(':') else { continue };
        let values: Vec<u64> = values.split_whitespace().map_while(|word| word.parse().ok()).collect();
        if values.len() == 6 {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
    }
    sums
}

#[test]
fn every_file_says_the_same_and_others_can_read_it() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let (report, _) = capture(&kernel, folder.path(), &[workload("wallmix").to_str().unwrap(), "2"]);
    assert_losses_are_explained(&kernel, &report);
    assert_valid(&report);
    let total = report.total();

    let text = svg_text(&folder.path().join("wall.svg"));
    for name in ["wallmix", "mx-starve0", "spin_ms"] {
        assert!(text.contains(name), "{name} is not in the SVG");
    }

    let folded = fs::read_to_string(folder.path().join("wall.folded")).unwrap();
    let sum: u64 = folded.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    println!("wall {} ns, folded stacks {sum} ns", total.wall_ns);
    assert_eq!(sum as i64, total.wall_ns as i64 + total.residual_ns);

    let Some(go) = installed(&["go", "/usr/local/go/bin/go"]) else { return };
    let pprof = folder.path().join("wall.pb.gz");
    let [_, cpu, off_cpu, run_queue, throttled, wall] = pprof_sums(&go, &pprof);
    println!("pprof: cpu {cpu}, off_cpu {off_cpu}, run_queue {run_queue}, wall {wall} ns");
    assert_eq!(cpu, total.on_cpu_ns);
    assert_eq!(off_cpu, total.off_cpu_by_class.values().sum::<u64>());
    assert_eq!(run_queue, total.run_queue_ns);
    assert!(throttled <= run_queue, "{throttled} of {run_queue} ns");
    assert_eq!(wall as i64, total.wall_ns as i64 + total.residual_ns);

    let mut top = Command::new(&go);
    top.args(["tool", "pprof", "-top", "-sample_index=wall", "-nodecount=10"]).arg(&pprof);
    let top = support::run(&mut top).well().stdout;
    println!("{top}");
    assert!(top.contains("Type: wall") && top.contains("spin_ms"), "{top}");
    let mut tags = Command::new(&go);
    let tags = support::run(tags.args(["tool", "pprof", "-tags"]).arg(&pprof)).well().stdout;
    for label in ["pid:", "tid:", "thread:", "class:", "mx-starve1", "lock/futex"] {
        assert!(tags.contains(label), "no {label} in {tags}");
    }
}

/// To the nanosecond, which a reader that took the wrong sample type or lost a stack would not show.
#[test]
fn speedscope_reads_the_same_times() {
    let Some(kernel) = kernel() else { return };
    let Some(speedscope) = Speedscope::get() else { return };
    let folder = folder();
    let (report, _) = capture(&kernel, folder.path(), &[workload("wallmix").to_str().unwrap(), "1"]);
    let ledger = report.total();
    let wall_ns = ledger.wall_ns.checked_add_signed(ledger.residual_ns).unwrap();
    let file = |name| folder.path().join(name);

    let pprof = speedscope.import(&file("wall.pb.gz")).expect("it knows pprof");
    let times = pprof.self_weights();
    let time = |name: &str| times.get(name).copied().unwrap_or(0);
    println!("pprof: {} {}, spin_ms {}", pprof.total(), pprof.unit(), time("spin_ms"));
    assert_eq!((pprof.total(), pprof.unit()), (wall_ns, "nanoseconds"));
    assert_eq!((time("[stolen]"), time("[unseen]")), (ledger.stolen_ns, ledger.unseen_ns));
    assert!(time("spin_ms") >= report.on_cpu_of("spin_ms").0, "{times:?}");

    let folded = speedscope.import(&file("wall.folded")).expect("it knows folded stacks");
    let times = folded.self_weights();
    let time = |name: &str| times.get(name).copied().unwrap_or(0);
    println!("folded: {}, [run-queue] {}, [lock/futex] {}", folded.total(), time("[run-queue]"), time("[lock/futex]"));
    assert_eq!(folded.total(), wall_ns);
    assert_eq!((time("[stolen]"), time("[unseen]")), (ledger.stolen_ns, ledger.unseen_ns));
    assert_eq!(time("[run-queue]") + time("[throttled]"), ledger.run_queue_ns);
    let blocked = ledger.off_cpu_by_class.keys().map(|class| time(&format!("[{class}]"))).sum::<u64>();
    assert_eq!(blocked, ledger.blocked_ns);

    // An import that succeeds says something: other files are refused, or read as less.
    assert!(speedscope.import(&file("report.json")).is_none());
    let whole = fs::read(file("wall.pb.gz")).unwrap();
    fs::write(file("cut.pb.gz"), &whole[..whole.len() / 2]).unwrap();
    assert!(speedscope.import(&file("cut.pb.gz")).is_none_or(|cut| cut.total() != wall_ns));
}

/// No name may break a line, close a tag or reach the terminal as an escape sequence.
#[test]
fn hostile_thread_names_are_harmless_in_every_output() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let (report, text) = capture(&kernel, folder.path(), &[workload("names").to_str().unwrap()]);
    assert_valid(&report);
    println!("{:?}", report.names());
    for name in ["new\\nline 7", "semi;colon", "\\u{1b}[31mred\\u{1b}[0m", "bad\\xff\\xfeutf", "<b>&\"'", "# 12"] {
        assert!(report.names().contains(&name), "{name} is not in {:?}", report.names());
    }
    assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "a control character in {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("line 7")), "{text}");
    assert!(text.contains("new\\nline 7") && text.contains("\\u{1b}[31mred"), "{text}");

    svg_text(&folder.path().join("wall.svg"));

    let folded = fs::read_to_string(folder.path().join("wall.folded")).unwrap();
    for line in folded.lines() {
        let (stack, count) = line.rsplit_once(' ').unwrap();
        assert!(count.parse::<u64>().is_ok() && !stack.is_empty() && !line.starts_with('#'), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    assert!(folded.contains("semi\\u{3b}colon") && !folded.contains("semi;colon"), "{folded}");

    let Some(go) = installed(&["go", "/usr/local/go/bin/go"]) else { return };
    assert_eq!(pprof_sums(&go, &folder.path().join("wall.pb.gz"))[5], report.total().wall_ns);
}
