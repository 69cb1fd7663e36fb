//! Words -> [`Config`]: reads each value by what its option says, and refuses what cannot stand together. Everything a master needs
//! to know before it opens anything is decided here and nowhere later.

use std::ffi::OsStr;
use std::num::NonZeroU8;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::base::exit_code::EX_CONFIG;
use crate::base::{AckMode, ExitCodes, Share, Signal};
use crate::config::bind::Bind;
use crate::config::definition::Kind;
use crate::config::einhorns::is_called_einhorn;
use crate::config::error::ConfigError;
use crate::config::options::{Config, Definition, Family, OPTIONS, aliases};
use crate::config::origin::{Origin, Provided, Word, split_at_equals};
use crate::config::values::WorkerCount;

/// The seed's grace period: `-m` without a mode, and `--manual`.
const MANUAL_ACK_TIMEOUT: Duration = Duration::from_secs(60);

impl Config {
    /// Whether `-s` was given: einhorn shows its default as the integer 1 and given values as floats.
    pub fn is_seconds_given(&self) -> bool {
        self.given.is_given("seconds")
    }

    /// Whether an ack mode was given; shown in the same two ways.
    pub fn is_ack_given(&self) -> bool {
        self.given.is_given("ack-mode") || self.given.is_given("manual")
    }

    /// Whether a configuration file was named; some defaults are other ones then.
    pub fn has_file(&self) -> bool {
        self.given.is_given("config")
    }

    /// The codes after which a worker is not launched again. A service with a file has one unless it says otherwise; scripts of einhorn's
    /// know of none.
    pub fn no_restart(&self) -> ExitCodes {
        let is_default = self.has_file() && !self.given.is_given("worker.no-restart");
        let default = NonZeroU8::new(EX_CONFIG);
        ExitCodes::new(if is_default { default.as_slice() } else { &self.worker.no_restart }).unwrap_or_default()
    }

    /// Whether a start takes over the workers of a killed master, and writes down what another may take over. A service with a file does, unless it says otherwise.
    pub fn adopts(&self) -> bool {
        if self.given.is_given("adopt") { self.adopt } else { self.has_file() }
    }

    /// Whether this program stands in for Ruby's einhorn: called by that name, and without a file.
    pub fn stands_in_for_einhorn(&self) -> bool {
        is_called_einhorn(&self.argv0) && !self.has_file()
    }

    /// What is wrong with the value of an option, behind its name: `web.toml:3:10: worker.user: there is no user "x"`. What
    /// the command line says of the program speaks for itself.
    pub fn blame(&self, flag: &str, cause: &str) -> String {
        match self.given.origin(flag) {
            Origin::CommandLine(_) if flag == "command" => cause.to_owned(),
            _ => format!("{}: {cause}", self.given.spelled_at(flag, 0)),
        }
    }

    /// Gives an option the value that a command on the control socket has for it; `None` is that there is none.
    pub fn command(&mut self, flag: &str, value: Option<String>) {
        let word = Word { flag: flag.to_owned(), origin: Origin::ControlSocket, value: value.map(Into::into) };
        self.given.replace(&aliases(flag), [word]);
        self.read_again();
    }

    /// After something else is given. All of it was read before, so nothing can be refused; if something were, what is in force
    /// would stay.
    pub(in crate::config) fn read_again(&mut self) {
        let mut problems = Vec::new();
        let mut read = read_each(&self.argv0, self.given.clone(), &mut problems);
        if problems.is_empty() {
            read.env.from_files = std::mem::take(&mut self.env.from_files);
            *self = read;
        }
    }

    /// Whether it is said by which signal the workers end gracefully, and it is not TERM.
    pub fn drains_by_another_signal_than_term(&self) -> bool {
        self.given.is_given("worker.graceful-signal") && self.worker.graceful_signal != Signal::TERM
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
pub(super) fn read_each(argv0: &OsStr, given: Provided, problems: &mut Vec<ConfigError>) -> Config {
    let mut config = Config { argv0: argv0.to_owned(), ..Config::default() };
    for option in OPTIONS {
        problems.extend(said(option, &given).into_iter().filter_map(|word| read(option, word, &mut config).err()));
    }
    // It may be said that there is none.
    if given.is_on("manual") && !given.is_given("ack-timeout") {
        config.ack_timeout = Some(MANUAL_ACK_TIMEOUT);
    }
    Config { given, ..config }
}

/// The values of an option that count: all of a list, and the last of any other.
fn said<'a>(option: &Definition, given: &'a Provided) -> Vec<&'a Word> {
    let words: Vec<&Word> = given.words(option.name).filter(|word| word.value.is_some()).collect();
    match option.kind {
        Kind::List | Kind::Map => words,
        Kind::Single | Kind::Switch => words.last().copied().into_iter().collect(),
    }
}

fn read(option: &Definition, word: &Word, config: &mut Config) -> Result<(), ConfigError> {
    let value = word.value.as_deref().unwrap_or_default();
    let outcome = match (option.kind, value.as_bytes()) {
        (Kind::Switch, b"false") => Ok(()),
        (Kind::Switch, b"true") | (Kind::Single | Kind::List | Kind::Map, _) => (option.read)(config, value),
        (Kind::Switch, _) => Err("need true or false".to_owned()),
    };
    outcome.map_err(|need| {
        let name = || OsStr::from_bytes(split_at_equals(value.as_bytes()).0);
        let shown = if option.is_secret { name() } else { value };
        ConfigError::bad_value(&word.origin.spelled(option.name), shown, &need)
    })
}

/// Refuses what is right by itself and wrong together.
pub(super) fn check_together(config: &Config) -> Vec<ConfigError> {
    let given = &config.given;
    // What contradicts itself in this cannot be said to contradict a bind, too.
    if given.is_on("ipv4-only") && given.is_on("ipv6-only") {
        let other = given.origin("ipv4-only").referred("ipv4-only");
        return vec![ConfigError::conflict(&given.spelled("ipv6-only"), &other)];
    }
    let checks = [check_families, check_timeout, check_surge, check_foreground, check_command_name];
    checks.into_iter().filter_map(|check| check(config)).collect()
}

/// Scripts say one that is empty, and find their files by it; in a file it was forgotten.
fn check_command_name(config: &Config) -> Option<ConfigError> {
    let is_forgotten =
        config.command_name.as_deref() == Some("") && matches!(config.given.origin("command-name"), Origin::File(_));
    let need = "need a name, or no such key";
    is_forgotten.then(|| ConfigError::bad_value(&config.given.spelled("command-name"), OsStr::new(""), need))
}

/// With neither a worker more nor a worker less, none can be replaced.
fn check_surge(config: &Config) -> Option<ConfigError> {
    let is_none = |share: Share| matches!(share, Share::Count(0) | Share::Percent(0));
    if !config.max_surge.is_some_and(is_none) || !config.max_unavailable.is_none_or(is_none) {
        return None;
    }
    let need = "would never let an upgrade start, need max-unavailable above 0 too";
    let surge = *config.given.values("max-surge").last()?;
    Some(ConfigError::bad_value(&config.given.spelled("max-surge"), surge, need))
}

/// A terminal has one foreground.
fn check_foreground(config: &Config) -> Option<ConfigError> {
    if !config.foreground || config.number == WorkerCount::Fixed(1) {
        return None;
    }
    let number = *config.given.values("number").last()?;
    let need = format!("is more than one for {}, need 1", config.given.origin("foreground").referred("foreground"));
    Some(ConfigError::bad_value(&config.given.spelled("number"), number, &need))
}

/// Where acks come from a timer, nothing times out.
fn check_timeout(config: &Config) -> Option<ConfigError> {
    let timeout = *config.given.values("ack-timeout").last()?;
    if config.ack == AckMode::Manual {
        return None;
    }
    let need = match config.given.origin("ack-timeout") {
        Origin::File(_) => "is not used with a timer, need ack-mode = \"manual\" too",
        Origin::Default | Origin::CommandLine(_) | Origin::ControlSocket => {
            "is not used with a timer, need -m manual too"
        }
    };
    Some(ConfigError::bad_value(&config.given.spelled("ack-timeout"), timeout, need))
}

/// An address of one family can never be bound when only the other is allowed.
fn check_families(config: &Config) -> Option<ConfigError> {
    let (excluded, flag): (fn(&Bind) -> bool, &str) = match config.family {
        Family::Any => return None,
        Family::V4 => (Bind::is_ipv6_address, "ipv4-only"),
        Family::V6 => (Bind::is_ipv4_address, "ipv6-only"),
    };
    let index = config.binds.iter().position(excluded)?;
    let need = format!("cannot stand together with {}", config.given.origin(flag).referred(flag));
    Some(ConfigError::bad_value(&config.given.spelled_at("bind", index), config.given.values("bind")[index], &need))
}
