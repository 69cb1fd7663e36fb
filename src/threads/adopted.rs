//! The thread that waits for the ends of workers which another master has started: wait(2) does not tell of them.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::sys::clock;
use crate::sys::process_watch::ProcessWatch;
use crate::sys::unix_client::wait_readable;
use crate::threads::Input;
use crate::threads::crew::Crew;
use crate::threads::handle::{Pauses, Work};

/// How long after a wait that the system has refused the next one begins.
const PAUSE: Duration = Duration::from_millis(100);

/// # Errors
/// No thread can be started.
pub(crate) fn start(watches: Vec<Arc<ProcessWatch>>, inbox: Sender<Input>, crew: &mut Crew) -> io::Result<()> {
    if watches.is_empty() {
        return Ok(());
    }
    crew.start(Ends { watches, inbox }, Arc::default()).map(drop)
}

struct Ends {
    watches: Vec<Arc<ProcessWatch>>,
    inbox: Sender<Input>,
}

impl Work for Ends {
    const NAME: &'static str = "adopted";

    fn serve(&mut self, _never_paused: &Pauses) {
        while !self.watches.is_empty() {
            let fds: Vec<_> = self.watches.iter().map(|watch| watch.as_fd()).collect();
            let Ok(Some(ended)) = wait_readable(&fds, None) else {
                pause();
                continue;
            };
            self.watches.remove(ended);
            if self.inbox.send(Input::ChildrenChanged).is_err() {
                return;
            }
        }
    }

    fn turn(&mut self) -> Vec<Input> {
        let before = self.watches.len();
        let now = clock::now();
        self.watches.retain(|watch| !watch.has_ended(now).unwrap_or(false));
        if self.watches.len() < before { vec![Input::ChildrenChanged] } else { Vec::new() }
    }
}

#[expect(clippy::disallowed_methods, reason = "the system has no memory for the wait itself")]
fn pause() {
    std::thread::sleep(PAUSE);
}
