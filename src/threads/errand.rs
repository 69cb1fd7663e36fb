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

type Job = Box<dyn FnOnce() + Send>;

/// The main thread's end.
pub(crate) struct Errands {
    jobs: Sender<Job>,
    _post: Arc<Post<Runner>>,
}

/// What an errand will come to.
#[derive(Debug)]
pub(crate) struct Errand<T>(Receiver<T>);

impl<T> Errand<T> {
    /// The result, once [`Input::ErrandDone`] has come. None: it failed in a way that nobody had foreseen.
    pub(crate) fn result(self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

impl Errands {
    /// Has `job` done; [`Input::ErrandDone`] comes when it is, and in the same order for several. None: too many wait.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<Errand<T>> {
        let (done, result) = bounded(1);
        let job = Box::new(move || {
            // Whatever happens in there, the main thread must not wait for ever.
            if let Ok(result) = catch_unwind(AssertUnwindSafe(job)) {
                let _main_is_gone = done.send(result);
            }
        });
        self.jobs.try_send(job).ok().map(|()| Errand(result))
    }
}

/// Errors: no thread can be started.
pub(crate) fn start(inbox: Sender<Input>, crew: &mut Crew) -> io::Result<Errands> {
    let (jobs, queued) = bounded(ERRANDS_MAX);
    let post = crew.post(Runner { inbox, queued })?;
    Ok(Errands { jobs, _post: post })
}

struct Runner {
    inbox: Sender<Input>,
    queued: Receiver<Job>,
}

impl Work for Runner {
    const NAME: &'static str = "errand";
    /// As large as a main thread's: the databases of users and hosts are modules of others.
    const STACK_BYTES: usize = 8 * 1024 * 1024;

    fn serve(&mut self) {
        for job in &self.queued {
            job();
            if self.inbox.send(Input::ErrandDone).is_err() {
                return;
            }
        }
    }

    /// Takes as long as the errand does: it is this, or no upgrade.
    fn turn(&mut self) -> Vec<Input> {
        let Ok(job) = self.queued.try_recv() else { return Vec::new() };
        job();
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
        let first = errands.run(|| 1).unwrap();
        // A panic that nothing prints.
        let failing = errands.run(|| -> u8 { resume_unwind(Box::new(())) }).unwrap();
        let last = errands.run(|| 3).unwrap();
        for _ in 0..3 {
            assert!(matches!(inbox.recv_timeout(LIMIT), Ok(Input::ErrandDone)));
        }
        assert_eq!([first.result(), failing.result(), last.result()], [Some(1), None, Some(3)]);
    }

    #[test]
    fn without_a_thread_the_main_thread_does_one_at_a_time() {
        shortage::begin();
        let (sender, _inbox) = bounded(8);
        let mut crew = Crew::as_far_as_possible();
        let errands = start(sender, &mut crew).unwrap();
        let errands = [errands.run(|| 1), errands.run(|| 2)];
        let mut now = clock::now();
        for expected in [1, 1, 0] {
            assert_eq!(crew.turn(now).len(), expected);
            now = now.after(LIMIT);
        }
        assert_eq!(errands.map(|errand| errand.unwrap().result()), [Some(1), Some(2)]);
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let (sender, inbox) = bounded(2 * ERRANDS_MAX);
        let errands = start(sender, &mut Crew::complete()).unwrap();
        let (go, wait) = bounded::<()>(0);
        errands.run(move || wait.recv().is_ok()).unwrap();
        // The thread may or may not have taken the first one out of the queue.
        let taken = (0..=ERRANDS_MAX).filter(|_| errands.run(|| ()).is_some()).count();
        assert!((ERRANDS_MAX - 1..=ERRANDS_MAX).contains(&taken), "{taken}");
        drop(go);
        for _ in 0..=taken {
            assert!(inbox.recv_timeout(LIMIT).is_ok());
        }
    }
}
