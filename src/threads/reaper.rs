//! The reaper thread: waits until a child changes, without reaping it, and tells the main thread. It then waits until the
//! main thread has looked, else it would see the same zombie for ever. It never takes a child's status.

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::sys::wait;
use crate::threads::Input;
use crate::threads::crew::Crew;
use crate::threads::handle::{Pauses, ThreadHandle, Work};

/// The main thread's end: says when there is something to wait for again.
pub(crate) struct Reaper {
    resume: Sender<()>,
    _thread: Arc<ThreadHandle<Watch>>,
}

impl Reaper {
    /// To be called after the children were looked at, and after one was started. Never blocks: a call that the thread has not seen yet
    /// is as good as two.
    pub(crate) fn resume(&self) {
        let _already_told = self.resume.try_send(());
    }
}

/// # Errors
/// No thread can be started.
pub(crate) fn start(inbox: Sender<Input>, crew: &mut Crew) -> io::Result<Reaper> {
    let (resume, resumed) = bounded(1);
    let thread = crew.start(Watch { inbox, resumed }, Arc::default())?;
    Ok(Reaper { resume, _thread: thread })
}

struct Watch {
    inbox: Sender<Input>,
    resumed: Receiver<()>,
}

impl Work for Watch {
    const NAME: &'static str = "reaper";

    fn serve(&mut self, _never_paused: &Pauses) {
        loop {
            // Without any child there is nothing to tell, and nothing to wait for until one is started.
            if wait::watch().is_ok() && self.inbox.send(Input::ChildrenChanged).is_err() {
                return;
            }
            if self.resumed.recv().is_err() {
                return;
            }
        }
    }

    fn turn(&mut self) -> Vec<Input> {
        match wait::peek() {
            Ok(Some(_)) => vec![Input::ChildrenChanged],
            Ok(None) | Err(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Ending, Signal};
    use crate::sys::clock;
    use crate::sys::signal::send;
    use crate::sys::testing::{LIMIT, in_own_process, sleeper, wait_until};
    use crate::threads::spawn::shortage;

    /// While the master prepares to replace its own program, it does not look at the children. The thread needs no pause for
    /// that: it takes nothing, so that a death waits for this image or the next.
    #[test]
    fn deaths_before_the_first_look_are_not_lost() {
        in_own_process(module_path!(), "deaths_before_the_first_look_are_not_lost", || {
            let children = [sleeper(|_| {}), sleeper(|_| {})];
            let (sender, inbox) = bounded(8);
            let reaper = start(sender, &mut Crew::required()).unwrap();
            for child in children {
                send(child, Signal::KILL).unwrap();
                assert!(matches!(inbox.recv_timeout(LIMIT), Ok(Input::ChildrenChanged)));
                // Told once, and not again before the main thread has looked.
                assert!(inbox.is_empty());
                reaper.resume();
                assert!(matches!(inbox.recv_timeout(LIMIT), Ok(Input::ChildrenChanged)));
                assert_eq!(wait::reap(child), Ok(Some(Ending::Signal(Signal::KILL))));
                reaper.resume();
            }
            // Another image's thread begins like this one, and sees what is there.
            let (sender, inbox) = bounded(8);
            let last = sleeper(|_| {});
            send(last, Signal::KILL).unwrap();
            let _next = start(sender, &mut Crew::required()).unwrap();
            assert!(matches!(inbox.recv_timeout(LIMIT), Ok(Input::ChildrenChanged)));
            assert_eq!(wait::reap(last), Ok(Some(Ending::Signal(Signal::KILL))));
        });
    }

    #[test]
    fn without_a_thread_the_main_thread_sees_a_death_and_takes_nothing() {
        in_own_process(module_path!(), "without_a_thread_the_main_thread_sees_a_death_and_takes_nothing", || {
            shortage::begin();
            let (sender, _inbox) = bounded(8);
            let mut crew = Crew::optional();
            let _reaper = start(sender, &mut crew).unwrap();
            let child = sleeper(|_| {});
            let mut now = clock::now();
            let mut turn = || {
                now = now.after(LIMIT);
                crew.turn(now)
            };
            assert!(turn().is_empty());
            send(child, Signal::KILL).unwrap();
            assert!(wait_until(LIMIT, || !turn().is_empty()));
            assert!(matches!(turn()[..], [Input::ChildrenChanged]));
            assert_eq!(wait::reap(child), Ok(Some(Ending::Signal(Signal::KILL))));
            assert!(turn().is_empty());
        });
    }
}
