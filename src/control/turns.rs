//! Whose line is parsed next: each admin's at once, and of all others a few in a turn, shared out among the users and workers that
//! they come from. It knows whose lines they are, not what they say.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::base::{ClientId, Pid};
use crate::protocol::{Peer, Role};

/// How many lines of others than admins are parsed before poll(2) is asked again. A line may be 64 KiB of YAML.
pub(crate) const OTHERS_A_TURN: usize = 4;

/// A connection that has a line to be parsed, by its place among the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) place: usize,
    pub(crate) id: ClientId,
    pub(crate) peer: Peer,
    /// The turn in which its last line was parsed; 0 for none.
    pub(crate) last_turn: u64,
}

/// Whose lines share a part of the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Party {
    User(u32),
    Worker(Pid),
}

/// Remembers which party had a turn last, so that none is passed over for ever.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    last: Option<Party>,
    pub(crate) number: u64,
}

/// What is parsed in this turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// In this order.
    pub(crate) places: Vec<usize>,
    /// Whether lines are left over, which need another turn.
    pub(crate) is_short: bool,
}

impl Turns {
    /// The next turn of those that wait.
    pub(crate) fn next(&mut self, waiting: &[Waiting]) -> Turn {
        self.number += 1;
        let mut places = Vec::new();
        let mut parties: BTreeMap<Party, Vec<Waiting>> = BTreeMap::new();
        for one in waiting {
            match party(one.peer) {
                None => places.push(one.place),
                Some(party) => parties.entry(party).or_default().push(*one),
            }
        }
        // The one that waits longest is taken from the end.
        for party in parties.values_mut() {
            party.sort_by_key(|one| Reverse((one.last_turn, one.id)));
        }
        let mut last = self.last;
        for _ in 0..OTHERS_A_TURN {
            let Some(party) = next_party(&parties, last) else { break };
            last = Some(party);
            places.extend(parties.get_mut(&party).and_then(Vec::pop).map(|one| one.place));
            parties.retain(|_, rest| !rest.is_empty());
        }
        Turn { places, is_short: !parties.is_empty() }
    }

    /// A line of this peer was parsed, so that the next turn begins behind it.
    pub(crate) fn had(&mut self, peer: Peer) {
        self.last = party(peer).or(self.last);
    }
}

/// None: an admin, which waits for no turn.
fn party(peer: Peer) -> Option<Party> {
    match peer.role {
        Role::Admin => None,
        Role::Guest => Some(Party::User(peer.uid)),
        Role::Worker(pid) => Some(Party::Worker(pid)),
    }
}

/// The one behind the last, and after the highest the lowest again.
fn next_party(parties: &BTreeMap<Party, Vec<Waiting>>, last: Option<Party>) -> Option<Party> {
    let behind = parties.keys().find(|party| last.is_none_or(|last| **party > last));
    behind.or_else(|| parties.keys().next()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(place: usize, uid: u32, role: Role) -> Waiting {
        let peer = Peer { pid: Pid(1), uid, role };
        Waiting { place, id: ClientId(place as u64 + 1), peer, last_turn: 0 }
    }

    #[test]
    fn admins_come_first_and_all_at_once() {
        let mut all: Vec<_> = (0..20).map(|place| waiting(place, 7, Role::Guest)).collect();
        all.extend((20..30).map(|place| waiting(place, 0, Role::Admin)));
        let turn = Turns::default().next(&all);
        assert_eq!(turn.places, (20..30).chain(0..OTHERS_A_TURN).collect::<Vec<_>>());
        assert!(turn.is_short);
        assert_eq!(Turns::default().next(&all[20..]), Turn { places: (20..30).collect(), is_short: false });
    }

    #[test]
    fn a_user_with_many_connections_has_only_the_turns_that_others_leave() {
        let mut turns = Turns::default();
        let crowd = (0..60).map(|place| waiting(place, 7, Role::Guest));
        let others = [waiting(60, 8, Role::Guest), waiting(61, 0, Role::Worker(Pid(9)))];
        let all: Vec<_> = crowd.chain(others).collect();
        let mut counts = [0; 3];
        for _ in 0..30 {
            for place in turns.next(&all).places {
                counts[place.saturating_sub(59)] += 1;
                turns.had(all[place].peer);
            }
        }
        assert_eq!(counts, [60, 30, 30], "four in each of 30 turns");
    }

    #[test]
    fn a_busy_connection_does_not_starve_others_of_its_user() {
        let mut turns = Turns::default();
        let mut all: Vec<_> = (0..6).map(|place| waiting(place, 7, Role::Guest)).collect();
        for place in turns.next(&all).places {
            all[place].last_turn = turns.number;
        }
        assert_eq!(turns.next(&all).places[..2], [4, 5]);
    }
}
