//! A pool into our part of the document and back; and a document that no pool can have written.

use super::tests::{changed, golden, read};
use super::*;
use crate::handoff::fuzzing::rewritten;
use crate::base::{Mono, Wall};
use crate::pool::{Snapshot, UpgradeStyle};

/// Where the clocks of these tests agree.
const SECONDS: i64 = 1_795_395_600;

fn wall(moment: Mono) -> Wall {
    let nanos = moment.as_nanos();
    Wall { seconds: SECONDS + (nanos / 1_000_000_000) as i64, nanos: (nanos % 1_000_000_000) as u32 }
}

fn reader() -> Reader<'static> {
    Reader { now: Mono::from_nanos(u64::MAX), mono: &|_| Mono::from_nanos(7), max_unacked: 4 }
}

fn pool_of(document: &Document) -> Snapshot {
    document.pool(reader()).unwrap_or_else(|error| panic!("{error}"))
}

/// The golden document has another value than the default in each field, so a field that is forgotten is missed here.
#[test]
fn a_pool_that_was_read_is_written_as_it_was() {
    let document = read(&golden("ours-1"));
    let snapshot = pool_of(&document);
    let again = read(&rewritten(&document, &snapshot, wall).to_yaml());
    assert_eq!(pool_of(&again), snapshot);
    let (was, is) = (document.ours.unwrap(), again.ours.unwrap());
    assert_eq!((is.leftovers, is.settings, is.fallback_settings), (was.leftovers, was.settings, was.fallback_settings));
    let mut pool = was.pool;
    pool.preparing.as_mut().unwrap().style = UpgradeStyle::Fleet;
    assert_eq!(is.pool, pool, "the style that was asked for last is the one that counts");
    let without_pipes = was.workers.into_iter().map(|worker| ours::Worker { exec_pipe: None, ..worker });
    assert_eq!(is.workers, without_pipes.collect::<Vec<_>>());
}

#[test]
fn einhorn_is_told_what_it_knows_of() {
    let document = read(&golden("ours-1"));
    let part = EinhornPart::of(&pool_of(&document), wall);
    let state = &document.state;
    assert_eq!((part.number, part.seconds, part.version), (2, Number::Float(0.1), state.version));
    assert_eq!((part.max_unacked, part.max_upgrade_additional), (Some(3), Some(4)));
    assert_eq!((part.ack_mode, part.signal_timeout), (state.ack_mode, state.signal_timeout));
    let flags = (part.respawn, part.upgrading, part.smooth_upgrade, part.reloading_for_upgrade);
    assert_eq!(flags, (false, true, false, true));
    assert_eq!(part.workers[0].1.pinged_request_id, Value::str("req-1"));
    assert_eq!(part.workers[0].1.signaled.0.len(), 3, "one that was killed has KILL among its signals");
    let [timer] = part.ack_timers.as_slice() else { panic!("{:?}", part.ack_timers) };
    assert_eq!((timer.pid.0, timer.time, Some(timer.start)), (4712, Number::Float(2.5), part.workers[1].1.spinup_time));
}

#[test]
fn a_launch_that_our_part_does_not_date_is_dated_by_einhorns() {
    let document = read(&changed("    spawned_at: 81600000000002\n", ""));
    assert_eq!(pool_of(&document).workers[1].spawned_at, Mono::from_nanos(7));
}

#[rustfmt::skip]
const WRONG: [(&str, &str, &str); 4] = [
    ("      :version: 4\n", "      :version: 5\n", ":state: :children: 4712: :version: need a version up to 4, found 5"),
    ("    good: 3\n", "    good: 5\n", ":einhyrningsins: pool: good: need a version up to 4, found 5"),
    ("  - pid: 4712\n", "  - pid: 4799\n", ":einhyrningsins: workers: 4712: this worker of :state: is missing"),
    ("    4712:\n      :type: :worker\n", "    4712:\n      :type: :state_passer\n",
        ":einhyrningsins: workers: 4712: this worker is not in :state:"),
];

#[test]
fn a_pool_that_cannot_be_is_refused() {
    for (from, to, message) in WRONG {
        let error = read(&changed(from, to)).pool(reader()).expect_err(message);
        assert_eq!(error.to_string(), format!("cannot read the handoff: {message}"));
    }
}
