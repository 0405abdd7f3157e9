//! Two things at a time.

use std::panic::resume_unwind;
use std::thread;

/// Runs `other` in a thread of its own while `own` runs in this one, and gives the results of both. Where no thread is to
/// be had, they run one after the other.
pub fn both<A: Send, B>(other: impl Fn() -> A + Sync, own: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let beside = thread::Builder::new().name("beside".to_owned()).spawn_scoped(scope, &other);
        let own = own();
        let other = match beside {
            Ok(beside) => beside.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => other(),
        };
        (other, own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_run_in_threads_of_their_own() {
        let id = || thread::current().id();
        let (other, own) = both(id, id);
        assert_eq!(own, id());
        assert_ne!(other, own);
    }
}
