//! What `config` may change: numbers of an allow list, checked before anything is changed. In einhorn it merged whatever it
//! was given into the state, the command line of the next re-exec included.

use std::time::Duration;

use crate::protocol::arguments::class;
use crate::yaml::{self, Limits, Value};

/// One setting and its new value; none where that means "no limit".
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    Number(u32),
    Seconds(f64),
    SignalTimeout(Option<u32>),
    MaxUnacked(Option<u32>),
    MaxUpgradeAdditional(Option<u32>),
    AckTimeout(Option<Duration>),
    Retries(Option<u32>),
    Verbosity(u8),
}

/// What `config` may change, by the names that it has there; `change` reads each.
pub const SETTINGS: [&str; 8] = [
    "number",
    "seconds",
    "signal_timeout",
    "max_unacked",
    "max_upgrade_additional",
    "ack_timeout",
    "retries",
    "verbosity",
];

const WORKERS_MAX: i64 = 1000;
const RETRIES_MAX: i64 = 1_000_000;
const SECONDS_MAX: f64 = 86_400.0;

/// Reads the arguments of `config`, joined by blanks so that nobody has to quote them. A key may be a symbol, a string, or
/// a string with a colon before it; they may stand under `:config:` as in the state document.
///
/// Errors: the reply that says what cannot be, by name.
pub(in crate::protocol) fn parse(args: &[String]) -> Result<(Vec<Change>, String), String> {
    if args.is_empty() {
        return Err("Must pass in a YAML-encoded hash".to_owned());
    }
    let given = yaml::read(&args.join(" "), Limits::UNTRUSTED);
    let given = given.map_err(|error| format!("Could not parse argument. Must be a YAML-encoded hash: {error}"))?;
    let mut changes = Vec::new();
    collect(&given, &mut changes)?;
    Ok((changes, yaml::inspect(&given)))
}

fn collect(given: &Value, changes: &mut Vec<Change>) -> Result<(), String> {
    let Some(pairs) = given.as_map() else {
        return Err(format!("Parsed argument is a {}, not a hash", class(given)));
    };
    for (key, value) in pairs {
        let name = key.as_symbol().or(key.as_str()).map(|name| name.strip_prefix(':').unwrap_or(name));
        match name {
            Some("config") => collect(value, changes)?,
            Some(name) => changes.push(change(name, value)?),
            None => return Err(refusal(&yaml::inspect(key))),
        }
    }
    Ok(())
}

fn change(name: &str, value: &Value) -> Result<Change, String> {
    let workers = 1..=WORKERS_MAX;
    if !SETTINGS.contains(&name) {
        return Err(refusal(&format!(":{name}")));
    }
    match name {
        "number" => Ok(Change::Number(whole(name, value, workers)?)),
        "seconds" => Ok(Change::Seconds(seconds(name, value)?)),
        "signal_timeout" => Ok(Change::SignalTimeout(optional(name, value, 1..=i64::from(u32::MAX))?)),
        "max_unacked" => Ok(Change::MaxUnacked(optional(name, value, workers)?)),
        "max_upgrade_additional" => Ok(Change::MaxUpgradeAdditional(optional(name, value, workers)?)),
        "ack_timeout" if value.is_nil() => Ok(Change::AckTimeout(None)),
        "ack_timeout" => Ok(Change::AckTimeout(Some(Duration::from_secs_f64(seconds(name, value)?)))),
        "retries" => Ok(Change::Retries(optional(name, value, 1..=RETRIES_MAX)?)),
        "verbosity" => Ok(Change::Verbosity(u8::try_from(whole(name, value, 0..=2)?).unwrap_or(1))),
        _ => Err(refusal(&format!(":{name}"))),
    }
}

fn refusal(key: &str) -> String {
    let (last, others) = SETTINGS.split_last().unwrap_or((&"nothing", &[]));
    format!("Refused key {key}: config may set {} and {last}", others.join(", "))
}

fn optional(name: &str, value: &Value, range: std::ops::RangeInclusive<i64>) -> Result<Option<u32>, String> {
    if value.is_nil() { Ok(None) } else { whole(name, value, range).map(Some) }
}

fn whole(name: &str, value: &Value, range: std::ops::RangeInclusive<i64>) -> Result<u32, String> {
    let number = value.as_int().filter(|number| range.contains(number)).and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        format!("Refused value {} of :{name}: need a whole number from {least} to {most}", yaml::inspect(value))
    })
}

fn seconds(name: &str, value: &Value) -> Result<f64, String> {
    let number = value.as_float().filter(|seconds| *seconds > 0.0 && *seconds <= SECONDS_MAX);
    number.ok_or_else(|| {
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
        let changed = vec![Change::SignalTimeout(Some(7))];
        assert_eq!(read(&[":signal_timeout:", "7"]), Ok((changed, "{:signal_timeout=>7}".to_owned())));
        let changed = vec![Change::SignalTimeout(Some(8))];
        assert_eq!(read(&["{\":signal_timeout\": 8}"]), Ok((changed, "{\":signal_timeout\"=>8}".to_owned())));
        assert_eq!(read(&["{config: {seconds: 0.5, number: 3}}"]).unwrap().0.len(), 2);
    }

    #[test]
    fn every_setting_of_the_list_can_be_set() {
        for name in SETTINGS {
            assert_eq!(read(&[&format!("{name}: 1")]).map(|(changes, _)| changes.len()), Ok(1), "{name}");
        }
    }

    #[test]
    fn what_is_not_on_the_list_is_refused_by_name() {
        let reply = read(&["{:number: 2, :reexec_commandline: [/bin/sh]}"]).unwrap_err();
        assert!(reply.starts_with("Refused key :reexec_commandline: config may set number, seconds,"), "{reply}");
        assert!(reply.ends_with(", ack_timeout, retries and verbosity"), "{reply}");
        let reply = read(&["number: 0"]).unwrap_err();
        assert_eq!(reply, "Refused value 0 of :number: need a whole number from 1 to 1000");
        assert_eq!(read(&["[1]"]).unwrap_err(), "Parsed argument is a Array, not a hash");
        assert_eq!(read(&["7"]).unwrap_err(), "Parsed argument is a Integer, not a hash");
        assert_eq!(read(&[]).unwrap_err(), "Must pass in a YAML-encoded hash");
        assert!(read(&["{"]).unwrap_err().starts_with("Could not parse argument."));
    }
}
