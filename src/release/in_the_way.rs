//! What is in the way of a bind that found its address in use, and what helps, as the end of a message. Looks, and binds for a moment what
//! no process has.

use std::net::SocketAddr;

use crate::base::{Pid, printable};
use crate::release::environment::MASTER_PID;
use crate::sys::port_use::{self, PortUse};
use crate::sys::procfs;
use crate::sys::socket::could_bind_with_reuse;

/// Empty: it is not known.
pub(super) fn in_the_way(address: SocketAddr) -> String {
    match port_use::of(address) {
        PortUse::Listening(holders) => listening(&others(holders)),
        PortUse::Connected(holders) => {
            let holders = match others(holders) {
                none if none.is_empty() => "a process that /proc does not show".to_owned(),
                holders => named(&holders),
            };
            format!("; connections there are held by {holders}{}", advice(address))
        }
        PortUse::Lingering => {
            format!("; connections of a former listener linger there, for a minute at most{}", advice(address))
        }
        PortUse::Unknown => String::new(),
    }
}

fn listening(holders: &[Pid]) -> String {
    if holders.is_empty() {
        return String::new();
    }
    let master = |pid: &Pid| procfs::variable(*pid, MASTER_PID)?.parse().ok().map(Pid);
    let orphan = holders.iter().filter_map(master).find(|master| !procfs::is_living(*master));
    let advice = orphan.map_or(String::new(), |master| {
        format!(", workers of master {master}, which is gone: they serve on until they are told to go (kill -USR2)")
    });
    format!("; held by {}{advice}", named(holders))
}

/// A connection has SO_REUSEADDR from its listener, and keeps each bind away unless both have it.
fn advice(address: SocketAddr) -> &'static str {
    if could_bind_with_reuse(address) {
        ": with ,r no start need wait for them"
    } else {
        ": they are of a listener without ,r; if it had that, and this one has, no start need wait"
    }
}

fn others(holders: Vec<Pid>) -> Vec<Pid> {
    holders.into_iter().filter(|pid| pid.0.unsigned_abs() != std::process::id()).collect()
}

pub(super) fn named(pids: &[Pid]) -> String {
    let names = pids.iter().map(|pid| match procfs::names(*pid).first() {
        Some(name) => format!("{pid} ({})", printable::line(name)),
        None => pid.to_string(),
    });
    format!("process {}", names.collect::<Vec<_>>().join(", "))
}
