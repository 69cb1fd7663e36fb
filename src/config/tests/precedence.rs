//! Of what is said in several places, the right one counts, for every key. The keys come from the definition, so that a new
//! one is tested as soon as it is there; the table only has to give it values.

use crate::config::definition::Kind;
use crate::config::options::{Definition, keys};
use crate::config::tests::{parse_with, words};
use crate::config::{Config, Invocation, Origin};

/// Three values for each key that all differ and are all right, as TOML has them and as a command line has them.
fn values(key: &Definition) -> [(&'static str, &'static str); 3] {
    match key.name {
        "bind" => [("['a:1']", "a:1"), ("['b:2', 'c:3']", "b:2,c:3"), ("['d:4']", "d:4")],
        "backlog" | "number" | "retries" | "max-unacked" | "max-upgrade-additional" | "max-failures" => {
            [("2", "2"), ("3", "3"), ("4", "4")]
        }
        "seconds" => [("0.5", "0.5"), ("'1m 30s'", "1m 30s"), ("4", "4")],
        "signal-timeout" => [("2", "2"), ("'3m'", "3m"), ("4", "4")],
        "ack-mode" => [("2", "2"), ("'3s'", "3s"), ("'manual'", "manual")],
        "max-surge" | "max-unavailable" | "upgrade.canary" => [("2", "2"), ("'3%'", "3%"), ("'4'", "4")],
        "upgrade.steps" => [("[1, '50%']", "1,50%"), ("2", "2"), ("['4']", "4")],
        "upgrade.check" => [("['a', 'b c']", "a,b c"), ("\"d 'e f'\"", "d,e f"), ("['g']", "g")],
        "early-life" | "upgrade.bake" | "stop-delay" => [("0", "0"), ("'3s'", "3s"), ("4.5", "4.5")],
        "ack-timeout" | "upgrade.check-timeout" | "preload-timeout" => [("2", "2"), ("'3s'", "3s"), ("4.5", "4.5")],
        "nice" => [("'2:3'", "2:3"), ("3", "3"), ("'4'", "4")],
        "socket-mode" | "worker.umask" => [("'0600'", "0600"), ("0o660", "660"), ("640", "640")],
        "command" => [("['a', 'b c']", "a,b c"), ("\"d 'e f'\"", "d,e f"), ("['g']", "g")],
        "reexec-as" => [("['a', 'b c']", "a 'b c'"), ("'d e'", "d e"), ("'f'", "f")],
        "env.set" => [("{ A = '1', B = 2 }", "A=1,B=2"), ("{ B = '3' }", "B=3"), ("{ C = 'x=y' }", "C=x=y")],
        "worker.slots.cpus" => [("['0-3', '8']", "0-3,8"), ("'0-6:2'", "0-6:2"), ("5", "5")],
        "worker.slots.nice" => [("[0, -5]", "0,-5"), ("3", "3"), ("'4'", "4")],
        "worker.slots.env" => {
            [("{ A = '{slot}', B = 2 }", "A={slot},B=2"), ("{ B = '3' }", "B=3"), ("{ C = '{{' }", "C={{")]
        }
        "worker.rlimits" => [
            ("{ nofile = 5, cpu = 6 }", "cpu=6,nofile=5"),
            ("{ cpu = '7:8' }", "cpu=7:8"),
            ("{ as = '1GiB' }", "as=1GiB"),
        ],
        "env.unset" | "drop-env-var" => [("['X']", "X"), ("['Y', 'Z']", "Y,Z"), ("'W'", "W")],
        "env.env-file" => [("['one.env']", "one.env"), ("[]", ""), ("'two.env'", "two.env")],
        "worker.graceful-signal" => [("'TERM'", "TERM"), ("'SIGINT'", "SIGINT"), ("15", "15")],
        "log.level" | "log.syslog-level" => [("'debug'", "debug"), ("'error'", "error"), ("'warn'", "warn")],
        "log.file" => [("'/a'", "/a"), ("'/b'", "/b"), ("'/c'", "/c")],
        "log.format" => [("'json'", "json"), ("'plain'", "plain"), ("'json'", "json")],
        "log.target" => [("'both'", "both"), ("'stderr'", "stderr"), ("'syslog'", "syslog")],
        "worker.output" => [("'capture'", "capture"), ("'inherit'", "inherit"), ("'capture'", "capture")],
        "log.facility" => [("'user'", "user"), ("'cron'", "cron"), ("'local7'", "local7")],
        "control.allow-users" | "control.allow-groups" => [("['a']", "a"), ("['b', '3']", "b,3"), ("'c'", "c")],
        "worker.no-restart" => [("[78]", "78"), ("[1, '2']", "1,2"), ("3", "3")],
        "worker.leave" => [("['a']", "a"), ("['b', 'c']", "b,c"), ("'c'", "c")],
        "preload" | "preload-main" | "command-name" | "socket-path" | "pidfile" | "lockfile" | "socket-group"
        | "trace" | "worker.user" | "worker.group" | "worker.directory" | "log.ident" => {
            [("'a'", "a"), ("'b'", "b"), ("'c'", "c")]
        }
        switch if key.kind == Kind::Switch => {
            assert_ne!(key.default, Some("true"), "{switch}");
            [("true", "true"), ("false", "false"), ("true", "true")]
        }
        unknown => panic!("this table has no values for {unknown}"),
    }
}

fn setting(key: &Definition, value: &str) -> String {
    format!("{} = {value}\n", key.name)
}

fn below(profile: &str, key: &Definition, value: &str) -> String {
    format!("[profiles.{profile}]\n{}", setting(key, value))
}

#[track_caller]
fn read(file: &str, args: &[&str]) -> Config {
    let files = [("web.toml", file), ("one.env", "A=1"), ("two.env", "A=2")];
    match parse_with(words(&[&["--config", "web.toml"], args].concat()), &files) {
        Ok(Invocation::PrintConfig(config)) => *config,
        other => panic!("{file}: {other:?}"),
    }
}

fn given(config: &Config, key: &Definition) -> String {
    let values = config.given.values(key.name);
    values.iter().map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(",")
}

/// A table keeps the names that only the lower layer has.
fn merged(key: &Definition, lower: &str, upper: &str) -> String {
    if key.kind != Kind::Map {
        return upper.to_owned();
    }
    let name = |entry: &str| entry.split('=').next().unwrap().to_owned();
    let kept = lower.split(',').filter(|entry| upper.split(',').all(|above| name(above) != name(entry)));
    kept.chain(upper.split(',')).collect::<Vec<_>>().join(",")
}

/// Makes an ack timeout possible, which is refused with a timer.
fn with_manual_acks(key: &Definition) -> &'static str {
    if key.name == "ack-timeout" { "ack-mode = 'manual'\n" } else { "" }
}

#[test]
fn precedence_of_each_key_is_default_then_file_then_profiles() {
    for key in keys() {
        let [(low, low_text), (middle, middle_text), (high, high_text)] = values(key);
        let file = with_manual_acks(key).to_owned() + &setting(key, low);
        let file = file + &below("one", key, middle) + &below("two", key, high);
        let of = |args: &[&str]| read(&file, &[args, &["--print-config"]].concat());
        let plain = read("", &["--print-config"]);
        let default = key.default.unwrap_or_default();
        assert_eq!((given(&plain, key), plain.given.is_given(key.name)), (default.to_owned(), false), "{}", key.name);
        assert_eq!(given(&of(&[]), key), low_text, "{}", key.name);
        assert!(matches!(of(&[]).given.origin(key.name), Origin::File(_)), "{}", key.name);
        let one = of(&["--profile", "one"]);
        assert_eq!(given(&one, key), merged(key, low_text, middle_text), "{}", key.name);
        let both = of(&["--profile", "one", "--profile", "two"]);
        let expected = merged(key, &merged(key, low_text, middle_text), high_text);
        assert_eq!(given(&both, key), expected, "{}", key.name);
        let reversed = of(&["--profile", "two", "--profile", "one"]);
        let expected = merged(key, &merged(key, low_text, high_text), middle_text);
        assert_eq!(given(&reversed, key), expected, "{}", key.name);
    }
}

#[test]
fn of_every_flag_the_command_line_counts_before_all_files() {
    for key in keys().filter(|key| key.is_flag()) {
        let [(low, _), (middle, _), (_, high)] = values(key);
        let file = with_manual_acks(key).to_owned() + &setting(key, low) + &below("one", key, middle);
        let flag = format!("--{}", key.name);
        let words: Vec<String> = match key.kind {
            Kind::Switch => vec![flag.clone()],
            _ => high.split(',').flat_map(|value| [flag.clone(), value.to_owned()]).collect(),
        };
        let args: Vec<&str> = words.iter().map(String::as_str).chain(["--profile", "one", "--print-config"]).collect();
        let config = read(&file, &args);
        assert_eq!(given(&config, key), high, "{}", key.name);
        assert_eq!(config.given.origin(key.name), &Origin::CommandLine(flag), "{}", key.name);
    }
}

#[test]
fn the_program_of_the_command_line_replaces_the_one_of_the_file() {
    let file = "command = ['server', '--port', '80']";
    assert_eq!(read(file, &["--print-config"]).program, ["server", "--port", "80"]);
    assert_eq!(read(file, &["--print-config", "--", "other"]).program, ["other"]);
}

#[test]
fn a_switch_that_is_on_below_can_be_turned_off_above() {
    for key in keys().filter(|key| key.kind == Kind::Switch) {
        let file = setting(key, "true") + &below("off", key, "false");
        let config = read(&file, &["--profile", "off", "--print-config"]);
        assert_eq!(given(&config, key), "false", "{}", key.name);
        let named = |config: Config| Config { given: Default::default(), ..config };
        assert_eq!(named(config), named(read("", &["--print-config"])), "{}", key.name);
    }
}

#[test]
fn another_way_to_say_the_same_replaces_it() {
    let level = |file: &str, args: &[&str]| read(file, &[args, &["--print-config"]].concat()).log.level.name();
    assert_eq!(level("quiet = true", &[]), "warn");
    assert_eq!(level("quiet = true", &["-v"]), "debug");
    assert_eq!(level("log.level = 'error'", &["-q"]), "warn");
    assert_eq!(level("verbose = true\n[profiles.p]\nlog.level = 'error'", &["--profile=p"]), "error");
    let ack = |file: &str, args: &[&str]| read(file, &[args, &["--print-config"]].concat()).ack_timeout;
    assert_eq!(ack("manual = true", &[]).map(|timeout| timeout.as_secs()), Some(60));
    assert_eq!(ack("manual = true", &["-m", "5"]), None);
    assert_eq!(ack("ack-mode = 5", &["-m"]).map(|timeout| timeout.as_secs()), Some(60));
}
