//! The job thread: does for the main thread what may take long, such as reading files and looking up users and hosts.
//! One job at a time, in the order in which they were given; it knows none of them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::threads::Input;
use crate::threads::crew::Crew;
use crate::threads::handle::{Pauses, ThreadHandle, Work};

/// How many jobs may wait. Each is asked for by a client that waits for its end, or by an upgrade, of which there is one.
const JOBS_MAX: usize = 512;

type Body<T> = Box<dyn FnOnce() -> T + Send>;

/// The main thread's end.
pub(crate) struct Jobs<T: Send + 'static> {
    queue: Sender<Body<T>>,
    results: Receiver<Option<T>>,
    _thread: Arc<ThreadHandle<Runner<T>>>,
}

/// Too many jobs wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl<T: Send> Jobs<T> {
    /// Has `job` done; [`Input::JobDone`] comes when it is, and in the same order for several.
    ///
    /// # Errors
    /// Too many wait.
    pub(crate) fn run(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<(), TooMany> {
        self.queue.try_send(Box::new(job)).map_err(|_| TooMany)
    }

    /// The result of the oldest job, to be taken once for each [`Input::JobDone`]. None: it failed in a way that was not
    /// foreseen.
    pub(crate) fn result(&self) -> Option<T> {
        self.results.try_recv().ok().flatten()
    }
}

/// # Errors
/// No thread can be started.
pub(crate) fn start<T: Send>(inbox: Sender<Input>, crew: &mut Crew) -> io::Result<Jobs<T>> {
    let (queue, queued) = bounded(JOBS_MAX);
    let (done, results) = bounded(JOBS_MAX);
    let thread = crew.start(Runner { inbox, queued, done }, Arc::default())?;
    Ok(Jobs { queue, results, _thread: thread })
}

struct Runner<T> {
    inbox: Sender<Input>,
    queued: Receiver<Body<T>>,
    done: Sender<Option<T>>,
}

impl<T> Runner<T> {
    /// Whatever happens in there, the main thread must not wait for ever.
    fn finish(&self, job: Body<T>) {
        let _main_is_gone = self.done.send(catch_unwind(AssertUnwindSafe(job)).ok());
    }
}

impl<T: Send + 'static> Work for Runner<T> {
    const NAME: &'static str = "jobs";
    /// As large as a main thread's: the databases of users and hosts are modules of others.
    const STACK_BYTES: usize = 8 * 1024 * 1024;

    fn serve(&mut self, _never_paused: &Pauses) {
        for job in &self.queued {
            self.finish(job);
            if self.inbox.send(Input::JobDone).is_err() {
                return;
            }
        }
    }

    /// Takes as long as the job does: it is this, or no upgrade.
    fn turn(&mut self) -> Vec<Input> {
        let Ok(job) = self.queued.try_recv() else { return Vec::new() };
        self.finish(job);
        vec![Input::JobDone]
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
    fn jobs_are_done_in_their_order_and_one_that_fails_is_told_too() {
        let (sender, inbox) = bounded(8);
        let jobs = start(sender, &mut Crew::required()).unwrap();
        jobs.run(|| 1).unwrap();
        // A panic that nothing prints.
        jobs.run(|| resume_unwind(Box::new(()))).unwrap();
        jobs.run(|| 3).unwrap();
        for expected in [Some(1), None, Some(3)] {
            assert!(matches!(inbox.recv_timeout(LIMIT), Ok(Input::JobDone)));
            assert_eq!(jobs.result(), expected);
        }
    }

    #[test]
    fn without_a_thread_the_main_thread_does_one_at_a_time() {
        shortage::begin();
        let (sender, _inbox) = bounded(8);
        let mut crew = Crew::optional();
        let jobs = start(sender, &mut crew).unwrap();
        jobs.run(|| 1).unwrap();
        jobs.run(|| 2).unwrap();
        let mut now = clock::now();
        for (inputs, result) in [(1, Some(1)), (1, Some(2)), (0, None)] {
            assert_eq!((crew.turn(now).len(), jobs.result()), (inputs, result));
            now = now.after(LIMIT);
        }
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let (sender, inbox) = bounded(2 * JOBS_MAX);
        let jobs = start(sender, &mut Crew::required()).unwrap();
        let (go, wait) = bounded::<()>(0);
        jobs.run(move || assert!(wait.recv().is_err())).unwrap();
        // The thread may or may not have taken the first one out of the queue.
        let taken = (0..=JOBS_MAX).filter(|_| jobs.run(|| ()).is_ok()).count();
        assert!((JOBS_MAX - 1..=JOBS_MAX).contains(&taken), "{taken}");
        drop(go);
        for _ in 0..=taken {
            assert!(inbox.recv_timeout(LIMIT).is_ok());
            // As the main thread does: the thread waits for room for its results.
            assert!(jobs.result().is_some());
        }
    }
}
