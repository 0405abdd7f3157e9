//! Twenty nested calls through `dyn`, two types taking turns, then `sort_by` with a closure that
//! reaches the leaf; on a named thread, while the main thread waits for it.

use std::arch::asm;
use std::cmp::Ordering;
use std::hint::black_box;
use std::thread;
use std::time::Duration;

trait Layer {
    fn enter(&self) -> u64;
}

struct Thin(Box<dyn Layer>);
struct Thick(Box<dyn Layer>, [u64; 8]);
struct Core;

impl Layer for Thin {
    #[inline(never)]
    fn enter(&self) -> u64 {
        black_box(self.0.enter()) + 1
    }
}

impl Layer for Thick {
    #[inline(never)]
    fn enter(&self) -> u64 {
        let room = black_box(self.1);
        black_box(self.0.enter()) + room[3]
    }
}

impl Layer for Core {
    #[inline(never)]
    fn enter(&self) -> u64 {
        let mut two = black_box([2_u64, 1]);
        two.sort_by(|a, b| {
            leaf();
            black_box(a.cmp(b))
        });
        black_box(two[0])
    }
}

#[inline(never)]
fn burn() {
    for _ in 0..1_500_000_u64 {
        // SAFETY: no instructions.
        unsafe { asm!("", options(nomem, nostack)) };
    }
}

#[inline(never)]
fn leaf() -> Ordering {
    burn();
    thread::sleep(Duration::from_micros(1000));
    black_box(Ordering::Less)
}

#[inline(never)]
fn worker() {
    let mut layers: Box<dyn Layer> = Box::new(Core);
    for _ in 0..10 {
        layers = Box::new(Thin(Box::new(Thick(layers, [1; 8]))));
    }
    loop {
        black_box(layers.enter());
    }
}

fn main() {
    let worker = thread::Builder::new().name("nested-worker".into()).spawn(worker).expect("a thread");
    worker.join().expect("it runs for ever");
}
