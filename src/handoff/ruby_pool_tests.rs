//! What Ruby's einhorn wrote, taken over by a pool that goes on where it was.

use std::time::Duration;

use super::tests::{golden, read};
use super::*;
use crate::base::{Mono, Pid, Signal, Slot, Version, Wall, WorkerIndex};
use crate::handoff::einhorn::Children;
use crate::pool::{
    AckMode, Action, Backoff, Event, Ping, Pool, Preparing, State, StopSignal, Terms, Told, UpgradeStyle,
};
use crate::yaml::Value;

/// Where the clocks of these tests agree: some 15 s after the last that the golden documents tell of.
const WALL: Wall = Wall { seconds: 1_795_395_600, nanos: 0 };
const NOW: Mono = Mono::from_nanos(1_000_000_000_000);

fn mono(wall: Wall) -> Mono {
    let nanos = i128::from(wall.seconds - WALL.seconds) * 1_000_000_000 + i128::from(wall.nanos);
    Mono::from_nanos(u64::try_from(i128::from(NOW.as_nanos()) + nanos).unwrap())
}

fn at(seconds: i64, nanos: u32) -> Mono {
    mono(Wall { seconds, nanos })
}

fn taken_over(text: &str) -> Result<State, HandoffError> {
    read(text).pool_of_ruby(Reader { now: NOW, mono: &mono, max_unacked: 4 })
}

fn pool_of(text: &str) -> State {
    taken_over(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A golden document with changes, each made wherever it can be.
fn edited(name: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(golden(name), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in it");
        text.replace(from, to)
    })
}

/// What the pool asks for when it goes on.
fn resumed(snapshot: State) -> (Pool, Vec<Action>) {
    let (mut pool, mut actions) = (Pool::restore(snapshot), Vec::new());
    pool.handle(NOW, Event::Resumed, &mut actions);
    (pool, actions)
}

#[test]
fn rubys_workers_are_ours_with_what_they_were_told() {
    let workers = pool_of(&golden("einhorn-1.1.1-busy")).workers;
    let [told, other] = workers.as_slice() else { panic!("{workers:?}") };
    let told_at = at(1_795_395_581, 745_983_214);
    let kill_at = Some(told_at.after(Duration::from_secs(30)));
    let expected = Told { signals: vec![Signal::USR2], first_at: told_at, last_at: told_at, kill_at };
    assert_eq!((told.pid, told.index, told.version), (Pid(4711), WorkerIndex(0), Version(0)));
    assert_eq!((told.told.as_ref(), told.graceful, told.execed), (Some(&expected), Signal::USR2, true));
    let wall = Some(Wall { seconds: 1_795_395_583, nanos: 745_983_216 });
    let ping = Ping { wall, ..Ping::new(at(1_795_395_583, 745_983_216), "req-1".to_owned()) };
    assert_eq!((told.spawned_at, told.ping.as_ref()), (at(1_795_395_582, 745_983_215), Some(&ping)));
    let spinup = at(1_795_395_584, 745_983_217);
    assert_eq!((other.pid, other.acked_at, other.serves()), (Pid(4712), Some(spinup), true));
}

#[test]
fn what_ruby_was_told_to_aim_at_is_in_force() {
    let snapshot = pool_of(&golden("einhorn-1.1.1-busy"));
    let settings = snapshot.settings;
    assert_eq!((settings.target, settings.ack, settings.spacing_s), (1, AckMode::Manual, 0.1));
    assert_eq!((settings.max_unacked, settings.max_upgrade_additional), (4, None), "the limit is the reader's");
    assert_eq!((settings.signal_timeout, settings.retries), (Some(Duration::from_secs(30)), None));
    assert_eq!((snapshot.fallback, snapshot.last_spinup), (settings, Some(at(1_795_395_584, 745_983_217))));
    let deaths = ("consecutive_deaths_before_ack: 0", "consecutive_deaths_before_ack: 3");
    let snapshot = pool_of(&edited("einhorn-1.1.1-timers", &[deaths]));
    assert_eq!(snapshot.settings.ack, AckMode::Timer(Duration::from_secs(500)));
    assert_eq!(snapshot.backoff, Backoff { unacked_deaths: 3, ..Backoff::default() });
}

#[test]
fn an_upgrade_for_which_ruby_replaced_itself_is_prepared() {
    for name in ["einhorn-1.1.1-busy", "einhorn-0.8.2-derived"] {
        let snapshot = pool_of(&golden(name));
        let preparing = Preparing {
            version: Version(1),
            style: UpgradeStyle::Smooth,
            terms: Terms::default(),
            asked_again: false,
            dropped: false,
        };
        assert_eq!((snapshot.preparing, snapshot.upgrade), (Some(preparing), None), "{name}");
        assert_eq!(resumed(snapshot).1, [Action::PrepareRelease { version: Version(1) }], "{name}");
    }
}

#[test]
fn a_worker_acks_when_rubys_timer_would_have_acked_it() {
    let (mut pool, actions) = resumed(pool_of(&golden("einhorn-1.1.1-timers")));
    assert_eq!(actions, []);
    let first = at(1_795_395_583, 745_983_216).after(Duration::from_secs(500));
    assert_eq!((pool.deadline(), pool.serving_count()), (Some(first), 0));
    pool.handle(first, Event::DeadlinePassed, &mut Vec::new());
    assert_eq!(pool.serving_count(), 1);
    pool.handle(first.after(Duration::from_secs(2)), Event::DeadlinePassed, &mut Vec::new());
    assert_eq!(pool.serving_count(), 2);
}

#[test]
fn a_timer_that_was_set_to_another_time_rings_at_its_own() {
    for (time, seconds) in [("20", 20), ("700.5", 700)] {
        let text = edited("einhorn-1.1.1-timers", &[(":time: 500.0", &format!(":time: {time}"))]);
        let due = at(1_795_395_583, 745_983_216).after(Duration::from_secs(seconds));
        let deadline = resumed(pool_of(&text)).0.deadline().unwrap();
        assert!(deadline >= due && deadline.since(due) < Duration::from_secs(1), "{time}");
    }
}

#[test]
fn a_worker_without_its_timer_is_timed_from_its_launch() {
    let text = edited("einhorn-1.1.1-timers", &[(":pid: 4711", ":pid: 4799")]);
    assert_eq!(pool_of(&text).workers[0].spawned_at, at(1_795_395_581, 745_983_214));
}

/// The version that a failed upgrade goes back to is one of which a worker serves.
#[test]
fn an_upgrade_under_way_goes_on() {
    let upgrading = [
        (":upgrading: false", ":upgrading: true"),
        (":reloading_for_upgrade: true", ":reloading_for_upgrade: false"),
        ("  :version: 0\n  :sockets", "  :version: 3\n  :sockets"),
    ];
    let snapshot = pool_of(&edited("einhorn-1.1.1-busy", &upgrading));
    assert_eq!((snapshot.modern, snapshot.newest, snapshot.good), (Version(3), Version(3), Version(0)));
    assert_eq!(snapshot.last_style, Some(UpgradeStyle::Smooth));
    let (pool, actions) = resumed(snapshot);
    assert_eq!(pool.upgrading(), Some(UpgradeStyle::Smooth));
    let launch = Action::SpawnWorker { index: WorkerIndex(2), slot: Slot(0), version: Version(3) };
    assert!(actions.contains(&launch), "{actions:?}");
    let unacked = [upgrading.as_slice(), &[(":acked: true", ":acked: false")]].concat();
    let fleet = [unacked.as_slice(), &[(":smooth_upgrade: true", ":smooth_upgrade: false")]].concat();
    let snapshot = pool_of(&edited("einhorn-1.1.1-busy", &fleet));
    assert_eq!((snapshot.good, snapshot.last_style), (Version(3), Some(UpgradeStyle::Fleet)));
}

#[test]
fn a_ruby_that_was_stopping_goes_on_stopping() {
    let snapshot = pool_of(&edited("einhorn-1.1.1-busy", &[(":respawn: true", ":respawn: false")]));
    let stopping = snapshot.stopping.unwrap();
    assert_eq!((stopping.stop_signal, stopping.grace), (StopSignal::Graceful, Some(Duration::from_secs(30))));
    assert_eq!((snapshot.preparing, snapshot.upgrade), (None, None));
    assert_eq!(resumed(snapshot).1, []);
}

#[test]
fn a_worker_that_ruby_killed_is_not_killed_again() {
    let killed = ("          USR2: true\n", "          USR2: true\n          KILL: true\n");
    let snapshot = pool_of(&edited("einhorn-1.1.1-busy", &[killed]));
    assert!(snapshot.workers[0].killed);
}

#[test]
fn what_an_older_einhorn_did_not_write_is_made_up_for() {
    let text = edited(
        "einhorn-1.1.1-busy",
        &[
            ("      :index: 0\n", ""),
            ("      :spinup_time: 2026-11-23 00:59:42.745983215 +00:00\n", ""),
            ("  :last_spinup: *1\n", ""),
        ],
    );
    let snapshot = pool_of(&text);
    let indices: Vec<u32> = snapshot.workers.iter().map(|worker| worker.index.0).collect();
    assert_eq!(indices, [0, 1]);
    assert_eq!((snapshot.workers[0].spawned_at, snapshot.last_spinup), (NOW, Some(NOW)));
}

/// Whatever the clocks say when it is written: they were read one after the other.
#[test]
fn the_form_of_a_ping_survives_the_way_to_us_and_back() {
    let text = edited("einhorn-1.1.1-busy", &[(":pinged_request_id: req-1", ":pinged_request_id: 1795962350.1548183")]);
    let read = Document::from_yaml(&text).unwrap().state.children.workers[0].1.clone();
    let shown = Children::of(&pool_of(&text), |_| Wall { seconds: 7, nanos: 7 }).workers[0].1.clone();
    assert_eq!((shown.pinged_at, shown.pinged_request_id), (read.pinged_at, Value::Float(1_795_962_350.154_818_3)));
}

#[test]
fn a_wall_clock_that_was_put_back_does_not_put_anything_off() {
    let text = edited("einhorn-1.1.1-timers", &[("2026-11-23", "2027-11-23")]);
    let snapshot = pool_of(&text);
    assert_eq!((snapshot.workers[0].spawned_at, snapshot.last_spinup), (NOW, Some(NOW)));
}

#[rustfmt::skip]
const WRONG: [(&str, &str, &str); 2] = [
    (":number: 2", ":number: 0", ":state: :config: :number: need a number from 1 on, found 0"),
    ("      :version: 0", "      :version: 1", ":state: :children: 4711: :version: need a version up to 0, found 1"),
];

#[test]
fn what_einhorn_takes_and_makes_no_sense_is_the_nearest_that_does() {
    let text = edited(
        "einhorn-1.1.1-timers",
        &[
            (":seconds: 1", ":seconds: -0.5\n    :max_unacked: 0\n    :max_upgrade_additional: -3"),
            (":backlog: 100", ":backlog: -1"),
            (":timeout: 500.0", ":timeout: 1.0e+300"),
            (":signal_timeout:", ":signal_timeout: 0"),
        ],
    );
    let settings = pool_of(&text).settings;
    assert_eq!((settings.spacing_s, settings.max_unacked, settings.max_upgrade_additional), (0.001, 1, Some(1)));
    assert_eq!(settings.signal_timeout, Some(Duration::from_secs(1)));
    assert_eq!(settings.ack, AckMode::Timer(Duration::from_secs(86_400)));
}

#[test]
fn what_no_pool_can_be_is_refused() {
    for (from, to, message) in WRONG {
        let error = taken_over(&edited("einhorn-1.1.1-timers", &[(from, to)])).expect_err(message);
        assert_eq!(error.to_string(), format!("cannot read the handoff: {message}"));
    }
    let text = edited("einhorn-1.1.1-timers", &[(":number: 2", ":number: -1")]);
    let message = "cannot read the handoff: :state: :config: :number: need a number from 0 to 4294967295, found -1";
    assert_eq!(Document::from_yaml(&text).unwrap_err().to_string(), message);
}
