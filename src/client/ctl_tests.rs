//! Each subcommand against a master that says what masters say in the transcripts.

use super::*;
use crate::client::status::tests::RUBY_STATE;
use crate::client::testing::{FakeMaster, Rule, on_screen};
use crate::protocol::{Format, Reply};
use crate::yaml::Value;
use clap::Parser;

type Outcome = (Result<Exit, Failure>, String, String);

fn ctl_on(master: &FakeMaster, line: &str) -> Outcome {
    let words = ["einhyrningsinsctl"].into_iter().chain(line.split_whitespace());
    let command = crate::client::arguments::Arguments::try_parse_from(words).unwrap().command.unwrap();
    let mut connection = master.connect();
    on_screen(|screen| run(command, &mut connection, screen))
}

fn ctl(line: &str, rules: &[Rule]) -> Outcome {
    ctl_on(&FakeMaster::serve(rules), line)
}

/// The line of an answer with this message.
fn said(message: &str) -> &'static str {
    let line = Reply::last(message, Some(Value::str("ID")))
        .to_line(Format::Yaml)
        .replace("request_id: ID", "request_id: <ID>");
    Box::leak(line.into_boxed_str())
}

#[track_caller]
fn assert_done(outcome: &Outcome, out: &str) {
    assert_eq!(*outcome, (Ok(Exit::Done), out.to_owned(), String::new()));
}

#[track_caller]
fn assert_refused(outcome: Outcome, words: &str) {
    let (result, out, _) = outcome;
    let failure = result.unwrap_err();
    assert_eq!((failure.exit(), failure.to_string().as_str(), out.as_str()), (Exit::Failed, words, ""));
}

#[test]
fn workers_are_set_and_stepped() {
    let altering = "Altering worker count, 1 -> 3. Will spin up additional workers.";
    assert_done(&ctl("workers 3", &[("set_workers%0Aargs:%0A- '3'%0A", said(altering))]), &format!("{altering}\n"));
    assert_done(&ctl("workers 3", &[("set_workers", said(""))]), "The number of workers is 3 already\n");
    let up = "Incrementing number of workers from 1 -> 2";
    assert_done(&ctl("workers +1", &[("command: inc%0Aargs: []", said(up))]), &format!("{up}\n"));
    assert_done(&ctl("workers +2", &[("inc", said(up)), ("inc", said(up))]), &format!("{up}\n{up}\n"));
    let no = "Can't decrease number of workers (already at 1).  Run kill 12 if you really\nwant to kill einhorn.\n";
    assert_refused(ctl("workers -2", &[("dec", said(no))]), no.trim_end());
}

#[test]
fn signals_and_the_end_are_passed_on() {
    let master = FakeMaster::serve(&[("signal", said("\n"))]);
    assert_done(&ctl_on(&master, "signal USR1 HUP"), "Every worker was sent USR1 and HUP\n");
    assert_eq!(master.heard(), ["---%0Aid: 1%0Acommand: signal%0Aargs:%0A- USR1%0A- HUP%0A"]);
    assert_refused(ctl("signal FOO", &[("signal", said("Invalid signal: \"FOO\""))]), "Invalid signal: \"FOO\"");
    let rules = [("die%0Aargs: []", said("Einhorn is going down! "))];
    assert_done(&ctl("die", &rules), "Einhorn is going down!\n");
    assert_done(&ctl("die TERM", &[("die%0Aargs:%0A- TERM", said("going"))]), "going\n");
}

#[test]
fn levels_are_reached_in_steps() {
    let set = |level: u8| said(&format!("Verbosity set to {level}"));
    let louder = [("louder", set(1)), ("louder", set(0))];
    assert_done(&ctl("logs-level debug", &louder), "Verbosity set to 0\n");
    assert_done(&ctl("logs-level error", &[("quieter", set(2))]), "Verbosity set to 2\n");
    assert_done(&ctl("logs-level info", &[("quieter", set(1))]), "Verbosity set to 1\n");
    assert_done(&ctl("logs-level info", &[("quieter", set(2)), ("louder", set(1))]), "Verbosity set to 1\n");
    assert_done(&ctl("logs-level louder", &[("louder", set(0))]), "Verbosity set to 0\n");
    assert_refused(ctl("logs-level debug", &[("louder", said("what?"))]), "what?");
}

#[test]
fn raw_shows_everything_as_it_is() {
    let steps = "---%0Amessage: one%0Arequest_id: 1%0Await: true%0A\n---%0Amessage: 'two '%0Arequest_id: 1%0A\n";
    assert_done(&ctl("raw reload now", &[("command: reload%0Aargs:%0A- now%0A", steps)]), "one\ntwo \n");
    let (result, out, _) = ctl("raw nope", &[("nope", said("Unrecognized command: \"nope\"\n\nhelp: x\n"))]);
    assert_eq!((result, out.as_str()), (Ok(Exit::Failed), "Unrecognized command: \"nope\"\n\nhelp: x\n"));
    let (result, _, _) = ctl("raw upgrade", &[("upgrade", said("Upgrade failed: x"))]);
    assert_eq!(result, Ok(Exit::Failed));
}

const OURS: &str = r#"{"message":"","request_id":<ID>,"status":{"pid":7,"version":1,"target":1,"new":true,"workers":[]}}
"#;

#[test]
fn a_status_of_our_own_master_is_shown_whole() {
    // The kernel knows the pid, whatever the master says.
    let table = format!("master {}: version 1, 0 of 1 worker serve\nno workers\n", std::process::id());
    assert_done(&ctl("status", &[("command: status%0Aargs: []%0Aformat: json%0A", OURS)]), &table);
    let json = "{\"new\":true,\"pid\":7,\"target\":1,\"version\":1,\"workers\":[]}\n";
    assert_done(&ctl("status --json", &[("status", OURS)]), json);
}

#[test]
fn a_ruby_master_is_asked_for_its_state() {
    let unknown = ("status", said("Unrecognized command: \"status\"\n\nhelp: x\n"));
    let rules = [unknown, ("state", said(RUBY_STATE))];
    let (result, out, _) = ctl("status", &rules);
    assert_eq!(result, Ok(Exit::Done));
    assert!(
        out.contains("(web): version 1, 1 of 2 workers serve\nupgrading to version 1 (smooth): 1 of 2 acked"),
        "{out}"
    );
    let (_, out, _) = ctl("status --json", &rules);
    assert!(out.contains(r#""workers":[{"ack_age_s":null,"#) && out.lines().count() == 1, "{out}");
}

#[test]
fn a_status_that_is_refused_is_not_guessed() {
    assert_refused(ctl("status", &[("status", said("Refused: ask another user"))]), "Refused: ask another user");
    let (result, _, _) = ctl("status", &[("status", said(""))]);
    assert!(result.unwrap_err().to_string().starts_with("cannot read the answer: "));
}

#[test]
fn watching_ends_with_the_master() {
    let (result, out, _) = ctl("status --watch --json", &[("status", OURS)]);
    assert!(result.unwrap_err().to_string().ends_with(" closed the connection"));
    assert_eq!(out.lines().count(), 1);
}
