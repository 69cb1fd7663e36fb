//! What the master does when memory is refused: it says so, becomes a fresh image, which has nothing left of what the old one has
//! piled up, and lets no new client in until the reserve is whole again. The reserve itself is `sys::allocator`'s.

use crate::base::Mono;
use crate::supervisor::recheck::PollBackoff;
use crate::sys::{allocator, clock};

/// What the main loop knows of it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    shortage: Shortage,
    recheck: PollBackoff,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shortage {
    /// Of none that was said.
    #[default]
    None,
    /// Since this image began: another one would find the same.
    Inherited,
    /// It was refused something.
    Met,
}

impl Memory {
    /// To be called when an image begins.
    pub(crate) fn at_the_start() -> Self {
        let mut memory = Self::default();
        if allocator::is_short() {
            log::warn!("there is too little memory for a reserve; if more is refused, the master ends");
            memory.shortage = Shortage::Inherited;
            memory.recheck.soon(clock::now());
        }
        memory
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.recheck.deadline()
    }

    /// At the end of a turn.
    pub(crate) fn tend(&mut self, now: Mono) -> Remedy {
        let is_due = self.deadline().is_none_or(|due| due <= now);
        if !is_due || !allocator::is_short() && self.shortage == Shortage::None {
            return Remedy::None;
        }
        if allocator::replenish() {
            self.recheck.rest();
            match std::mem::take(&mut self.shortage) {
                Shortage::None => {
                    log::warn!("memory was refused for a moment, the reserve has helped out and is whole again")
                }
                Shortage::Inherited | Shortage::Met => log::warn!("there is memory again, the reserve is whole"),
            }
            return Remedy::None;
        }
        self.recheck.again(now);
        if self.shortage != Shortage::None {
            return Remedy::None;
        }
        self.shortage = Shortage::Met;
        log::error!(
            "memory was refused, the reserve is in use; becoming a fresh image, new clients are refused meanwhile"
        );
        Remedy::FreshImage
    }
}

/// What memory that was refused calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    None,
    FreshImage,
}
