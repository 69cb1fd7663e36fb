//! Variables of the environment in a file's values (number 20 of what operators trip over).

use crate::config::tests::{parse_among, words};
use crate::config::{Config, Invocation, print};

const ENVIRON: &[(&str, &str)] = &[
    ("WORKERS", "7"),
    ("PORT", "8080"),
    ("ON", "true"),
    ("NAME", "a b 'c'"),
    ("MODE", "0660"),
    ("DIR", "/srv/${PORT}"),
];

fn read(toml: &str, options: &[&str]) -> Result<Config, String> {
    let args = [&["--config", "web.toml"], options, &["--check-config"]].concat();
    match parse_among(words(&args), &[("web.toml", toml)], ENVIRON) {
        Ok(Invocation::CheckConfig(config)) => Ok(*config),
        Ok(other) => panic!("{other:?}"),
        Err(problems) => Err(problems.to_string()),
    }
}

const EVERYWHERE: &str = r#"
command = "server --port=${PORT} '${NAME}' ${NAME} $${PORT} ${NONE:-x}"
number = "${WORKERS:-4}"
seconds = "${PAUSE:-0.5}"
syslog = "${ON}"
reexec-as = "e ${NAME}"
socket-mode = "${MODE}"
[[bind]]
address = "127.0.0.1:${PORT}"
nonblock = "${ON}"
[env]
set = { URL = "http://h:${PORT}/$x", RAW = "$${PORT} $$" }
[worker]
directory = "${DIR}"
rlimits = { nofile = "${FILES:-512}" }
slots = { nice = ["${NICE:-3}"] }
[log]
level = "${LEVEL:-warn}"
"#;

#[test]
fn variables_are_expanded_in_every_value_and_never_split_a_word() {
    let config = read(EVERYWHERE, &[]).unwrap();
    assert_eq!(config.program, ["server", "--port=8080", "a b 'c'", "a b 'c'", "${PORT}", "x"]);
    assert_eq!((config.number.of(0), config.seconds, config.socket_mode), (7, 0.5, Some(0o660)));
    assert_eq!(config.reexec_as.as_deref(), Some(&["e".to_owned(), "a b 'c'".to_owned()][..]));
    assert_eq!(config.given.values("bind"), ["127.0.0.1:8080,n"]);
    assert_eq!(config.env.set[1].1, "http://h:8080/$x");
    assert_eq!(config.env.set[0].1, "${PORT} $$");
    assert_eq!(config.worker.directory.as_deref(), Some("/srv/${PORT}".as_ref()), "what one holds is not expanded");
    assert_eq!((config.worker.slots.nice.as_slice(), config.log.level.name()), (&[3][..], "warn"));
}

/// What is printed has values, and is read as the same by a master with other variables.
#[test]
fn a_configuration_is_printed_with_its_values() {
    let config = read(EVERYWHERE, &[]).unwrap();
    let printed = print(&config).unwrap();
    assert!(printed.contains("number = 7") && printed.contains("\"$${PORT} $$\""), "{printed}");
    let Ok(Invocation::CheckConfig(again)) =
        parse_among(words(&["--config", "web.toml", "--check-config"]), &[("web.toml", &printed)], &[])
    else {
        panic!("{printed}")
    };
    assert_eq!(
        (again.program, again.number, again.env, again.worker),
        (config.program, config.number, config.env, config.worker)
    );
}

#[test]
fn a_variable_that_is_not_set_has_its_place_unless_it_has_a_default() {
    let unset = |place: &str, key: &str| {
        format!(
            "web.toml:{place}: {key}: the variable NONE is not set where this runs: set it, write ${{NONE:-DEFAULT}}, or \
             $${{NONE}} for what stays as it is"
        )
    };
    assert_eq!(read("command = 'x'\nnumber = '${NONE}'\n", &[]), Err(unset("2:10", "number")));
    assert_eq!(read("command = ['x', '${NONE}']\n", &[]), Err(unset("1:17", "command")));
    assert_eq!(read("command = 'x'\nenv.set = { A = '${NONE}' }\n", &[]), Err(unset("2:17", "env.set.A")));
    // In a profile it matters to those who ask for that.
    let file = "command = 'x'\n[profiles.far]\nnumber = '${NONE}'\n";
    assert!(read(file, &[]).is_ok());
    assert_eq!(read(file, &["--profile", "far"]), Err(unset("3:10", "number")));
}

#[test]
fn a_value_that_is_wrong_when_it_is_expanded_is_shown() {
    for (toml, expected) in [
        ("number = '${PORT}x'", "web.toml:2:10: number 8080x: need a whole number from 1 to"),
        ("syslog = '${PORT}'", "web.toml:2:10: syslog: need true or false, not 8080"),
        ("number = '${PORT'", "web.toml:2:10: number: need ${NAME} or ${NAME:-DEFAULT}"),
        ("syslog = 'true'", "web.toml:2:10: syslog: need true or false, not a string"),
    ] {
        let error = read(&format!("command = 'x'\n{toml}\n"), &[]).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn variables_cannot_make_a_file_of_any_length() {
    let long = "x".repeat(100_000);
    let items = vec!["'${LONG}'"; 20].join(", ");
    let toml = format!("command = [{items}]\n");
    let read = |count: usize| {
        let toml = toml.replacen("'${LONG}', ", "", 20 - count);
        parse_among(words(&["--config", "web.toml"]), &[("web.toml", &toml)], &[("LONG", &long)])
    };
    assert!(read(10).is_ok());
    let refused = read(20).unwrap_err().to_string();
    assert!(refused.contains("variables make the file longer by more than 1048576 bytes"), "{refused}");
}
