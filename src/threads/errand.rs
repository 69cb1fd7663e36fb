//! The errand thread: does for the main thread what may take long, such as reading files and looking up users and hosts.
//! One errand at a time, in the order in which they were given; it knows none of them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::threads::Input;
use crate::threads::crew::{Crew, Post, Work};

/// How many errands may wait. Each is asked for by a client that waits for its end, or by an upgrade, of which there is one.
const ERRANDS_MAX: usize = 512;

type Job<T> = Box<dyn FnOnce() -> T + Send>;

/// The main thread's end.
pub(crate) struct Errands<T: Send + 'static> {
    jobs: Sender<Job<T>>,
    results: Receiver<Option<T>>,
    _post: Arc<Post<Runner<T>>>,
}

/// Too many errands wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl<T: Send> Errands<T> {
    /// Has `job` done; [`Input::ErrandDone`] comes when it is, and in the same order for several.
    ///
    /// # Errors
    /// Too many wait.
    pub(crate) fn run(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<(), TooMany> {
        self.jobs.try_send(Box::new(job)).map_err(|_| TooMany)
    }

    /// The result of the oldest errand, to be taken once for each [`Input::ErrandDone`]. None: it failed in a way that was not
    /// foreseen.
    pub(crate) fn result(&self) -> Option<T> {
        self.results.try_recv().ok().flatten()
    }
}

/// # Errors
/// No thread can be started.
pub(crate) fn start<T: Send>(inbox: Sender<Input>, crew: &mut Crew) -> io::Result<Errands<T>> {
    let (jobs, queued) = bounded(ERRANDS_MAX);
    let (done, results) = bounded(ERRANDS_MAX);
    let post = crew.post(Runner { inbox, queued, done })?;
    Ok(Errands { jobs, results, _post: post })
}

struct Runner<T> {
    inbox: Sender<Input>,
    queued: Receiver<Job<T>>,
    done: Sender<Option<T>>,
}

impl<T> Runner<T> {
    /// Whatever happens in there, the main thread must not wait for ever.
    fn finish(&self, job: Job<T>) {
        let _main_is_gone = self.done.send(catch_unwind(AssertUnwindSafe(job)).ok());
    }
}

impl<T: Send + 'static> Work for Runner<T> {
    const NAME: &'static str = "errand";
    /// As large as a main thread's: the databases of users and hosts are modules of others.
    const STACK_BYTES: usize = 8 * 1024 * 1024;

    fn serve(&mut self) {
        for job in &self.queued {
            self.finish(job);
            if self.inbox.send(Input::ErrandDone).is_err() {
                return;
            }
        }
    }

    /// Takes as long as the errand does: it is this, or no upgrade.
    fn turn(&mut self) -> Vec<Input> {
        let Ok(job) = self.queued.try_recv() else { return Vec::new() };
        self.finish(job);
        vec![Input::ErrandDone]
    }
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;

    use super::*;
    use crate::sys::clock;
    use crate::sys::testing::LIMIT;
    use crate::threads::spawn::shortage;

    #[test]
    fn errands_are_done_in_their_order_and_one_that_fails_is_told_too() {
        let (sender, inbox) = bounded(8);
        let errands = start(sender, &mut Crew::complete()).unwrap();
        errands.run(|| 1).unwrap();
        // A panic that nothing prints.
        errands.run(|| resume_unwind(Box::new(()))).unwrap();
        errands.run(|| 3).unwrap();
        for expected in [Some(1), None, Some(3)] {
            assert!(matches!(inbox.recv_timeout(LIMIT), Ok(Input::ErrandDone)));
            assert_eq!(errands.result(), expected);
        }
    }

    #[test]
    fn without_a_thread_the_main_thread_does_one_at_a_time() {
        shortage::begin();
        let (sender, _inbox) = bounded(8);
        let mut crew = Crew::as_far_as_possible();
        let errands = start(sender, &mut crew).unwrap();
        errands.run(|| 1).unwrap();
        errands.run(|| 2).unwrap();
        let mut now = clock::now();
        for (inputs, result) in [(1, Some(1)), (1, Some(2)), (0, None)] {
            assert_eq!((crew.turn(now).len(), errands.result()), (inputs, result));
            now = now.after(LIMIT);
        }
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let (sender, inbox) = bounded(2 * ERRANDS_MAX);
        let errands = start(sender, &mut Crew::complete()).unwrap();
        let (go, wait) = bounded::<()>(0);
        errands.run(move || assert!(wait.recv().is_err())).unwrap();
        // The thread may or may not have taken the first one out of the queue.
        let taken = (0..=ERRANDS_MAX).filter(|_| errands.run(|| ()).is_ok()).count();
        assert!((ERRANDS_MAX - 1..=ERRANDS_MAX).contains(&taken), "{taken}");
        drop(go);
        for _ in 0..=taken {
            assert!(inbox.recv_timeout(LIMIT).is_ok());
        }
    }
}
