//! Whether losses are allowed: none while graceful things happen, and of a worker that was killed only what it held.

use crate::event::Kill;
use crate::tally::Loss;

/// How many losses are told one by one.
const TOLD: usize = 12;

pub fn nothing_lost<'a>(losses: impl Iterator<Item = &'a Loss>) -> Result<(), String> {
    let losses: Vec<_> = losses.collect();
    if losses.is_empty() {
        return Ok(());
    }
    let told: Vec<_> = losses.iter().take(TOLD).map(|loss| tell(loss)).collect();
    Err(format!("{} requests were lost:\n{}", losses.len(), told.join("\n")))
}

/// What was lost must have been held by a victim of one of these kills: on a connection that had brought answers before, those were
/// the victim's; on a new one, it was sent before the victim was gone. Where the victims' connections were listed, it must have been
/// on one of these. A client may be late to see the end of its connection, so that the last kill is not always the one.
pub fn only_what_they_held(losses: &[Loss], kills: &[Kill]) -> Result<(), String> {
    let not_held = losses.iter().filter(|loss| !kills.iter().any(|kill| was_held(loss, kill)));
    nothing_lost(not_held)
        .map_err(|why| format!("not held by a worker that was killed, last {:?}: {why}", kills.last()))
}

fn was_held(loss: &Loss, kill: &Kill) -> bool {
    let by_a_victim = match loss.worker {
        Some(worker) => kill.victims.iter().any(|victim| victim.0 == worker),
        None => loss.began < kill.gone,
    };
    let was_listed = match (&kill.peers, loss.local) {
        (Some(peers), Some(local)) => peers.contains(&local),
        // A Unix connection has no address to be known by.
        (None, _) | (_, None) => true,
    };
    loss.failure.is_torn() && by_a_victim && was_listed
}

fn tell(loss: &Loss) -> String {
    let Loss { path, target, failure, why, worker, .. } = loss;
    let worker = worker.map_or("a new connection".to_owned(), |pid| format!("a connection to worker {pid}"));
    format!("  {path} to {target} on {worker} was {failure} after {:?}: {why}", loss.ended - loss.began)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::support::{Failure, Process};

    #[test]
    fn a_killed_worker_may_lose_what_it_held_and_nothing_else() {
        let gone = Instant::now();
        let [near, far] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let kill = Kill { victims: vec![Process(7)], peers: Some(vec![near]), in_flight: 9, gone };
        let held = Loss {
            phase: 1,
            path: "/".to_owned(),
            target: String::new(),
            failure: Failure::Reset,
            why: String::new(),
            began: gone - Duration::from_millis(1),
            ended: gone,
            worker: Some(7),
            local: Some(near),
        };
        let allowed =
            |loss: &Loss| only_what_they_held(std::slice::from_ref(loss), std::slice::from_ref(&kill)).is_ok();
        assert!(allowed(&held) && allowed(&Loss { worker: None, ..held.clone() }));
        assert!(!allowed(&Loss { worker: Some(8), ..held.clone() }), "it was another's");
        assert!(!allowed(&Loss { local: Some(far), ..held.clone() }), "it was on another connection");
        assert!(!allowed(&Loss { failure: Failure::Wrong, ..held.clone() }), "it was answered wrongly");
        let late = Loss { began: gone + Duration::from_millis(1), ..held };
        assert!(allowed(&late), "the client had not seen yet that its connection was over");
        assert!(!allowed(&Loss { worker: None, ..late }), "it was accepted by another process");
    }
}
