//! What an upgrade waits for, in words: for the log, for `status`, for systemd. What it is, `pool` knows.

use serde_json::Value as Json;

use crate::base::Mono;
use crate::pool::{Wait, Waited};
use crate::protocol::object;

/// What is waited for, as `status` shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiting {
    kind: &'static str,
    worker: Option<Waited>,
    pub(crate) text: String,
}

impl Waiting {
    /// `connections`: how many an old worker holds, if that is known.
    pub(crate) fn of(wait: &Wait, now: Mono, connections: Option<usize>) -> Self {
        Self { kind: kind(wait), worker: wait.worker(), text: sentence(wait, now, connections) }
    }

    /// A job reads the configuration, and looks up what it names.
    pub(crate) fn for_job() -> Self {
        Self { kind: "job", worker: None, text: "waits until the configuration is read".to_owned() }
    }

    pub(crate) fn for_master() -> Self {
        Self { kind: "master", worker: None, text: "waits until the master has replaced itself".to_owned() }
    }

    pub(crate) fn document(&self) -> Json {
        let of_worker = |field: fn(Waited) -> Json| self.worker.map_or(Json::Null, field);
        object([
            ("kind", self.kind.into()),
            ("pid", of_worker(|worker| worker.pid.0.into())),
            ("slot", of_worker(|worker| worker.slot.0.into())),
            ("text", self.text.clone().into()),
        ])
    }
}

fn kind(wait: &Wait) -> &'static str {
    match wait {
        Wait::Resume { .. } => "resume",
        Wait::Check => "check",
        Wait::Bake { .. } => "bake",
        Wait::Ack { .. } => "ack",
        Wait::Timer { .. } => "timer",
        Wait::Continue { .. } => "continue",
        Wait::Exit { .. } => "exit",
        Wait::Launch { .. } => "launch",
    }
}

/// `waits for worker 123 (slot 2), told to go 40s ago, 1 connection`
pub(crate) fn sentence(wait: &Wait, now: Mono, connections: Option<usize>) -> String {
    let ago = |moment: Mono| format!("{}s ago", now.since(moment).as_secs());
    // A moment that has just passed is not yet told to the pool.
    let left = |moment: Mono| format!("{}s", moment.since(now).as_secs_f64().ceil());
    let details = match wait {
        Wait::Resume { since } => format!(", paused {}", ago(*since)),
        Wait::Check => String::new(),
        Wait::Bake { until } => format!(" for {} more", left(*until)),
        Wait::Ack { by, until } => {
            let left = until.map_or_else(String::new, |until| format!(", {} left", left(until)));
            format!(", launched {}{left}", ago(by.since))
        }
        Wait::Timer { by, until } => format!(", launched {}, for {} more", ago(by.since), left(*until)),
        Wait::Continue { by } => format!(" {}; CONT lets it go on", ago(by.since)),
        Wait::Exit { by, .. } => format!(" {}{}", ago(by.since), connections.map_or_else(String::new, held)),
        Wait::Launch { until, .. } => format!(", in {}", left(*until)),
    };
    brief(wait) + &details
}

/// Without what changes from second to second.
pub(crate) fn brief(wait: &Wait) -> String {
    match wait {
        Wait::Resume { .. } => "waits for resume".to_owned(),
        Wait::Check => "waits for its check".to_owned(),
        Wait::Bake { .. } => "watches the stage".to_owned(),
        Wait::Ack { by, .. } => format!("waits for the ack of {}", name(by)),
        Wait::Timer { by, .. } => format!("waits for {} to stay up", name(by)),
        Wait::Continue { by } => format!("waits for {}, stopped by a signal", name(by)),
        Wait::Exit { by, others: 0 } => format!("waits for {}, told to go", name(by)),
        Wait::Exit { by, others } => format!("waits for {} and {others} more, told to go", name(by)),
        Wait::Launch { slot, deaths: 0, .. } => format!("waits for the next launch, in slot {slot}"),
        Wait::Launch { slot, deaths, .. } => {
            format!("waits for the next launch, in slot {slot} after {deaths} early deaths")
        }
    }
}

fn name(worker: &Waited) -> String {
    format!("worker {} (slot {})", worker.pid, worker.slot)
}

fn held(connections: usize) -> String {
    format!(", {connections} connection{}", if connections == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Pid, Slot};

    #[test]
    fn each_wait_is_a_sentence() {
        let at = |seconds: u64| Mono::from_nanos(seconds * 1_000_000_000);
        let (now, until) = (at(100), at(112));
        let by = Waited { pid: Pid(123), slot: Slot(2), since: at(60) };
        let expected = [
            (Wait::Exit { by, others: 0 }, "waits for worker 123 (slot 2), told to go 40s ago, 1 connection"),
            (
                Wait::Exit { by, others: 3 },
                "waits for worker 123 (slot 2) and 3 more, told to go 40s ago, 1 connection",
            ),
            (
                Wait::Ack { by, until: Some(until) },
                "waits for the ack of worker 123 (slot 2), launched 40s ago, 12s left",
            ),
            (Wait::Ack { by, until: None }, "waits for the ack of worker 123 (slot 2), launched 40s ago"),
            (Wait::Timer { by, until }, "waits for worker 123 (slot 2) to stay up, launched 40s ago, for 12s more"),
            (Wait::Continue { by }, "waits for worker 123 (slot 2), stopped by a signal 40s ago; CONT lets it go on"),
            (Wait::Resume { since: by.since }, "waits for resume, paused 40s ago"),
            (Wait::Check, "waits for its check"),
            (Wait::Bake { until }, "watches the stage for 12s more"),
            (Wait::Launch { slot: Slot(3), deaths: 0, until }, "waits for the next launch, in slot 3, in 12s"),
            (
                Wait::Launch { slot: Slot(3), deaths: 4, until },
                "waits for the next launch, in slot 3 after 4 early deaths, in 12s",
            ),
        ];
        for (wait, sentence) in expected {
            assert_eq!(super::sentence(&wait, now, Some(1)), sentence);
            assert!(sentence.starts_with(&brief(&wait)), "{sentence}");
        }
    }
}
