//! Values of the configuration that other rooms act on as they are.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a worker is known to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckMode {
    /// It has lived for so long.
    Timer(Duration),
    /// It says so on the control socket.
    Manual,
}

impl Default for AckMode {
    /// einhorn's.
    fn default() -> Self {
        Self::Timer(Duration::from_secs(1))
    }
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    #[default]
    Stderr,
    /// The lines down to the level of syslog, and the others nowhere. Standard error has what could not be delivered.
    Syslog,
    /// Standard error has every line, and syslog those down to its level.
    Both,
}

/// Where standard output and standard error of the workers go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerOutput {
    /// Into the log, line by line.
    Capture,
    /// Where the master's go.
    #[default]
    Inherit,
}

/// The facilities of syslog that a program may use, by their names in syslog.conf(5), parted by `|`. `kern` is for the kernel.
pub const FACILITIES: &str = "user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|\
    local0|local1|local2|local3|local4|local5|local6|local7";
