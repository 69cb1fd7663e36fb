//! What the structs of `options` define, for whoever needs to know it: the flags of the command line for `words`, the keys
//! of the file for `file`, `print` and `schema`. Reads no value.

use std::any::TypeId;
use std::sync::OnceLock;

use clap::{Arg, ArgAction, Command, CommandFactory};

use crate::config::options::Everything;

/// The options that make no sense in a file.
const COMMAND_LINE_ONLY: [&str; 9] = [
    "help",
    "version",
    "upgrade-check",
    "config-schema",
    "config",
    "profile",
    "print-config",
    "check-config",
    "with-state-fd",
];
/// What the values of a [`Kind::Map`] are called.
const MAP_VALUE_NAME: &str = "NAME=VALUE";

/// What `words` and the help must know of a flag of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    pub long: String,
    pub short: Option<char>,
    /// What the help calls the value; `None` for a flag that takes none.
    pub value_name: Option<String>,
}

/// A key of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// With its table: `number`, `worker.user`.
    pub name: String,
    pub kind: Kind,
    /// What its value, or each of its values, is called; alternatives are parted by `|`.
    pub value_name: String,
    pub help: String,
}

/// How many values a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Switch,
    Single,
    List,
    /// A table of names and values.
    Map,
}

impl Key {
    /// The table that the key stands in, and its name there. Top-level keys stand in "".
    pub fn place(&self) -> (&str, &str) {
        self.name.split_once('.').unwrap_or(("", &self.name))
    }
}

/// clap's view of the structs, completed, so that what it derives can be asked for. Made once: it takes its time.
pub fn definition() -> &'static Command {
    static DEFINITION: OnceLock<Command> = OnceLock::new();
    DEFINITION.get_or_init(|| {
        let mut command = Everything::command();
        command.build();
        command
    })
}

/// The flags in the order of the help text.
pub fn flags() -> Vec<Flag> {
    definition().get_arguments().filter(|arg| !arg.is_hide_set()).map(flag).collect()
}

/// The keys of the file, in the order of the definition.
pub fn keys() -> Vec<Key> {
    let of_file = definition().get_arguments().filter(|arg| !COMMAND_LINE_ONLY.contains(&long_name(arg)));
    of_file.map(key).collect()
}

/// The command line as shells complete it: the flags, then the program and its arguments. Nothing is parsed by it.
pub fn command_line() -> Command {
    let shown = definition().get_arguments().filter(|arg| !arg.is_hide_set()).cloned();
    // On the command line a switch has no value; in a file it has one.
    let flags = shown.map(|arg| match kind(&arg) {
        Kind::Switch => arg.num_args(0).action(ArgAction::SetTrue),
        Kind::Single | Kind::List | Kind::Map => arg,
    });
    let program = Arg::new("program").value_name("PROGRAM").num_args(1..).trailing_var_arg(true);
    let bare = Command::new("einhyrningsins").disable_help_flag(true).disable_version_flag(true);
    bare.args(flags).arg(program.help("The program and its arguments"))
}

pub fn flag(arg: &Arg) -> Flag {
    let is_switch = kind(arg) == Kind::Switch;
    let value_name = (!is_switch).then(|| value_name(arg));
    Flag { long: long_name(arg).to_owned(), short: arg.get_short(), value_name }
}

fn key(arg: &Arg) -> Key {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    Key { name: long_name(arg).to_owned(), kind: kind(arg), value_name: value_name(arg), help }
}

fn kind(arg: &Arg) -> Kind {
    if arg.get_value_parser().type_id() == TypeId::of::<bool>() {
        Kind::Switch
    } else if !matches!(arg.get_action(), ArgAction::Append) {
        Kind::Single
    } else if value_name(arg) == MAP_VALUE_NAME {
        Kind::Map
    } else {
        Kind::List
    }
}

fn long_name(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

fn value_name(arg: &Arg) -> String {
    arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_a_long_name_and_a_help_line() {
        for arg in definition().get_arguments() {
            assert!(arg.get_long().is_some(), "{arg:?}");
            assert!(arg.get_help().is_some(), "{arg:?}");
            assert!(arg.get_help_heading().is_some() || arg.is_hide_set(), "{arg:?}");
            assert!(!arg.is_positional(), "{arg:?}");
        }
    }

    #[test]
    fn field_names_are_option_names() {
        for arg in definition().get_arguments() {
            assert_eq!(arg.get_id().as_str().replace('_', "-"), arg.get_long().unwrap().replace('.', "-"));
        }
    }

    #[test]
    fn the_definition_knows_which_flags_take_a_value() {
        let of = |long: &str| flags().into_iter().find(|flag| flag.long == long).unwrap();
        assert_eq!(of("number").value_name.as_deref(), Some("N"));
        assert_eq!(of("number").short, Some('n'));
        assert_eq!(of("bind").value_name.as_deref(), Some("ADDR"));
        assert_eq!(of("quiet").value_name, None);
        assert_eq!(of("manual").value_name, None);
        assert_eq!(of("version").short, None);
    }

    #[test]
    fn short_names_are_einhorns_and_the_seeds() {
        let shorts: String = flags().iter().filter_map(|flag| flag.short).collect();
        let mut sorted: Vec<char> = shorts.chars().collect();
        sorted.sort_unstable();
        assert_eq!(sorted.into_iter().collect::<String>(), "46bcdefghklmnpqrstv");
    }

    #[test]
    fn every_flag_but_those_for_one_run_is_a_key() {
        let keys = keys();
        for flag in flags() {
            let is_key = keys.iter().any(|key| key.name == flag.long);
            assert_ne!(is_key, COMMAND_LINE_ONLY.contains(&flag.long.as_str()), "{}", flag.long);
        }
    }

    #[test]
    fn keys_know_how_many_values_they_have() {
        let kind = |name: &str| keys().into_iter().find(|key| key.name == name).unwrap().kind;
        assert_eq!(kind("syslog"), Kind::Switch);
        assert_eq!(kind("number"), Kind::Single);
        assert_eq!([kind("bind"), kind("command"), kind("env.unset")], [Kind::List; 3]);
        assert_eq!([kind("env.set"), kind("worker.rlimits")], [Kind::Map; 2]);
    }
}
