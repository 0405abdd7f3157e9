//! Argument values: what a person types, and what is said when it makes no sense.

use std::path::PathBuf;
use std::time::Duration;

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub format: Format,
}

/// What a file holds, by the ending of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Flame graph, `.svg`.
    Svg,
    /// Folded stacks, `.folded`.
    Folded,
    /// pprof, `.pb.gz`.
    Pprof,
    /// The report for scripts, `.json`.
    Json,
}

const ENDINGS: [(&str, Format); 4] =
    [(".svg", Format::Svg), (".folded", Format::Folded), (".pb.gz", Format::Pprof), (".json", Format::Json)];

/// A file name with one of the known endings.
pub(super) fn output(text: &str) -> Result<Output, String> {
    let known = |format| Output { path: PathBuf::from(text), format };
    let name = text.rsplit('/').next().unwrap_or(text);
    ENDINGS
        .iter()
        .find(|(ending, _)| name.strip_suffix(ending).is_some_and(|stem| !stem.is_empty()))
        .map(|(_, format)| known(*format))
        .ok_or_else(|| "a name ends in .svg, .folded, .pb.gz or .json".to_owned())
}

/// The name of a file that holds a difference.
pub(super) fn differential(text: &str) -> Result<PathBuf, String> {
    match output(text) {
        Ok(Output { path, format: Format::Svg | Format::Folded }) => Ok(path),
        _ => Err("a name ends in .svg or .folded".to_owned()),
    }
}

/// A positive time: `10s`, `1m30s`, or a plain number of seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let explain = || "a time is written like 10s, 1m30s or 2.5 (seconds)".to_owned();
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| explain())?,
        Err(_) => humantime::parse_duration(text).map_err(|_| explain())?,
    };
    if parsed.is_zero() { Err("a time longer than zero is needed".to_owned()) } else { Ok(parsed) }
}

/// A time with its unit: `1ms`, `500us`. A bare number could mean anything here.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|_| "a time is written with its unit, like 1ms or 500us".to_owned())
}

/// A process id.
pub(super) fn pid(text: &str) -> Result<u32, String> {
    match text.parse::<i32>() {
        Ok(pid) if pid > 0 => Ok(pid as u32),
        _ => Err("a process id is a number from 1 up".to_owned()),
    }
}

/// A number of things from 1 up.
pub(super) fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "a number from 1 up is needed".to_owned())
}

/// An amount of memory in MiB, as bytes: `16MiB`.
pub(super) fn mebibytes(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("MiB").and_then(|number| number.parse::<u32>().ok());
    let bytes = number.filter(|number| *number > 0).map(|number| u64::from(number) << 20);
    bytes.ok_or_else(|| "an amount of memory is written like 16MiB".to_owned())
}

/// A process name. The kernel keeps 15 bytes of it, so a longer one would never match: it is cut
/// the same way here.
pub(super) fn comm(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("a name is needed".to_owned());
    }
    let longest = profiler_common::limits::COMM_BYTES - 1;
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Ok(text[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_its_unit() {
        assert_eq!(mebibytes("16MiB"), Ok(16 << 20));
        for text in ["16", "16MB", "0MiB", "-1MiB", "MiB", "5000000000MiB"] {
            assert!(mebibytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let ms = Duration::from_millis;
        for (text, expected) in
            [("10s", ms(10_000)), ("10", ms(10_000)), ("2.5", ms(2_500)), ("1m30s", ms(90_000)), ("2min", ms(120_000))]
        {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for text in ["0", "0s", "-1", "soon", "", "10 parsecs", "1e99", "NaN", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(wait("500us"), Ok(Duration::from_micros(500)));
        assert_eq!(wait("0"), Ok(Duration::ZERO));
        assert!(wait("5").is_err(), "five of what?");
    }

    #[test]
    fn the_ending_names_the_format() {
        let format = |text| output(text).map(|output| output.format);
        assert_eq!(format("a/b.svg"), Ok(Format::Svg));
        assert_eq!(format("x.folded"), Ok(Format::Folded));
        assert_eq!(format("x.pb.gz"), Ok(Format::Pprof));
        assert_eq!(format("x.json"), Ok(Format::Json));
        for text in ["x", "x.txt", ".svg", "out/.json", "x.gz", "-"] {
            assert!(format(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_long_name_is_cut_where_the_kernel_cuts_it() {
        assert_eq!(comm("systemd-journald"), Ok("systemd-journal".to_owned()));
        assert_eq!(comm("aaaaaaaaaaaaaaé"), Ok("aaaaaaaaaaaaaa".to_owned()), "never inside a character");
        assert!(comm("").is_err());
    }
}
