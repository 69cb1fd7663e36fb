//! A configuration as words that can be written down and read again by another version of this program: what one image of the
//! master hands to the next. Nothing is looked up and no file is read on the way, so that it means the same there.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::wire;
use crate::config::definition::Kind;
use crate::config::error::{ConfigError, Problems};
use crate::config::options::{Config, find, flags};
use crate::config::origin::{Origin, Place, Provided, Word, split_at_equals};
use crate::config::{layers, resolve, taken};

/// The flag of a variable that was read from a file of `env.env-file`. It stands for itself, and is no option.
const FROM_FILE: &str = "env.from-files";

/// What stands for a configuration: how the first image was called, and each word.
#[derive(Serialize, Deserialize)]
struct Said {
    #[serde(with = "wire")]
    argv0: OsString,
    words: Vec<Word>,
}

impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Said { argv0: self.argv0.clone(), words: to_words(self) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Said { argv0, words } = Said::deserialize(deserializer)?;
        from_words(&argv0, words).map_err(|problems| {
            let lines: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
            D::Error::custom(format!("cannot use the configuration in the handoff: {}", lines.join("; ")))
        })
    }
}

/// The effective values, with what the files of variables said when they were read.
fn to_words(config: &Config) -> Vec<Word> {
    let variables = config.env.from_files.iter().map(|(name, value)| {
        let assignment = [name.as_bytes(), b"=", value.as_bytes()].concat();
        Word {
            flag: FROM_FILE.to_owned(),
            origin: Origin::Default,
            value: Some(OsStr::from_bytes(&assignment).to_owned()),
        }
    });
    config.given.all().iter().cloned().chain(variables).collect()
}

/// The configuration that [`to_words`] was given. `argv0` is how the first image was called.
///
/// # Errors
/// This version does not take what the other one took.
fn from_words(argv0: &OsStr, words: Vec<Word>) -> Result<Config, Problems> {
    let (variables, words): (Vec<Word>, Vec<Word>) = words.into_iter().partition(|word| word.flag == FROM_FILE);
    // An option that the version before did not have.
    let words = layers::complete(words);
    let mut problems = Vec::new();
    if let Some(unknown) = words.iter().find(|word| find(&word.flag).is_none()) {
        return Err(ConfigError::new(format!("cannot read the options: there is no option {}", unknown.flag)).into());
    }
    let mut config = resolve::read_each(argv0, Provided::new(words), &mut problems);
    config.env.from_files = variables.iter().filter_map(variable).collect();
    if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
}

/// The configuration that a command line would give that says this, and nothing else. What this version does not take is left
/// out, and comes back with the reason, as does what is taken as something else: a running master has to be taken over.
pub fn from_foreign_words(argv0: &OsStr, words: Vec<Word>) -> (Config, Vec<String>) {
    let (words, mut sentences) = taken::take(argv0, words);
    let (config, refused) = read_foreign(argv0, words);
    sentences.extend(refused.iter().map(|problem| format!("{problem}; going on without")));
    (config, sentences)
}

fn read_foreign(argv0: &OsStr, words: Vec<Word>) -> (Config, Vec<ConfigError>) {
    let all = |said: &[Word]| layers::complete(layers::merge([layers::defaults(), said.to_vec()]));
    if let Ok(config) = from_words(argv0, all(&words)) {
        return (config, Vec::new());
    }
    let mut refused = Vec::new();
    let mut taken: Vec<Word> = Vec::new();
    for word in words {
        let read = from_words(argv0, layers::merge([layers::defaults(), vec![word.clone()]]));
        match read {
            Ok(_) => taken.push(word),
            Err(problems) => refused.extend(problems.0),
        }
    }
    let words = all(&taken);
    let mut problems = Vec::new();
    // Each word was read by itself.
    let config = resolve::read_each(argv0, Provided::new(words), &mut problems);
    refused.extend(problems);
    (config, refused)
}

/// A command line that gives this configuration, without the name of this program. What only a file can say is not in it.
pub fn to_args(config: &Config) -> Vec<OsString> {
    let option = |word: &Word| {
        let flag = flags().find(|flag| flag.name == word.flag)?;
        match flag.kind {
            Kind::Switch => word.is_active().then(|| format!("--{}", flag.name).into()),
            Kind::Single | Kind::List | Kind::Map => word.to_normal_form(),
        }
    };
    let given = config.given.all().iter().filter(|word| word.origin != Origin::Default);
    given.filter_map(option).chain(["--".into()]).chain(config.program.iter().cloned()).collect()
}

/// The options that were given and that einhorn does not have, each once.
pub fn unknown_to_einhorn(config: &Config) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for word in config.given.all().iter().filter(|word| word.origin != Origin::Default && word.is_active()) {
        let is_theirs = find(&word.flag).is_some_and(|option| option.is_einhorns);
        let is_bind =
            word.flag == "bind" && word.value.as_ref().is_some_and(|bind| bind.as_bytes().starts_with(b"unix:"));
        if (word.flag != "command" && !is_theirs || is_bind) && !names.contains(&word.flag) {
            names.push(word.flag.clone());
        }
    }
    names
}

fn variable(word: &Word) -> Option<(OsString, OsString)> {
    let (name, value) = split_at_equals(word.value.as_deref()?.as_bytes());
    Some((OsStr::from_bytes(name).to_owned(), value?.to_owned()))
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Default => "default".to_owned(),
            Origin::ControlSocket => "control socket".to_owned(),
            Origin::CommandLine(spelled) => format!("command line {spelled}"),
            // The name of the file comes last, since it may have anything in it.
            Origin::File(Place { file, line, column, key }) => format!("file {line} {column} {key} {file}"),
        }
    }
}

/// What this version cannot make sense of was said somewhere: that is all it needs to know.
impl From<String> for Origin {
    fn from(text: String) -> Self {
        match text.split_once(' ') {
            None => Self::Default,
            Some(("control", _)) => Self::ControlSocket,
            Some(("file", place)) => read_place(place).map_or_else(|| Self::CommandLine(text.clone()), Self::File),
            Some((_, spelled)) => Self::CommandLine(spelled.strip_prefix("line ").unwrap_or(spelled).to_owned()),
        }
    }
}

fn read_place(text: &str) -> Option<Place> {
    let mut parts = text.splitn(4, ' ');
    let (line, column) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (key, file) = (parts.next()?.to_owned(), parts.next()?.into());
    Some(Place { file, line, column, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Invocation;
    use crate::config::tests::{config, parse_with};

    #[test]
    fn an_origin_comes_back_as_it_was() {
        let place =
            |file: &str, key: &str| Origin::File(Place { file: file.into(), line: 3, column: 10, key: key.into() });
        for origin in [
            Origin::Default,
            Origin::ControlSocket,
            Origin::CommandLine("-n".to_owned()),
            Origin::CommandLine("cannot run the program".to_owned()),
            place("/etc/a file with blanks.toml", "number"),
            place("web.toml", "worker.user"),
        ] {
            assert_eq!(Origin::from(String::from(origin.clone())), origin);
        }
        assert_eq!(
            Origin::from("file of another kind".to_owned()),
            Origin::CommandLine("file of another kind".to_owned())
        );
    }

    #[test]
    fn a_configuration_comes_back_as_it_was_commands_included() {
        let mut config = config(&[
            "-m",
            "--ack-timeout",
            "5",
            "-b",
            "127.0.0.1:80,r,n",
            "-b",
            "unix:/run/a,mode=0660",
            "-n",
            "3",
            "-k",
            "--nice",
            "2:5",
            "-c",
            "web",
            "--drop-env-var",
            "A",
            "--",
            "./server",
            "--port",
            "80",
        ]);
        config.env.from_files = vec![("A".into(), "x=y\n".into()), ("B".into(), OsString::new())];
        let handed_on = |config: &Config| serde_json::from_str(&serde_json::to_string(config).unwrap()).unwrap();
        assert!(config == handed_on(&config));
        // A command may take a value away that another option would bring.
        config.ack_timeout = None;
        let unset = Word { flag: "ack-timeout".to_owned(), origin: Origin::ControlSocket, value: None };
        config.given.replace(&["ack-timeout"], [unset]);
        assert!(config == handed_on(&config));
    }

    #[test]
    fn a_configuration_of_flags_is_a_command_line_again() {
        let config = config(&["-m", "-b", "a:80,r", "-b", "b:81", "-gkn3", "-q", "-s", "0.5", "--", "./server", "-x"]);
        let Ok(Invocation::Run(again)) = parse_with(to_args(&config), &[]) else { panic!("{:?}", to_args(&config)) };
        assert_eq!(Config { given: Provided::default(), ..*again }, Config { given: Provided::default(), ..config });
    }

    #[test]
    fn what_einhorn_does_not_know_is_found() {
        let config = config(&["-n", "3", "-b", "a:1", "-b", "unix:/x", "-b", "unix:/y", "--retries", "2", "-4", "-k"]);
        assert_eq!(unknown_to_einhorn(&config), ["bind", "retries", "ipv4-only"]);
    }

    #[test]
    fn what_another_program_took_and_we_do_not_is_left_out_and_named() {
        let word = |flag: &str, value: &str| Word {
            flag: flag.to_owned(),
            origin: Origin::CommandLine(format!("--{flag}")),
            value: Some(value.into()),
        };
        let words = vec![
            word("number", "2"),
            word("bind", "*:80"),
            word("bind", "a:81,x"),
            word("seconds", "1e9"),
            word("signal-timeout", "soon"),
        ];
        let (config, said) = from_foreign_words(OsStr::new("einhorn"), words);
        assert_eq!((config.number.of(0), config.binds.len(), config.seconds), (2, 1, 86_400.0));
        let expected =
            ["--bind a:81,x: ,x means", "--seconds 1e9: taken as 86400", "--bind *:80: ", "--signal-timeout soon: "];
        assert_eq!(said.len(), expected.len(), "{said:?}");
        assert!(said.iter().zip(expected).all(|(said, expected)| said.starts_with(expected)), "{said:?}");
    }
}
