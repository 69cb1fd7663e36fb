//! Raw options -> [`Config`]: reads each value, checks its range, fills in the defaults, and refuses what cannot stand
//! together. Everything a master needs to know before it opens anything is decided here and nowhere later.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::bind::SOCKET_PATH_MAX;
use crate::config::options::{Everything, Options, Raw};
use crate::config::sections::{self, Control, Env, Log, LogLevel, WorkerSetup};
use crate::config::values;
use crate::config::values::{AckMode, Need};
use crate::config::words::split_at_equals;
use crate::config::{Bind, ConfigError, Given, Origin};

pub use crate::config::values::Nice;

pub const NUMBER_MAX: u32 = 1000;
/// listen(2) takes an int.
const BACKLOG_MAX: u32 = i32::MAX as u32;
const RETRIES_MAX: u32 = 1_000_000;
/// The seed's grace period: `-m` without a mode, and `--manual`.
const MANUAL_ACK_TIMEOUT: Duration = Duration::from_secs(60);

/// What the master is to do; every value is in its range.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How this program was called: what a re-exec runs, unless `reexec_as` says otherwise.
    pub argv0: OsString,
    /// The program and its arguments. Empty only with `with_state_fd`, whose state brings them along.
    pub program: Vec<OsString>,
    pub binds: Vec<Bind>,
    pub family: Family,
    pub backlog: u32,
    /// Wanted workers, 1 to [`NUMBER_MAX`].
    pub number: u32,
    /// Least time between two starts of dying workers, above 0.
    pub seconds: f64,
    /// New workers in a row that may fail before giving up; `None` is for ever.
    pub retries: Option<u32>,
    /// Seconds after which a worker that was told to go is killed.
    pub signal_timeout: Option<u32>,
    pub kill_children_on_exit: bool,
    pub drop_env_vars: Vec<OsString>,
    pub nice: Nice,
    pub ack: Ack,
    /// With manual acks: how long a worker may take; `None` is for ever.
    pub ack_timeout: Option<Duration>,
    pub max_unacked: Option<u32>,
    pub max_upgrade_additional: Option<u32>,
    pub reexec_as: Option<Vec<String>>,
    pub preload: Option<PathBuf>,
    pub gc_before_fork: bool,
    pub command_name: Option<String>,
    pub socket_path: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    pub lockfile: Option<PathBuf>,
    pub socket_as_fd: bool,
    /// Permissions of the control socket's file.
    pub socket_mode: Option<u32>,
    /// Name or number of its group.
    pub socket_group: Option<String>,
    pub env: Env,
    pub worker: WorkerSetup,
    pub control: Control,
    pub log: Log,
    pub with_state_fd: Option<i32>,
    /// The values as they were given, and where.
    pub given: Given,
}

/// Which addresses a host name may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Any,
    V4,
    V6,
}

/// When a worker counts as up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// This long after its start.
    Timer(Duration),
    /// When it says so.
    Manual,
}

impl Config {
    /// Whether `-s` was given: einhorn shows its default as the integer 1 and given values as floats.
    pub fn is_seconds_given(&self) -> bool {
        self.given.is_given("seconds")
    }

    /// Whether an ack mode was given; shown in the same two ways.
    pub fn is_ack_given(&self) -> bool {
        self.given.is_given("ack-mode") || self.given.is_given("manual")
    }

    /// What is wrong with the value of an option, behind its name: `web.toml:3:10: worker.user: there is no user "x"`. What
    /// the command line says of the program speaks for itself.
    pub fn blame(&self, flag: &str, cause: &str) -> String {
        match self.given.origin(flag) {
            Origin::CommandLine(_) if flag == "command" => cause.to_owned(),
            _ => format!("{}: {cause}", self.given.spelled_at(flag, 0)),
        }
    }

    /// What is wrong with some values of a list, by their numbers from 0, in ascending order.
    pub fn blame_items(&self, flag: &str, causes: impl IntoIterator<Item = (usize, String)>) -> Vec<String> {
        let mut origins = self.given.origins(flag).enumerate();
        let blame = |(index, cause)| {
            let (_, origin) = origins.find(|(at, _)| *at == index).unwrap_or((index, &Origin::Default));
            format!("{}: {cause}", origin.spelled(flag))
        };
        causes.into_iter().map(blame).collect()
    }
}

/// Reads every value by itself. What is wrong is added to `problems`, and stands in for nothing: a configuration with
/// problems is not to be used.
pub fn read_each(argv0: &OsStr, all: &Everything, given: Given, problems: &mut Vec<ConfigError>) -> Config {
    let raw = &all.options;
    let read = Reader { given: &given, problems: RefCell::default() };
    let (ack, mode_timeout) = read_ack(&read, raw);
    // It may be said that there is none.
    let mode_timeout = mode_timeout.filter(|_| !given.is_given("ack-timeout"));
    let additional = |value: &OsStr| values::upgrade_additional(value, 1..=NUMBER_MAX);
    let socket = |value: &OsStr| values::limited_path(value, SOCKET_PATH_MAX);
    let config = Config {
        argv0: argv0.to_owned(),
        program: read.each("command", &all.sections.command, values::word),
        binds: read.each("bind", &raw.bind, Bind::read),
        family: family(raw),
        backlog: read.whole("backlog", &raw.backlog, BACKLOG_MAX).unwrap_or_default(),
        number: read.whole("number", &raw.number, NUMBER_MAX).unwrap_or_default(),
        seconds: read.one("seconds", &raw.seconds, values::respawn_seconds).unwrap_or_default(),
        retries: read.whole("retries", &raw.retries, RETRIES_MAX),
        signal_timeout: read.one("signal-timeout", &raw.signal_timeout, values::whole_seconds),
        kill_children_on_exit: is_on(raw.kill_children_on_exit),
        drop_env_vars: read.each("drop-env-var", &raw.drop_env_var, values::variable),
        nice: read.one("nice", &raw.nice, values::nice).unwrap_or_default(),
        ack,
        ack_timeout: read.one("ack-timeout", &raw.ack_timeout, values::ack_timeout).or(mode_timeout),
        max_unacked: read.whole("max-unacked", &raw.max_unacked, NUMBER_MAX),
        max_upgrade_additional: read.one("max-upgrade-additional", &raw.max_upgrade_additional, additional),
        reexec_as: read.one("reexec-as", &raw.reexec_as, values::command_line),
        preload: read.one("preload", &raw.preload, values::path),
        gc_before_fork: is_on(raw.gc_before_fork),
        command_name: read.one("command-name", &raw.command_name, values::command_name),
        socket_path: read.one("socket-path", &raw.socket_path, socket),
        pidfile: read.one("pidfile", &raw.pidfile, values::path),
        lockfile: read.one("lockfile", &raw.lockfile, values::path),
        socket_as_fd: is_on(raw.command_socket_as_fd),
        socket_mode: read.one("socket-mode", &raw.socket_mode, values::mode),
        socket_group: read.one("socket-group", &raw.socket_group, values::group),
        env: sections::env(&read, &all.sections),
        worker: sections::worker(&read, &all.sections),
        control: sections::control(&read, &all.sections),
        log: sections::log(&read, &all.sections, level_of_switches(raw), is_on(raw.syslog)),
        with_state_fd: read.one("with-state-fd", &all.once.with_state_fd, values::state_fd),
        given: Given::default(),
    };
    problems.extend(read.problems.take());
    Config { given, ..config }
}

/// Refuses what is right by itself and wrong together.
pub fn check_together(config: &Config, all: &Everything) -> Vec<ConfigError> {
    let raw = &all.options;
    let given = &config.given;
    // What contradicts itself in this cannot be said to contradict a bind, too.
    if is_on(raw.ipv4_only) && is_on(raw.ipv6_only) {
        let other = given.origin("ipv4-only").referred("ipv4-only");
        return vec![ConfigError::Conflict { spelled: given.spelled("ipv6-only"), other }];
    }
    [check_families(config, raw), check_timeout(config, raw)].into_iter().filter_map(Result::err).collect()
}

/// Where acks come from a timer, nothing times out.
fn check_timeout(config: &Config, raw: &Options) -> Result<(), ConfigError> {
    match (config.ack, &raw.ack_timeout) {
        (Ack::Timer(_), Some(timeout)) => Err(ConfigError::BadValue {
            spelled: config.given.spelled("ack-timeout"),
            value: timeout.as_os_str().to_owned(),
            need: match config.given.origin("ack-timeout") {
                Origin::File(_) => "is not used with a timer, need ack-mode = \"manual\" too".to_owned(),
                _ => "is not used with a timer, need -m manual too".to_owned(),
            },
        }),
        (Ack::Timer(_), None) | (Ack::Manual, _) => Ok(()),
    }
}

/// An address of one family can never be bound when only the other is allowed.
fn check_families(config: &Config, raw: &Options) -> Result<(), ConfigError> {
    let (excluded, flag): (fn(&Bind) -> bool, &str) = match config.family {
        Family::Any => return Ok(()),
        Family::V4 => (Bind::is_ipv6_address, "ipv4-only"),
        Family::V6 => (Bind::is_ipv4_address, "ipv6-only"),
    };
    match config.binds.iter().position(excluded) {
        Some(index) => Err(ConfigError::BadValue {
            spelled: config.given.spelled_at("bind", index),
            value: raw.bind[index].as_os_str().to_owned(),
            need: format!("cannot stand together with {}", config.given.origin(flag).referred(flag)),
        }),
        None => Ok(()),
    }
}

/// The ack mode, and the timeout that it brings along. `layers` has left at most one of the two.
fn read_ack(read: &Reader, raw: &Options) -> (Ack, Option<Duration>) {
    if is_on(raw.manual) {
        return (Ack::Manual, Some(MANUAL_ACK_TIMEOUT));
    }
    match read.one("ack-mode", &raw.ack_mode, values::ack_mode) {
        Some(AckMode::Manual) => (Ack::Manual, None),
        Some(AckMode::Seconds(seconds)) => (Ack::Timer(Duration::from_secs_f64(seconds)), None),
        // Either a problem, or replaced by the manual mode of a lower layer that was then turned off: einhorn's default.
        None => (Ack::Timer(Duration::from_secs(1)), None),
    }
}

fn family(raw: &Options) -> Family {
    if is_on(raw.ipv4_only) {
        Family::V4
    } else if is_on(raw.ipv6_only) {
        Family::V6
    } else {
        Family::Any
    }
}

/// What `-v` and `-q` say. `layers` has left at most one of the two.
fn level_of_switches(raw: &Options) -> Option<LogLevel> {
    if is_on(raw.quiet) {
        Some(LogLevel::Warn)
    } else if is_on(raw.verbose) {
        Some(LogLevel::Debug)
    } else {
        None
    }
}

fn is_on(switch: Option<bool>) -> bool {
    switch.unwrap_or(false)
}

fn map_name(assignment: &OsStr) -> OsString {
    OsStr::from_bytes(split_at_equals(assignment.as_bytes()).0).to_owned()
}

/// Reads raw values, and names the option as the user spelled it where one is refused.
pub(in crate::config) struct Reader<'a> {
    given: &'a Given,
    problems: RefCell<Vec<ConfigError>>,
}

impl Reader<'_> {
    pub(in crate::config) fn one<T>(
        &self,
        flag: &str,
        raw: &Option<Raw>,
        read: impl FnOnce(&OsStr) -> Result<T, Need>,
    ) -> Option<T> {
        let raw = raw.as_ref()?;
        read(raw.as_os_str()).map_err(|need| self.refuse(self.given.spelled(flag), raw, need)).ok()
    }

    fn whole(&self, flag: &str, raw: &Option<Raw>, max: u32) -> Option<u32> {
        self.one(flag, raw, |value| values::whole(value, 1..=max))
    }

    pub(in crate::config) fn each<T>(
        &self,
        flag: &str,
        raw: &[Raw],
        read: impl Fn(&OsStr) -> Result<T, Need>,
    ) -> Vec<T> {
        // Each with its origin beside it: to look that up by its number would take longer for each further one.
        let values = raw
            .iter()
            .zip(self.given.origins(flag))
            .map(|(raw, origin)| read(raw.as_os_str()).map_err(|need| self.refuse(origin.spelled(flag), raw, need)));
        values.filter_map(Result::ok).collect()
    }

    /// Of a variable for the workers its name alone is shown: its value may be a secret.
    fn refuse(&self, spelled: String, raw: &Raw, need: Need) {
        let value = raw.as_os_str();
        let value = if spelled.ends_with("env.set") { map_name(value) } else { value.to_owned() };
        self.problems.borrow_mut().push(ConfigError::BadValue { spelled, value, need });
    }
}
