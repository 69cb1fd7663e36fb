//! What a re-exec is about: this image, and the next program as far as it is known.

use std::path::PathBuf;

use crate::base::Mono;
use crate::capture::output::OutputPaused;
use crate::control::ControlPaused;
use crate::handover::candidate::Candidate;
use crate::handover::preflight::{Check, ImageKind};
use crate::machines::reexec as machine;
use crate::sys::reexec::Image;
use crate::threads::signals::SignalsPaused;

/// The machine, and what its outputs are about.
pub(crate) struct Reexec {
    pub(crate) machine: machine::Reexec,
    /// None: it cannot be found, for want of a /proc or, for a moment, of a descriptor. Then only `--reexec-as` can be run.
    pub(crate) image: Option<Image>,
    /// The name that an earlier image knew: an image that was run by a descriptor has none.
    pub(crate) name: Option<PathBuf>,
    /// How often the master has replaced its program.
    pub(crate) generation: u64,
    pub(crate) next: Next,
    pub(crate) stopped_threads: Option<StoppedThreads>,
}

/// The next program, as far as it is known.
pub(crate) enum Next {
    Unknown,
    Checking(Box<Check>),
    /// It passed in silence.
    Silent(Candidate),
    Checked(ImageKind, Candidate),
}

/// Dropped in this order: a client that hears of a signal now must find the control thread at work.
pub(crate) struct StoppedThreads {
    pub(crate) control: ControlPaused,
    pub(crate) _output: OutputPaused,
    pub(crate) _signals: SignalsPaused,
}

impl Reexec {
    pub(crate) fn new(name: Option<PathBuf>, generation: u64, origin: machine::Origin) -> Self {
        let machine = machine::Reexec::new(origin);
        let mut reexec = Self { machine, image: None, name, generation, next: Next::Unknown, stopped_threads: None };
        reexec.find_image();
        reexec
    }

    /// What could not be found may be found now.
    pub(crate) fn find_image(&mut self) {
        if self.image.is_some() {
            return;
        }
        let found = Image::remember().inspect_err(|error| log::warn!("{error}; upgrades replace the workers alone"));
        let Ok(image) = found else { return };
        let image = match &self.name {
            Some(name) => image.named(name.clone()),
            None => image,
        };
        image.show_name();
        self.image = Some(image);
    }

    pub(crate) fn image(&self) -> Option<&Image> {
        self.image.as_ref()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether this program is about to be replaced, or at least is being checked for it.
    pub(crate) fn is_under_way(&self) -> bool {
        self.machine.is_under_way()
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.machine.deadline()
    }

    /// Ends a check under way. Says whether there was one: its child is about to go.
    pub(crate) fn abandon(&mut self) -> bool {
        match std::mem::replace(&mut self.next, Next::Unknown) {
            Next::Checking(check) => {
                check.kill();
                true
            }
            Next::Unknown | Next::Silent(_) | Next::Checked(..) => false,
        }
    }
}
