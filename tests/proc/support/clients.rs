//! Threads that ask one request after the other, each with a number of its own, until they are stopped, and one report of what
//! became of them all. How a request is asked, and what is counted, is for the user to say.

use std::fmt::Display;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use crate::support::wait::LIMIT;

/// Running clients that write this report.
pub struct Clients<R> {
    shared: Arc<Shared<R>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
}

#[derive(Default)]
struct State<R> {
    report: R,
    begun: u64,
    stopping: bool,
}

impl<R: Clone + Default + Display + Send + 'static> Clients<R> {
    /// So many threads. Each has its own of what `client` makes of the thread's place among them; that is called with the number
    /// of a request, asks it, and comes back with how to count it.
    pub fn start<Ask, Count>(threads: usize, client: impl Fn(usize) -> Ask) -> Self
    where
        Ask: FnMut(u64) -> Count + Send + 'static,
        Count: FnOnce(&mut R),
    {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let start = |at| {
            let (shared, mut ask) = (Arc::clone(&shared), client(at));
            thread::spawn(move || {
                while let Some(number) = shared.next() {
                    let count = ask(number);
                    count(&mut shared.state().report);
                    shared.changed.notify_all();
                }
            })
        };
        let threads = (0..threads).map(start).collect();
        Self { shared, threads }
    }

    /// Waits until the report is so.
    #[track_caller]
    pub fn wait_until(&self, what: &str, condition: impl Fn(&R) -> bool) {
        let missing = |state: &mut State<R>| !condition(&state.report);
        let (state, result) = self.shared.changed.wait_timeout_while(self.shared.state(), LIMIT, missing).unwrap();
        assert!(!result.timed_out(), "waited {LIMIT:?} for {what}; so far {}", state.report);
    }

    /// The number of the request that was begun last; later ones have higher numbers.
    pub fn begun(&self) -> u64 {
        self.shared.state().begun
    }

    /// What happened until now.
    pub fn so_far(&self) -> R {
        self.shared.state().report.clone()
    }

    /// Lets every thread finish its request, and counts.
    pub fn stop(mut self) -> R {
        self.shared.state().stopping = true;
        for thread in self.threads.drain(..) {
            thread.join().expect("a client thread panicked");
        }
        self.so_far()
    }
}

impl<R> Drop for Clients<R> {
    fn drop(&mut self) {
        // Without waiting: a failing test shall end; each thread leaves after its request.
        if let Ok(mut state) = self.shared.state.lock() {
            state.stopping = true;
        }
    }
}

impl<R> Shared<R> {
    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap()
    }

    fn next(&self) -> Option<u64> {
        let mut state = self.state();
        if state.stopping {
            return None;
        }
        state.begun += 1;
        Some(state.begun)
    }
}
