//! Instants as people write them, in local time.

use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::{Span, Timestamp, Zoned};

use super::CliError;
use crate::model::UnixNs;
use crate::store::TimeRange;

/// What a time may look like, for those who wrote another.
const FORMS: &str =
    "times are written like 15:00, `yesterday 9:30`, `2026-03-14 15:00`, `10m ago`, now, or 2026-03-14T15:00:00Z";

/// The range from `since` to `until`. A time of day is the last one that has been; as the end of a range the first one after
/// its start.
///
/// # Errors
/// A usage error that says what is wrong with which of them.
pub(super) fn range(since: &str, until: &str) -> Result<TimeRange, CliError> {
    range_at(since, until, &Zoned::now()).map_err(|said| CliError::usage(said).remedy(FORMS))
}

/// One instant; a time of day is the last one that has been.
///
/// # Errors
/// A usage error that says what is wrong with it.
pub(super) fn one(text: &str) -> Result<UnixNs, CliError> {
    let instant = instant(text, &Zoned::now(), None);
    instant.map(|instant| unix(&instant)).map_err(|said| CliError::usage(said).remedy(FORMS))
}

fn range_at(since: &str, until: &str, now: &Zoned) -> Result<TimeRange, String> {
    let start = instant(since, now, None)?;
    let end = instant(until, now, Some(&start))?;
    if end <= start {
        return Err(format!("`{until}` is not after `{since}`"));
    }
    Ok(TimeRange { since: unix(&start), until: unix(&end) })
}

/// One instant. A time of day without a day is the first one at or after `from`, else the last one before now.
fn instant(text: &str, now: &Zoned, from: Option<&Zoned>) -> Result<Zoned, String> {
    let text = text.trim();
    let unclear = || format!("`{text}` is no time");
    let local = |time: DateTime| time.to_zoned(now.time_zone().clone()).map_err(|_| unclear());
    if text == "now" {
        return Ok(now.clone());
    }
    if let Some(length) = text.strip_suffix("ago") {
        let length: Duration = humantime::parse_duration(length.trim()).map_err(|_| unclear())?;
        return now.checked_sub(length).map_err(|_| unclear());
    }
    for (word, days) in [("today", 0), ("yesterday", 1)] {
        if let Some(rest) = text.strip_prefix(word) {
            let day = now.date().checked_sub(Span::new().days(days)).map_err(|_| unclear())?;
            let time = if rest.is_empty() { Time::midnight() } else { time_of_day(rest.trim()).ok_or_else(unclear)? };
            return local(day.to_datetime(time));
        }
    }
    if let Some(time) = time_of_day(text) {
        let day = from.unwrap_or(now).date();
        let same_day = local(day.to_datetime(time))?;
        let shift =
            |days: i64| local(day.checked_add(Span::new().days(days)).map_err(|_| unclear())?.to_datetime(time));
        return match from {
            Some(from) if same_day < *from => shift(1),
            None if same_day > *now => shift(-1),
            _ => Ok(same_day),
        };
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant.to_zoned(now.time_zone().clone()));
    }
    // A date alone is its midnight.
    local(text.parse::<DateTime>().map_err(|_| unclear())?)
}

/// `9:30`, `15:00`, `15:00:30.5`.
fn time_of_day(text: &str) -> Option<Time> {
    let (hours, rest) = text.split_once(':')?;
    let is_number = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(hours) || !rest.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    format!("{hours:0>2}:{rest}").parse().ok()
}

fn unix(time: &Zoned) -> UnixNs {
    UnixNs(u64::try_from(time.timestamp().as_nanosecond()).unwrap_or(0))
}

/// An instant in local time, with the day if that is not today's.
pub(super) fn shown(at: UnixNs) -> String {
    shown_at(at, &Zoned::now())
}

fn shown_at(at: UnixNs, now: &Zoned) -> String {
    let Ok(instant) = Timestamp::from_nanosecond(i128::from(at.0)) else { return format!("{} ns", at.0) };
    let local = instant.to_zoned(now.time_zone().clone());
    let form = if local.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    local.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// 2026-03-14, half past ten in a place two hours ahead of UTC.
    fn now() -> Zoned {
        "2026-03-14T10:30:00+02:00[+02:00]".parse().unwrap()
    }

    #[track_caller]
    fn check(since: &str, until: &str, expected: Result<(&str, &str), &str>) {
        let found = range_at(since, until, &now());
        let instant = |text: &str| UnixNs(text.parse::<Timestamp>().unwrap().as_nanosecond() as u64);
        let expected = expected.map(|(since, until)| TimeRange { since: instant(since), until: instant(until) });
        assert_eq!(found, expected.map_err(str::to_owned), "{since} {until}");
    }

    #[test]
    fn times_are_read_as_people_mean_them() {
        check("9:00", "9:05", Ok(("2026-03-14T07:00:00Z", "2026-03-14T07:05:00Z")));
        check("15:00", "15:05", Ok(("2026-03-13T13:00:00Z", "2026-03-13T13:05:00Z")));
        check("23:50", "0:10", Ok(("2026-03-13T21:50:00Z", "2026-03-13T22:10:00Z")));
        check("10m ago", "now", Ok(("2026-03-14T08:20:00Z", "2026-03-14T08:30:00Z")));
        check("1h 30m ago", "1h ago", Ok(("2026-03-14T07:00:00Z", "2026-03-14T07:30:00Z")));
        check("yesterday 9:30", "9:31:30.5", Ok(("2026-03-13T07:30:00Z", "2026-03-13T07:31:30.5Z")));
        check("today", "now", Ok(("2026-03-13T22:00:00Z", "2026-03-14T08:30:00Z")));
        check("2026-03-01", "2026-03-02 12:00", Ok(("2026-02-28T22:00:00Z", "2026-03-02T10:00:00Z")));
        check(
            "2026-03-14T07:00:00Z",
            "2026-03-14T10:00:00+02:00",
            Ok(("2026-03-14T07:00:00Z", "2026-03-14T08:00:00Z")),
        );
    }

    #[test]
    fn what_is_no_time_is_named() {
        check("soon", "now", Err("`soon` is no time"));
        check("25:00", "now", Err("`25:00` is no time"));
        check("9:00", "9:5x", Err("`9:5x` is no time"));
        check("ten ago", "now", Err("`ten ago` is no time"));
        check("", "now", Err("`` is no time"));
        check("now", "10m ago", Err("`10m ago` is not after `now`"));
    }

    #[test]
    fn instants_of_today_need_no_date() {
        let at = |text: &str| shown_at(UnixNs(text.parse::<Timestamp>().unwrap().as_nanosecond() as u64), &now());
        assert_eq!(at("2026-03-14T07:00:00Z"), "09:00:00");
        assert_eq!(at("2026-03-13T07:00:00Z"), "2026-03-13 09:00:00");
    }
}
