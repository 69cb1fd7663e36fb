//! What the tables of the file say, as checked values: `[env]`, `[worker]`, `[control]` and `[log]`. Looks up no user, reads no
//! file.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU8;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::{LogFormat, LogTarget, ResourceLimit, Share, Signal, WorkerOutput};
use crate::config::definition::Need;
use crate::config::slots::SlotSetup;
use crate::config::values;

/// How the environment of the workers differs from the master's. What is set counts after what is unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    pub unset: Vec<OsString>,
    /// Files with more of it.
    pub files: Vec<EnvFile>,
    /// What stands in them; `set` goes before it.
    pub from_files: Vec<(OsString, OsString)>,
    pub set: Vec<(OsString, OsString)>,
}

/// A file of variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFile {
    pub path: PathBuf,
    pub presence: Presence,
}

/// Whether a file has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
}

/// A path; with a `-` before it, the file may be missing, as systemd's `EnvironmentFile=` has it.
pub(super) fn env_file(value: &OsStr) -> Result<EnvFile, Need> {
    let (path, presence) = match value.as_bytes().strip_prefix(b"-") {
        Some(path) => (OsStr::from_bytes(path), Presence::Optional),
        None => (value, Presence::Required),
    };
    Ok(EnvFile { path: values::path(path)?, presence })
}

/// As what the workers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSetup {
    /// Name or number.
    pub user: Option<String>,
    pub group: Option<String>,
    pub directory: Option<PathBuf>,
    pub umask: Option<u32>,
    pub limits: Vec<ResourceLimit>,
    pub graceful_signal: Signal,
    /// None: it depends on whether there is a file.
    pub output: Option<WorkerOutput>,
    pub slots: SlotSetup,
    /// Programs that outlive their worker.
    pub leave: Vec<String>,
    /// As it is given; [`Config::no_restart`](crate::config::Config::no_restart) is what counts.
    pub no_restart: Vec<NonZeroU8>,
}

impl Default for WorkerSetup {
    fn default() -> Self {
        Self {
            user: None,
            group: None,
            directory: None,
            umask: None,
            limits: Vec::new(),
            graceful_signal: Signal::USR2,
            output: None,
            slots: SlotSetup::default(),
            leave: Vec::new(),
            no_restart: Vec::new(),
        }
    }
}

/// In which steps an upgrade replaces the workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    pub stages: Vec<Share>,
    pub bake: Option<Duration>,
    /// A program and its arguments; empty for none.
    pub check: Vec<OsString>,
    /// How long it may take.
    pub check_timeout: Duration,
}

/// The users and groups with full access to the control socket, beside root, the master's user and `socket-group`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    pub allow_users: Vec<String>,
    pub allow_groups: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub level: LogLevel,
    pub target: LogTarget,
    /// In the place of standard error; absolute.
    pub file: Option<PathBuf>,
    pub format: LogFormat,
    pub time: bool,
    pub syslog_level: LogLevel,
    pub facility: String,
    pub ident: String,
}

/// The least important lines that are still logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

pub(super) const LEVELS: &str = "debug|info|warn|error";
pub(super) const TARGETS: &str = "stderr|syslog|both";
pub(super) const FORMATS: &str = "plain|json";
pub(super) const OUTPUTS: &str = "capture|inherit";

impl LogLevel {
    /// In the order of [`LEVELS`].
    const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// einhorn's three grades: 0 logs everything, 1 what happens, 2 what goes wrong; and 3, errors alone.
    pub fn verbosity(self) -> u8 {
        self as u8
    }

    /// The level of such a grade.
    pub fn of_verbosity(verbosity: u8) -> Self {
        Self::ALL.get(usize::from(verbosity)).copied().unwrap_or(Self::Error)
    }

    pub fn name(self) -> &'static str {
        LEVELS.split('|').nth(usize::from(self.verbosity())).unwrap_or_default()
    }

    pub(super) fn read(value: &OsStr) -> Result<Self, Need> {
        let name = values::one_of(value, LEVELS)?;
        Ok(Self::ALL.into_iter().find(|level| level.name() == name).unwrap_or_default())
    }
}

pub(super) fn log_target(value: &OsStr) -> Result<LogTarget, Need> {
    Ok(match values::one_of(value, TARGETS)?.as_str() {
        "syslog" => LogTarget::Syslog,
        "both" => LogTarget::Both,
        _ => LogTarget::Stderr,
    })
}

pub(super) fn log_format(value: &OsStr) -> Result<LogFormat, Need> {
    Ok(match values::one_of(value, FORMATS)?.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Plain,
    })
}

pub(super) fn worker_output(value: &OsStr) -> Result<WorkerOutput, Need> {
    Ok(match values::one_of(value, OUTPUTS)?.as_str() {
        "capture" => WorkerOutput::Capture,
        _ => WorkerOutput::Inherit,
    })
}
