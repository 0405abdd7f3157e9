//! The functions on CPU.

use std::io;

use super::line::{Line, Page, Style};
use super::place::{function_name, is_own, location};
use super::units::{self, Scale};
use super::{View, names};
use crate::model::FunctionTime;

/// Columns of a time with its share.
const CELL: usize = 16;
/// With fewer samples than this, shares are off by a fifth and more.
const FEW_SAMPLES: u64 = 30;

/// Functions by their own time.
pub(super) fn write(view: &View, page: &mut Page) -> io::Result<()> {
    let window = view.window;
    let mut functions: Vec<&FunctionTime> = window.on_cpu.iter().filter(|function| function.self_ns > 0).collect();
    if functions.is_empty() {
        return Ok(());
    }
    functions.sort_by_cached_key(|function| {
        let ids = (function_name(&function.frame), location(&function.frame));
        (std::cmp::Reverse(function.self_ns), std::cmp::Reverse(function.total_ns), ids)
    });
    let self_end = page.width.min(110) - CELL;
    let total_end = self_end + CELL;
    let text_columns = self_end - CELL - 2;
    let name_columns = text_columns * 3 / 5;

    page.blank()?;
    let samples = super::quality::on_cpu_samples(view);
    let rough = if samples < FEW_SAMPLES { ": rough" } else { "" };
    let of = format!(" ({}, {}{rough})", units::time(view.sum.on_cpu), units::counted(samples, "sample", "samples"));
    let line = Line::new().then(Style::Strong, "on CPU").plain(&of);
    page.line(line.right(Style::Faint, "self", self_end).right(Style::Faint, "with callees", total_end))?;

    let shown = &functions[..functions.len().min(view.options.top)];
    let self_scale = Scale::of(shown.iter().map(|function| function.self_ns).max().unwrap_or(0));
    let total_scale = Scale::of(shown.iter().map(|function| function.total_ns).max().unwrap_or(0));
    for function in shown {
        let style = if is_own(&function.frame) { Style::Strong } else { Style::Plain };
        let name = names::fit(&function_name(&function.frame), name_columns);
        let mut line = Line::new().plain("  ").then(style, &name).to(2 + name_columns + 2);
        line = line.faint(&names::fit(&location(&function.frame), text_columns - name_columns - 3));
        for (scale, ns, end) in [(self_scale, function.self_ns, self_end), (total_scale, function.total_ns, total_end)]
        {
            line = line.right(Style::OnCpu, &scale.cell(ns), end - 6);
            line = line.right(Style::Plain, &units::rough_share(ns, view.sum.on_cpu), end);
        }
        page.line(line)?;
    }
    let rest = &functions[shown.len()..];
    if !rest.is_empty() {
        let time = rest.iter().map(|function| function.self_ns).sum();
        let number = units::counted(rest.len() as u64, "function", "functions");
        let mut line = Line::new().faint(&format!("  {number} more"));
        line = line.right(Style::Faint, &self_scale.cell(time), self_end - 6);
        page.line(line.right(Style::Faint, &units::rough_share(time, view.sum.on_cpu), self_end))?;
    }
    Ok(())
}
