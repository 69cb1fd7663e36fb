//! What an upgrade is asked for with: the arguments of `upgrade` and `upgrade_fleet`, as a client writes them and as the master
//! reads them. They are a YAML map, as those of `config` are; einhorn has none.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::base::Stages;
use crate::config::{self, Config};
use crate::pool::{Terms, UpgradeStyle};
use crate::protocol::arguments::{document, key_name, pairs, strings};
use crate::yaml::{self, Value};

/// How the news begins that an upgrade was paused: a client that waits for its end stops waiting.
pub const PAUSED: &str = "Upgrade paused";

/// How long a reason may be.
const REASON_CHARS_MAX: usize = 200;

/// The keys of the map.
const REASON: &str = "reason";
const STEPS: &str = "steps";
const BAKE: &str = "bake";
const DEADLINE: &str = "deadline";

/// An upgrade as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeAsked {
    pub style: UpgradeStyle,
    /// Why, in the words of the person or script that asks; not fit to be shown as it is.
    pub reason: Option<String>,
    pub terms: Terms,
}

impl UpgradeAsked {
    /// Without any argument.
    pub fn plain(style: UpgradeStyle) -> Self {
        Self { style, reason: None, terms: Terms::default() }
    }

    pub fn command(&self) -> &'static str {
        match self.style {
            UpgradeStyle::Smooth => "upgrade",
            UpgradeStyle::Fleet => "upgrade_fleet",
        }
    }

    /// The arguments of the command: none for an upgrade that any einhorn understands. JSON is YAML.
    pub fn args(&self) -> Vec<String> {
        let Terms { stages, bake, deadline } = self.terms;
        let seconds = |span: Duration| Json::from(span.as_secs_f64());
        let given = [
            (REASON, self.reason.clone().map(Json::String)),
            (STEPS, stages.map(|stages| stages.shares().map(|share| Json::String(share.to_string())).collect())),
            (BAKE, bake.map(seconds)),
            (DEADLINE, deadline.map(seconds)),
        ];
        let given = given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let given: Map<String, Json> = given.collect();
        if given.is_empty() { Vec::new() } else { vec![Json::Object(given).to_string()] }
    }

    /// Reads the arguments of a request; it may have none.
    ///
    /// # Errors
    /// The reply that says what cannot be, by name.
    pub(in crate::protocol) fn read(style: UpgradeStyle, request: &Value) -> Result<Self, String> {
        let mut asked = Self::plain(style);
        if request.get("args").is_none_or(|args| matches!(args.plain(), Value::Nil | Value::Bool(false))) {
            return Ok(asked);
        }
        let args = strings(request)?;
        if args.is_empty() {
            return Ok(asked);
        }
        for (key, value) in pairs(&document(&args)?)? {
            match key_name(key) {
                Some(REASON) => asked.reason = reason(value)?,
                Some(STEPS) => asked.terms.stages = Some(steps(value)?),
                Some(BAKE) => asked.terms.bake = Some(time(BAKE, value)?),
                Some(DEADLINE) => asked.terms.deadline = Some(deadline(value)?),
                Some(_) | None => {
                    let known = [REASON, STEPS, BAKE, DEADLINE].join(", ");
                    return Err(format!("Refused key {}: an upgrade takes {known}", yaml::inspect(key)));
                }
            }
        }
        Ok(asked)
    }
}

/// An empty one is none.
fn reason(value: &Value) -> Result<Option<String>, String> {
    let Some(text) = value.as_str() else {
        return Err(format!("Refused value {} of :{REASON}: need a text", yaml::inspect(value)));
    };
    let length = text.chars().count();
    if length > REASON_CHARS_MAX {
        return Err(format!("Refused :{REASON}: {length} characters, at most {REASON_CHARS_MAX} are possible"));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// Read as the configuration reads `upgrade.steps`.
fn steps(value: &Value) -> Result<Stages, String> {
    let mut config = Config::default();
    for step in value.as_seq().unwrap_or(std::slice::from_ref(value)) {
        read("upgrade.steps", STEPS, step, &mut config)?;
    }
    Ok(Stages::new(&config.rollout.stages).unwrap_or_default())
}

fn time(key: &str, value: &Value) -> Result<Duration, String> {
    let mut config = Config::default();
    read("upgrade.bake", key, value, &mut config)?;
    Ok(config.rollout.bake.unwrap_or_default())
}

fn deadline(value: &Value) -> Result<Duration, String> {
    let span = time(DEADLINE, value)?;
    if span.is_zero() {
        Err(format!("Refused value {} of :{DEADLINE}: need a time above 0", yaml::inspect(value)))
    } else {
        Ok(span)
    }
}

/// Reads a value by what the row of an option says.
fn read(option: &str, key: &str, value: &Value, config: &mut Config) -> Result<(), String> {
    let text = match value.plain() {
        Value::Str(text) => text.clone(),
        other => yaml::inspect(other),
    };
    let row = config::keys().find(|row| row.name == option);
    let read = row.map_or(Ok(()), |row| (row.read)(config, text.as_ref()));
    read.map_err(|need| format!("Refused value {} of :{key}: {need}", yaml::inspect(value)))
}

#[cfg(test)]
mod tests {
    use super::{UpgradeAsked, *};
    use crate::base::Share;

    fn read(args: &[&str]) -> Result<UpgradeAsked, String> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        UpgradeAsked::read(UpgradeStyle::Smooth, &Value::map([("args", args.into())]))
    }

    fn with_reason(reason: &str) -> UpgradeAsked {
        UpgradeAsked { reason: Some(reason.to_owned()), ..UpgradeAsked::plain(UpgradeStyle::Smooth) }
    }

    #[test]
    fn an_upgrade_as_einhorns_clients_ask_for_it_has_no_arguments() {
        let plain = Ok(UpgradeAsked::plain(UpgradeStyle::Fleet));
        for args in [Value::Nil, Value::Bool(false), Value::Seq(Vec::new())] {
            assert_eq!(UpgradeAsked::read(UpgradeStyle::Fleet, &Value::map([("args", args)])), plain);
        }
        assert_eq!(UpgradeAsked::read(UpgradeStyle::Fleet, &Value::Map(Vec::new())), plain);
        assert_eq!(UpgradeAsked::plain(UpgradeStyle::Fleet).args(), [""; 0]);
    }

    #[test]
    fn what_a_client_writes_is_what_the_master_reads() {
        for reason in
            ["fix the login", "a: {b}, [c] \"d\" 'e' # f", "é\u{1f984}\n\t\u{1b}[2J\\", &"x".repeat(REASON_CHARS_MAX)]
        {
            let args = with_reason(reason).args();
            assert_eq!(read(&[&args[0]]), Ok(with_reason(reason)));
        }
    }

    #[test]
    fn a_person_may_write_it_without_quotes() {
        for words in
            [&["{reason:", "fix", "it}"][..], &["reason: fix it"], &[":reason:", "fix it"], &["{':reason': fix it}"]]
        {
            assert_eq!(read(words), Ok(with_reason("fix it")), "{words:?}");
        }
        assert_eq!(read(&["reason: ''"]), Ok(UpgradeAsked::plain(UpgradeStyle::Smooth)));
    }

    #[test]
    fn the_terms_of_a_client_are_those_that_the_master_reads() {
        let (minute, ms) = (Duration::from_secs(60), Duration::from_millis(1500));
        for (stages, bake, deadline) in [
            (Some(vec![Share::Count(1)]), Some(minute), None),
            (Some(vec![Share::Percent(25), Share::Count(3)]), Some(ms), Some(minute)),
            (None, None, Some(ms)),
        ] {
            let stages = stages.map(|shares| Stages::new(&shares).unwrap());
            let terms = Terms { stages, bake, deadline };
            let asked = UpgradeAsked { terms, ..UpgradeAsked::plain(UpgradeStyle::Smooth) };
            assert_eq!(super::tests::read(&[&asked.args()[0]]), Ok(asked));
        }
        let by_hand = read(&["{steps: [1, 50%], bake: 2m, deadline: 90}"]).unwrap().terms;
        assert_eq!(by_hand.stages, Stages::new(&[Share::Count(1), Share::Percent(50)]));
        assert_eq!((by_hand.bake, by_hand.deadline), (Some(minute * 2), Some(minute * 3 / 2)));
    }

    #[test]
    fn what_an_upgrade_does_not_take_is_refused_by_name() {
        let long = format!("reason: {}", "é".repeat(REASON_CHARS_MAX + 1));
        for (args, reply) in [
            ("{reson: x}", "Refused key \"reson\": an upgrade takes reason, steps, bake, deadline"),
            ("{7: x}", "Refused key 7: an upgrade takes reason, steps, bake, deadline"),
            ("reason: 7", "Refused value 7 of :reason: need a text"),
            (&*long, "Refused :reason: 201 characters, at most 200 are possible"),
            ("steps: 0", "Refused value 0 of :steps: need a number of workers from 1 to 100000, or 1% to 100%"),
            ("bake: soon", "Refused value \"soon\" of :bake: need a time up to 86400 seconds, such as 90 or 1m 30s"),
            ("deadline: 0", "Refused value 0 of :deadline: need a time above 0"),
            ("now", "Parsed argument is a String, not a hash"),
        ] {
            assert_eq!(read(&[args]), Err(reply.to_owned()));
        }
        assert!(read(&["{"]).unwrap_err().starts_with("Could not parse argument."));
    }
}
