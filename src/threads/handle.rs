//! One thread beside the main one, from the main thread's side: its work, which the main thread does in its place while the thread
//! cannot be started, and which it can take out of the thread's hands for a while. Nothing here knows what the work is.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::sys::wakeup::Wakeup;
use crate::threads::{Input, spawn};

/// How long the main thread waits for a thread to pause. It takes longer only while that thread waits for room in the inbox, and
/// then the main thread must not wait for it.
pub(crate) const PAUSE_WAIT_MAX: Duration = Duration::from_millis(500);

/// How many requests to pause may be queued: those that have timed out, and one.
pub(crate) const PAUSES_MAX: usize = 2;

/// What a thread does, or the main thread in its place.
pub(crate) trait Work: Send + 'static {
    /// The thread's name.
    const NAME: &'static str;
    const STACK_BYTES: usize = spawn::STACK_BYTES;

    /// The thread's body: waits for work and does it. Returns when the main thread is gone, or soon after a pause is requested, if
    /// this work can pause.
    fn serve(&mut self, pauses: &Pauses);

    /// Does what there is to do now, and never waits for more. What the thread would send to the main thread is in the result.
    fn turn(&mut self) -> Vec<Input>;
}

/// The thread's end of the requests to pause. Each comes with a wake-up of the thread.
pub(crate) struct Pauses(Receiver<Pause>);

impl Pauses {
    /// For a body that a test runs itself.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(crossbeam_channel::never())
    }

    pub(crate) fn is_requested(&self) -> bool {
        !self.0.is_empty()
    }
}

/// A request to pause.
struct Pause {
    /// Sent to once the thread has let go of its work.
    confirm: Sender<()>,
    /// Disconnected when the pause is over.
    over: Receiver<()>,
}

/// The main thread's end of a thread. Without one, the work of a missing thread is not done in its place either.
pub(crate) struct ThreadHandle<W> {
    /// The thread locks it while it works, the main thread for a turn. None during a pause.
    work: Mutex<Option<W>>,
    has_thread: AtomicBool,
    wakeup: Arc<Wakeup>,
    requests: Sender<Pause>,
    pauses: Pauses,
}

/// The work of a thread that has paused. Once this is dropped, the thread goes on with it.
#[must_use = "the thread goes on once it is dropped"]
pub(crate) struct Paused<W> {
    /// None only while it is dropped.
    work: Option<W>,
    handle: Arc<ThreadHandle<W>>,
    _over_when_dropped: Sender<()>,
}

impl<W> ThreadHandle<W> {
    /// Ends the wait of the thread, if there is one and it waits in a call of `sys::wakeup`.
    pub(crate) fn wake(&self) {
        self.wakeup.wake();
    }

    /// Does something with the work while there is no thread for it. For the main thread alone.
    pub(crate) fn without_thread<T>(&self, act: impl FnOnce(&mut W) -> T) -> Option<T> {
        if self.has_thread.load(Ordering::Relaxed) {
            return None;
        }
        self.lock().as_mut().map(act)
    }

    /// Stops the thread where nothing is half done. None: it did not pause within [`PAUSE_WAIT_MAX`], and goes on.
    pub(crate) fn pause(self: &Arc<Self>) -> Option<Paused<W>> {
        let (confirm, confirmed) = bounded(1);
        let (over_when_dropped, over) = bounded(0);
        if self.has_thread.load(Ordering::Relaxed) {
            // A request that the thread finds too late is over by then.
            self.requests.try_send(Pause { confirm, over }).ok()?;
            self.wake();
            confirmed.recv_timeout(PAUSE_WAIT_MAX).ok()?;
        }
        let work = self.lock().take();
        work.is_some().then(|| Paused { work, handle: Arc::clone(self), _over_when_dropped: over_when_dropped })
    }

    fn lock(&self) -> MutexGuard<'_, Option<W>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Work> ThreadHandle<W> {
    pub(crate) fn new(work: W, wakeup: Arc<Wakeup>) -> Self {
        let (requests, pauses) = bounded(PAUSES_MAX);
        let work = Mutex::new(Some(work));
        Self { work, has_thread: AtomicBool::new(false), wakeup, requests, pauses: Pauses(pauses) }
    }

    /// # Errors
    /// There is no room for a thread, or its work is paused.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<()> {
        if self.lock().is_none() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let handle = Arc::clone(self);
        spawn::named(W::NAME, W::STACK_BYTES, move || handle.run())?;
        self.has_thread.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The work of a turn.
    pub(crate) fn turn(&self) -> Vec<Input> {
        self.lock().as_mut().map_or_else(Vec::new, W::turn)
    }

    fn run(&self) {
        self.wakeup.enlist();
        loop {
            if let Some(work) = &mut *self.lock() {
                work.serve(&self.pauses);
            }
            let Ok(pause) = self.pauses.0.try_recv() else { return };
            // 1. The lock is free by now. 2. The main thread takes the work, and at last puts it back. 3. The pause is over.
            let _timed_out = pause.confirm.send(());
            let _over = pause.over.recv();
        }
    }
}

impl<W> Paused<W> {
    pub(crate) fn work(&mut self) -> Option<&mut W> {
        self.work.as_mut()
    }
}

impl<W> Drop for Paused<W> {
    fn drop(&mut self) {
        *self.handle.lock() = self.work.take();
    }
}
