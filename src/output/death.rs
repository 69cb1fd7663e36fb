//! How a worker came to its end without having been told to go, or why it was told: what an operator asks first when an upgrade
//! fails. Words only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Ending, Mono, Pid, Signal, Version, WorkerIndex, printable};
use crate::pool::Worker;

/// How many of a worker's last lines are shown, and how many characters of each.
const LINES_MAX: usize = 10;
const LINE_CHARS_MAX: usize = 500;

/// One that ended, or that had to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Death {
    pub(crate) pid: Pid,
    /// Its number in `EINHORN_CHILD_INDEX`.
    pub(crate) index: WorkerIndex,
    pub(crate) version: Version,
    /// Seconds since 1970, by the wall clock.
    pub(crate) at: i64,
    pub(crate) proof: Proof,
    /// The last that it wrote, the oldest first; fit to be shown.
    pub(crate) lines: Vec<String>,
}

/// What showed that it does not serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    /// It never became its program; why.
    NotExecuted(String),
    /// It ended so long after its launch, and had not acked.
    DiedBeforeAck { ending: Ending, after: Duration },
    /// It ended so long after its ack.
    DiedAfterAck { ending: Ending, after: Duration },
    /// It sent no ack for so long.
    AckMissed { after: Duration },
    /// It was stopped by this signal.
    Stopped { signal: Signal },
}

impl Death {
    pub(crate) fn of(worker: &Worker, proof: Proof, at: i64, lines: Vec<String>) -> Self {
        let skipped = lines.len().saturating_sub(LINES_MAX);
        let lines = lines.into_iter().skip(skipped).map(|line| cut(&printable::line(&line))).collect();
        Self { pid: worker.pid, index: worker.index, version: worker.version, at, proof, lines }
    }

    /// `Worker 12 (slot 1) died 0.2s after its launch, before its ack: exit status 3`
    pub(crate) fn sentence(&self) -> String {
        let (pid, index) = (self.pid, self.index.0);
        let what = match &self.proof {
            Proof::NotExecuted(cause) => format!("could not be started: {}", printable::line(cause)),
            Proof::DiedBeforeAck { ending, after } => {
                format!("died {} after its launch, before its ack: {}", seconds(*after), words(*ending))
            }
            Proof::DiedAfterAck { ending, after } => {
                format!("died {} after its ack: {}", seconds(*after), words(*ending))
            }
            Proof::AckMissed { after } => format!("sent no ack within {}", seconds(*after)),
            Proof::Stopped { signal } => format!("was stopped by SIG{signal}"),
        };
        format!("Worker {pid} (slot {index}) {what}")
    }
}

impl Proof {
    /// Of a worker that was not told to go.
    pub(crate) fn of_end(worker: &Worker, ending: Ending, now: Mono) -> Self {
        match worker.acked_at {
            Some(acked_at) => Self::DiedAfterAck { ending, after: now.since(acked_at) },
            None => Self::DiedBeforeAck { ending, after: now.since(worker.spawned_at) },
        }
    }
}

fn words(ending: Ending) -> String {
    match ending {
        Ending::Code(code) => format!("exit status {code}"),
        Ending::Signal(signal) => format!("killed by SIG{signal}"),
    }
}

/// To a tenth, where that says something.
fn seconds(span: Duration) -> String {
    if span < Duration::from_secs(60) { format!("{:.1}s", span.as_secs_f64()) } else { format!("{}s", span.as_secs()) }
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> Worker {
        Worker::new(Pid(12), WorkerIndex(1), Version(3), Signal::USR2, Mono::from_nanos(0))
    }

    fn death(proof: Proof) -> Death {
        Death::of(&worker(), proof, 7, Vec::new())
    }

    #[test]
    fn each_proof_has_its_words() {
        let after = Duration::from_millis(212);
        for (proof, expected) in [
            (
                Proof::DiedBeforeAck { ending: Ending::Code(3), after },
                "died 0.2s after its launch, before its ack: exit status 3",
            ),
            (
                Proof::DiedAfterAck { ending: Ending::Signal(Signal::KILL), after: Duration::from_secs(90) },
                "died 90s after its ack: killed by SIGKILL",
            ),
            (Proof::AckMissed { after: Duration::from_secs(10) }, "sent no ack within 10.0s"),
            (Proof::Stopped { signal: Signal::TTIN }, "was stopped by SIGTTIN"),
            (Proof::NotExecuted("cannot run /x\n: no".to_owned()), "could not be started: cannot run /x\\x0a: no"),
        ] {
            assert_eq!(death(proof).sentence(), format!("Worker 12 (slot 1) {expected}"));
        }
    }

    #[test]
    fn an_end_is_told_from_the_ack_if_there_was_one() {
        let (second, third) = (Mono::from_nanos(2_000_000_000), Mono::from_nanos(3_000_000_000));
        let ending = Ending::Code(1);
        let after = Duration::from_secs(3);
        assert_eq!(Proof::of_end(&worker(), ending, third), Proof::DiedBeforeAck { ending, after });
        let acked = Worker { acked_at: Some(second), ..worker() };
        let after = Duration::from_secs(1);
        assert_eq!(Proof::of_end(&acked, ending, third), Proof::DiedAfterAck { ending, after });
    }

    #[test]
    fn of_what_a_worker_wrote_the_last_lines_are_kept_fit_to_be_shown() {
        let mut lines: Vec<String> = (0..LINES_MAX + 2).map(|number| format!("{number}\u{1b}")).collect();
        lines.push("é".repeat(LINE_CHARS_MAX + 1));
        let death = Death::of(&worker(), Proof::AckMissed { after: Duration::ZERO }, 7, lines);
        assert_eq!((death.lines.len(), death.lines[0].as_str()), (LINES_MAX, "3\\x1b"));
        assert_eq!(death.lines[LINES_MAX - 1], "é".repeat(LINE_CHARS_MAX) + "…");
    }
}
