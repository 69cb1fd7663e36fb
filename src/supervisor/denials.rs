//! What clients were denied, kept from filling the log.

use log::Level;

use crate::base::{ClientId, Pid};
use crate::logging::rate_limiter::LogRateLimiter;
use crate::protocol::{Peer, Role};
use crate::sys::clock;

/// How much of a senseless request is logged, in bytes.
const SHOWN_MAX: usize = 1024;

#[derive(Default)]
pub(crate) struct DenialLog {
    not_that_worker: LogRateLimiter,
    without_pid: LogRateLimiter,
    pub(crate) needless_ack: LogRateLimiter,
}

impl DenialLog {
    pub(crate) fn not_that_worker(&mut self, client: ClientId, peer: &Peer, worker: Pid) {
        let line = format_args!("[client {}] {peer} may not speak for worker {worker}", client.0);
        self.not_that_worker.warn(clock::now(), line);
    }

    /// An admin's are all logged, as with einhorn; of others one a minute.
    pub(crate) fn without_pid(&mut self, client: ClientId, peer: &Peer, shown: &str) {
        let line = format_args!("[client {}] Invalid request (no pid): {}", client.0, abbreviated(shown));
        match peer.role {
            Role::Admin => log::error!("{line}"),
            Role::Guest | Role::Worker(_) => self.without_pid.log(Level::Error, clock::now(), line),
        }
    }
}

/// The beginning of a text that a client made up.
fn abbreviated(text: &str) -> &str {
    let end = (0..=SHOWN_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}
