//! What clients were denied, kept from filling the log.

use crate::base::{ClientId, Pid};
use crate::logging::rate_limiter::Throttle;
use crate::protocol::{Peer, Role};
use crate::sys::clock;

/// How much of a senseless request is logged, in bytes.
const SHOWN_MAX: usize = 1024;

#[derive(Default)]
pub(crate) struct Denials {
    not_that_worker: Throttle,
    without_pid: Throttle,
    pub(crate) needless_ack: Throttle,
}

impl Denials {
    pub(crate) fn not_that_worker(&mut self, client: ClientId, peer: &Peer, worker: Pid) {
        if let Some(unsaid) = self.not_that_worker.count_one(clock::now()) {
            log::warn!("[client {}] {peer} may not speak for worker {worker}{unsaid}", client.0);
        }
    }

    /// An admin's are all logged, as with einhorn; of others one a minute.
    pub(crate) fn without_pid(&mut self, client: ClientId, peer: &Peer, shown: &str) {
        let unsaid = match peer.role {
            Role::Admin => String::new(),
            Role::Guest | Role::Worker(_) => match self.without_pid.count_one(clock::now()) {
                Some(unsaid) => unsaid.to_string(),
                None => return,
            },
        };
        log::error!("[client {}] Invalid request (no pid): {}{unsaid}", client.0, abbreviated(shown));
    }
}

/// The beginning of a text that a client made up.
fn abbreviated(text: &str) -> &str {
    let end = (0..=SHOWN_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}
