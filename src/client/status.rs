//! What a master says of itself, whichever way it says it: our own in JSON, any other by its state document. Asks nothing,
//! and shows nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::base::Pid;
use crate::client::failure::Failure;
use crate::yaml::{self, Limits, Time, Value};

/// What is missing is left out: a master of another version may say less, or more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) pid: Option<i64>,
    pub(super) name: Option<String>,
    pub(super) version: i64,
    pub(super) target: i64,
    pub(super) upgrade: Option<Upgrade>,
    pub(super) waits_for: Option<WaitsFor>,
    /// That of the version that is launched now.
    pub(super) trial: Option<Trial>,
    /// Slots that wait because their workers died young.
    pub(super) waiting: Vec<Waiting>,
    /// Slots that stay down because no restart mends what their workers ended with.
    pub(super) down: Vec<Down>,
    /// Unix binds whose files are gone.
    pub(super) lost_sockets: Vec<String>,
    /// Of versions that are to be preloaded.
    pub(super) loaders: Vec<Loader>,
    pub(super) stopping: bool,
    pub(super) consecutive_deaths: i64,
    pub(super) workers: Vec<Worker>,
    pub(super) leftovers: Vec<Leftover>,
    /// What runs.
    pub(super) release: Option<Release>,
    /// The last attempt at another release, if it came to nothing.
    pub(super) last_failure: Option<Release>,
    pub(super) last_death: Option<Death>,
    /// Ruby's master counts nothing.
    pub(super) counters: BTreeMap<String, i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Upgrade {
    pub(super) style: String,
    pub(super) version: i64,
    pub(super) acked: i64,
    pub(super) target: i64,
    pub(super) failures: i64,
    /// How many slots run it by now, at most.
    pub(super) stage: Option<i64>,
    pub(super) paused: bool,
}

/// What an upgrade waits for; after it, for which old worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WaitsFor {
    pub(super) kind: String,
    pub(super) pid: Option<i64>,
    pub(super) slot: Option<i64>,
    pub(super) text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Trial {
    pub(super) version: i64,
    pub(super) failures: i64,
    pub(super) max_failures: i64,
    /// None: not as many serve as are wanted.
    pub(super) left_s: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Waiting {
    pub(super) slot: i64,
    pub(super) deaths: i64,
    pub(super) next_in_s: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Down {
    pub(super) slot: i64,
    pub(super) exit_status: i64,
    pub(super) down_s: f64,
}

/// How the workers of a version are made that is to be preloaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Loader {
    pub(super) version: i64,
    /// `loading`, `loaded`, or `executed`: it could not be.
    pub(super) state: String,
    pub(super) pid: Option<i64>,
}

/// What a worker that ended has left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Leftover {
    pub(super) worker: i64,
    pub(super) group: i64,
    pub(super) left_program: Option<String>,
    pub(super) signal: String,
    pub(super) told_s: f64,
    pub(super) killed: bool,
}

/// An entry of the record of releases.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Release {
    pub(super) version: Option<i64>,
    pub(super) path: Option<String>,
    /// `start`, `takeover`, `client`, or a signal by its name.
    pub(super) asked_by: String,
    pub(super) uid: Option<i64>,
    pub(super) user: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) began: String,
    pub(super) ended: Option<String>,
    pub(super) why: Option<String>,
}

/// The last worker that ended without having been told to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Death {
    pub(super) at: String,
    pub(super) why: String,
    pub(super) last_lines: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Worker {
    pub(super) index: Option<i64>,
    pub(super) slot: Option<i64>,
    pub(super) pid: i64,
    pub(super) version: i64,
    /// `starting`, `acked`, `stopping` or `stopped`.
    pub(super) state: String,
    pub(super) age_s: Option<f64>,
    pub(super) ack_age_s: Option<f64>,
    pub(super) last_ping_s: Option<f64>,
    pub(super) ping_id: Option<String>,
}

impl Status {
    /// From our own master.
    pub(super) fn from_json(status: &Json) -> Result<Self, Failure> {
        Self::deserialize(status).map_err(Failure::unreadable)
    }

    /// From a state document, as far as it goes. `now` is the wall clock, since that is what the document has.
    pub(super) fn from_state(document: &str, master: Pid, now: Time) -> Result<Self, Failure> {
        let read = yaml::read(document, Limits::TRUSTED).map_err(Failure::unreadable)?;
        let Some(state) = read.get_symbol("state") else {
            return Err(Failure::unreadable("the state document has no :state:"));
        };
        let children = state.get_symbol("children").and_then(Value::as_map).unwrap_or_default();
        let workers: Vec<_> = children.iter().filter_map(|(pid, child)| worker_from_state(pid, child, now)).collect();
        let mut status = Self {
            pid: Some(i64::from(master.0)),
            name: state.get_symbol("cmd_name").and_then(Value::as_str).map(str::to_owned),
            version: symbol_int(state, "version"),
            target: state.get_symbol("config").map_or(0, |config| symbol_int(config, "number")),
            stopping: state.get_symbol("respawn").and_then(Value::as_bool) == Some(false),
            consecutive_deaths: symbol_int(state, "consecutive_deaths_before_ack"),
            workers,
            ..Self::default()
        };
        status.upgrade = status.upgrade_from_state(state);
        Ok(status)
    }

    pub(super) fn serving(&self) -> usize {
        self.workers.iter().filter(|worker| worker.state == "acked").count()
    }

    /// How many serve of each version, the newest first.
    pub(super) fn serving_by_version(&self) -> Vec<(i64, usize)> {
        let mut counts = BTreeMap::new();
        for worker in self.workers.iter().filter(|worker| worker.state == "acked") {
            *counts.entry(worker.version).or_default() += 1;
        }
        counts.into_iter().rev().collect()
    }

    /// The same keys as our master's own document.
    pub(super) fn to_json(&self) -> Json {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn upgrade_from_state(&self, state: &Value) -> Option<Upgrade> {
        let flag = |key: &str| state.get_symbol(key).and_then(Value::as_bool) == Some(true);
        flag("upgrading").then(|| Upgrade {
            style: if flag("smooth_upgrade") { "smooth" } else { "fleet" }.to_owned(),
            version: self.version,
            acked: count(self.workers.iter().filter(|one| one.version == self.version && one.state == "acked")),
            target: self.target,
            failures: self.consecutive_deaths,
            ..Upgrade::default()
        })
    }
}

/// A child that is a worker; einhorn lists its state passer too.
fn worker_from_state(pid: &Value, child: &Value, now: Time) -> Option<Worker> {
    if child.get_symbol("type").and_then(Value::as_symbol) != Some("worker") {
        return None;
    }
    let acked = child.get_symbol("acked").and_then(Value::as_bool) == Some(true);
    let signaled = child.get_symbol("signaled").and_then(Value::as_set).is_some_and(|signals| !signals.is_empty());
    let state = match (signaled, acked) {
        (true, _) => "stopping",
        (false, true) => "acked",
        (false, false) => "starting",
    };
    let age = |key: &str| child.get_symbol(key).and_then(Value::as_time).map(|then| seconds_between(then, now));
    Some(Worker {
        index: child.get_symbol("index").and_then(Value::as_int),
        slot: None,
        pid: pid.as_int()?,
        version: symbol_int(child, "version"),
        state: state.to_owned(),
        age_s: age("spinup_time"),
        ack_age_s: None,
        last_ping_s: age("pinged_at"),
        ping_id: child.get_symbol("pinged_request_id").filter(|id| !id.is_nil()).map(yaml::text),
    })
}

/// To a tenth of a second, never below zero: the clock may have been set.
fn seconds_between(then: Time, now: Time) -> f64 {
    let seconds = now.seconds.saturating_sub(then.seconds) as f64;
    let nanos = f64::from(now.nanos) - f64::from(then.nanos);
    ((seconds + nanos / 1e9).max(0.0) * 10.0).round() / 10.0
}

fn count<T>(items: impl Iterator<Item = T>) -> i64 {
    i64::try_from(items.count()).unwrap_or(i64::MAX)
}

fn symbol_int(map: &Value, key: &str) -> i64 {
    map.get_symbol(key).and_then(Value::as_int).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// As Ruby's master writes it in the middle of a smooth upgrade, with the state passer among the children.
    pub(in crate::client) const RUBY_STATE: &str = "---\n:state:\n  :children:\n    12:\n      :type: :worker\n      \
        :version: 0\n      :acked: true\n      :signaled: !ruby/object:Set\n        hash:\n          USR2: true\n      \
        :last_signaled_at: 2026-11-23 18:00:01.000000000 +00:00\n      :index: 0\n      \
        :spinup_time: 2026-11-23 18:00:00.500000000 +00:00\n      :pinged_at: 2026-11-23 18:00:08.000000000 +00:00\n      \
        :pinged_request_id: req-1\n    13:\n      :type: :worker\n      :version: 1\n      :acked: true\n      \
        :signaled: !ruby/object:Set\n        hash: {}\n      :last_signaled_at:\n      :index: 1\n      \
        :spinup_time: &1 2026-11-23 18:00:09.000000000 +00:00\n    14:\n      :type: :state_passer\n    15:\n      \
        :type: :worker\n      :version: 1\n      :acked: false\n      :signaled: !ruby/object:Set\n        hash: {}\n      \
        :index: 2\n      :spinup_time: 2026-11-23 18:00:59.000000000 +00:00\n  :config:\n    :number: 2\n  :version: 1\n  \
        :respawn: true\n  :upgrading: true\n  :smooth_upgrade: true\n  :cmd_name: web\n  :last_spinup: *1\n  \
        :consecutive_deaths_before_ack: 3\n";

    fn now() -> Time {
        // 2026-11-23 18:00:10 UTC.
        Time::utc(1_795_456_810, 0)
    }

    #[test]
    fn rubys_state_is_a_status_as_far_as_it_goes() {
        let status = Status::from_state(RUBY_STATE, Pid(7), now()).unwrap();
        let style = "smooth".to_owned();
        assert_eq!(
            status.upgrade,
            Some(Upgrade { style, version: 1, acked: 1, target: 2, failures: 3, ..Upgrade::default() })
        );
        assert_eq!((status.pid, status.name.as_deref(), status.stopping), (Some(7), Some("web"), false));
        let shown = |worker: &Worker| (worker.index, worker.pid, worker.version, worker.state.clone(), worker.age_s);
        let shown: Vec<_> = status.workers.iter().map(shown).collect();
        let row = |index, pid, version, state: &str, age| (Some(index), pid, version, state.to_owned(), Some(age));
        // A worker from the future is new.
        let rows = [row(0, 12, 0, "stopping", 9.5), row(1, 13, 1, "acked", 1.0), row(2, 15, 1, "starting", 0.0)];
        assert_eq!(shown, rows);
        let pinged = &status.workers[0];
        assert_eq!((pinged.last_ping_s, pinged.ping_id.as_deref()), (Some(2.0), Some("req-1")));
    }

    #[test]
    fn a_status_survives_json() {
        let mut status = Status::from_state(RUBY_STATE, Pid(7), now()).unwrap();
        status.counters = BTreeMap::from([("launched".to_owned(), 3), ("killed".to_owned(), 1)]);
        assert_eq!(Status::from_json(&status.to_json()).unwrap(), status);
    }

    #[test]
    fn what_is_missing_does_not_matter() {
        assert_eq!(Status::from_json(&json!({})).unwrap(), Status::default());
        let more = json!({"target": 2, "mood": "fine", "workers": [{"pid": 3, "mood": "fine"}], "upgrade": null});
        assert_eq!(Status::from_json(&more).unwrap().workers[0].pid, 3);
        assert!(Status::from_json(&json!({"target": "two"})).is_err());
        let lean = Status::from_state("---\n:state: {}\n", Pid(1), now()).unwrap();
        assert_eq!(lean, Status { pid: Some(1), ..Status::default() });
        assert!(Status::from_state("--- hello", Pid(1), now()).is_err());
    }
}
