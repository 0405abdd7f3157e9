//! User stacks as the idle rule sees them.

use std::collections::HashMap;

use super::super::FastMap;
use super::names::{Role, role};
use crate::model::{Frames, RawStack};
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
pub(in super::super) type Paths = FastMap<u64, UserPath>;

/// The paths of all user stacks; `functions` has a number for the function of each frame.
pub(in super::super) fn paths(frames: &Frames, functions: &[u32], raw: &HashMap<u64, RawStack>) -> Paths {
    // By function: most functions are never near a wait, and to look through their names takes long.
    let list = frames.list();
    let mut roles: Vec<Option<Role>> = vec![None; list.len()];
    let mut role_of =
        |index: u32| *roles[functions[index as usize] as usize].get_or_insert_with(|| role(&list[index as usize]));
    let user = frames.stacks().filter_map(|(id, stack)| Some((id, stack, raw.get(&id).filter(|raw| !raw.kernel)?)));
    user.map(|(id, stack, raw)| {
        let roles = stack.iter().map(|index| role_of(*index));
        let wait: Vec<Role> = roles.take_while(|role| *role != Role::Program).collect();
        let calls = &stack[wait.len()..];
        let whole = raw.outcome == outcome::COMPLETE;
        let path = UserPath {
            calls: whole.then(|| calls.iter().rev().map(|index| functions[*index as usize]).collect()),
            parks: wait.contains(&Role::Parks) && !wait.contains(&Role::Locks),
        };
        (id, path)
    })
    .collect()
}
