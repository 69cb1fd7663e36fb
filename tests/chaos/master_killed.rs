//! What becomes of a service whose master is killed, and how another one takes its place: the workers serve on, or leave, and the
//! port is theirs until they have. It only does and tells; what may be lost is decided elsewhere.

use nix::sys::signal::Signal;

use crate::event::signal_all;
use crate::site::Site;
use crate::support::{LIMIT, Process, wait_until};

/// How often a start in the place of a dead master is tried, while the workers of the dead one leave.
const STARTS_MAX: u64 = 10_000;

/// Kills the master alone, and returns the workers that it has left.
pub fn kill(site: &Site) -> Vec<Process> {
    let workers = site.master.workers();
    site.master.signal(Signal::SIGKILL);
    wait_until("the master is dead", LIMIT, || !site.master.is_running());
    workers
}

/// Starts another one while the workers of the dead one serve: it must be refused, and say why.
pub fn start_beside_orphans(site: &Site) -> Result<String, String> {
    let second = site.start_another();
    let code = second.wait_exit().code();
    let why = second.log().lines().pop().unwrap_or_default();
    match code {
        Some(code) if code != 0 && why.contains("in use") => Ok(format!("exit code {code}: {why}")),
        _ => Err(format!("a start on a port that is taken ended with {code:?}; its log:\n{}", second.log())),
    }
}

/// Tells the orphans to go, waits until they have, and starts another master.
pub fn replace_orphans(site: &mut Site, orphans: &[Process]) -> Result<(), String> {
    signal_all(orphans, Signal::SIGUSR2);
    wait_until("the orphans have left", LIMIT, || orphans.iter().all(|orphan| !orphan.is_alive()));
    site.start_again();
    site.settle().map(drop)
}

/// Starts another master at once and again, as a supervisor of the supervisor would, until one has the port. Says after how many
/// tries.
pub fn start_until_it_holds(site: &mut Site) -> Result<u64, String> {
    for starts in 1..=STARTS_MAX {
        site.start_again();
        let serves = || !site.master.workers().is_empty() || !site.master.is_running();
        wait_until("it serves, or is refused", LIMIT, serves);
        if site.master.is_running() {
            return site.settle().map(|_| starts);
        }
    }
    Err(format!("{STARTS_MAX} starts were refused"))
}
