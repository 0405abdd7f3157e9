//! The figures as rows.

use super::figures::Figures;
use super::programs::Program;

const HEAD: [&str; 8] = [
    "program",
    "samples",
    "complete",
    "by frame pointers",
    "at `_start` or `clone`",
    "mean depth",
    "off-CPU time complete",
    "stacks of waits recognised",
];

/// The rows of a table; the first is its head.
pub(super) fn rows(measured: &[(&Program, Figures)]) -> Vec<Vec<String>> {
    let row = |(program, figures): &(&Program, Figures)| row(program.name, figures);
    std::iter::once(HEAD.map(str::to_owned).to_vec()).chain(measured.iter().map(row)).collect()
}

fn row(name: &str, figures: &Figures) -> Vec<String> {
    let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0));
    vec![
        name.to_owned(),
        figures.samples.to_string(),
        format!("**{}**", percent(figures.on_cpu_complete)),
        percent(figures.frame_pointer),
        percent(figures.at_root),
        figures.depth.map_or("-".to_owned(), |depth| format!("{depth:.1}")),
        percent(figures.off_cpu_complete),
        format!("user {}, kernel {}", percent(figures.user_memo), percent(figures.kernel_memo)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let figures =
            Figures { samples: 1990, on_cpu_complete: Some(0.99875), depth: Some(31.25), ..Figures::default() };
        let expected = ["node", "1990", "**99.88 %**", "-", "-", "31.2", "-", "user -, kernel -"];
        assert_eq!(row("node", &figures), expected);
        assert_eq!(HEAD.len(), expected.len());
    }
}
