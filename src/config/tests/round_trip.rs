//! What `--print-config` writes gives the same settings when it is read, and so does what one image hands to the next.

use crate::config::definition::Kind;
use crate::config::options::keys;
use crate::config::tests::{Random, parse_with, words};
use crate::config::{Bind, Config, Invocation, Provided, print};

const ROUNDS: u64 = 1_000;

/// Values that fit somewhere and try the quoting everywhere.
const PIECES: [&str; 30] = [
    "1",
    "0.5",
    "007",
    "1e3",
    "1m 30s",
    "manual",
    "a:1",
    "[::1]:80,r",
    "unix:/x y,mode=07",
    "",
    " ",
    "\"",
    "'",
    "\\",
    "\n",
    "\u{e9}",
    "#",
    "=",
    "true",
    "false",
    "inf",
    "nan",
    "USR2",
    "debug",
    "both",
    "cron",
    "64:128",
    "unlimited",
    "[x]",
    "0x10",
];
const NAMES: [&str; 6] = ["A", "a.b", "A B", "\u{e9}", "nofile", "core"];

/// How many keys a file has, about: with many of them, one is wrong nearly always.
const KEYS_ABOUT: usize = 5;

/// A file that says a few things at random.
fn file(random: &mut Random) -> String {
    let mut text = String::new();
    let one_in = (keys().count() / KEYS_ABOUT) as u64;
    for key in keys().filter(|_| random.below(one_in) == 0).collect::<Vec<_>>() {
        let mut piece = || toml::Value::String((*random.pick(&PIECES)).to_owned()).to_string();
        let value = match key.kind {
            Kind::Switch => "true".to_owned(),
            Kind::Single => piece(),
            Kind::List => format!("[{}, {}]", piece(), piece()),
            Kind::Map => {
                let value = piece();
                format!("{{ {} = {value} }}", toml::Value::String((*random.pick(&NAMES)).to_owned()))
            }
        };
        text.push_str(&format!("{} = {value}\n", key.name));
    }
    text
}

fn read(text: &str) -> Option<Config> {
    let args = words(&["--config", "web.toml", "--print-config"]);
    match parse_with(args, &[("web.toml", text)]) {
        Ok(Invocation::PrintConfig(config)) => Some(*config),
        Ok(other) => panic!("{text}: {other:?}"),
        Err(_) => None,
    }
}

/// Without the places, which differ; the values are compared beside it.
fn values(config: &Config) -> (Config, Vec<Vec<String>>) {
    let values =
        |name: &str| config.given.values(name).iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let given = keys().map(|key| values(key.name)).collect();
    (Config { given: Provided::default(), ..config.clone() }, given)
}

/// As it comes out in the next image.
fn carried(config: &Config) -> Config {
    serde_json::from_str(&serde_json::to_string(config).unwrap()).unwrap()
}

#[test]
fn the_printed_settings_give_the_same_settings() {
    let mut accepted = 0;
    for seed in 1..=ROUNDS {
        let mut random = Random::new(seed);
        let text = file(&mut random);
        let Some(config) = read(&text) else { continue };
        accepted += 1;
        let printed = print(&config).unwrap();
        let again = read(&printed).unwrap_or_else(|| panic!("seed {seed}: what was printed is refused:\n{printed}"));
        assert_eq!(values(&again), values(&config), "seed {seed}:\n{text}\n{printed}");
        assert_eq!(values(&read(&print(&again).unwrap()).unwrap()), values(&again), "seed {seed}");
        assert_eq!(carried(&config), config, "seed {seed}:\n{text}");
        for bind in &config.binds {
            assert_eq!(Bind::read(&bind.to_word()).as_ref(), Ok(bind), "seed {seed}");
        }
    }
    assert!(accepted > ROUNDS / 50, "too wild: only {accepted} of {ROUNDS} were right");
}

#[test]
fn each_value_is_shown_with_its_origin() {
    let file = "number = 2\nbind = ['a:1', 'b:2,r']\n[env.set]\nA = 'x'\n[worker.rlimits]\nnofile = '5'\n";
    let args = words(&["--config", "web.toml", "-n", "4", "--print-config", "-m", "--", "server", "a b"]);
    let Ok(Invocation::PrintConfig(config)) = parse_with(args, &[("web.toml", file)]) else { panic!() };
    let printed = print(&config).unwrap();
    let has = |line: &str| {
        let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(printed.lines().any(|shown| plain(shown) == line), "{line} is not in\n{printed}");
    };
    has("number = 4 # --number");
    has("bind = [\"a:1\", \"b:2,r\"] # web.toml:2");
    has("manual = true # --manual");
    has("command = [\"server\", \"a b\"] # command line");
    has("backlog = 1024 # default");
    has("[env.set]");
    has("A = \"x\" # web.toml:4");
    has("nofile = \"5\" # web.toml:6");
    has("ident = \"einhyrningsins\" # default");
}

#[test]
fn what_a_file_cannot_hold_is_said() {
    use std::os::unix::ffi::OsStringExt;
    let odd = std::ffi::OsString::from_vec(b"/\xff".to_vec());
    let args = vec!["--print-config".into(), "-d".into(), odd];
    let Ok(Invocation::PrintConfig(config)) = parse_with(args, &[]) else { panic!() };
    let need = "-d /\u{fffd}: cannot stand in a file, which holds text in UTF-8 only";
    assert_eq!(print(&config).unwrap_err().to_string(), need);
}
