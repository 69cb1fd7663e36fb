//! Reads a master's log as it grows, for what must never stand in it: a worker that is told to go twice, and, while nothing but
//! graceful things happen, a warning.

use std::collections::BTreeSet;

use crate::support::Log;

/// What is known from the lines so far.
pub struct LogWatch {
    sending: String,
    read: usize,
    told: BTreeSet<String>,
    warnings: Warnings,
}

/// Whether a warning is a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Warnings {
    Forbidden,
    Expected,
}

impl LogWatch {
    /// For a master that tells its workers to go by this signal.
    pub fn new(graceful_signal: &str) -> Self {
        let sending = format!("Sending {graceful_signal} to [");
        Self { sending, read: 0, told: BTreeSet::new(), warnings: Warnings::Forbidden }
    }

    /// From now on, things happen of which a master shall warn.
    pub fn expect_warnings(&mut self) {
        self.warnings = Warnings::Expected;
    }

    /// Reads what is new.
    pub fn check(&mut self, log: &Log) -> Result<(), String> {
        let lines = log.since(self.read);
        self.read += lines.len();
        lines.iter().try_for_each(|line| self.check_line(line))
    }

    fn check_line(&mut self, line: &str) -> Result<(), String> {
        let is_warning = line.contains(" WARN: ") || line.contains(" ERROR: ");
        if is_warning && self.warnings == Warnings::Forbidden {
            return Err(format!("the log warns: {line}"));
        }
        if let Some((_, pid)) = line.split_once("===> Exited worker ") {
            // The number may be given to another from now on.
            self.told.remove(pid.split(' ').next().unwrap_or_default());
        }
        let Some((_, pids)) = line.split_once(&self.sending) else { return Ok(()) };
        for pid in pids.trim_end_matches(']').split(", ") {
            if !self.told.insert(pid.to_owned()) {
                return Err(format!("worker {pid} was told to go twice: {line}"));
            }
        }
        Ok(())
    }
}

#[test]
fn a_worker_that_is_told_to_go_twice_is_seen() {
    let mut watch = LogWatch::new("USR2");
    let mut check = |line: &str| watch.check_line(line);
    check("[MASTER 1] INFO: Sending USR2 to [7, 8]").unwrap();
    check("[MASTER 1] INFO: Sending TTIN to [7, 8]").unwrap();
    check("[MASTER 1] INFO: ===> Exited worker 7").unwrap();
    check("[MASTER 1] INFO: Sending USR2 to [7]").unwrap();
    check("[MASTER 1] INFO: Sending USR2 to [9, 8]").unwrap_err();
}
