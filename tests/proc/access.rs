//! Who may do what: `doc/access.md` says it in tables, and each cell is tried here by a process of that user. A cell that differs
//! from what happens fails the test, in both directions; so does a command without a row.
//!
//! A process that tries something changes nothing that another one is asked about: each gets a master of its own.

mod actor;
mod deeds;
mod places;
mod stage;
mod table;

use std::collections::BTreeSet;
use std::thread;

use einhyrningsins::protocol::COMMANDS;

use crate::access::actor::{Actor, Column};
pub(crate) use crate::access::actor::{MASTER_UID, SOCKET_GROUP};
use crate::access::places::Place;
pub(crate) use crate::access::stage::as_ordinary_user;
use crate::access::stage::{Admittance, Side, Stage};
use crate::access::table::Table;
use crate::support::is_root;

/// The commands, each with what it is sent as; acks and pings are asked for by themselves.
fn line(command: &str) -> String {
    match command {
        "config" => "{command: config, args: ['number: 3']}".to_owned(),
        "set_workers" => "{command: set_workers, args: ['3']}".to_owned(),
        "signal" => "{command: signal, args: [URG]}".to_owned(),
        "ehlo" => "{command: ehlo, user: guest}".to_owned(),
        _ => format!("{{command: {command}}}"),
    }
}

/// Commands that others would suffer from, in their order.
const LAST: [&str; 4] = ["reload", "upgrade", "upgrade_fleet", "die"];

fn judged(answer: &str) -> String {
    assert!(!answer.is_empty(), "no answer");
    if answer.contains("Permission denied: uid ") { "no" } else { "yes" }.to_owned()
}

/// What each command came to when this process gave it.
fn commands_of(side: Side, actor: &Actor) -> Vec<(String, String)> {
    let stage = Stage::start(side, Admittance::AllUsers);
    let mut seen = vec![
        ("worker:ack".to_owned(), stage.speaks_for(actor, "worker:ack")),
        ("worker:ping".to_owned(), stage.speaks_for(actor, "worker:ping")),
    ];
    let before = stage.figures();
    let mut rest: Vec<&str> =
        COMMANDS.iter().map(|command| command.word).filter(|name| !name.starts_with("worker:")).collect();
    // What replaces the master comes after the others, and its end comes last.
    rest.sort_by_key(|name| LAST.iter().position(|last| last == name));
    let (end, rest) = rest.split_last().unwrap();
    let lines: Vec<_> = rest.iter().map(|command| line(command)).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let answers = actor.process().ask(stage.socket(), &lines);
    assert_eq!(answers.lines().count(), rest.len(), "{actor:?}: {answers}");
    seen.extend(rest.iter().zip(answers.lines()).map(|(command, answer)| ((*command).to_owned(), judged(answer))));
    if seen.iter().all(|(_, cell)| cell != "yes" && cell != "any") {
        assert_eq!(stage.figures(), before, "{actor:?} was denied everything, and yet something was done");
    }
    let answer = actor.process().ask(stage.socket(), &[&line(end)]);
    seen.push(((*end).to_owned(), judged(&answer)));
    let may_end = seen.iter().any(|(command, may)| command == "die" && may == "yes");
    stage.assert_ends_if(may_end);
    seen
}

/// What these rows come to on both masters, for each user that has a column there: tried at the same time.
fn hold(table: &Table, observe: impl Fn(Side, &Actor) -> Vec<(String, String)> + Sync) {
    let cast = Side::ALL.into_iter().flat_map(|side| Actor::all_of(side).into_iter().map(move |actor| (side, actor)));
    let cast: Vec<_> = cast.collect();
    let tried: BTreeSet<Column> = cast.iter().map(|(_, actor)| actor.column).collect();
    assert_eq!(tried, Column::ALL.into_iter().collect(), "a column is not tried");
    let observe = &observe;
    let differences: Vec<String> = thread::scope(|scope| {
        let tries: Vec<_> = cast
            .iter()
            .map(|(side, actor)| scope.spawn(move || table.differences(*side, actor, observe(*side, actor))))
            .collect();
        tries.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(differences, [""; 0]);
}

#[test]
fn commands_are_allowed_as_the_table_says() {
    let table = Table::read("Commands on the control socket");
    let known: BTreeSet<_> = COMMANDS.iter().map(|command| format!("`{}`", command.word)).collect();
    assert_eq!(table.names(), known);
    if is_root() {
        hold(&table, |side, actor| {
            commands_of(side, actor).into_iter().map(|(command, cell)| (format!("`{command}`"), cell)).collect()
        });
    }
}

#[test]
fn files_and_processes_are_allowed_as_the_table_says() {
    let table = Table::read("Files and processes");
    let known: BTreeSet<_> = deeds::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(table.names(), known);
    if is_root() {
        hold(&table, deeds::of);
    }
}

#[test]
fn places_are_taken_or_refused_as_the_table_says() {
    let table = Table::read("Places that a master is given");
    let rows: BTreeSet<_> = places::ALL.iter().map(|(_, row)| (*row).to_owned()).collect();
    assert_eq!(table.names(), rows);
    let options: BTreeSet<_> = places::ALL.iter().map(|(option, _)| (*option).to_owned()).collect();
    let missing: Vec<_> = places::known().into_iter().filter(|option| !options.contains(option)).collect();
    assert_eq!(missing, [""; 0], "these take a path and have no row");
    if !is_root() {
        return;
    }
    let cells = Side::ALL.into_iter().flat_map(|side| Place::ALL.map(|place| (side, place)));
    let differences = |side: Side, place: Place| {
        let seen = places::ALL.map(|(option, row)| (row, places::outcome(side, option, place)));
        let told = |row| table.cell(row, place.column(side));
        let wrong = seen.into_iter().filter(|(row, outcome)| told(row) != *outcome);
        wrong.map(|(row, outcome)| format!("{row}, {}: it is {outcome}", place.column(side))).collect::<Vec<_>>()
    };
    let differences = &differences;
    let found: Vec<String> = thread::scope(|scope| {
        let tries: Vec<_> = cells.map(|(side, place)| scope.spawn(move || differences(side, place))).collect();
        tries.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(found, [""; 0]);
}
