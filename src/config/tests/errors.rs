//! What is wrong is told in one exact line, with the option as the user spelled it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::base::AckMode;
use crate::config::flags;
use crate::config::tests::{config, error, parse_with, parse_words, try_parse, words};

const WORKERS: &str = "need a whole number from 1 to 100000";
const WORKERS_OR_AUTO: &str = "need a whole number from 1 to 100000, or auto";
const PORT_FORM: &str = "need ADDR:PORT[,OPT...] or unix:/path[,mode=0660]";
const MODES: &str = "need manual or a number of seconds from 0 to 86400";
const SECONDS: &str = "need a number of seconds above 0, up to 86400";
const LEVELS: &str = "need MASTER[:WORKER[:RENICE_CMD]] with levels from -20 to 19";
const TIMES: &str = "need a time above 0, up to 86400 seconds, such as 90 or 1m 30s";
const NAME: &str = "need a name of at most 64 bytes without / and control characters";
const SOCKET: &str = "need a path of 1 to 107 bytes";

#[test]
fn values_out_of_range_say_what_is_allowed() {
    for (options, value, need) in [
        (&["-n", "abc"][..], "-n abc", WORKERS_OR_AUTO),
        (&["-nabc"], "-n abc", WORKERS_OR_AUTO),
        (&["--number=abc"], "--number abc", WORKERS_OR_AUTO),
        (&["--num", "0"], "--num 0", WORKERS),
        (&["-n", "3x"], "-n 3x", WORKERS),
        (&["-n", "-1"], "-n -1", WORKERS),
        (&["-n", "1.5"], "-n 1.5", WORKERS),
        (&["-n=3"], "-n =3", WORKERS),
        (&["-n", ""], "-n \"\"", WORKERS),
        (&["-n", "--", "cmd"], "-n --", WORKERS),
        (&["-gkn", "x"], "-n x", WORKERS_OR_AUTO),
        (&["--max-unacked=x"], "--max-unacked x", WORKERS),
        (&["-b", "foo"], "-b foo", PORT_FORM),
        (&["-b", "a:1", "--bind=foo", "-b", "b:2"], "--bind foo", PORT_FORM),
        (&["-b", "::1:80"], "-b ::1:80", "an ipv6 address needs brackets, as in [::1]:80"),
        (&["-b", "a:65536"], "-b a:65536", "need a port from 0 to 65535"),
        (&["--ack-mode", "foo"], "--ack-mode foo", MODES),
        (&["-s", "0"], "-s 0", SECONDS),
        (&["-s", "abc"], "-s abc", SECONDS),
        (&["-s", "nan"], "-s nan", SECONDS),
        (&["-s", "inf"], "-s inf", SECONDS),
        (&["-t", "1.5"], "-t 1.5", "need a whole number from 1 to 4294967295"),
        (&["-t", "010"], "-t 010", "need a whole number from 1 to 4294967295, without a leading zero"),
        (&["-r", "0"], "-r 0", "need a whole number from 1 to 1000000"),
        (&["-r", "1000001"], "-r 1000001", "need a whole number from 1 to 1000000"),
        (&["--nice", "x"], "--nice x", LEVELS),
        (&["--nice=:1"], "--nice :1", LEVELS),
        (&["-m", "--ack-timeout", "0"], "--ack-timeout 0", TIMES),
        (&["-m", "--ack-timeout", "2d"], "--ack-timeout 2d", TIMES),
        (&["-m", "--ack-timeout", "soon"], "--ack-timeout soon", TIMES),
        (&["-c", "a/b"], "-c a/b", NAME),
        (&["-c", "a\0b"], "-c \"a\\0b\"", NAME),
        (&["-c", "a\nb"], "-c \"a\\nb\"", NAME),
        (&["-d", ""], "-d \"\"", SOCKET),
        (&["--socket-path="], "--socket-path \"\"", SOCKET),
        (&["-e", ""], "-e \"\"", "need a path"),
        (&["-f", ""], "-f \"\"", "need a path"),
        (&["-p", ""], "-p \"\"", "need a path"),
        (&["--drop-env-var", "A=b"], "--drop-env-var A=b", "need the name of a variable, without ="),
        (&["--drop-env-var="], "--drop-env-var \"\"", "need the name of a variable, without ="),
        (&["--reexec-as="], "--reexec-as \"\"", "need a command line that begins with a program"),
        (&["--reexec-as= "], "--reexec-as \" \"", "need a command line that begins with a program"),
        (&["--reexec-as='' x"], "--reexec-as \"'' x\"", "need a command line that begins with a program"),
        (&["--reexec-as=it's"], "--reexec-as it's", "need a command line with its quotes closed"),
        (&["--with-state-fd", "2"], "--with-state-fd 2", "need a whole number from 3 to 2147483647"),
    ] {
        assert_eq!(error(options), format!("{value}: {need}"), "{options:?}");
    }
}

/// What a command line says is taken as the nearest value, see `taken`.
#[test]
fn a_file_is_told_what_is_allowed_where_a_command_line_is_taken_as_the_nearest() {
    for (line, shown, need) in [
        ("number = 100001", "100001", WORKERS),
        ("max-unacked = 0", "0", WORKERS),
        ("ack-mode = -1", "-1", MODES),
        ("ack-mode = 86401", "86401", MODES),
        ("seconds = -1", "-1", SECONDS),
        ("seconds = 86400.5", "86400.5", SECONDS),
        ("signal-timeout = 0", "0", "need a whole number from 1 to 4294967295"),
        ("backlog = 0", "0", "need a whole number from 1 to 2147483647"),
        ("nice = \"20\"", "20", LEVELS),
        ("nice = \"1:\"", "1:", LEVELS),
        ("command-name = \"\"", "\"\"", "need a name, or no such key"),
        ("bind = \"a:1,rn\"", "a:1,rn", "unknown option ,rn: need r (so_reuseaddr) or n (o_nonblock)"),
        (
            "max-upgrade-additional = 0",
            "0",
            "need a whole number from 1 to 100000 (0 would never let an upgrade start)",
        ),
    ] {
        let key = line.split(' ').next().unwrap();
        let at = line.find('=').unwrap() + 3;
        let error = parse_with(words(&["--config", "f", "x"]), &[("f", line)]).unwrap_err().to_string();
        assert_eq!(error, format!("f:1:{at}: {key} {shown}: {need}"));
    }
}

#[test]
fn neither_a_worker_more_nor_a_worker_less_is_refused_with_the_reason() {
    let need = "would never let an upgrade start, need max-unavailable above 0 too";
    assert_eq!(error(&["--max-surge=0"]), format!("--max-surge 0: {need}"));
    assert_eq!(error(&["--max-surge=0%", "--max-unavailable=0"]), format!("--max-surge 0%: {need}"));
    config(&["--max-surge=0", "--max-unavailable=1"]);
}

#[test]
fn a_long_value_is_still_shown() {
    let path = format!("/{}", "y".repeat(107));
    assert_eq!(error(&["-d", &path]), format!("-d {path}: {SOCKET}"));
    let name = "x".repeat(65);
    assert_eq!(error(&["-c", &name]), format!("-c {name}: {NAME}"));
}

#[test]
fn unknown_options_are_named_with_the_nearest() {
    for (option, line) in [
        ("--bogus", "unknown option --bogus"),
        ("--bogus=5", "unknown option --bogus"),
        ("--nubmer=3", "unknown option --nubmer, did you mean --number?"),
        ("--max-unaked", "unknown option --max-unaked, did you mean --max-unacked?"),
        ("--=x", "unknown option --"),
        ("---", "unknown option ---"),
        ("-Z", "unknown option -Z"),
        ("-gZ", "unknown option -Z"),
        ("-q5", "unknown option -5"),
        ("-\u{e9}", "unknown option -\u{e9}"),
        ("--a\nb", "unknown option \"--a\\nb\""),
    ] {
        assert_eq!(error(&[option]), line, "{option:?}");
    }
}

#[test]
fn ambiguous_options_list_the_candidates() {
    assert_eq!(error(&["--ver"]), "ambiguous option --ver: could be --verbose or --version");
    assert_eq!(
        error(&["--command", "x"]),
        "ambiguous option --command: could be --command-name or --command-socket-as-fd"
    );
    assert_eq!(error(&["--n", "3"]), "ambiguous option --n: could be --number or --nice");
    assert_eq!(error(&["--ipv"]), "ambiguous option --ipv: could be --ipv4-only or --ipv6-only");
}

#[test]
fn what_would_be_right_stays_on_one_line_too() {
    assert_eq!(error(&["-b:\n"]), "-b \":\\n\": for every address write 0.0.0.0:\\n or [::]:\\n");
    assert!(!error(&["-b::1:\n"]).contains('\n'));
}

#[test]
fn what_was_unambiguous_with_einhorn_stays_so() {
    assert_eq!(config(&["--ack", "manual"]).ack, AckMode::Manual);
    assert_eq!(config(&["--re", "a b"]).reexec_as, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert!(config(&["--sy"]).log.target == crate::base::LogTarget::Both, "what only we have can be cut short too");
}

#[test]
fn missing_and_needless_values_are_told() {
    let line = |args: &[&str]| try_parse(args).unwrap_err().to_string();
    assert_eq!(line(&["-n"]), "-n: value missing, need -n N");
    assert_eq!(line(&["-gn"]), "-n: value missing, need -n N");
    assert_eq!(line(&["--signal-timeout"]), "--signal-timeout: value missing, need --signal-timeout SECONDS");
    assert_eq!(line(&["--ack-mode"]), "--ack-mode: value missing, need --ack-mode MODE");
    assert_eq!(line(&["--quiet=5", "sleep"]), "--quiet=5: takes no value");
    assert_eq!(line(&["--help="]), "--help=: takes no value");
    assert_eq!(line(&["--man=5"]), "--man=5: takes no value");
}

#[test]
fn every_option_with_a_value_misses_it() {
    for flag in flags().filter(|flag| flag.value_name().is_some()) {
        let long = format!("--{}", flag.name);
        let line = try_parse(&[&long]).unwrap_err().to_string();
        assert_eq!(line, format!("{long}: value missing, need {long} {}", flag.value_name().unwrap()));
    }
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    assert_eq!(error(&["-4", "-6"]), "-6: cannot stand together with -4");
    assert_eq!(error(&["--ipv6", "-4"]), "--ipv6: cannot stand together with -4");
    assert_eq!(error(&["-4", "-b", "a:1", "-b", "[::1]:80"]), "-b [::1]:80: cannot stand together with -4");
    assert_eq!(error(&["-6", "-b127.0.0.1:80"]), "-b 127.0.0.1:80: cannot stand together with -6");
    assert_eq!(error(&["--ack-timeout", "5"]), "--ack-timeout 5: is not used with a timer, need -m manual too");
    assert_eq!(error(&["-m5", "--ack-timeout=5"]), "--ack-timeout 5: is not used with a timer, need -m manual too");
}

#[test]
fn an_empty_program_is_refused() {
    assert_eq!(try_parse(&["-q", ""]).unwrap_err().to_string(), "cannot run the program: its name is empty");
    assert_eq!(try_parse(&["-m", ""]).unwrap_err().to_string(), "cannot run the program: its name is empty");
}

#[test]
fn bytes_that_are_no_text_name_the_option() {
    let odd = || OsString::from_vec(b"\xff".to_vec());
    let line = |args: Vec<OsString>| parse_words(args).unwrap_err().to_string();
    for option in ["-n", "-c", "-b", "-s", "-t", "-r", "-l", "--nice", "--ack-mode", "--reexec-as", "--max-unacked"] {
        assert_eq!(line(vec![option.into(), odd(), "x".into()]), format!("{option} \u{fffd}: need text in UTF-8"));
    }
    assert_eq!(line(vec![OsString::from_vec(b"-g\xff\xfe".to_vec())]), "unknown option -\u{fffd}");
    assert_eq!(line(vec![OsString::from_vec(b"--a\xff=1".to_vec())]), "unknown option --a\u{fffd}");
}
