//! Which state a frame of the picture mostly is in.

use super::palette::{COUNT, Family};
use crate::sink::flame_tree::{FlameTree, Role, Time};

/// Frames narrower than this share of the picture are left out, as they could not be seen.
pub(super) const LEAST_PERCENT: f64 = 0.02;
/// A frame has the colour of a state that holds at least this share of its time.
const PURE: f64 = 0.85;

/// The frames wide enough to be drawn, each with its colour family.
pub(super) struct States {
    /// Per node of the tree the index in `families` of the innermost drawn frame around it.
    around: Vec<u32>,
    families: Vec<Family>,
}

impl States {
    pub(super) fn new(tree: &FlameTree) -> States {
        let least = tree.total_ns(FlameTree::ROOT) as f64 * LEAST_PERCENT / 100.0;
        let (mut around, mut drawn) = (vec![0], vec![FlameTree::ROOT]);
        let mut sums = vec![[0u64; COUNT]];
        // Callers come before the called, in the tree and in `drawn`.
        for node in tree.nodes() {
            around.push(around[tree.parent(node) as usize]);
            if tree.total_ns(node) as f64 >= least {
                around[node as usize] = drawn.len() as u32;
                drawn.push(node);
                sums.push([0; COUNT]);
            }
            let (label, own) = (tree.label(node), tree.self_ns(node));
            let time = if let Role::State(time) = label.role { time } else { Time::OnCpu };
            sums[around[node as usize] as usize][Family::of(time, label.role) as usize] += own;
        }
        for index in (1..drawn.len()).rev() {
            let (own, caller) = (sums[index], around[tree.parent(drawn[index]) as usize]);
            sums[caller as usize].iter_mut().zip(own).for_each(|(caller, own)| *caller += own);
        }
        let mut families: Vec<Family> = sums.iter().map(ruling).collect();
        for (index, &node) in drawn.iter().enumerate().skip(1) {
            let caller = around[tree.parent(node) as usize];
            if tree.label(node).role == Role::Idle || families[caller as usize] == Family::Idle {
                families[index] = Family::Idle;
            }
        }
        States { around, families }
    }

    /// The family of a frame, if it is drawn.
    pub(super) fn family(&self, tree: &FlameTree, node: u32) -> Option<Family> {
        let index = self.around[node as usize];
        let drawn = node == FlameTree::ROOT || index != self.around[tree.parent(node) as usize];
        drawn.then(|| self.families[index as usize])
    }

    /// The families that the picture shows below its root, in the order of the legend.
    pub(super) fn shown(&self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(|family| self.families[1..].contains(family))
    }
}

fn ruling(sum: &[u64; COUNT]) -> Family {
    let total: u64 = sum.iter().sum();
    let rules = |pick: &dyn Fn(Family) -> bool| {
        let share: u64 = Family::ALL.iter().filter(|family| pick(**family)).map(|family| sum[*family as usize]).sum();
        share as f64 >= total as f64 * PURE
    };
    if let Some(family) = Family::ALL.into_iter().find(|family| rules(&|it| it == *family)) {
        return family;
    }
    if rules(&|family| matches!(family, Family::OnCpu | Family::OnCpuKernel)) {
        return Family::OnCpu;
    }
    if rules(&Family::is_blocked) { Family::ManyBlocked } else { Family::Many }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_the_state_that_holds_nearly_all_of_its_time() {
        let check = |parts: &[(Family, u64)], expected: Family| {
            let mut sum = [0; COUNT];
            parts.iter().for_each(|(family, ns)| sum[*family as usize] = *ns);
            assert_eq!(ruling(&sum), expected, "{parts:?}");
        };
        use Family::*;
        check(&[(Lock, 100)], Lock);
        check(&[(Lock, 90), (RunQueue, 10)], Lock);
        check(&[(Lock, 60), (RunQueue, 40)], Many);
        check(&[(Lock, 60), (Socket, 40)], ManyBlocked);
        check(&[(OnCpu, 50), (OnCpuKernel, 50)], OnCpu);
        check(&[(OnCpu, 10), (OnCpuKernel, 90)], OnCpuKernel);
        check(&[(OnCpu, 50), (Lock, 50)], Many);
    }
}
