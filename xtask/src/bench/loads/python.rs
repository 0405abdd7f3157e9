//! Two Python threads that hand work to each other.

use anyhow::Result;

use crate::bench::driver::{Driver, Session};
use crate::bench::load::{Load, Operations, Running};
use crate::bench::process::pinned;

const ROUND_TRIPS: u64 = 20_000;

pub(super) static PYTHON: Load = Load {
    name: "python",
    operation: "round trip",
    about: "two threads of python3 hand an item to and fro through `queue.Queue`",
    needs: &[("python3", "python3")],
    start: |_| {
        let mut command = pinned("python3");
        command.arg(super::source("handover.py")).arg(ROUND_TRIPS.to_string());
        start(Session::start("python3", &mut command, "go")?)
    },
};

fn start(session: Session) -> Result<Running> {
    let workers = vec![session.pid()];
    let operations = Operations::Fixed(ROUND_TRIPS);
    Ok(Running { driver: Driver::Session(session), services: Vec::new(), workers, operations })
}
