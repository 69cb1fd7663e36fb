//! What the control thread says again and again of its clients, kept to one line a minute for each kind. It decides nothing.

use std::collections::BTreeMap;

use nix::errno::Errno;

use crate::base::{ClientId, Mono};
use crate::control::connection::Fault;
use crate::logging::rate_limiter::Throttle;
use crate::protocol::{LINE_MAX, Peer};
use crate::sys::errno::words;

/// What can happen again and again, and what was said of it.
#[derive(Default)]
pub(crate) struct Notes {
    refused: Throttle,
    denied: Throttle,
    dropped: Throttle,
    faults: BTreeMap<Fault, Throttle>,
    not_accepted: Throttle,
}

impl Notes {
    pub(crate) fn refuse(&mut self, now: Mono) {
        if let Some(unsaid) = self.refused.count_one(now) {
            log::warn!("refused a control connection: too many, or an unknown user{unsaid}");
        }
    }

    pub(crate) fn deny(&mut self, client: ClientId, peer: &Peer, now: Mono) {
        if let Some(unsaid) = self.denied.count_one(now) {
            log::warn!("[client {}] {peer} asked for what only an admin may{unsaid}", client.0);
        }
    }

    pub(crate) fn drop_for_room(&mut self, client: ClientId, reason: &str, now: Mono) {
        if let Some(unsaid) = self.dropped.count_one(now) {
            log::warn!("[client {}] dropped, {reason}{unsaid}", client.0);
        }
    }

    pub(crate) fn drop_for_fault(&mut self, client: ClientId, fault: Fault, now: Mono) {
        if let Some(unsaid) = self.faults.entry(fault).or_default().count_one(now) {
            let reason = match fault {
                Fault::Unread => "it does not read its replies".to_owned(),
                Fault::Unended => "it does not end its line".to_owned(),
                Fault::TooLong => format!("its request has more than {LINE_MAX} bytes"),
            };
            log::warn!("[client {}] dropped, {reason}{unsaid}", client.0);
        }
    }

    pub(crate) fn cannot_accept(&mut self, errno: Errno, now: Mono) {
        if let Some(unsaid) = self.not_accepted.count_one(now) {
            log::warn!("cannot accept a control connection, trying again soon: {}{unsaid}", words(errno));
        }
    }
}
