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
