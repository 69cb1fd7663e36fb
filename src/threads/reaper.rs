//! The reaper thread: waits until a child changes, without reaping it, and tells the main thread. It then waits until the
//! main thread has looked, else it would see the same zombie for ever. It never takes a child's status.

use std::io;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::sys::wait;
use crate::threads::Input;
use crate::threads::spawn;

/// The main thread's end: says when there is something to wait for again.
#[derive(Debug)]
pub struct Reaper {
    resume: Sender<()>,
}

impl Reaper {
    /// To be called after the children were looked at, and after one was started. Never blocks: one call that was not
    /// heard yet is as good as two.
    pub fn resume(&self) {
        let _already_told = self.resume.try_send(());
    }
}

/// Errors: no thread can be started.
pub fn start(inbox: Sender<Input>) -> io::Result<Reaper> {
    let (resume, resumed) = bounded(1);
    spawn::named("reaper", move || watch(&inbox, &resumed))?;
    Ok(Reaper { resume })
}

fn watch(inbox: &Sender<Input>, resumed: &Receiver<()>) {
    loop {
        // Without any child there is nothing to tell, and nothing to wait for until one is started.
        if wait::watch().is_ok() && inbox.send(Input::ChildrenChanged).is_err() {
            return;
        }
        if resumed.recv().is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Ending, Signal};
    use crate::sys::signal::send;
    use crate::sys::testing::{LIMIT, in_own_process, sleeper};

    /// While the master prepares to replace its own program, nobody looks at the children. The thread needs no freeze for
    /// that: it takes nothing, so that a death waits for this image or the next.
    #[test]
    fn no_death_is_lost_while_nobody_looks() {
        in_own_process(module_path!(), "no_death_is_lost_while_nobody_looks", || {
            let children = [sleeper(|_| {}), sleeper(|_| {})];
            let (sender, inbox) = bounded(8);
            let reaper = start(sender).unwrap();
            for child in children {
                send(child, Signal::KILL).unwrap();
                assert!(matches!(inbox.recv_timeout(LIMIT), Ok(Input::ChildrenChanged)));
                // Told once, and not again before somebody has looked.
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
            let _next = start(sender).unwrap();
            assert!(matches!(inbox.recv_timeout(LIMIT), Ok(Input::ChildrenChanged)));
            assert_eq!(wait::reap(last), Ok(Some(Ending::Signal(Signal::KILL))));
        });
    }
}
