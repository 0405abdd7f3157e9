//! What profilerd may cost.

use super::measure::Measured;
use super::tracers::Kind;

/// What our kernel programs may take of a cycle, in nanoseconds, with what it costs to time them.
const CYCLE_NS: f64 = 700.0;

/// The budgets that these figures miss, one line each: time of a cycle, and less slowdown than any other
/// tracer on every load.
pub(super) fn missed(measured: &[Measured]) -> Vec<String> {
    let mut lines = Vec::new();
    for Measured { load, slowdowns, prices } in measured {
        for (tracer, price) in prices.iter().filter(|(tracer, _)| tracer.kind == Kind::Ours) {
            if price.cycle_ns.median > CYCLE_NS {
                let (cost, budget) = (price.cycle_ns.median / 1e3, CYCLE_NS / 1e3);
                lines.push(format!("{}: {} takes {cost:.2} µs a cycle, budget {budget:.2}", load.name, tracer.title));
            }
        }
        let of = |kind| slowdowns.iter().filter(move |(tracer, _)| tracer.kind == kind);
        for (tracer, ours) in of(Kind::Ours) {
            for (rival, theirs) in of(Kind::Rival).filter(|(_, theirs)| ours.ratio.median >= theirs.ratio.median) {
                lines.push(format!(
                    "{}: {} ×{:.2} is no less than {} ×{:.2}",
                    load.name, tracer.title, ours.ratio.median, rival.title, theirs.ratio.median
                ));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::price::Price;
    use crate::bench::summary::{Slowdown, Spread};
    use crate::bench::{loads, tracers};

    /// One load with a ratio for each tracer, and a price in nanoseconds for the first of ours.
    fn check(ratios: [(&str, f64); 2], cycle_ns: f64, expected: &[&str]) {
        let spread = |value| Spread { median: value, min: value, max: value };
        let tracer = |name| tracers::ALL.iter().find(|tracer| tracer.name == name).expect("a tracer");
        let slowdowns = ratios.map(|(name, ratio)| {
            let ratio = spread(ratio);
            (tracer(name), Slowdown { ratio, untraced_ns: 1.0, untraced_switches: 2.0, switches: 2.0 })
        });
        let price = Price { cycle_ns: spread(cycle_ns), programs: Vec::new(), memo: None };
        let prices = vec![(tracer("profilerd-all"), price)];
        assert_eq!(missed(&[Measured { load: loads::ALL[0], slowdowns: slowdowns.to_vec(), prices }]), expected);
    }

    #[test]
    fn each_miss_is_a_line() {
        check([("profilerd-all", 1.2), ("offcputime", 1.8)], 700.0, &[]);
        check(
            [("profilerd-all", 1.2), ("offcputime", 1.8)],
            710.0,
            &["futex: profilerd --all takes 0.71 µs a cycle, budget 0.70"],
        );
        check(
            [("profilerd-pid", 1.8), ("bpftrace", 1.8)],
            500.0,
            &["futex: profilerd --pid ×1.80 is no less than bpftrace ×1.80"],
        );
        // The control is no rival: it only shows how busy the machine was.
        check([("profilerd-all", 1.2), ("none", 1.0)], 500.0, &[]);
    }
}
