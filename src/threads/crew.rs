//! The crew: every thread beside the main one, and what becomes of its work while it cannot be started. At a limit of processes
//! or without memory the main thread does that work in between its own, in turns that never wait, and goes on trying to start
//! the thread. The thread finds the work where the stand-in left it. Nothing here knows what the work is.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::Mono;
use crate::sys::clock;
use crate::sys::wakeup::Wakeup;
use crate::threads::{Input, spawn};

/// How often the main thread does the work of threads that there are none of.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// How often it tries to start them.
const START_PAUSE: Duration = Duration::from_secs(1);

/// What a thread does, or the main thread in its stead.
pub(crate) trait Work: Send + 'static {
    /// The thread's name.
    const NAME: &'static str;
    const STACK_BYTES: usize = spawn::STACK_BYTES;

    /// The thread's body: waits for work and does it, until the main thread is gone.
    fn serve(&mut self);

    /// Does what there is to do now, and never waits for more. What the thread would send to the main thread is in the result.
    fn turn(&mut self) -> Vec<Input>;
}

/// Where some work is done. Its handle keeps it: without one, no stand-in goes on either.
pub(crate) struct Post<W> {
    /// The thread locks it for life, the main thread for a turn. No two ever want it at once: a thread is started by the main
    /// thread alone, and takes the work over for good.
    work: Mutex<W>,
    has_thread: AtomicBool,
    wakeup: Arc<Wakeup>,
}

impl<W> Post<W> {
    fn new(work: W, wakeup: Arc<Wakeup>) -> Self {
        Self { work: Mutex::new(work), has_thread: AtomicBool::new(false), wakeup }
    }

    /// Ends the wait of the thread, if there is one and it waits in a call of `sys::wakeup`.
    pub(crate) fn wake(&self) {
        self.wakeup.wake();
    }

    /// The work itself, while there is no thread to do it. For the main thread alone.
    pub(crate) fn in_stead(&self) -> Option<MutexGuard<'_, W>> {
        (!self.has_thread.load(Ordering::Relaxed)).then(|| self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, W> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A post without a thread, of whatever work.
trait Vacancy: Send {
    fn name(&self) -> &'static str;
    fn is_wanted(&self) -> bool;
    fn start(&self) -> io::Result<()>;
    fn turn(&self) -> Vec<Input>;
}

impl<W: Work> Vacancy for Arc<Post<W>> {
    fn name(&self) -> &'static str {
        W::NAME
    }

    fn is_wanted(&self) -> bool {
        Self::strong_count(self) > 1
    }

    fn start(&self) -> io::Result<()> {
        let post = Self::clone(self);
        spawn::named(W::NAME, W::STACK_BYTES, move || {
            post.wakeup.enlist();
            post.lock().serve();
        })?;
        self.has_thread.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn turn(&self) -> Vec<Input> {
        catch_unwind(AssertUnwindSafe(|| self.lock().turn())).unwrap_or_else(|_| {
            log::error!("the main thread failed at the work of the {} thread", W::NAME);
            Vec::new()
        })
    }
}

/// What follows when a thread cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shortage {
    /// The master is not started.
    Refuse,
    /// The main thread stands in.
    StandIn,
}

/// The main thread's end.
pub(crate) struct Crew {
    shortage: Shortage,
    vacancies: Vec<Box<dyn Vacancy>>,
    /// Why, while it is still to be said.
    unsaid: Option<io::Error>,
    /// When the main thread stands in next, and when it tries again to start a thread.
    turn_due: Mono,
    start_due: Mono,
}

impl Crew {
    /// Of a master that is not started unless there are threads for it.
    pub(crate) fn complete() -> Self {
        Self::new(Shortage::Refuse)
    }

    /// Of a master that has workers, and goes on without threads.
    pub(crate) fn as_far_as_possible() -> Self {
        Self::new(Shortage::StandIn)
    }

    fn new(shortage: Shortage) -> Self {
        let never_yet = Mono::from_nanos(0);
        Self { shortage, vacancies: Vec::new(), unsaid: None, turn_due: never_yet, start_due: never_yet }
    }

    /// From now on the main thread stands in.
    pub(crate) fn be_content(&mut self) {
        self.shortage = Shortage::StandIn;
    }

    /// Starts a thread for this work.
    ///
    /// Errors: it cannot be started, and the main thread does not stand in.
    pub(crate) fn post<W: Work>(&mut self, work: W) -> io::Result<Arc<Post<W>>> {
        self.post_woken_by(Arc::default(), work)
    }

    /// The same for a thread that is woken by others, too.
    pub(crate) fn post_woken_by<W: Work>(&mut self, wakeup: Arc<Wakeup>, work: W) -> io::Result<Arc<Post<W>>> {
        let post = Arc::new(Post::new(work, wakeup));
        match (post.start(), self.shortage) {
            (Ok(()), _) => Ok(post),
            (Err(error), Shortage::Refuse) => Err(error),
            (Err(error), Shortage::StandIn) => {
                self.unsaid = Some(error);
                self.vacancies.push(Box::new(Arc::clone(&post)));
                self.start_due = clock::now().after(START_PAUSE);
                Ok(post)
            }
        }
    }

    /// When [`Self::turn`] is to be called next; never, while every thread runs.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        (!self.vacancies.is_empty()).then_some(self.turn_due)
    }

    /// If it is time: starts the threads that are missing, and does the work of those that cannot be started. Comes back with what
    /// they would have sent.
    pub(crate) fn turn(&mut self, now: Mono) -> Vec<Input> {
        if self.deadline().is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.turn_due = now.after(TURN_PAUSE);
        if self.start_due <= now {
            self.start_due = now.after(START_PAUSE);
            self.fill_vacancies();
        }
        self.say_who_is_missing();
        let inputs = self.vacancies.iter().flat_map(|vacancy| vacancy.turn()).collect();
        self.vacancies.retain(|vacancy| vacancy.is_wanted());
        inputs
    }

    /// Where there is no room for one, there is none for the next.
    fn fill_vacancies(&mut self) {
        let mut room = true;
        self.vacancies.retain(|vacancy| {
            room = room && vacancy.start().is_ok();
            !room
        });
        if self.vacancies.is_empty() {
            log::warn!("Every thread runs again");
        }
    }

    fn say_who_is_missing(&mut self) {
        if let (Some(error), false) = (self.unsaid.take(), self.vacancies.is_empty()) {
            let names: Vec<&str> = self.vacancies.iter().map(|vacancy| vacancy.name()).collect();
            let names = names.join(", ");
            log::warn!(
                "cannot start a thread: {error}; the main thread does the work of others ({names}), more slowly, until it can"
            );
        }
    }
}

#[cfg(test)]
#[path = "crew_tests.rs"]
mod tests;
