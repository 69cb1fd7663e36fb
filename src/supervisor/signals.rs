//! What a signal to the master means. Every other catchable one stays blocked for life: the master survives it.

use crate::base::Signal;
use crate::pool::{Command, Terms, UpgradeStyle};

/// What the signal thread listens to.
pub const HEARD: &[Signal] = &[
    Signal::INT,
    Signal::USR2,
    Signal::TERM,
    Signal::QUIT,
    Signal::HUP,
    Signal::ALRM,
    Signal::USR1,
    Signal::TTIN,
    Signal::TTOU,
    Signal::CONT,
];

/// INT and USR2 end gracefully, TERM and QUIT less so; HUP upgrades, and ALRM as einhorn before 1.0 had it; the rest of
/// those heard go on to the workers, as with einhyrningsins 0.2.
pub(crate) fn command(signal: Signal) -> Option<Command> {
    match signal {
        Signal::INT | Signal::USR2 => Some(Command::StopGracefully),
        Signal::TERM | Signal::QUIT => Some(Command::Stop(signal)),
        Signal::HUP | Signal::ALRM => Some(Command::Upgrade { style: UpgradeStyle::Smooth, terms: Terms::default() }),
        Signal::USR1 | Signal::TTIN | Signal::TTOU | Signal::CONT => Some(Command::Forward(signal)),
        _ => None,
    }
}
