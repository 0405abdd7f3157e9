#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use super::keys::{DESTINATION_KEYS, KEYS};
use super::*;

const SHIPPED: &str = include_str!("../../../systemd/profilerd.toml");

fn load(text: &str) -> Result<Effective, ConfigError> {
    Sources::default().load_text(text, Path::new("p.toml"))
}

fn config(text: &str) -> Config {
    load(text).unwrap().config
}

/// `expected` is the whole message.
#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(load(text).map(|loaded| loaded.config).unwrap_err().to_string(), expected);
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(config(""), Config::default());
    assert_eq!(Sources::default().load().unwrap().config, Config::default());
}

/// A line `#key = value` is an example, a line `# text` is prose.
fn with_examples(text: &str) -> String {
    let line = |line: &str| {
        let example =
            line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['));
        example.unwrap_or(line).to_owned()
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_says_the_defaults_and_every_key() {
    let shipped = load(SHIPPED).unwrap();
    assert_eq!(shipped.config, Config::default());
    for key in KEYS {
        assert!(shipped.places.contains_key(key.name), "`{}` is missing", key.name);
    }
    let examples = load(&with_examples(SHIPPED)).unwrap();
    for key in DESTINATION_KEYS {
        assert!(examples.places.contains_key(&format!("otlp.0.{}", key.name)), "`{}` is missing", key.name);
    }
    assert_eq!(Config { otlp: Vec::new(), ..examples.config }, Config::default());
}

#[test]
fn what_is_shown_can_be_read_again() {
    for text in
        [SHIPPED.to_owned(), with_examples(SHIPPED).replace("headers", "#"), "[limits]\nmax_cpu = \"0.25%\"".to_owned()]
    {
        let first = load(&text).unwrap();
        assert_eq!(config(&first.to_string()), first.config);
    }
}

#[test]
fn every_mistake_has_its_line() {
    check(
        "[capture]\nwindow = \"10ms\"\nrate_hz = \"19\"\n\n[store]\n  max_bytes = 5\n",
        "p.toml:2:10: `capture.window` cannot be \"10ms\"; try: a time from \"1s\" to \"10m\"\n\
         p.toml:3:11: `capture.rate_hz` cannot be \"19\"; try: a number from 1 to 1000\n\
         p.toml:6:15: `store.max_bytes` cannot be 5; try: a size from \"64MiB\" to \"1000TiB\"",
    );
    check(
        "\n[log]\nlevel = 1.5",
        "p.toml:3:9: `log.level` cannot be 1.5; try: one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
    );
    check("é = 1\n", "p.toml:1:1: invalid unquoted key, expected letters, numbers, `-`, `_`");
}

#[test]
fn unknown_names_lead_to_known_ones() {
    check("[capture]\nwindows = \"10s\"", "p.toml:2:1: unknown key `capture.windows`; try: `capture.window`");
    check("max_age = \"1d\"", "p.toml:1:1: unknown key `max_age`; try: `store.max_age`");
    check("[store]\nlevel = \"info\"", "p.toml:2:1: unknown key `store.level`; try: `log.level`");
    check(
        "[store]\nnonsense = 1",
        "p.toml:2:1: unknown key `store.nonsense`; try: one of `store.dir`, `store.max_bytes`, `store.max_age`",
    );
    check("[log]\n\n[limit]\n[capture]\n", "p.toml:3:2: unknown section `limit`; try: `[limits]`");
    check("[otlp]\nname = \"x\"", "p.toml:1:2: unknown section `otlp`; try: `[[otlp]]`");
    check(
        "nonsense = {}",
        "p.toml:1:1: unknown section `nonsense`; \
         try: one of `[capture]`, `[store]`, `[metrics]`, `[limits]`, `[log]`, `[[otlp]]`",
    );
    check("[limit]\nmax_cpu = \"1%\"", "p.toml:2:1: unknown key `limit.max_cpu`; try: `limits.max_cpu`");
    check("[[otpl]]\nx = 1", "p.toml:1:1: unknown table `otpl`; try: `otlp`");
    check("[[otlp]]\nendpoints = \"http://x\"", "p.toml:2:1: unknown key `otlp.0.endpoints`; try: `endpoint`");
}

#[test]
fn keys_must_fit_together() {
    check(
        "[metrics]\nlisten = \"0.0.0.0:9750\"",
        "p.toml:2:10: `metrics.listen` is 0.0.0.0:9750, which others than this machine may reach; \
         try: an address such as \"127.0.0.1:9750\", or `allow_remote = true` if they are meant to",
    );
    assert!(load("[metrics]\nlisten = \"0.0.0.0:9750\"\nallow_remote = true").is_ok());
    check(
        "[capture]\nmin_wait = \"1m\"",
        "p.toml:2:12: `capture.min_wait` is longer than `capture.window`; try: a shorter `min_wait` or a longer `window`",
    );
    check(
        "[[otlp]]\nname = \"x\"",
        "p.toml:1:1: a destination needs an `endpoint`; try: endpoint = \"http://127.0.0.1:4317\"",
    );
    check(
        "[[otlp]]\nendpoint = \"http://x\"\n[[otlp]]\nendpoint = \"http://x\"",
        "p.toml:4:12: a second destination is called `http://x`; try: a `name` of its own: what was sent is remembered by it",
    );
    check(
        "[[otlp]]\nendpoint = \"https://x\"\ntls_key = \"/key\"",
        "p.toml:3:11: `tls_certificate` and `tls_key` belong together; try: both or none of them",
    );
    check(
        "[[otlp]]\nendpoint = \"http://x\"\ntls_ca = \"/ca\"",
        "p.toml:2:12: certificates are of no use without encryption; try: an endpoint that starts with https://",
    );
}

#[test]
fn the_command_line_counts_more_than_the_environment_than_the_file() {
    let mut sources = Sources::default();
    let text =
        "[capture]\nwindow = \"20s\"\nrate_hz = 20\n[store]\nmax_age = \"2d\"\n[[otlp]]\nendpoint = \"http://file\"";
    let load = |sources: &Sources| sources.load_text(text, Path::new("p.toml"));
    sources.environment = vec![
        ("PROFILERD_CAPTURE_WINDOW".to_owned(), "30s".to_owned()),
        ("PROFILERD_CAPTURE_RATE_HZ".to_owned(), "30".to_owned()),
    ];
    let argument = |option, key, value: &str| Argument { option, key, value: value.to_owned() };
    sources.arguments = vec![
        argument("--window", "capture.window", "40s"),
        argument("--otlp", "otlp", "http://one"),
        argument("--otlp", "otlp", "http://two"),
    ];
    let effective = load(&sources).unwrap();
    let config = &effective.config;
    assert_eq!(config.capture.window, Duration::from_secs(40));
    assert_eq!(config.capture.rate_hz, 30);
    assert_eq!(config.store.max_age, Duration::from_secs(2 * 24 * 3600));
    assert_eq!(config.otlp, [Destination::at("http://one"), Destination::at("http://two")]);
    let shown = effective.to_string();
    for line in [
        "window = \"40s\"  # option --window",
        "rate_hz = 30  # environment variable PROFILERD_CAPTURE_RATE_HZ",
        "max_age = \"2days\"  # p.toml:5:11",
        "max_bytes = \"10GiB\"",
        "endpoint = \"http://two\"  # option --otlp",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }

    sources.arguments = vec![argument("--store", "store.dir", "relative")];
    sources.environment = vec![("PROFILERD_CAPTURE_WINDOWS".to_owned(), "1s".to_owned())];
    assert_eq!(
        load(&sources).unwrap_err().to_string(),
        "environment variable PROFILERD_CAPTURE_WINDOWS: unknown setting; try: `PROFILERD_CAPTURE_WINDOW`\n\
         option --store: `store.dir` cannot be `relative`; try: a path that starts with `/`"
    );
}

#[test]
fn a_reload_says_what_takes_effect_when() {
    let old =
        config("[[otlp]]\nendpoint = \"http://a\"\nheaders = { key = \"one\" }\n[[otlp]]\nendpoint = \"http://b\"");
    let new = config(
        "[capture]\nwindow = \"20s\"\nrate_hz = 97\n[[otlp]]\nendpoint = \"http://a\"\nheaders = { key = \"two\" }\n\
         [[otlp]]\nendpoint = \"http://c\"",
    );
    let (running, changes) = old.reload(&new);
    assert_eq!(running.capture, Capture { window: Duration::from_secs(20), ..Capture::default() });
    assert_eq!(running.otlp, new.otlp);
    let told = |changes: &[Change]| -> Vec<String> {
        changes.iter().map(|change| format!("{}: {} → {}", change.key, change.from, change.to)).collect()
    };
    assert_eq!(told(&changes.at_start), ["capture.rate_hz: 19 → 97"]);
    assert_eq!(
        told(&changes.live),
        [
            "capture.window: 10s → 20s",
            "otlp.http://b.endpoint: http://b → not set",
            "otlp.http://a.headers: { key = *** } → { key = *** }",
            "otlp.http://c.endpoint: not set → http://c",
        ]
    );
    assert!(old.reload(&old).1.is_empty());
}

#[test]
fn secrets_are_not_shown() {
    let shown =
        load("[[otlp]]\nendpoint = \"https://me:hush@x\"\nheaders = { authorization = \"hush\" }").unwrap().to_string();
    assert!(!shown.contains("hush") && shown.contains("authorization = \"***\""), "{shown}");
}

#[test]
fn files_are_read_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("profilerd.toml");
    let sources = Sources { file: Some(file.clone()), ..Sources::default() };
    let missing = sources.load().unwrap_err();
    assert!(missing.remedy().unwrap().starts_with("make `/"), "{missing}");
    std::fs::write(&file, "[log]\nlevel = \"warn\"\n").unwrap();
    assert_eq!(sources.load().unwrap().config.log.level, Level::Warn);
    for content in [&b"[log]\n\xff"[..], &vec![b'#'; 2 << 20]] {
        std::fs::write(&file, content).unwrap();
        assert!(matches!(sources.load(), Err(ConfigError::Unreadable { .. })));
    }
    for hostile in [
        "[",
        "a = [[[[[[",
        "\u{feff}",
        "[capture]\n[capture]",
        "a.b.c = 1",
        "capture = 1",
        "[[capture]]",
        "otlp = [1, {}]",
    ] {
        let _ = load(hostile);
        std::fs::write(&file, hostile).unwrap();
        let _ = sources.load();
    }
    assert!(
        load("capture = 1").is_err()
            && load("[[capture]]\nwindow = \"1s\"").is_err()
            && load("[otlp]\nname = \"x\"").is_err()
    );
}

/// Bytes of the shipped file are replaced, removed and doubled: whatever comes of it is an error or a configuration.
#[test]
fn nothing_that_is_written_panics() {
    let shipped = with_examples(SHIPPED);
    let compact: String =
        shipped.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let mut random = 1_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) as usize % below
    };
    let (mut right, mut wrong) = (0, 0);
    for _ in 0..3000 {
        let mut text = compact.clone().into_bytes();
        for _ in 0..=next(3) {
            let (at, length) = (next(text.len()), 1 + next(40));
            let part = text[at..text.len().min(at + length)].to_vec();
            match next(3) {
                0 => text[at] = b"\"[]{}=.#\n0-x\\'"[next(14)],
                1 => drop(text.drain(at..at + part.len())),
                _ => drop(text.splice(at..at, part)),
            }
        }
        match load(&String::from_utf8(text).unwrap()) {
            Ok(loaded) => {
                right += 1;
                assert!(load(&loaded.to_string()).is_ok(), "{loaded}");
            }
            Err(ConfigError::Wrong(mistakes)) => {
                wrong += 1;
                assert!(!mistakes.is_empty());
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(right > 100 && wrong > 100, "{right} right, {wrong} wrong");
}
