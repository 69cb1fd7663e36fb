//! What a master says of itself, whichever way it says it: our own in JSON, any other by its state document. Asks nothing,
//! and shows nothing.

use serde_json::{Value as Json, json};

use crate::client::failure::Failure;
use crate::pool::Pid;
use crate::yaml::{self, Limits, Time, Value};

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::client) struct Status {
    pub(in crate::client) pid: Option<i64>,
    pub(in crate::client) name: Option<String>,
    pub(in crate::client) version: i64,
    pub(in crate::client) target: i64,
    pub(in crate::client) upgrade: Option<Upgrade>,
    pub(in crate::client) stopping: bool,
    pub(in crate::client) consecutive_deaths: i64,
    pub(in crate::client) workers: Vec<Worker>,
    /// Ruby's master counts nothing.
    pub(in crate::client) counters: Vec<(&'static str, i64)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::client) struct Upgrade {
    pub(in crate::client) style: String,
    pub(in crate::client) version: i64,
    pub(in crate::client) acked: i64,
    pub(in crate::client) target: i64,
    pub(in crate::client) failures: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::client) struct Worker {
    pub(in crate::client) index: Option<i64>,
    pub(in crate::client) pid: i64,
    pub(in crate::client) version: i64,
    /// `starting`, `acked`, `stopping` or `stopped`.
    pub(in crate::client) state: String,
    pub(in crate::client) age_s: Option<f64>,
    pub(in crate::client) ack_age_s: Option<f64>,
    pub(in crate::client) last_ping_s: Option<f64>,
    pub(in crate::client) ping_id: Option<String>,
}

/// In the order in which they are shown.
const COUNTERS: [&str; 6] = ["launched", "exited", "killed", "upgrades", "failed_upgrades", "log_lines_dropped"];

impl Status {
    /// From our own master. What is missing is left out: a master of another version may say less, or more.
    pub(in crate::client) fn from_json(status: &Json) -> Self {
        let workers = status["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            pid: status["pid"].as_i64(),
            name: text(&status["name"]),
            version: integer(&status["version"]),
            target: integer(&status["target"]),
            upgrade: status["upgrade"].as_object().map(|_| upgrade_from_json(&status["upgrade"])),
            stopping: status["stopping"].as_bool().unwrap_or_default(),
            consecutive_deaths: integer(&status["consecutive_deaths"]),
            workers: workers.iter().map(worker_from_json).collect(),
            counters: COUNTERS.iter().filter_map(|name| Some((*name, status["counters"][name].as_i64()?))).collect(),
        }
    }

    /// From a state document, as far as it goes. `now` is the wall clock, since that is what the document has.
    pub(in crate::client) fn from_state(document: &str, master: Pid, now: Time) -> Result<Self, Failure> {
        let read = yaml::read(document, Limits::TRUSTED);
        let read = read.map_err(|error| Failure::Unreadable { cause: error.to_string() })?;
        let Some(state) = read.get_symbol("state") else {
            return Err(Failure::Unreadable { cause: "the state document has no :state:".to_owned() });
        };
        let children = state.get_symbol("children").and_then(Value::as_map).unwrap_or_default();
        let workers: Vec<_> = children.iter().filter_map(|(pid, child)| worker_from_state(pid, child, now)).collect();
        let mut status = Self {
            pid: Some(i64::from(master.0)),
            name: state.get_symbol("cmd_name").and_then(Value::as_str).map(str::to_owned),
            version: symbol_int(state, "version"),
            target: state.get_symbol("config").map_or(0, |config| symbol_int(config, "number")),
            upgrade: None,
            stopping: state.get_symbol("respawn").and_then(Value::as_bool) == Some(false),
            consecutive_deaths: symbol_int(state, "consecutive_deaths_before_ack"),
            workers,
            counters: Vec::new(),
        };
        status.upgrade = status.upgrade_from_state(state);
        Ok(status)
    }

    pub(in crate::client) fn serving(&self) -> usize {
        self.workers.iter().filter(|worker| worker.state == "acked").count()
    }

    /// The same keys as our master's own document.
    pub(in crate::client) fn to_json(&self) -> Json {
        let upgrade = self.upgrade.as_ref().map(|upgrade| {
            let Upgrade { style, version, acked, target, failures } = upgrade;
            json!({"style": style, "version": version, "acked": acked, "target": target, "failures": failures})
        });
        let counters: serde_json::Map<_, _> =
            self.counters.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        json!({
            "pid": self.pid, "name": self.name, "version": self.version, "target": self.target, "upgrade": upgrade,
            "stopping": self.stopping, "consecutive_deaths": self.consecutive_deaths,
            "workers": self.workers.iter().map(worker_to_json).collect::<Vec<_>>(), "counters": counters,
        })
    }

    fn upgrade_from_state(&self, state: &Value) -> Option<Upgrade> {
        let flag = |key: &str| state.get_symbol(key).and_then(Value::as_bool) == Some(true);
        flag("upgrading").then(|| Upgrade {
            style: if flag("smooth_upgrade") { "smooth" } else { "fleet" }.to_owned(),
            version: self.version,
            acked: count(self.workers.iter().filter(|one| one.version == self.version && one.state == "acked")),
            target: self.target,
            failures: self.consecutive_deaths,
        })
    }
}

fn upgrade_from_json(upgrade: &Json) -> Upgrade {
    Upgrade {
        style: text(&upgrade["style"]).unwrap_or_default(),
        version: integer(&upgrade["version"]),
        acked: integer(&upgrade["acked"]),
        target: integer(&upgrade["target"]),
        failures: integer(&upgrade["failures"]),
    }
}

fn worker_from_json(worker: &Json) -> Worker {
    Worker {
        index: worker["index"].as_i64(),
        pid: integer(&worker["pid"]),
        version: integer(&worker["version"]),
        state: text(&worker["state"]).unwrap_or_default(),
        age_s: worker["age_s"].as_f64(),
        ack_age_s: worker["ack_age_s"].as_f64(),
        last_ping_s: worker["last_ping_s"].as_f64(),
        ping_id: text(&worker["ping_id"]),
    }
}

fn worker_to_json(worker: &Worker) -> Json {
    let Worker { index, pid, version, state, age_s, ack_age_s, last_ping_s, ping_id } = worker;
    json!({
        "index": index, "pid": pid, "version": version, "state": state, "age_s": age_s, "ack_age_s": ack_age_s,
        "last_ping_s": last_ping_s, "ping_id": ping_id,
    })
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
        pid: pid.as_int()?,
        version: symbol_int(child, "version"),
        state: state.to_owned(),
        age_s: age("spinup_time"),
        ack_age_s: None,
        last_ping_s: age("pinged_at"),
        ping_id: child.get_symbol("pinged_request_id").and_then(Value::as_str).map(str::to_owned),
    })
}

/// To a tenth of a second, never below zero: somebody may have set the clock.
fn seconds_between(then: Time, now: Time) -> f64 {
    let seconds = now.seconds.saturating_sub(then.seconds) as f64;
    let nanos = f64::from(now.nanos) - f64::from(then.nanos);
    ((seconds + nanos / 1e9).max(0.0) * 10.0).round() / 10.0
}

fn count<T>(items: impl Iterator<Item = T>) -> i64 {
    i64::try_from(items.count()).unwrap_or(i64::MAX)
}

fn integer(value: &Json) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn text(value: &Json) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn symbol_int(map: &Value, key: &str) -> i64 {
    map.get_symbol(key).and_then(Value::as_int).unwrap_or_default()
}

#[cfg(test)]
pub(in crate::client) mod tests {
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
        assert_eq!(status.upgrade, Some(Upgrade { style, version: 1, acked: 1, target: 2, failures: 3 }));
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
        status.counters = vec![("launched", 3), ("killed", 1)];
        assert_eq!(Status::from_json(&status.to_json()), status);
    }

    #[test]
    fn what_is_missing_does_not_matter() {
        assert_eq!(Status::from_json(&json!({})), Status::default());
        let lean = Status::from_state("---\n:state: {}\n", Pid(1), now()).unwrap();
        assert_eq!(lean, Status { pid: Some(1), ..Status::default() });
        assert!(Status::from_state("--- hello", Pid(1), now()).is_err());
    }
}
