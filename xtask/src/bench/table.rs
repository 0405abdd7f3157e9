//! The figures as Markdown.

use std::fmt::Write;

use super::measure::{BATCHES, Measured};
use super::price::{Memo, Price};
use super::summary::Slowdown;
use super::tracers::Tracer;

/// The whole text: method, both tables.
pub(super) fn text(measured: &[Measured], tracers: &[&Tracer], rounds: u32, provenance: &[String]) -> String {
    let mut text = String::new();
    for line in provenance {
        text.push_str(&format!("{line}  \n"));
    }
    let _ = write!(text, "\n{}\n\n{}\n{}", method(measured, rounds), slowdowns(measured, tracers), PRICE_METHOD);
    text.push_str(&format!("\n\n{}", prices(measured)));
    text
}

fn method(measured: &[Measured], rounds: u32) -> String {
    let mut text = format!(
        "CPU time of one operation, service and driver together, as the scheduler counts it, traced to untraced: \
         the median of {rounds} rounds (least to most). Each traced run stands between two untraced ones, and each is \
         the middle one of {BATCHES} batches. All of a load runs on one CPU with one request under way: the CPU never \
         goes idle, so that no time of a tracer is lost, and a loop cannot batch more because it is traced; the \
         switches of one operation (sw) show that it does not.\n"
    );
    for Measured { load, .. } in measured {
        let _ = write!(text, "\n- **{}**: {}", load.name, load.about);
    }
    text
}

const PRICE_METHOD: &str = "\nTime in the tracer's kernel programs for one cycle of a thread (block, wake, run), \
    which is one switch-out: by `bpf_stats` in runs of their own. Timing a program takes some 50 ns itself, which are \
    in these figures once a run. What a clock starts or the birth of a thread is listed, but not of a cycle.";

fn slowdowns(measured: &[Measured], tracers: &[&Tracer]) -> String {
    let mut rows = vec![vec!["load".to_owned(), "untraced".to_owned()]];
    rows[0].extend(tracers.iter().map(|tracer| tracer.title.to_owned()));
    for Measured { load, slowdowns, .. } in measured {
        let untraced = slowdowns.first().map_or_else(String::new, |(_, slowdown)| {
            format!("{} a {}, {}", time(slowdown.untraced_ns), load.operation, switches(slowdown.untraced_switches))
        });
        let mut row = vec![load.name.to_owned(), untraced];
        row.extend(slowdowns.iter().map(|(_, slowdown)| ratio(slowdown)));
        rows.push(row);
    }
    table(&rows)
}

fn ratio(slowdown: &Slowdown) -> String {
    let ratio = slowdown.ratio;
    format!("**×{:.2}** ({:.2}–{:.2}), {}", ratio.median, ratio.min, ratio.max, switches(slowdown.switches))
}

fn prices(measured: &[Measured]) -> String {
    let mut rows = vec![
        ["load", "tracer", "µs a cycle", "programs: runs a cycle × ns a run", "stacks recognised"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for Measured { load, prices, .. } in measured {
        for (tracer, price) in prices {
            let head = [load.name.to_owned(), tracer.title.to_owned()];
            rows.push(head.into_iter().chain(self::price(price)).collect());
        }
    }
    table(&rows)
}

/// Cells of a price: time of a cycle, what the programs do in it, stacks recognised.
pub(super) fn price(price: &Price) -> [String; 3] {
    [cycle(price), shares(price), price.memo.as_ref().map_or_else(String::new, recognised)]
}

fn cycle(price: &Price) -> String {
    let us = |ns: f64| format!("{:.2}", ns / 1e3);
    format!("**{}** ({}–{})", us(price.cycle_ns.median), us(price.cycle_ns.min), us(price.cycle_ns.max))
}

fn shares(price: &Price) -> String {
    // Below a nanosecond a cycle a program does not decide anything.
    let parts = price.programs.iter().filter(|share| share.runs_per_cycle * share.ns_per_run >= 1.0);
    let parts: Vec<_> =
        parts.map(|share| format!("`{}` {:.2} × {:.0}", share.name, share.runs_per_cycle, share.ns_per_run)).collect();
    parts.join(", ")
}

fn recognised(memo: &Memo) -> String {
    let percent =
        |rate: Option<f64>| rate.map_or_else(|| "none taken".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
    format!("user {}, kernel {}", percent(memo.user), percent(memo.kernel))
}

fn time(ns: f64) -> String {
    format!("{:.1} µs", ns / 1e3)
}

fn switches(number: f64) -> String {
    format!("{number:.2} sw")
}

/// A Markdown table; the first row is its head.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::price::Share;
    use crate::bench::summary::Spread;

    #[test]
    fn a_cell_has_the_ratio_its_spread_and_the_switches() {
        let ratio_of = Spread { median: 1.234, min: 1.2, max: 1.309 };
        let slowdown = Slowdown { ratio: ratio_of, untraced_ns: 3_643.0, untraced_switches: 2.0, switches: 2.004 };
        assert_eq!(ratio(&slowdown), "**×1.23** (1.20–1.31), 2.00 sw");
    }

    #[test]
    fn programs_that_hardly_ran_are_left_out() {
        let share =
            |name: &str, runs_per_cycle, ns_per_run| Share { name: name.to_owned(), runs_per_cycle, ns_per_run };
        let price = Price {
            cycle_ns: Spread { median: 612.4, min: 600.0, max: 700.0 },
            programs: vec![share("sched_switch", 1.004, 500.0), share("sched_wakeup_ne", 0.0001, 900.0)],
            memo: None,
        };
        assert_eq!(shares(&price), "`sched_switch` 1.00 × 500");
        assert_eq!(cycle(&price), "**0.61** (0.60–0.70)");
    }

    #[test]
    fn the_first_row_is_the_head() {
        let rows = [["a", "b"], ["1", "2"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "| a | b |\n|---|---|\n| 1 | 2 |\n");
    }
}
