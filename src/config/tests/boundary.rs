//! Where the options end and the program begins.

use crate::base::AckMode;
use crate::config::Family;
use crate::config::tests::{run, try_parse};

#[track_caller]
fn program(args: &[&str], expected: &[&str]) {
    assert_eq!(run(args).program, expected, "{args:?}");
}

#[test]
fn the_first_word_that_is_no_option_begins_the_program() {
    program(&["cmd"], &["cmd"]);
    program(&["-n3", "cmd", "-n", "9"], &["cmd", "-n", "9"]);
    program(&["--num", "3", "cmd", "-x"], &["cmd", "-x"]);
    program(&["-g", "cmd", "-n", "5"], &["cmd", "-n", "5"]);
    program(&["-b", "x:1", "-b", "y:2", "cmd"], &["cmd"]);
    program(&["-gkn3", "cmd"], &["cmd"]);
    program(&["-gkn", "3", "cmd"], &["cmd"]);
    program(&["--number=3", "cmd", "--", "-q"], &["cmd", "--", "-q"]);
    program(&["cmd", "--help", "--bogus"], &["cmd", "--help", "--bogus"]);
    assert_eq!(run(&["-g", "cmd", "-n", "5"]).number.of(0), 1);
}

#[test]
fn two_dashes_end_the_options_once() {
    program(&["-n3", "--", "cmd"], &["cmd"]);
    program(&["--", "-n", "3"], &["-n", "3"]);
    program(&["--", "--", "cmd"], &["--", "cmd"]);
    program(&["-q", "--", "--help"], &["--help"]);
}

#[test]
fn a_lone_dash_is_a_program() {
    program(&["-q", "-", "-v"], &["-", "-v"]);
}

#[test]
fn a_value_is_a_value_whatever_it_looks_like() {
    program(&["--nice", "-5", "cmd"], &["cmd"]);
    program(&["-d", "--", "cmd"], &["cmd"]);
    program(&["-e", "-q", "cmd"], &["cmd"]);
    program(&["--socket-path==", "cmd"], &["cmd"]);
    assert_eq!(run(&["-d", "--", "cmd"]).socket_path, Some("--".into()));
    assert_eq!(run(&["-e", "-q", "cmd"]).log.level.verbosity(), 1);
    assert_eq!(run(&["--reexec-as", "--", "cmd"]).reexec_as, Some(vec!["--".into()]));
}

#[test]
fn a_short_option_takes_what_is_joined_to_it_as_it_is() {
    assert_eq!(run(&["-d=/s", "cmd"]).socket_path, Some("=/s".into()));
    assert_eq!(run(&["-cqqq", "cmd"]).command_name.as_deref(), Some("qqq"));
    assert_eq!(run(&["-qdv", "cmd"]).socket_path, Some("v".into()));
}

#[test]
fn m_takes_a_mode_and_leaves_all_else() {
    for (args, takes_mode, rest) in [
        (&["-m", "manual", "cmd"][..], true, &["cmd"][..]),
        (&["-mmanual", "cmd"], true, &["cmd"]),
        (&["-m", "5", "cmd"], true, &["cmd"]),
        (&["-m5", "cmd"], true, &["cmd"]),
        (&["-m", "0", "cmd"], true, &["cmd"]),
        (&["-m", "1e1", "cmd"], true, &["cmd"]),
        (&["-gm", "manual", "cmd"], true, &["cmd"]),
        (&["-gm5", "cmd"], true, &["cmd"]),
        (&["-m", "cmd"], false, &["cmd"]),
        (&["-m", "cmd", "5"], false, &["cmd", "5"]),
        (&["-m", "--", "cmd"], false, &["cmd"]),
        (&["-m", "--", "5"], false, &["5"]),
        (&["-m", "-q", "cmd"], false, &["cmd"]),
        (&["-m", "-n", "5", "cmd"], false, &["cmd"]),
        (&["-m", "manually"], false, &["manually"]),
        (&["-m", "./5", "cmd"], false, &["./5", "cmd"]),
        (&["-m", "inf"], false, &["inf"]),
        (&["-gm", "cmd"], false, &["cmd"]),
        (&["-mv", "cmd"], false, &["cmd"]),
        (&["-mn3", "cmd"], false, &["cmd"]),
        (&["--manual", "5"], false, &["5"]),
    ] {
        let config = run(args);
        assert_eq!(config.program, rest, "{args:?}");
        assert_eq!(config.given.is_given("ack-mode"), takes_mode, "{args:?}");
        assert_eq!(config.given.is_given("manual"), !takes_mode, "{args:?}");
    }
    assert_eq!(run(&["-mv", "cmd"]).log.level.verbosity(), 0);
    assert_eq!(run(&["-mn3", "cmd"]).number.of(0), 3);
}

#[test]
fn m_before_the_seeds_family_options_stands_alone() {
    let config = run(&["-m", "-4", "cmd"]);
    assert_eq!((config.ack, config.family), (AckMode::Manual, Family::V4));
    assert!(try_parse(&["-m-4", "cmd"]).is_err());
}

#[test]
fn the_long_ack_mode_always_takes_its_value() {
    assert!(try_parse(&["--ack-mode", "cmd"]).is_err());
    program(&["--ack-mode", "manual", "cmd"], &["cmd"]);
}
