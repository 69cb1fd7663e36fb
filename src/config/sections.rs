//! What the tables of the file say: `[env]`, `[worker]`, `[control]` and `[log]`, raw values -> checked ones. Looks up no
//! user, reads no file.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::options::{Raw, Sections};
use crate::config::resolve::Reader;
use crate::config::values::{self, Limit, Need};
use crate::pool::Signal;

/// How the environment of the workers differs from the master's. What is set counts after what is unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    pub unset: Vec<OsString>,
    /// Files with more of it.
    pub files: Vec<PathBuf>,
    /// What stands in them; `set` goes before it.
    pub from_files: Vec<(OsString, OsString)>,
    pub set: Vec<(OsString, OsString)>,
}

/// As what the workers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSetup {
    /// Name or number.
    pub user: Option<String>,
    pub group: Option<String>,
    pub directory: Option<PathBuf>,
    pub umask: Option<u32>,
    pub limits: Vec<Limit>,
    pub graceful_signal: Signal,
}

/// Who may do everything on the control socket, beside root, the master's user and `socket-group`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    pub allow_users: Vec<String>,
    pub allow_groups: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub level: LogLevel,
    pub target: LogTarget,
    pub syslog_level: LogLevel,
    pub facility: String,
    pub ident: String,
}

/// The least important lines that are still said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    Stderr,
    Syslog,
    Both,
}

const LEVELS: &str = "debug|info|warn|error";
const TARGETS: &str = "stderr|syslog|both";

impl LogLevel {
    /// einhorn's three grades: 0 tells everything, 1 what happens, 2 what goes wrong; and 3, errors alone.
    pub fn verbosity(self) -> u8 {
        match self {
            Self::Debug => 0,
            Self::Info => 1,
            Self::Warn => 2,
            Self::Error => 3,
        }
    }

    /// The level of such a grade.
    pub fn of_verbosity(verbosity: u8) -> Self {
        match verbosity {
            0 => Self::Debug,
            1 => Self::Info,
            2 => Self::Warn,
            3.. => Self::Error,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

pub(in crate::config) fn env(read: &Reader<'_>, raw: &Sections) -> Env {
    Env {
        unset: read.each("env.unset", &raw.env_unset, values::variable),
        files: read.each("env.env-file", &raw.env_env_file, values::path),
        from_files: Vec::new(),
        set: read.each("env.set", &raw.env_set, values::assignment),
    }
}

pub(in crate::config) fn worker(read: &Reader<'_>, raw: &Sections) -> WorkerSetup {
    let signal = read.one("worker.graceful-signal", &raw.worker_graceful_signal, values::graceful_signal);
    WorkerSetup {
        user: read.one("worker.user", &raw.worker_user, values::user),
        group: read.one("worker.group", &raw.worker_group, values::group),
        directory: read.one("worker.directory", &raw.worker_directory, values::path),
        umask: read.one("worker.umask", &raw.worker_umask, values::mode),
        limits: read.each("worker.rlimits", &raw.worker_rlimits, values::limit),
        graceful_signal: signal.unwrap_or(Signal::USR2),
    }
}

pub(in crate::config) fn control(read: &Reader<'_>, raw: &Sections) -> Control {
    Control {
        allow_users: read.each("control.allow-users", &raw.control_allow_users, values::user),
        allow_groups: read.each("control.allow-groups", &raw.control_allow_groups, values::group),
    }
}

/// `level` and `syslog` are what the flags of the same meaning say; `layers` has left at most one of each pair.
pub(in crate::config) fn log(read: &Reader<'_>, raw: &Sections, level: Option<LogLevel>, syslog: bool) -> Log {
    let level_of = |key: &str, raw: &Option<Raw>| read.one(key, raw, self::level);
    let target = read.one("log.target", &raw.log_target, self::target).unwrap_or(LogTarget::Stderr);
    Log {
        level: level.or_else(|| level_of("log.level", &raw.log_level)).unwrap_or(LogLevel::Info),
        target: if syslog { LogTarget::Both } else { target },
        syslog_level: level_of("log.syslog-level", &raw.log_syslog_level).unwrap_or(LogLevel::Warn),
        facility: read.one("log.facility", &raw.log_facility, facility).unwrap_or_default(),
        ident: read.one("log.ident", &raw.log_ident, values::ident).unwrap_or_default(),
    }
}

fn level(value: &std::ffi::OsStr) -> Result<LogLevel, Need> {
    Ok(match values::one_of(value, LEVELS)?.as_str() {
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" => LogLevel::Warn,
        _ => LogLevel::Error,
    })
}

fn target(value: &std::ffi::OsStr) -> Result<LogTarget, Need> {
    Ok(match values::one_of(value, TARGETS)?.as_str() {
        "syslog" => LogTarget::Syslog,
        "both" => LogTarget::Both,
        _ => LogTarget::Stderr,
    })
}

fn facility(value: &std::ffi::OsStr) -> Result<String, Need> {
    values::one_of(value, values::FACILITIES)
}
