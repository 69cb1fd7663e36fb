//! Some pieces of work at a time, for most of the time of each is spent on waiting.

use std::sync::Mutex;
use std::thread;

/// Runs all of them, so many at a time, and returns what came of each in their order.
pub fn side_by_side<T: Send, R: Send>(jobs: usize, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(items.into_iter().enumerate());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no thread panics with it").next();
                    let Some((at, item)) = next else { break };
                    let result = work(item);
                    results.lock().expect("no thread panics with it").push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panics with it");
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn the_order_is_kept() {
    assert_eq!(
        side_by_side(3, (0..10).collect(), |number| number * 2),
        (0..10).map(|number| number * 2).collect::<Vec<_>>()
    );
}
