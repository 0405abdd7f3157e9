//! Numbers as people read them: three significant digits, a unit, thousands separators.

const UNITS: [(u64, &str); 4] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns")];

/// A time in its own unit: `16.1 s`, `3.90 ms`, `820 µs`, `0 s`.
pub(super) fn time(ns: u64) -> String {
    Scale::of(ns).cell(ns)
}

/// A time that is an estimate, with two significant digits: `3.9 ms`.
pub(super) fn rough_time(ns: u64) -> String {
    let scale = Scale::of(ns);
    Scale { decimals: scale.decimals.saturating_sub(1), ..scale }.cell(ns)
}

/// The sign is part of the message: `+0.200 ms`, `−1.20 s`, `0 s`.
pub(super) fn signed_time(ns: i64) -> String {
    let sign = match ns {
        0 => "",
        1.. => "+",
        _ => "−",
    };
    format!("{sign}{}", time(ns.unsigned_abs()))
}

/// One unit and one number of decimals for a whole column, so that its digits stand under each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    unit_ns: u64,
    unit: &'static str,
    decimals: usize,
}

impl Scale {
    /// That of the parts of some time: the busy ones decide, unless they are next to nothing beside the idle one, whose
    /// digits would fill the line.
    pub(super) fn of_parts(busy_ns: u64, idle_ns: u64) -> Scale {
        const NEXT_TO_NOTHING: u64 = 10_000;
        Scale::of(if idle_ns / NEXT_TO_NOTHING < busy_ns { busy_ns } else { idle_ns })
    }

    /// Three significant digits for the largest value.
    pub(super) fn of(largest_ns: u64) -> Scale {
        let (unit_ns, unit) = UNITS.into_iter().find(|(unit_ns, _)| largest_ns >= *unit_ns).unwrap_or(UNITS[0]);
        let decimals = match largest_ns as f64 / unit_ns as f64 {
            _ if unit_ns == 1 || largest_ns == 0 => 0,
            value if value < 9.995 => 2,
            value if value < 99.95 => 1,
            _ => 0,
        };
        let scale = Scale { unit_ns, unit, decimals };
        // 999.7 ms is 1.00 s and not 1,000 ms.
        if unit_ns < UNITS[0].0 && largest_ns as f64 / unit_ns as f64 >= 999.5 {
            Scale::of(unit_ns * 1000)
        } else {
            scale
        }
    }

    /// A value in this unit. What is there but rounds to nothing says so: `<0.1 s`.
    pub(super) fn cell(self, ns: u64) -> String {
        if ns == 0 {
            return format!("0 {}", self.unit);
        }
        let smallest = 10f64.powi(-(self.decimals as i32));
        let value = ns as f64 / self.unit_ns as f64;
        if value < smallest / 2.0 {
            return format!("<{smallest:.*} {}", self.decimals, self.unit);
        }
        let digits = format!("{value:.*}", self.decimals);
        let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{}{point}{fraction} {}", separated(whole), self.unit)
    }
}

/// A count with separators: `4,031`.
pub(super) fn count(count: u64) -> String {
    separated(&count.to_string())
}

/// A count with the word for it: `1 wait`, `4,031 waits`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

fn separated(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share with one decimal: `9.3 %`, `<0.1 %`, `100 %`.
pub(super) fn share(part: u64, whole: u64) -> String {
    percent(part, whole, 1)
}

/// A share without decimals: `61 %`, `<1 %`.
pub(super) fn rough_share(part: u64, whole: u64) -> String {
    percent(part, whole, 0)
}

fn percent(part: u64, whole: u64, decimals: usize) -> String {
    if part == 0 || whole == 0 {
        return "0 %".to_owned();
    }
    if part == whole {
        return "100 %".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    let smallest = 10f64.powi(-(decimals as i32));
    if percent < smallest / 2.0 {
        return format!("<{smallest:.decimals$} %");
    }
    // Only the whole is the whole.
    let percent = if part < whole { percent.min(100.0 - smallest) } else { percent };
    format!("{percent:.decimals$} %")
}

/// Memory in MiB: `31 MiB`.
pub(super) fn memory(bytes: u64) -> String {
    format!("{} MiB", count((bytes + (1 << 19)) >> 20))
}

/// The time of day: `19:04:11`.
pub(super) fn time_of_day(unix_ns: u64, utc_offset_s: i32) -> String {
    let local_s = (unix_ns / UNITS[0].0) as i64 + i64::from(utc_offset_s);
    let of_day = local_s.rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        for (ns, text) in [
            (0, "0 s"),
            (7, "7 ns"),
            (820_000, "820 µs"),
            (999_700_000, "1.00 s"),
            (3_900_000, "3.90 ms"),
            (16_100_000_000, "16.1 s"),
            (119_960_000_000, "120 s"),
            (3_990_400_000_000, "3,990 s"),
        ] {
            assert_eq!(time(ns), text, "{ns}");
        }
        assert_eq!(rough_time(12_300_000), "12 ms");
        assert_eq!(rough_time(3_940_000), "3.9 ms");
        assert_eq!(signed_time(200_000), "+200 µs");
        assert_eq!(signed_time(-1_200_000_000), "−1.20 s");
    }

    #[test]
    fn a_column_has_one_unit_and_says_what_rounds_to_nothing() {
        let scale = Scale::of(26_400_000_000);
        for (ns, text) in [
            (26_400_000_000, "26.4 s"),
            (2_930_000_000, "2.9 s"),
            (4_000_000, "<0.1 s"),
            (0, "0 s"),
            (1_234_500_000_000, "1,234.5 s"),
        ] {
            assert_eq!(scale.cell(ns), text);
        }
    }

    #[test]
    fn the_idle_part_decides_only_beside_next_to_nothing() {
        let cells = |busy_ns, idle_ns| [busy_ns, idle_ns].map(|ns| Scale::of_parts(busy_ns, idle_ns).cell(ns));
        assert_eq!(cells(83_000, 3_002_101_600), [Scale::of(3_000_000_000).cell(83_000), units_of(3_002_101_600)]);
        assert_eq!(cells(1_000_000, 3_000_000_000)[0], units_of(1_000_000));
        assert_eq!(cells(0, 3_000_000_000)[1], units_of(3_000_000_000));
    }

    fn units_of(ns: u64) -> String {
        Scale::of(ns).cell(ns)
    }

    #[test]
    fn shares_never_claim_all_or_nothing() {
        for (part, whole, text) in [
            (93, 1000, "9.3 %"),
            (0, 10, "0 %"),
            (1, 1_000_000, "<0.1 %"),
            (999_999, 1_000_000, "99.9 %"),
            (5, 5, "100 %"),
            (5, 0, "0 %"),
        ] {
            assert_eq!(share(part, whole), text);
        }
        assert_eq!(rough_share(61, 100), "61 %");
        assert_eq!(rough_share(1, 1000), "<1 %");
    }

    #[test]
    fn counts_and_clocks() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "wait", "waits"), "1 wait");
        assert_eq!(memory(31 << 20), "31 MiB");
        assert_eq!(time_of_day(68_651_000_000_000, 0), "19:04:11");
        assert_eq!(time_of_day(1_000_000_000, -3600), "23:00:01");
    }
}
