//! Which threads are accounted.

use profiler_common::settings::filter;

use crate::maps::{FILTER_CGROUPS, FILTER_COMMS, FILTER_PIDS, setting};
use crate::task::{self, Task};

/// Whether a rule of the filter names this task. Its children are followed by the caller.
#[inline(always)]
pub(crate) fn names(task: Task) -> bool {
    if task::is_kernel_thread(task) {
        return false;
    }
    let rules = setting!(filter);
    let pid = task::pid(task);
    if rules & filter::ALL != 0 && pid != setting!(own_pid) {
        return true;
    }
    if rules & filter::PIDS != 0 && FILTER_PIDS.get_ptr(pid).is_some() {
        return true;
    }
    if rules & filter::COMMS != 0 {
        let mut comm = [0; 16];
        task::comm(task::group_leader(task), &mut comm);
        if FILTER_COMMS.get_ptr(comm).is_some() {
            return true;
        }
    }
    rules & filter::CGROUPS != 0 && FILTER_CGROUPS.get_ptr(task::cgroup_id(task)).is_some()
}
