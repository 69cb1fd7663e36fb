//! The checks: each is a function from the pages to what is wrong with them.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use einhyrningsins::base::exit_code::EXIT_CODES;
use einhyrningsins::base::{FACILITIES, Signal};
use einhyrningsins::config::{self, Effect, Kind};
use einhyrningsins::handoff::Document;
use einhyrningsins::handoff::einhorn::State;
use einhyrningsins::yaml::Value;
use einhyrningsins::{client, protocol, supervisor};

use crate::page::{CLIENT, FILE, Item, MASTER, Manual, PROTOCOL};
use crate::source::{fields_in, product_variables, root};

/// What requests and replies consist of.
const PARTS_OF_MESSAGES: &[&str] = &[
    "args",
    "command",
    "differences",
    "format",
    "history",
    "id",
    "message",
    "pid",
    "request_id",
    "state",
    "status",
    "user",
    "wait",
];

fn flags(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    names.into_iter().map(|name| format!("-{name}")).collect()
}

fn set<T: ToString>(names: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.to_string()).collect()
}

/// What is in one and not in the other.
fn compare(what: &str, told: &BTreeSet<String>, known: &BTreeSet<String>) -> Vec<String> {
    let missing = known.difference(told).map(|name| format!("{what}{name} is not told"));
    missing.chain(told.difference(known).map(|name| format!("{what}{name} is told and does not exist"))).collect()
}

/// What a page names and must not.
fn strays(page: &str, what: &str, told: &BTreeSet<String>, known: &BTreeSet<String>) -> Vec<String> {
    told.difference(known).map(|name| format!("{page}: {what}{name} does not exist")).collect()
}

fn known_flags() -> BTreeSet<String> {
    let long = config::flags().map(|flag| format!("--{}", flag.name));
    let short = config::flags().filter_map(|flag| flag.short).map(|letter| format!("-{letter}"));
    long.chain(short).collect()
}

/// What a command of clap takes. What subcommands have of it, too, is told once: help, and how the master is named.
fn flags_of(command: &clap::Command) -> BTreeSet<String> {
    let is_told_above = |arg: &&clap::Arg| command.get_subcommands().next().is_none() && arg.is_global_set();
    let args = || command.get_arguments().filter(|arg| !arg.is_positional() && !is_told_above(arg));
    let long = args().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}"));
    long.chain(args().filter_map(|arg| arg.get_short()).map(|short| format!("-{short}"))).collect()
}

fn client_and_shell() -> [clap::Command; 2] {
    client::definitions().map(|mut command| {
        command.build();
        command
    })
}

pub(crate) fn flags_of_the_program(manual: &Manual) -> Vec<String> {
    compare("", &flags(manual.page(MASTER).heads("OPTIONS", "Fl")), &known_flags())
}

pub(crate) fn words_of_the_client(manual: &Manual) -> Vec<String> {
    let (page, [client, shell]) = (manual.page(CLIENT), client_and_shell());
    let mut found = compare("", &flags(page.heads("OPTIONS", "Fl")), &flags_of(&client));
    let items = page.items("SUBCOMMANDS");
    let head = |item: &Item<'_>| item.line.arguments("Cm").first().cloned();
    let names = set(client.get_subcommands().map(clap::Command::get_name));
    found.extend(compare("subcommand ", &items.iter().filter_map(head).collect(), &names));
    for command in client.get_subcommands() {
        let name = command.get_name();
        let Some(item) = items.iter().find(|item| head(item).as_deref() == Some(name)) else { continue };
        let known = flags_of(command).into_iter().filter(|flag| !["-h", "--help"].contains(&flag.as_str())).collect();
        found.extend(compare(&format!("{name} "), &flags(item.line.arguments("Fl")), &known));
        let choices = command.get_positionals().flat_map(clap::Arg::get_possible_values);
        let choices = set(choices.map(|choice| choice.get_name().to_owned()));
        let told = set(item.line.arguments("Cm").into_iter().skip(1));
        found.extend(compare(&format!("{name} "), &told, &choices));
    }
    found.extend(compare("shell ", &flags(page.heads("THE SHELL", "Fl")), &flags_of(&shell)));
    found
}

pub(crate) fn flags_anywhere(manual: &Manual) -> Vec<String> {
    let [client, shell] = client_and_shell();
    let mut known: BTreeSet<String> = union([known_flags(), flags_of(&client), flags_of(&shell)]);
    known.extend(client.get_subcommands().flat_map(flags_of));
    manual.0.iter().flat_map(|(name, page)| strays(name, "", &flags(page.named("", "Fl")), &known)).collect()
}

fn union(sets: impl IntoIterator<Item = BTreeSet<String>>) -> BTreeSet<String> {
    sets.into_iter().flatten().collect()
}

fn known_keys() -> BTreeSet<String> {
    config::keys().map(|key| key.name.to_owned()).chain(config::further_names()).collect()
}

pub(crate) fn keys(manual: &Manual) -> Vec<String> {
    compare("key ", &manual.page(FILE).heads("KEYS", "Cm"), &known_keys())
}

/// In the page of the file, whatever is in this macro is a key or one of the values that a key may have; elsewhere, what has
/// a point or a dash in it is a key.
pub(crate) fn keys_anywhere(manual: &Manual) -> Vec<String> {
    let known = known_keys();
    let alternatives = config::keys().filter_map(|key| key.value_name()).flat_map(|name| name.split('|'));
    let alternatives = alternatives.filter(|word| *word == word.to_lowercase());
    let values = config::keys().filter_map(|key| key.default).chain(alternatives).map(str::to_owned);
    let facilities = FACILITIES.split('|').map(str::to_owned);
    let mut values: BTreeSet<String> = values.chain(facilities).chain(["true".to_owned()]).collect();
    values.extend(known.iter().cloned().chain(["inherits".to_owned()]));
    let mut found = strays(FILE, "", &manual.page(FILE).named("", "Cm"), &values);
    let words = known_commands().into_iter().chain(set(PARTS_OF_MESSAGES)).chain(known.iter().cloned());
    found.extend(strays(PROTOCOL, "", &manual.page(PROTOCOL).named("", "Cm"), &words.collect()));
    for page in [MASTER, CLIENT] {
        let told = manual.page(page).named("", "Cm").into_iter().filter(|word| word.contains('.')).collect();
        found.extend(strays(page, "", &told, &known));
    }
    found
}

pub(crate) fn defaults(manual: &Manual) -> Vec<String> {
    let mut found = Vec::new();
    for item in manual.page(FILE).items("KEYS") {
        let at = item.body.iter().position(|line| line.text.ends_with("The default is"));
        let told = at.and_then(|at| item.body.get(at + 1)?.arguments("Cm").first().cloned());
        for key in item.line.arguments("Cm") {
            let known = config::keys().find(|known| known.name == key).and_then(|known| known.default);
            match (&told, known) {
                (None, Some(_)) => found.push(format!("default of {key} is not told")),
                (Some(told), known) if known != Some(told.as_str()) => {
                    found.push(format!("default of {key} is told to be {told}"));
                }
                _ => {}
            }
        }
    }
    found
}

pub(crate) fn kinds(manual: &Manual) -> Vec<String> {
    let mut found = Vec::new();
    for item in manual.page(FILE).items("KEYS") {
        let told = item.line.arguments("Ar").first().cloned().unwrap_or_default();
        for name in item.line.arguments("Cm") {
            let Some(key) = config::keys().find(|key| key.name == name) else { continue };
            let fits = match key.kind {
                Kind::Switch => told == "boolean",
                Kind::List => told == "list",
                Kind::Map => told == "table",
                Kind::Single if key.is_command_line() => told == "list",
                Kind::Single => ["number", "permissions", "share", "string", "time"].contains(&told.as_str()),
            };
            if !fits {
                found.push(format!("{name} is told to be {told}"));
            }
        }
    }
    found
}

pub(crate) fn effects(manual: &Manual) -> Vec<String> {
    let items = manual.page(FILE).items("WHEN A CHANGE COUNTS");
    let in_order = [Effect::AtOnce, Effect::NewWorkers, Effect::Restart];
    assert_eq!(items.len(), in_order.len());
    let mut found = Vec::new();
    for (item, effect) in items.iter().zip(in_order) {
        // What comes behind the list is no part of its last entry.
        let body = item.body.iter().take_while(|line| line.text != ".El");
        let told = body.flat_map(|line| line.arguments("Cm")).collect();
        let other_names = config::further_names().into_iter().filter(|name| name.starts_with("control."));
        let names = config::keys().map(|key| key.name.to_owned()).chain(other_names);
        let known = names.filter(|name| config::effect_of(name) == effect).collect();
        found.extend(compare(&format!("{effect:?}: "), &told, &known));
    }
    found
}

fn known_commands() -> BTreeSet<String> {
    set(protocol::COMMANDS.iter().map(|command| command.word))
}

pub(crate) fn commands(manual: &Manual) -> Vec<String> {
    let page = manual.page(PROTOCOL);
    let known = known_commands();
    let mut found = compare("command ", &page.heads("COMMANDS", "Cm"), &known);
    let settings = page.items("COMMANDS").into_iter().filter(|item| item.line.subsection == "For settings");
    let told = settings.flat_map(|item| item.line.arguments("Va")).collect();
    found.extend(compare("setting ", &told, &set(config::commanded().iter().map(|(_, commanded)| commanded.name))));
    let [client, _] = client_and_shell();
    let known = union([known, set(client.get_subcommands().map(clap::Command::get_name))]);
    for name in [MASTER, PROTOCOL] {
        // Whole lines of a shell are in this macro, too.
        let single = manual.page(name).lines("").map(|line| line.arguments("Ic"));
        let told = single.filter(|words| words.len() == 1).flatten().collect();
        found.extend(strays(name, "command ", &told, &known));
    }
    found
}

pub(crate) fn signals(manual: &Manual) -> Vec<String> {
    let page = manual.page(MASTER);
    let known = supervisor::HEARD.iter().map(|signal| format!("SIG{signal}")).collect();
    let mut found = compare("signal ", &page.heads("SIGNALS", "Dv"), &known);
    for (name, page) in &manual.0 {
        let unknown = page.named("", "Dv").into_iter().filter(|word| Signal::from_name(word).is_none());
        found.extend(unknown.map(|word| format!("{name}: {word} does not exist")));
    }
    found
}

pub(crate) fn variables(manual: &Manual) -> Vec<String> {
    let of_both = ["src/files/tmpdir.rs"];
    let of_master =
        ["supervisor", "release", "output", "handover", "sys", "files", "threads", "control", "logging", "trace"];
    let of_master = of_master.map(|room| format!("src/{room}"));
    let of_master = of_master.each_ref().map(String::as_str);
    let read_by = |paths: &[&str]| paths.iter().flat_map(|path| product_variables(path)).collect::<BTreeSet<_>>();
    let master = read_by(&of_master);
    let client = union([read_by(&of_both), read_by(&["src/client"])]);
    let mut found = compare("einhyrningsins.1: ", &manual.page(MASTER).named("ENVIRONMENT", "Ev"), &master);
    found.extend(compare("einhyrningsinsctl.1: ", &manual.page(CLIENT).named("ENVIRONMENT", "Ev"), &client));
    let known = union([master, client]);
    found.extend(manual.0.iter().flat_map(|(name, page)| strays(name, "", &page.named("", "Ev"), &known)));
    found
}

pub(crate) fn exit_codes(manual: &Manual) -> Vec<String> {
    let told = |page: &str| {
        let items = manual.page(page).items("EXIT STATUS");
        items.iter().map(|item| item.line.text.trim_start_matches(".It ").to_owned()).collect()
    };
    let mut found = compare("exit code ", &told(MASTER), &set(EXIT_CODES));
    found.extend(compare("exit code ", &told(CLIENT), &set(client::exit_codes())));
    found
}

pub(crate) fn fields(manual: &Manual) -> Vec<String> {
    let status = ["status", "counters", "waits"]
        .map(|file| fields_in(&fs::read_to_string(root().join(format!("src/output/{file}.rs"))).unwrap()));
    let status = union(status);
    let history = fields_in(&fs::read_to_string(root().join("src/output/releases.rs")).unwrap());
    let mut state = BTreeSet::new();
    symbols_in(&full_state().shown(), &mut state);
    let mut found = Vec::new();
    let sections = [("THE STATUS DOCUMENT", status), ("THE HISTORY DOCUMENT", history), ("THE STATE DOCUMENT", state)];
    for (section, known) in sections {
        found.extend(compare(&format!("{section}: "), &manual.page(PROTOCOL).named(section, "Va"), &known));
    }
    found
}

/// One with a value in each field, and nothing else.
fn full_state() -> State {
    let mut state = Document::from_yaml(include_str!("../golden/handoff/ours-2.yaml")).unwrap().state;
    state.others.clear();
    state.config.others.clear();
    state
}

/// The keys that are symbols, at any depth.
fn symbols_in(value: &Value, found: &mut BTreeSet<String>) {
    for (key, value) in value.as_map().unwrap_or_default() {
        found.extend(key.as_symbol().map(str::to_owned));
        symbols_in(value, found);
    }
}

/// What mandoc(1) has to say.
pub(crate) fn lint(manual: &Manual) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for (name, page) in &manual.0 {
        let path = directory.path().join(name);
        fs::write(&path, &page.text).unwrap();
        let mut mandoc = Command::new("mandoc");
        let output = mandoc.args(["-Tlint", "-W", "warning"]).arg(&path).output().expect("cannot run mandoc");
        found.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
    }
    found
}
