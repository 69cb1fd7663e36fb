//! Which connection is closed when there is no room for another one. It closes nothing itself.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{Mono, Pid};
use crate::control::connection::Connection;
use crate::protocol::{Peer, Role};

/// The place of a connection that has been idle for `silent_for`: of the process that has most connections, the one that has been
/// silent longest. So a process that connects without end takes no place but its own.
pub(crate) fn idle(connections: &mut [Connection], silent_for: Duration, now: Mono) -> Option<usize> {
    let counts = count_by_process(connections.iter());
    let rank = |known: &Connection| (Reverse(counts.get(&known.peer.pid).copied()), known.active_at, known.id);
    let mut candidates: Vec<usize> = (0..connections.len()).collect();
    candidates.retain(|&at| !matches!(connections[at].peer.role, Role::Worker(_)));
    candidates.retain(|&at| connections[at].active_at.after(silent_for) <= now);
    candidates.sort_by_key(|&at| rank(&connections[at]));
    let idle = candidates.iter().copied().find(|&at| connections[at].is_idle(now));
    // Rather one that waits for news than none: workers have to ack, or there will never be any news.
    idle.or_else(|| candidates.into_iter().find(|&at| connections[at].only_waits()))
}

/// The place of a connection that makes room for another of the same guest user: of the process of this user that has most
/// connections, if it has more than the process of `peer` would have. So no process takes all the places of its user, and a worker
/// can ack.
pub(crate) fn of_same_user(connections: &mut [Connection], peer: Peer, now: Mono) -> Option<usize> {
    let of_user = |known: &&Connection| known.peer.role == Role::Guest && known.peer.uid == peer.uid;
    let counts = count_by_process(connections.iter().filter(of_user));
    let own = counts.get(&peer.pid).copied().unwrap_or_default();
    let most = counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own + 1);
    let (pid, _) = most?;
    let of_it = |known: &Connection| known.peer.role == Role::Guest && known.peer.pid == pid;
    // An idle connection has said nothing that could get lost.
    let idle = connections.iter_mut().position(|known| of_it(known) && known.is_idle(now));
    idle.or_else(|| connections.iter().position(of_it))
}

/// The place of a guest's connection that makes room for another guest, when guests have all the places that they may have: a client
/// with many users must not keep a worker of another user from its ack. First one that has asked for what it may not, which no
/// worker does; then one of a process that has several, of the user that has most, if that are more than the user of `peer` would
/// have; then the one that has been silent longest, and for `silent_for` at least.
pub(crate) fn of_guests(connections: &mut [Connection], peer: Peer, silent_for: Duration, now: Mono) -> Option<usize> {
    let is_guest = |known: &&Connection| known.peer.role == Role::Guest;
    let was_denied = |known: &Connection| is_guest(&known) && known.last_turn > 0 && !known.needs_ticket;
    if let Some(at) = connections.iter().position(was_denied) {
        return Some(at);
    }
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for known in connections.iter().filter(is_guest) {
        *counts.entry(known.peer.uid).or_default() += 1;
    }
    let own = counts.get(&peer.uid).copied().unwrap_or_default();
    let most = counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own + 1);
    let of_most =
        most.and_then(|(uid, _)| of_same_user(connections, Peer { pid: Pid(0), uid, role: Role::Guest }, now));
    of_most.or_else(|| {
        let mut silent: Vec<usize> = (0..connections.len()).collect();
        silent.retain(|&at| is_guest(&&connections[at]) && connections[at].active_at.after(silent_for) <= now);
        silent.sort_by_key(|&at| (connections[at].active_at, connections[at].id));
        silent.into_iter().find(|&at| connections[at].is_idle(now))
    })
}

fn count_by_process<'a>(connections: impl Iterator<Item = &'a Connection>) -> BTreeMap<Pid, usize> {
    let mut counts: BTreeMap<Pid, usize> = BTreeMap::new();
    for known in connections {
        *counts.entry(known.peer.pid).or_default() += 1;
    }
    counts
}
