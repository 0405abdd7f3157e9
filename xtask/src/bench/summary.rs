//! Medians of paired runs.

use super::load::Batch;

/// The middle of some values, and between which they lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: low.midpoint(high), min, max })
    }
}

/// A traced batch between two that were not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) before: Batch,
    pub(super) traced: Batch,
    pub(super) after: Batch,
}

impl Pair {
    /// CPU time of an operation, traced to untraced. Of the mean of both neighbours, so that what drifts on
    /// the machine falls out.
    fn ratio(&self) -> f64 {
        self.traced.cpu_ns() / self.untraced(Batch::cpu_ns)
    }

    fn untraced(&self, figure: fn(&Batch) -> f64) -> f64 {
        figure(&self.before).midpoint(figure(&self.after))
    }
}

impl Batch {
    /// CPU nanoseconds of an operation.
    pub(super) fn cpu_ns(&self) -> f64 {
        self.usage.cpu_ns as f64 / self.operations as f64
    }

    /// Switches of an operation.
    pub(super) fn switches(&self) -> f64 {
        self.usage.switches as f64 / self.operations as f64
    }
}

/// All pairs of one load and one tracer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slowdown {
    pub(super) ratio: Spread,
    /// Medians of one operation.
    pub(super) untraced_ns: f64,
    pub(super) untraced_switches: f64,
    pub(super) switches: f64,
}

impl Slowdown {
    /// `None` of nothing.
    pub(super) fn of(pairs: &[Pair]) -> Option<Self> {
        let median = |figure: &dyn Fn(&Pair) -> f64| Some(Spread::of(pairs.iter().map(figure))?.median);
        Some(Self {
            ratio: Spread::of(pairs.iter().map(Pair::ratio))?,
            untraced_ns: median(&|pair| pair.untraced(Batch::cpu_ns))?,
            untraced_switches: median(&|pair| pair.untraced(Batch::switches))?,
            switches: median(&|pair| pair.traced.switches())?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::bench::meter::Usage;

    fn batch(operations: u64, cpu_ns: u64, switches: u64) -> Batch {
        Batch { operations, usage: Usage { cpu_ns, switches } }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn drift_falls_out_and_operations_are_the_unit() {
        // The machine slows down from 1.0 to 3.0 ns an operation; the tracer costs half as much again.
        let pair = Pair { before: batch(100, 100, 200), traced: batch(50, 150, 100), after: batch(100, 300, 200) };
        let slowdown = Slowdown::of(&[pair]).unwrap();
        assert_eq!((slowdown.ratio.median, slowdown.untraced_ns), (1.5, 2.0));
        assert_eq!((slowdown.untraced_switches, slowdown.switches), (2.0, 2.0));
    }

    #[test]
    fn one_disturbed_round_does_not_move_the_figure() {
        let pair = |traced| Pair { before: batch(1, 100, 2), traced: batch(1, traced, 2), after: batch(1, 100, 2) };
        let slowdown = Slowdown::of(&[pair(110), pair(900), pair(112), pair(108), pair(111)]).unwrap();
        assert_eq!((slowdown.ratio.median, slowdown.ratio.max), (1.11, 9.0));
    }
}
