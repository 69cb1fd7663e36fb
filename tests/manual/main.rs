//! The manual is held to the program: every flag, key, command, signal, variable, exit code and field of a document stands in
//! the page where it belongs, and no page names one that there is not. Each check of `checks` is shown to fail once. It reads the
//! macros of mdoc(7), never the prose, and it changes no file.

mod checks;
mod page;
mod source;

use std::collections::BTreeSet;

use crate::checks::{
    commands, defaults, effects, exit_codes, fields, flags_anywhere, flags_of_the_program, keys, keys_anywhere, kinds,
    lint, signals, variables, words_of_the_client,
};
use crate::page::{CLIENT, FILE, MASTER, Manual, PROTOCOL};
use crate::source::{fields_in, variables_in};

/// What is wrong with the pages.
type Check = fn(&Manual) -> Vec<String>;

#[test]
fn every_flag_of_the_program_is_in_its_page() {
    hold(flags_of_the_program);
    assert_breaks(flags_of_the_program, MASTER, ".It Fl l , Fl -backlog Ar", ".It Fl l Ar", "--backlog is not told");
    let also = ".It Fl -loud\n.It Fl k ,";
    assert_breaks(flags_of_the_program, MASTER, ".It Fl k ,", also, "--loud is told and does not exist");
}

#[test]
fn every_subcommand_and_flag_of_the_client_is_in_its_page() {
    hold(words_of_the_client);
    assert_breaks(words_of_the_client, CLIENT, ".It Fl V , Fl -version", ".It Fl V", "--version is not told");
    assert_breaks(words_of_the_client, CLIENT, ".It Cm diff", ".It Cm dif", "subcommand diff is not told");
    assert_breaks(words_of_the_client, CLIENT, " Oo Fl -watch Oc", "", "status --watch is not told");
    assert_breaks(
        words_of_the_client,
        CLIENT,
        "Cm debug | info",
        "Cm debug | loud",
        "logs-level loud is told and does",
    );
    let (told, untold) = (".It Fl e , Fl -execute Ar CMD", ".It Fl -execute Ar CMD");
    assert_breaks(words_of_the_client, CLIENT, told, untold, "-e is not told");
    let (told, untold) = (".It Fl e , Fl -execute Ar COMMANDS", ".It Fl -execute Ar COMMANDS");
    assert_breaks(words_of_the_client, CLIENT, told, untold, "shell -e is not told");
    assert_breaks(words_of_the_client, CLIENT, ".It Fl c , Fl -command-name Ar NAME\n", ".It\n", "-c is not told");
}

#[test]
fn no_page_speaks_of_a_flag_that_does_not_exist() {
    hold(flags_anywhere);
    assert_breaks(flags_anywhere, PROTOCOL, "\n.Fl g\n", "\n.Fl G\n", "control.7: -G does not exist");
}

#[test]
fn every_key_is_in_the_page_of_the_file() {
    hold(keys);
    assert_breaks(keys, FILE, ".It Cm worker.umask = Ar permissions\n", "", "key worker.umask is not told");
    assert_breaks(keys, FILE, ".It Cm bind.mode", ".It Cm bind.modes", "key bind.modes is told and does not exist");
}

#[test]
fn no_page_speaks_of_a_key_that_does_not_exist() {
    hold(keys_anywhere);
    assert_breaks(keys_anywhere, FILE, "\n.Cm ack-timeout .", "\n.Cm ack-time .", "toml.5: ack-time does not exist");
    assert_breaks(keys_anywhere, MASTER, ".Cm worker.graceful-signal", ".Cm worker.signal", "worker.signal does not");
    assert_breaks(keys_anywhere, PROTOCOL, ".Cm control.allow-groups", ".Cm control.groups", "control.groups does not");
}

#[test]
fn defaults_and_kinds_of_values_are_those_of_the_program() {
    hold(defaults);
    assert_breaks(defaults, FILE, "is\n.Cm 1024 .", "is\n.Cm 100 .", "default of backlog is told to be 100");
    assert_breaks(defaults, FILE, "The default is\n.Cm warn .", "Guess.", "default of log.syslog-level is not told");
    let told = "Without it, the master's.\n.It Cm worker.group";
    let wrong = "The default is\n.Cm web .\n.It Cm worker.group";
    assert_breaks(defaults, FILE, told, wrong, "default of worker.user is told to be web");
    hold(kinds);
    assert_breaks(
        kinds,
        FILE,
        ".It Cm syslog = Ar boolean",
        ".It Cm syslog = Ar string",
        "syslog is told to be string",
    );
    assert_breaks(kinds, FILE, ".It Cm env.unset = Ar list", ".It Cm env.unset = Ar table", "env.unset is told to be");
}

#[test]
fn every_key_has_the_time_at_which_a_change_counts() {
    hold(effects);
    assert_breaks(effects, FILE, ".Cm command-name , socket-path ,", ".Cm socket-path ,", "command-name is not told");
    assert_breaks(effects, FILE, ".Cm backlog , number ,", ".Cm backlog , number , bind ,", "AtOnce: bind is told and");
}

#[test]
fn every_command_and_setting_of_the_control_socket_is_in_its_page() {
    hold(commands);
    assert_breaks(commands, PROTOCOL, ".It Cm quieter , louder", ".It Cm quieter", "command louder is not told");
    assert_breaks(commands, PROTOCOL, ".It Cm dec\n", ".It Cm dec\n.It Cm halve\n", "command halve is told and");
    assert_breaks(commands, PROTOCOL, ".It Va retries\n", "", "setting retries is not told");
    assert_breaks(
        commands,
        MASTER,
        ".Ic reload\n",
        ".Ic restart\n",
        "einhyrningsins.1: command restart does not exist",
    );
}

#[test]
fn every_signal_is_in_the_page_of_the_program() {
    hold(signals);
    assert_breaks(signals, MASTER, ".It Dv SIGINT , SIGUSR2", ".It Dv SIGINT", "signal SIGUSR2 is not told");
    assert_breaks(signals, MASTER, ".It Dv SIGTERM", ".It Dv SIGTERM , SIGPWR", "signal SIGPWR is told and does");
}

#[test]
fn every_variable_is_in_the_pages_of_its_reader_and_setter() {
    hold(variables);
    assert_breaks(variables, MASTER, "Ev TMPDIR , TMP , TEMP", "Ev TMPDIR , TMP", "einhyrningsins.1: TEMP is not told");
    assert_breaks(variables, MASTER, "\n.It Ev EINHORN_FDS\n", "\n.It Ev EINHORN_FD\n", "EINHORN_FDS is not told");
    assert_breaks(variables, CLIENT, ".It Ev NO_COLOR", ".It Ev NO_COLOUR", "NO_COLOUR is told and does not exist");
    assert_breaks(
        variables,
        PROTOCOL,
        "\n.Ev EINHORN_SOCK_PATH .",
        "\n.Ev EINHORN_SOCKET .",
        "EINHORN_SOCKET does not",
    );
    let text = "let a = var_os(\"HOME\"); // \"NOT\"\nset(format!(\"FD_{at}\"), \"PID\")\n\
                #[cfg(test)]\nmod tests {\n    f(\"TESTED\");\n}\n";
    assert_eq!(variables_in(text), BTreeSet::from(["HOME", "FD_n"].map(str::to_owned)));
}

#[test]
fn every_exit_code_is_in_the_pages() {
    hold(exit_codes);
    assert_breaks(exit_codes, MASTER, "\n.It 112\n", "\n.It 113\n", "exit code 112 is not told");
    assert_breaks(
        exit_codes,
        CLIENT,
        "\n.It 130\n",
        "\n.It 130\n.It 131\n",
        "exit code 131 is told and does not exist",
    );
}

#[test]
fn every_field_of_the_documents_is_in_the_page_of_the_protocol() {
    hold(fields);
    assert_breaks(fields, PROTOCOL, ".It Va ack_age_s\n", "", "STATUS DOCUMENT: ack_age_s is not told");
    assert_breaks(fields, PROTOCOL, ".It Va program\n", "", "HISTORY DOCUMENT: program is not told");
    assert_breaks(
        fields,
        PROTOCOL,
        ".It Va generation\n",
        ".It Va epoch\n",
        "STATE DOCUMENT: epoch is told and does not",
    );
    assert_eq!(
        fields_in("object([\n    (\"pid\", 1),\n]);\nlet x = Some(\"no\");"),
        BTreeSet::from(["pid".to_owned()])
    );
}

#[test]
fn the_pages_are_written_as_mdoc_has_it() {
    hold(lint);
    assert_breaks(lint, FILE, ".Sh KEYS\n", ".Sh KEYS\n.Xx\n", "unknown macro");
}

#[track_caller]
fn hold(check: Check) {
    let found = check(&Manual::read());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The check finds fault with the page once this is changed in it.
#[track_caller]
fn assert_breaks(check: Check, page: &str, from: &str, to: &str, expected: &str) {
    let manual = Manual::changed(page, |text| {
        assert!(text.contains(from), "{page} has no {from:?}");
        text.replacen(from, to, 1)
    });
    let found = check(&manual);
    assert!(found.iter().any(|fault| fault.contains(expected)), "{expected:?} is not among {found:?}");
}
