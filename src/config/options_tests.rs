//! The rows put to the test: what holds of each option, whichever it is.

use super::*;
use crate::config::definition::Kind;

fn kind(name: &str) -> Kind {
    find(name).unwrap().kind
}

#[test]
fn every_option_has_a_name_of_its_own_and_a_help() {
    for option in OPTIONS {
        assert_eq!(OPTIONS.iter().filter(|other| other.name == option.name).count(), 1, "{}", option.name);
        assert!(!option.help.is_empty(), "{}", option.name);
        assert_eq!(option.group.heading.is_empty(), !option.is_flag(), "{}", option.name);
        assert_eq!(option.name.contains('.') || option.name == "command", !option.is_flag(), "{}", option.name);
    }
}

#[test]
fn an_option_has_a_name_for_its_value_unless_it_is_a_switch() {
    for option in OPTIONS {
        assert_eq!(option.value_name().is_none(), option.kind == Kind::Switch, "{}", option.name);
    }
    assert_eq!(find("number").unwrap().value_name(), Some("N"));
    assert_eq!(find("bind").unwrap().value_name(), Some("ADDR"));
}

#[test]
fn short_names_are_einhorns_and_the_seeds() {
    let mut shorts: Vec<char> = flags().filter_map(|flag| flag.short).collect();
    shorts.sort_unstable();
    assert_eq!(shorts.into_iter().collect::<String>(), "46bcdefghklmnpqrstv");
    assert!(keys().all(|key| key.is_flag() || key.short.is_none()));
}

#[test]
fn options_know_how_many_values_they_have() {
    assert_eq!(kind("syslog"), Kind::Switch);
    assert_eq!(kind("number"), Kind::Single);
    assert_eq!([kind("bind"), kind("command"), kind("env.unset")], [Kind::List; 3]);
    assert_eq!([kind("env.set"), kind("worker.rlimits")], [Kind::Map; 2]);
    assert_eq!(variables().collect::<Vec<_>>(), ["env.set", "worker.slots.env"]);
}
