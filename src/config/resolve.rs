//! Raw options -> [`Config`]: reads each value, checks its range, fills in the defaults, and refuses what cannot stand
//! together. Everything a master needs to know before it opens anything is decided here and nowhere later.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::bind::SOCKET_PATH_MAX;
use crate::config::options::{CommandLine, Options, Raw};
use crate::config::values;
use crate::config::values::{AckMode, Need};
use crate::config::{Bind, ConfigError, Origins};

pub use crate::config::values::Nice;

pub const NUMBER_MAX: u32 = 1000;
const NUMBER_DEFAULT: u32 = 1;
/// einhorn's default is 100, which a busy service overflows while its workers are replaced.
const BACKLOG_DEFAULT: u32 = 1024;
/// listen(2) takes an int.
const BACKLOG_MAX: u32 = i32::MAX as u32;
const RETRIES_MAX: u32 = 1_000_000;
const SECONDS_DEFAULT: f64 = 1.0;
const ACK_TIMER_DEFAULT: Duration = Duration::from_secs(1);
/// The seed's grace period: `-m` without a mode, and `--manual`.
const MANUAL_ACK_TIMEOUT: Duration = Duration::from_secs(60);
const VERBOSITY_VERBOSE: u8 = 0;
const VERBOSITY_DEFAULT: u8 = 1;
const VERBOSITY_QUIET: u8 = 2;

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
    /// 0 verbose, 1 as usual, 2 quiet.
    pub verbosity: u8,
    pub syslog: bool,
    pub with_state_fd: Option<i32>,
    /// Where each value came from.
    pub origins: Origins,
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
        self.origins.is_given("seconds")
    }

    /// Whether an ack mode was given; shown in the same two ways.
    pub fn is_ack_given(&self) -> bool {
        self.origins.is_given("ack-mode") || self.origins.is_given("manual")
    }
}

/// Reads every value by itself. The program is left empty.
pub fn read_each(argv0: &OsStr, line: &CommandLine, origins: Origins) -> Result<Config, ConfigError> {
    let raw = &line.options;
    let read = Reader { origins: &origins };
    let (ack, mode_timeout) = read_ack(&read, raw)?;
    let additional = |value: &OsStr| values::upgrade_additional(value, 1..=NUMBER_MAX);
    let socket = |value: &OsStr| values::limited_path(value, SOCKET_PATH_MAX);
    Ok(Config {
        argv0: argv0.to_owned(),
        program: Vec::new(),
        binds: read.each("bind", &raw.bind, Bind::read)?,
        family: family(raw),
        backlog: read.whole("backlog", &raw.backlog, BACKLOG_MAX)?.unwrap_or(BACKLOG_DEFAULT),
        number: read.whole("number", &raw.number, NUMBER_MAX)?.unwrap_or(NUMBER_DEFAULT),
        seconds: read.one("seconds", &raw.seconds, values::respawn_seconds)?.unwrap_or(SECONDS_DEFAULT),
        retries: read.whole("retries", &raw.retries, RETRIES_MAX)?,
        signal_timeout: read.whole("signal-timeout", &raw.signal_timeout, u32::MAX)?,
        kill_children_on_exit: is_on(raw.kill_children_on_exit),
        drop_env_vars: read.each("drop-env-var", &raw.drop_env_var, values::variable)?,
        nice: read.one("nice", &raw.nice, values::nice)?.unwrap_or_default(),
        ack,
        ack_timeout: read.one("ack-timeout", &raw.ack_timeout, values::ack_timeout)?.or(mode_timeout),
        max_unacked: read.whole("max-unacked", &raw.max_unacked, NUMBER_MAX)?,
        max_upgrade_additional: read.one("max-upgrade-additional", &raw.max_upgrade_additional, additional)?,
        reexec_as: read.one("reexec-as", &raw.reexec_as, values::command_line)?,
        preload: read.one("preload", &raw.preload, values::path)?,
        gc_before_fork: is_on(raw.gc_before_fork),
        command_name: read.one("command-name", &raw.command_name, values::command_name)?,
        socket_path: read.one("socket-path", &raw.socket_path, socket)?,
        pidfile: read.one("pidfile", &raw.pidfile, values::path)?,
        lockfile: read.one("lockfile", &raw.lockfile, values::path)?,
        socket_as_fd: is_on(raw.command_socket_as_fd),
        socket_mode: read.one("socket-mode", &raw.socket_mode, values::mode)?,
        socket_group: read.one("socket-group", &raw.socket_group, values::group)?,
        verbosity: verbosity(raw),
        syslog: is_on(raw.syslog),
        with_state_fd: read.one("with-state-fd", &line.once.with_state_fd, values::state_fd)?,
        origins,
    })
}

/// Refuses what is right by itself and wrong together.
pub fn check_together(config: &Config, line: &CommandLine) -> Result<(), ConfigError> {
    let raw = &line.options;
    let spelled = |flag: &str| config.origins.spelled(flag);
    if is_on(raw.ipv4_only) && is_on(raw.ipv6_only) {
        return Err(ConfigError::Conflict { spelled: spelled("ipv6-only"), other: spelled("ipv4-only") });
    }
    check_families(config, raw)?;
    match (config.ack, &raw.ack_timeout) {
        (Ack::Timer(_), Some(timeout)) => Err(ConfigError::BadValue {
            spelled: spelled("ack-timeout"),
            value: timeout.as_os_str().to_owned(),
            need: "is not used with a timer, need -m manual too".to_owned(),
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
            spelled: config.origins.spelled_at("bind", index),
            value: raw.bind[index].as_os_str().to_owned(),
            need: format!("cannot stand together with {}", config.origins.spelled(flag)),
        }),
        None => Ok(()),
    }
}

/// The ack mode, and the timeout that it brings along.
fn read_ack(read: &Reader, raw: &Options) -> Result<(Ack, Option<Duration>), ConfigError> {
    if is_on(raw.manual) {
        return Ok((Ack::Manual, Some(MANUAL_ACK_TIMEOUT)));
    }
    let ack = match read.one("ack-mode", &raw.ack_mode, values::ack_mode)? {
        None => Ack::Timer(ACK_TIMER_DEFAULT),
        Some(AckMode::Manual) => Ack::Manual,
        Some(AckMode::Seconds(seconds)) => Ack::Timer(Duration::from_secs_f64(seconds)),
    };
    Ok((ack, None))
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

/// `words::settle` has left at most one of the two.
fn verbosity(raw: &Options) -> u8 {
    if is_on(raw.quiet) {
        VERBOSITY_QUIET
    } else if is_on(raw.verbose) {
        VERBOSITY_VERBOSE
    } else {
        VERBOSITY_DEFAULT
    }
}

fn is_on(switch: Option<bool>) -> bool {
    switch.unwrap_or(false)
}

/// Reads raw values, and names the option as the user spelled it where one is refused.
struct Reader<'a> {
    origins: &'a Origins,
}

impl Reader<'_> {
    fn one<T>(
        &self,
        flag: &str,
        raw: &Option<Raw>,
        read: impl FnOnce(&OsStr) -> Result<T, Need>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(raw) = raw else { return Ok(None) };
        let value = read(raw.as_os_str()).map_err(|need| refused(self.origins.spelled(flag), raw, need))?;
        Ok(Some(value))
    }

    fn whole(&self, flag: &str, raw: &Option<Raw>, max: u32) -> Result<Option<u32>, ConfigError> {
        self.one(flag, raw, |value| values::whole(value, 1..=max))
    }

    fn each<T>(
        &self,
        flag: &str,
        raw: &[Raw],
        read: impl Fn(&OsStr) -> Result<T, Need>,
    ) -> Result<Vec<T>, ConfigError> {
        let numbered = raw.iter().enumerate();
        let values = numbered.map(|(index, raw)| {
            read(raw.as_os_str()).map_err(|need| refused(self.origins.spelled_at(flag, index), raw, need))
        });
        values.collect()
    }
}

fn refused(spelled: String, raw: &Raw, need: Need) -> ConfigError {
    ConfigError::BadValue { spelled, value: raw.as_os_str().to_owned(), need }
}
