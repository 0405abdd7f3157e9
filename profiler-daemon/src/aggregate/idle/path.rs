//! User stacks as the idle rule sees them.

use std::collections::HashMap;

use super::super::intern::Halves;
use super::super::mix::IdMap;
use super::names::{Role, role};
use crate::model::{Frame, RawStack};
use profiler_common::wire::outcome;

/// What the rule asks of one user stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct UserPath {
    /// The program's own calls, root first, as function numbers; `None` if the walk did not reach
    /// the root.
    pub(super) calls: Option<Vec<u32>>,
    /// Whether the leaf says that the thread parked there.
    pub(super) parks: bool,
}

/// By kernel-side id of the user stack.
pub(in super::super) type Paths = IdMap<u64, UserPath>;

/// The paths of all user stacks; `functions` has a number for the function of each frame.
pub(in super::super) fn paths(
    frames: &[Frame],
    functions: &[u32],
    halves: &Halves,
    raw: &HashMap<u64, RawStack>,
) -> Paths {
    let roles: Vec<Role> = frames.iter().map(role).collect();
    let user = halves.iter().filter_map(|(id, stack)| Some((*id, stack, raw.get(id).filter(|raw| !raw.kernel)?)));
    user.map(|(id, stack, raw)| {
        let is_program = |index: &u32| roles[*index as usize] == Role::Program;
        let (wait, calls) = stack.split_at(stack.iter().position(is_program).unwrap_or(stack.len()));
        let says = |role: Role| wait.iter().any(|index| roles[*index as usize] == role);
        let whole = raw.outcome == outcome::COMPLETE;
        let path = UserPath {
            calls: whole.then(|| calls.iter().rev().map(|index| functions[*index as usize]).collect()),
            parks: says(Role::Parks) && !says(Role::Locks),
        };
        (id, path)
    })
    .collect()
}
