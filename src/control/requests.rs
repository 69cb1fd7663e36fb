//! From complete lines to requests for the main thread: whose line is parsed next, what its client may not ask for, and how many
//! requests are on their way. It decides nothing about those that it passes on.

use crate::base::Mono;
use crate::control::connection::Connection;
use crate::control::line_buffer::Reading;
use crate::control::turns::{Turns, Waiting};
use crate::logging::rate_limiter::LogRateLimiter;
use crate::protocol::{self, Format, Reply, Role};
use crate::threads::Input;
use crate::threads::gate::Gate;

pub(crate) struct Requests {
    gate: Gate,
    turns: Turns,
    denied: LogRateLimiter,
}

/// What became of a connection's next line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parsed {
    Done,
    /// The next line may be there already, and no event tells of it.
    MayHaveMore,
    /// It stays until the main thread is done with others; then the gate wakes this thread.
    NoRoom,
}

impl Requests {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { gate, turns: Turns::default(), denied: LogRateLimiter::default() }
    }

    /// Passes on what lines ask for: all admins', and as many of the others' as there is room for. Says whether there is more to do
    /// of which no event tells.
    pub(crate) fn pass_on(&mut self, connections: &mut [Connection], now: Mono, send: &mut dyn FnMut(Input)) -> bool {
        let waiting: Vec<Waiting> = connections.iter_mut().enumerate().filter_map(waiting).collect();
        let turn = self.turns.next(&waiting);
        let (mut is_full, mut has_more) = (false, false);
        for place in turn.places {
            // A ticket that comes back meanwhile is for the connection that was refused one.
            if is_full && connections[place].peer.role != Role::Admin {
                break;
            }
            match self.parse_next(&mut connections[place], now, send) {
                Parsed::Done => {}
                Parsed::MayHaveMore => has_more = true,
                Parsed::NoRoom => is_full = true,
            }
        }
        has_more || (turn.is_short && !is_full)
    }

    /// Takes the next line of a connection: refuses it, denies it, or passes it on. A request without a reply that tells that the main
    /// thread is done with it needs a ticket.
    fn parse_next(&mut self, connection: &mut Connection, now: Mono, send: &mut dyn FnMut(Input)) -> Parsed {
        let mut ticket = None;
        if connection.needs_ticket || connection.peer.role != Role::Admin {
            ticket = self.gate.ticket();
            if ticket.is_none() {
                return Parsed::NoRoom;
            }
        }
        let line = match connection.next_line(now) {
            Reading::Line(line) => line,
            Reading::Nothing => return Parsed::Done,
            Reading::TooLong => {
                connection.refuse(&Reply::last("Request too long", None).to_line(Format::Yaml), now);
                return Parsed::Done;
            }
        };
        connection.last_turn = self.turns.number;
        self.turns.had(connection.peer);
        let request = protocol::parse(&line);
        let (client, peer) = (connection.id, connection.peer);
        if !peer.may(request.speaker) {
            self.denied.warn(now, format_args!("[client {}] {peer} asked for what only an admin may", client.0));
            connection.answer(&Reply::last(peer.denial(), request.id).to_line(request.format), now);
            return Parsed::MayHaveMore;
        }
        let ends = request.ends_connection();
        if ends && ticket.is_none() {
            ticket = self.gate.ticket();
            if ticket.is_none() {
                connection.put_back(&line, now);
                return Parsed::NoRoom;
            }
        }
        connection.needs_ticket = false;
        send(Input::Requested { client, peer, request, ticket: ticket.filter(|_| ends) });
        match peer.role {
            _ if !ends => Parsed::Done,
            // It has this connection for life: a ping may follow its ack.
            Role::Worker(_) => {
                connection.go_on();
                Parsed::MayHaveMore
            }
            Role::Admin | Role::Guest => {
                connection.close();
                Parsed::Done
            }
        }
    }
}

/// A connection that has a line.
fn waiting((place, connection): (usize, &mut Connection)) -> Option<Waiting> {
    let (id, peer, last_turn) = (connection.id, connection.peer, connection.last_turn);
    connection.has_line().then_some(Waiting { place, id, peer, last_turn })
}
