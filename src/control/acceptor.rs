//! Accepts connections, as long as there are places and descriptors for them, and finds out whose they are. It reads nothing of
//! what they send.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;

use crate::base::Mono;
use crate::control::access::{Policy, authenticate};
use crate::control::connections::Connections;
use crate::control::eviction;
use crate::logging::rate_limiter::LogRateLimiter;
use crate::protocol::{Peer, Role};
use crate::sys::errno::words;
use crate::sys::{accept, allocator};

/// How long accepting rests when the system has no descriptor to give, and no idle client has one to spare. Without it
/// the loop would spin.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection that has been silent for less may not be closed when descriptors run out: it may be of a worker that is about to
/// ack.
const FRESH: Duration = Duration::from_millis(250);

/// How often the kernel is asked for the peer of a connection, with [`PAUSE`] in between, when the call fails.
const ATTEMPTS_MAX: u32 = 20;

/// How many such connections are held meanwhile.
const UNIDENTIFIED_MAX: usize = 32;

/// How many connections are reserved for root and our own user.
const RESERVED: usize = 8;

/// How many connections any other user may have.
const PER_GUEST_MAX: usize = 64;

/// Why a connection is closed when all places are taken.
const CROWDED: &str = "too many are connected";

pub(crate) struct Acceptor {
    policy: Policy,
    /// Connections whose peer the kernel did not tell yet, and how often it was asked.
    unidentified: Vec<(OwnedFd, u32)>,
    /// While it lies ahead, no connection is accepted.
    paused_until: Option<Mono>,
    refused: LogRateLimiter,
    failed: LogRateLimiter,
}

impl Acceptor {
    pub(crate) fn new(policy: Policy) -> Self {
        let (refused, failed) = Default::default();
        Self { policy, unidentified: Vec::new(), paused_until: None, refused, failed }
    }

    /// Takes over another policy, for connections that are open, too: one that may no longer speak as an admin must not go on so.
    pub(crate) fn set_policy(&mut self, policy: Policy, connections: &mut Connections) {
        self.policy = policy;
        for connection in connections.of_clients() {
            if let Ok(peer) = authenticate(connection.as_fd(), &self.policy) {
                connection.peer = peer;
            }
        }
    }

    /// When to accept again, if that is paused.
    pub(crate) fn paused_until(&mut self, now: Mono) -> Option<Mono> {
        self.paused_until = self.paused_until.filter(|&moment| moment > now);
        self.paused_until
    }

    /// Accepts so many at most.
    pub(crate) fn accept(&mut self, listener: BorrowedFd<'_>, max: usize, connections: &mut Connections, now: Mono) {
        for _ in 0..max {
            match accept::accept(listener) {
                Ok(Some(stream)) => self.admit(stream, 1, connections, now),
                Ok(None) => return,
                Err(Errno::EMFILE | Errno::ENFILE) if make_room(connections, "no descriptors are left", FRESH, now) => {
                }
                Err(errno) => {
                    let cause = words(errno);
                    self.failed
                        .warn(now, format_args!("cannot accept a control connection, trying again soon: {cause}"));
                    self.paused_until = Some(now.after(PAUSE));
                    return;
                }
            }
        }
    }

    /// Asks once more for the peers of connections for which the kernel did not tell them.
    pub(crate) fn identify_again(&mut self, connections: &mut Connections, now: Mono) {
        if self.paused_until(now).is_some() {
            return;
        }
        for (stream, attempts) in std::mem::take(&mut self.unidentified) {
            self.admit(stream, attempts + 1, connections, now);
        }
    }

    /// `attempts`: how often the kernel has been asked for the peer, this time included.
    fn admit(&mut self, stream: OwnedFd, attempts: u32, connections: &mut Connections, now: Mono) {
        match authenticate(stream.as_fd(), &self.policy) {
            Ok(peer) if self.has_place(peer, connections, now) => connections.add(stream, peer, now),
            Err(_) if attempts < ATTEMPTS_MAX && self.unidentified.len() < UNIDENTIFIED_MAX => {
                self.unidentified.push((stream, attempts));
                self.paused_until = Some(now.after(PAUSE));
            }
            Ok(_) | Err(_) => {
                self.refused.warn(now, format_args!("refused a control connection: too many, or an unknown user"));
            }
        }
    }

    /// Whether there is a place for a connection of this peer, if need be that of another.
    fn has_place(&self, peer: Peer, connections: &mut Connections, now: Mono) -> bool {
        let max = match peer.role {
            Role::Admin | Role::Worker(_) => self.policy.connections_max,
            Role::Guest => self.policy.connections_max.saturating_sub(RESERVED),
        };
        // Without memory for a new client, an admin gets the place, and the memory, of another.
        let max = if allocator::is_short() { max.min(RESERVED) } else { max };
        let taken = connections.of_clients().count();
        let of_uid = connections.of_clients().filter(|known| known.peer.uid == peer.uid).count();
        if peer.role == Role::Guest && of_uid >= PER_GUEST_MAX {
            let chosen = eviction::of_same_user(&mut connections.all, peer, now);
            if !connections.evict(chosen, "another process of its user has fewer connections", now) {
                return false;
            }
        }
        taken < max
            || match peer.role {
                Role::Admin => make_room(connections, CROWDED, Duration::ZERO, now),
                Role::Guest => {
                    let chosen = eviction::of_guests(&mut connections.all, peer, FRESH, now);
                    connections.evict(chosen, CROWDED, now)
                }
                // It is adopted, and takes no place.
                Role::Worker(_) => false,
            }
    }
}

/// Makes room for any client; says whether there was a connection to close.
fn make_room(connections: &mut Connections, reason: &str, silent_for: Duration, now: Mono) -> bool {
    let chosen = eviction::idle(&mut connections.all, silent_for, now);
    connections.evict(chosen, reason, now)
}
