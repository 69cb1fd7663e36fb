//! What a file can say and a command line cannot, and what a file's shape may be.

use std::path::PathBuf;

use crate::base::{AckMode, LogTarget, Resource, ResourceLimit, Signal};
use crate::config::tests::{parse_with, words};
use crate::config::{Config, Invocation, LogLevel, differences, schema};

const WEB: &str = r#"
command = ["/srv/web/current/bin/server", "--workers", "1"]
number = 4
bind = ["0.0.0.0:8080,r", "[::]:8080,r", "unix:/run/web/web.sock,mode=0660"]
ack-mode = "manual"             # or a number of seconds
ack-timeout = "1m 30s"
max-unacked = 2

[env]
set = { RAILS_ENV = "production" }
unset = ["DEBUG"]
[worker]
user = "www-data"
directory = "/srv/web/current"
umask = "027"
[profiles.staging]
number = 1
"#;

#[track_caller]
fn invoked(file: &str, args: &[&str]) -> Invocation {
    let files = [("web.toml", file), ("a.env", "A=1\nB=1\n"), ("b.env", "B=2\n")];
    parse_with(words(&[&["--config", "web.toml"], args].concat()), &files)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn config(file: &str, args: &[&str]) -> Config {
    match invoked(file, args) {
        Invocation::Run(config) => *config,
        other => panic!("{other:?}"),
    }
}

fn problem(file: &str, args: &[&str]) -> String {
    let all = [&["--config", "web.toml"], args].concat();
    parse_with(words(&all), &[("web.toml", file)]).unwrap_err().to_string()
}

#[test]
fn the_example_of_the_manual_is_read() {
    let config = config(WEB, &[]);
    assert_eq!(config.program, ["/srv/web/current/bin/server", "--workers", "1"]);
    assert_eq!((config.number.of(0), config.ack, config.ack_timeout.unwrap().as_secs()), (4, AckMode::Manual, 90));
    let binds: Vec<String> = config.binds.iter().map(ToString::to_string).collect();
    assert_eq!(binds, ["0.0.0.0:8080", "[::]:8080", "unix:/run/web/web.sock"]);
    assert_eq!(config.env.set, [("RAILS_ENV".into(), "production".into())]);
    assert_eq!(config.env.unset, ["DEBUG"]);
    assert_eq!((config.worker.user.as_deref(), config.worker.umask), (Some("www-data"), Some(0o027)));
    assert_eq!(config.worker.directory, Some(PathBuf::from("/srv/web/current")));
    assert_eq!(super::files::config(WEB, &["--profile", "staging"]).number.of(0), 1);
}

#[test]
fn binds_may_be_tables() {
    let file = "command = 'x'\n[[bind]]\naddress = '0.0.0.0:80'\nreuse-addr = true\nnonblock = true\n\
                [[bind]]\naddress = 'unix:/run/x'\nmode = '0660'\nreuse-addr = false\n";
    let tables = config(file, &[]).binds;
    assert_eq!(tables, config("command = 'x'\nbind = ['0.0.0.0:80,n,r', 'unix:/run/x,mode=0660']", &[]).binds);
    assert_eq!(config("command = 'x'\nbind = ['a:1', {address = 'b:2'}]", &[]).binds.len(), 2);
}

#[test]
fn the_tables_say_what_flags_cannot() {
    let file = "command = \"server 'a b'\"\n[worker]\ngroup = 7\ngraceful-signal = 'TERM'\n\
                rlimits = { nofile = 65536, core = 'unlimited', as = '2GiB', stack = '8MiB:16 MiB' }\n\
                [control]\nmode = 0o660\ngroup = 'adm'\nallow-users = ['deploy', 1000]\nallow-groups = 'ops'\n\
                [log]\nlevel = 'error'\ntarget = 'both'\nsyslog-level = 'info'\nfacility = 'local3'\nident = 'web'\n";
    let config = config(file, &[]);
    assert_eq!(config.program, ["server", "a b"]);
    assert_eq!((config.worker.group.as_deref(), config.worker.graceful_signal), (Some("7"), Signal::TERM));
    let limit = |name, soft, hard| ResourceLimit { resource: Resource::from_name(name).unwrap(), soft, hard };
    assert_eq!(
        config.worker.limits,
        [
            limit("as", 2 << 30, 2 << 30),
            limit("core", u64::MAX, u64::MAX),
            limit("nofile", 65536, 65536),
            limit("stack", 8 << 20, 16 << 20)
        ]
    );
    assert_eq!((config.socket_mode, config.socket_group.as_deref()), (Some(0o660), Some("adm")));
    assert_eq!(
        (config.control.allow_users, config.control.allow_groups),
        (
            words(&["deploy", "1000"]).iter().map(|word| word.to_str().unwrap().to_owned()).collect(),
            vec!["ops".to_owned()]
        )
    );
    assert_eq!(
        (config.log.level, config.log.target, config.log.syslog_level),
        (LogLevel::Error, LogTarget::Both, LogLevel::Info)
    );
    assert_eq!((config.log.facility.as_str(), config.log.ident.as_str()), ("local3", "web"));
}

#[test]
fn the_later_environment_file_counts() {
    let env = config("command = 'x'\nenv.env-file = ['a.env', 'b.env']\nenv.set.C = 3", &[]).env;
    assert_eq!(env.from_files, [("A".into(), "1".into()), ("B".into(), "2".into())]);
    assert_eq!(env.set, [("C".into(), "3".into())]);
}

#[test]
fn profiles_begin_with_what_they_inherit() {
    let file = "command = 'x'\nnumber = 1\nretries = 1\nseconds = 1\n\
                [profiles.base]\nnumber = 2\nretries = 2\n[profiles.mid]\ninherits = 'base'\nnumber = 3\n\
                [profiles.top]\ninherits = ['mid', 'base']\nseconds = 4\n";
    let top = config(file, &["--profile", "top"]);
    assert_eq!((top.number.of(0), top.retries, top.seconds), (3, Some(2), 4.0));
    let base_last = config(file, &["--profile", "top", "--profile", "base"]);
    assert_eq!((base_last.number.of(0), base_last.seconds), (2, 4.0));
}

#[test]
fn numbers_may_have_another_base() {
    assert_eq!(config("command = 'x'\nnumber = 0x10", &[]).number.of(0), 16);
    let auto = config("command = 'x'\nnumber = 'auto'", &[]).number;
    assert_eq!([0, 6, 5000].map(|processors| auto.of(processors)), [1, 6, 5000]);
    assert_eq!(config("command = 'x'\nnumber = 0o10\nsocket-mode = 0o640", &[]).number.of(0), 8);
    assert_eq!(config("command = 'x'\nbacklog = 1_000", &[]).backlog, 1000);
}

#[test]
fn a_file_without_a_command_needs_a_program() {
    assert_eq!(config("number = 4", &["--", "sleep"]).program, ["sleep"]);
    assert!(matches!(invoked("number = 4", &["--check-config"]), Invocation::CheckConfig(_)));
    // A command line with a file gets an error, and not the usage of einhorn.
    let message = "there is no program, neither as the command of a file nor behind the options";
    assert_eq!(problem("number = 4", &[]), message);
}

#[test]
fn what_is_wrong_with_the_choice_of_files_is_said() {
    assert_eq!(problem("", &["--config", "no.toml", "x"]), "cannot find no.toml");
    assert_eq!(problem("", &["--config", "", "x"]), "--config \"\": need a path");
    assert_eq!(
        problem("[profiles.staging]", &["--profile", "stagin"]),
        "--profile stagin: there is no such profile, did you mean \"staging\"?"
    );
    let without = parse_with(words(&["--profile", "a", "x"]), &[]).unwrap_err().to_string();
    assert_eq!(without, "--profile a: is a profile of a file, need --config FILE too");
}

#[test]
fn every_problem_is_told_in_one_go() {
    let lines = problem("number = 0\nnubmer = 3\nsyslog = 1\n[worker]\numask = '9'", &["-s", "x", "--profile", "p"]);
    let expected = [
        "web.toml:2:1: unknown key \"nubmer\", did you mean \"number\"?",
        "web.toml:3:10: syslog: need true or false, not a number",
        "--profile p: there is no such profile, the file has none",
        "web.toml:1:10: number 0: need a whole number from 1 to 100000",
        "-s x: need a number of seconds above 0, up to 86400",
        "web.toml:5:9: worker.umask 9: need permissions in octal from 0 to 0777",
    ];
    assert_eq!(lines, expected.join("\n"));
}

#[test]
fn differences_are_named_with_what_they_take() {
    let old = config("command = ['x', 'y']\nnumber = 1\nsocket-path = '/a'\n[env.set]\nA = 'secret'\nB = 2", &[]);
    let new = config(
        "command = ['x']\nretries = 2\nsocket-path = '/b'\nenv.env-file = 'b.env'\n[env.set]\nA = 'hidden'",
        &[],
    );
    let found = serde_json::to_value(differences(&old, &new)).unwrap();
    let expected = serde_json::json!([
        { "key": "retries", "from": null, "to": "2", "origin": "web.toml:2", "effect": "at-once" },
        { "key": "socket-path", "from": "/a", "to": "/b", "origin": "web.toml:3", "effect": "restart" },
        { "key": "command", "from": "x y", "to": "x", "origin": "web.toml:1", "effect": "new-workers" },
        { "key": "env.set.A", "from": "(a value)", "to": "(another value)", "origin": "web.toml:6", "effect": "new-workers" },
        { "key": "env.set.B", "from": "(a value)", "to": null, "origin": "default", "effect": "new-workers" },
        { "key": "env.env-file", "from": null, "to": "b.env", "origin": "web.toml:4", "effect": "new-workers" },
        { "key": "env.env-file", "from": "(as it was read)", "to": "(differs in B)", "origin": "web.toml:4", "effect": "new-workers" },
    ]);
    assert_eq!(found, expected);
    assert_eq!(differences(&old, &old), []);
    // It is on by default, where there is a file.
    let adopt = |text: &str| config(&format!("command = 'x'\n{text}"), &[]);
    let found = serde_json::to_value(differences(&adopt(""), &adopt("adopt = false"))).unwrap();
    assert_eq!((&found[0]["key"], &found[0]["to"]), (&"adopt".into(), &"false".into()));
    assert_eq!([adopt(""), adopt("adopt = false")].map(|config| config.adopts()), [true, false]);
}

#[test]
fn the_schema_knows_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    for key in crate::config::keys() {
        let pointer = format!("/properties/{}", key.name.replace('.', "/properties/"));
        let property = schema.pointer(&pointer).unwrap_or_else(|| panic!("{pointer}"));
        assert_eq!(property["description"], key.help, "{pointer}");
        let in_profile = format!("/properties/profiles/additionalProperties{pointer}");
        assert_eq!(schema.pointer(&in_profile), Some(property));
    }
}
