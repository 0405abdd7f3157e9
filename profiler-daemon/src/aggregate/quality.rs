//! How whole the stacks are.

use std::collections::HashMap;

use super::FastMap;
use super::visit::Visit;
use crate::model::{RawStack, StackQuality, State};
use profiler_common::wire::sampling;

#[derive(Default)]
pub(super) struct Quality {
    pub(super) on_cpu: StackQuality,
    pub(super) off_cpu: StackQuality,
}

/// Samples and time by how the walk of the user stack ended. The user stack is what counts: it is
/// the one that can be torn.
pub(super) fn of(visits: &[Visit<'_>], raw: &HashMap<u64, RawStack>) -> Quality {
    let outcomes: FastMap<u64, usize> = raw.iter().map(|(id, stack)| (*id, stack.outcome as usize)).collect();
    let mut quality = Quality::default();
    for visit in visits {
        let side = if visit.state == State::OnCpu { &mut quality.on_cpu } else { &mut quality.off_cpu };
        let outcome = outcomes.get(&visit.user_stack);
        let slot = outcome.and_then(|outcome| side.outcomes.get_mut(*outcome)).unwrap_or(&mut side.missing);
        slot.0 += visit.count;
        slot.1 += visit.ns();
        if visit.waits.is_some_and(|(key, _)| key.sampling & sampling::WALKED != 0) {
            side.sampled_ns += visit.ns();
        }
    }
    quality
}
