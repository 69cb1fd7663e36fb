//! What `config` may change: numbers of an allow list, checked before anything is changed. In einhorn it merged whatever it
//! was given into the state, the command line of the next re-exec included. Which options these are, and what each takes, stands
//! in their rows.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::base::limits::SECONDS_MAX;
use crate::config::{Commanded, Definition, LogLevel, Takes, commanded};
use crate::protocol::arguments::{document, key_name, pairs};
use crate::yaml::{self, Value};

/// One option and its new value, as a command line would have it; none where that means "no limit".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub option: &'static str,
    pub value: Option<String>,
}

impl Change {
    pub fn to(option: &'static str, value: impl ToString) -> Self {
        Self { option, value: Some(value.to_string()) }
    }
}

/// Reads the arguments of `config`. Its keys may stand under `:config:` as in the state document.
///
/// # Errors
/// The reply that says what cannot be, by name.
pub(in crate::protocol) fn parse(args: &[String]) -> Result<(Vec<Change>, String), String> {
    if args.is_empty() {
        return Err("Must pass in a YAML-encoded hash".to_owned());
    }
    let given = document(args)?;
    let mut changes = Vec::new();
    collect(&given, &mut changes)?;
    Ok((changes, yaml::inspect(&given)))
}

fn collect(given: &Value, changes: &mut Vec<Change>) -> Result<(), String> {
    for (key, value) in pairs(given)? {
        match key_name(key) {
            Some("config") => collect(value, changes)?,
            Some(name) => changes.push(change(name, value)?),
            None => return Err(refusal(&yaml::inspect(key))),
        }
    }
    Ok(())
}

fn change(name: &str, value: &Value) -> Result<Change, String> {
    let Some((option, Commanded { takes, .. })) = commanded().into_iter().find(|(_, commanded)| commanded.name == name)
    else {
        return Err(refusal(&format!(":{name}")));
    };
    let text = match takes {
        Takes::CountOrNil(_) | Takes::SecondsOrNil if value.is_nil() => None,
        Takes::Count(max) | Takes::CountOrNil(max) => Some(whole(name, value, 1..=max)?.to_string()),
        Takes::Seconds | Takes::SecondsOrNil => Some(seconds(name, value, option)?),
        Takes::Verbosity => Some(LogLevel::of_verbosity(whole(name, value, 0..=2)?).name().to_owned()),
    };
    Ok(Change { option: option.name, value: text })
}

fn refusal(key: &str) -> String {
    let names: Vec<&str> = commanded().iter().map(|(_, commanded)| commanded.name).collect();
    let (last, others) = names.split_last().unwrap_or((&"nothing", &[]));
    format!("Refused key {key}: config may set {} and {last}", others.join(", "))
}

fn whole<T>(name: &str, value: &Value, range: RangeInclusive<T>) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    let number = value.as_int().and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        format!("Refused value {} of :{name}: need a whole number from {least} to {most}", yaml::inspect(value))
    })
}

fn seconds(name: &str, value: &Value, option: &Definition) -> Result<String, String> {
    let number = value.as_float().filter(|seconds| *seconds > 0.0 && *seconds <= SECONDS_MAX);
    let text = number.map(|number| number.to_string()).filter(|text| option.accepts(text));
    text.ok_or_else(|| {
        format!("Refused value {} of :{name}: need seconds above 0, at most {SECONDS_MAX}", yaml::inspect(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<(Vec<Change>, String), String> {
        parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn numbers_are_set_and_shown_as_they_were_given() {
        let changed = vec![Change::to("signal-timeout", 7)];
        assert_eq!(read(&[":signal_timeout:", "7"]), Ok((changed, "{:signal_timeout=>7}".to_owned())));
        let changed = vec![Change::to("signal-timeout", 8)];
        assert_eq!(read(&["{\":signal_timeout\": 8}"]), Ok((changed, "{\":signal_timeout\"=>8}".to_owned())));
        assert_eq!(read(&["{config: {seconds: 0.5, number: 3}}"]).unwrap().0.len(), 2);
    }

    #[test]
    fn every_option_that_says_so_can_be_set_to_what_it_takes() {
        for (option, Commanded { name, .. }) in commanded() {
            for value in ["1", "2", "0.5", "nil", "86400", "1.0e-10"] {
                let Ok((changes, _)) = read(&[&format!("{name}: {value}")]) else { continue };
                let [Change { option: changed, value }] = changes.as_slice() else { panic!("{changes:?}") };
                assert_eq!(*changed, option.name);
                assert!(value.as_ref().is_none_or(|value| option.accepts(value)), "{name}: {value:?}");
            }
            assert!(read(&[&format!("{name}: 1")]).is_ok(), "{name}");
            assert!(read(&[&format!("{name}: -1")]).is_err(), "{name}");
        }
        assert_eq!(read(&["verbosity: 0"]).unwrap().0, [Change::to("log.level", "debug")]);
        assert_eq!(read(&["retries:"]).unwrap().0, [Change { option: "retries", value: None }]);
        assert!(read(&["number:"]).is_err());
    }

    #[test]
    fn what_is_not_on_the_list_is_refused_by_name() {
        let reply = read(&["{:number: 2, :reexec_commandline: [/bin/sh]}"]).unwrap_err();
        assert!(reply.starts_with("Refused key :reexec_commandline: config may set number, seconds,"), "{reply}");
        assert!(reply.ends_with(", ack_timeout, retries and verbosity"), "{reply}");
        let reply = read(&["number: 0"]).unwrap_err();
        assert_eq!(reply, "Refused value 0 of :number: need a whole number from 1 to 100000");
        assert_eq!(read(&["[1]"]).unwrap_err(), "Parsed argument is a Array, not a hash");
        assert_eq!(read(&["7"]).unwrap_err(), "Parsed argument is a Integer, not a hash");
        assert_eq!(read(&[]).unwrap_err(), "Must pass in a YAML-encoded hash");
        assert!(read(&["{"]).unwrap_err().starts_with("Could not parse argument."));
    }
}
