//! The signal thread: the only one in which signals are not blocked. It tells the main thread which came.

use std::io;

use crossbeam_channel::Sender;
use signal_hook::iterator::Signals;

use crate::pool::Signal;
use crate::sys::signal as sys_signal;
use crate::threads::Input;
use crate::threads::spawn;

/// Hears every signal of `wanted` from now on. Equal signals that come faster than they are handled are one.
///
/// Errors: a signal that cannot be caught is among them, or no thread can be started.
pub fn start(wanted: &'static [Signal], inbox: Sender<Input>) -> io::Result<()> {
    let handle = Signals::new(wanted.iter().map(|signal| signal.number()))?;
    let handle = std::sync::Mutex::new(handle);
    spawn::named("signals", move || {
        sys_signal::unblock_in_this_thread(wanted);
        let Ok(mut signals) = handle.lock() else { return };
        for number in signals.forever() {
            let Some(signal) = Signal::from_number(number) else { continue };
            if inbox.send(Input::Signaled(signal)).is_err() {
                return;
            }
        }
    })
}
