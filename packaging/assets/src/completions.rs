//! The completions of both programs, in the three shells. What clap_complete cannot know is added here: what the values
//! of options are, and that the options of einhyrningsins end where the program begins. Its bash is in `bash`.

use clap::builder::StyledStr;
use clap::{Arg, Command, ValueHint};
use clap_complete::{Shell, generate};

use crate::bash;

/// The longest text that a list of completions has beside an option.
const HELP_MAX: usize = 70;

pub struct Completion {
    pub shell: &'static str,
    /// As the shell finds it in its directory.
    pub file_name: &'static str,
    pub text: String,
}

pub fn all() -> Vec<Completion> {
    let (program, ctl) = (program(), ctl());
    let entry = |shell, file_name, text| Completion { shell, file_name, text };
    vec![
        entry("bash", "einhyrningsins", bash::script(&program)),
        entry("zsh", "_einhyrningsins", stop_at_the_program_in_zsh(&generated(Shell::Zsh, &program))),
        entry("fish", "einhyrningsins.fish", stop_at_the_program_in_fish(&program, &generated(Shell::Fish, &program))),
        entry("bash", "einhyrningsinsctl", generated(Shell::Bash, &ctl)),
        entry("zsh", "_einhyrningsinsctl", generated(Shell::Zsh, &ctl)),
        entry("fish", "einhyrningsinsctl.fish", generated(Shell::Fish, &ctl)),
    ]
}

pub fn program() -> Command {
    einhyrningsins::config::command_line().mut_args(tell_apart)
}

pub fn ctl() -> Command {
    let [ctl, _shell] = einhyrningsins::client::definitions();
    ctl.mut_args(tell_apart).mut_subcommands(|command| command.mut_args(tell_apart))
}

/// What a shell should offer as the value of this option, and beside it.
fn tell_apart(arg: Arg) -> Arg {
    let hint = hint(&arg);
    let short = arg.get_help().map(|help| first_part(&help.to_string()));
    let arg = short.map_or(arg.clone(), |help| arg.help(StyledStr::from(help)));
    // zsh's colons part the name from what completes it.
    let arg = if value_name(&arg).contains(':') { arg.value_name("VALUE") } else { arg };
    if arg.get_action().takes_values() && !arg.is_allow_hyphen_values_set() { arg.value_hint(hint) } else { arg }
}

pub fn value_name(arg: &Arg) -> String {
    arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default()
}

fn hint(arg: &Arg) -> ValueHint {
    match value_name(arg).as_str() {
        "PROGRAM" => ValueHint::CommandWithArguments,
        "PATH" | "FILE" => ValueHint::FilePath,
        "USER" => ValueHint::Username,
        "CMDLINE" => ValueHint::CommandString,
        _ => ValueHint::Other,
    }
}

/// The first sentence of a help text, or what stands before its first comma, colon or bracket if that is too long.
fn first_part(help: &str) -> String {
    let sentence = help.split(". ").next().unwrap_or_default();
    let end = if sentence.len() > HELP_MAX { sentence.find([',', ';', ':', '(']) } else { None };
    sentence[..end.unwrap_or(sentence.len())].trim_end_matches([' ', '.']).to_owned()
}

fn generated(shell: Shell, command: &Command) -> String {
    let mut bytes = Vec::new();
    generate(shell, &mut command.clone(), command.get_name().to_owned(), &mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// `-A "-*"`: no option follows the first word that is none.
fn stop_at_the_program_in_zsh(text: &str) -> String {
    text.replace("_arguments_options=(-s ", "_arguments_options=(-A '-*' -s ")
}

fn stop_at_the_program_in_fish(program: &Command, text: &str) -> String {
    let specification = |arg: &Arg| {
        let short = arg.get_short().map(|short| format!("{short}/")).unwrap_or_default();
        let value = if arg.get_action().takes_values() { "=+" } else { "" };
        Some(format!("'{short}{}{value}'", arg.get_long()?))
    };
    let options: Vec<_> = program.get_arguments().filter_map(specification).collect();
    let before = text.replace("complete -c einhyrningsins ", "complete -c einhyrningsins -n __einhyrningsins_before ");
    format!(
        "# Prints the program and its arguments, if the options are over.
function __einhyrningsins_program
    set -l words (commandline -opc) (commandline -ct)
    set -e words[1]
    argparse -s {options} -- $words 2>/dev/null
    or return 1
    set -q argv[1]; and not string match -q -- '-*' \"$argv[1]\"; or return 1
    string join0 -- $argv
    return 0
end

function __einhyrningsins_before
    not __einhyrningsins_program >/dev/null
end

function __einhyrningsins_subcommand
    __fish_complete_subcommand --commandline (__einhyrningsins_program | string split0)
end

{before}complete -c einhyrningsins -n __einhyrningsins_program -f -a '(__einhyrningsins_subcommand)'
",
        options = options.join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_in_every_completion() {
        let names = |command: &Command| {
            let long = command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned));
            let short = command.get_arguments().filter_map(|arg| arg.get_short());
            (long.collect::<Vec<_>>(), short.collect::<Vec<_>>())
        };
        let mut ctl = ctl();
        ctl.build();
        for completion in all() {
            let command = if completion.file_name.contains("ctl") { ctl.clone() } else { program() };
            let commands = command.get_subcommands().filter(|command| command.get_name() != "help").chain([&command]);
            for (long, short) in commands.map(names) {
                let (before_long, before_short) = if completion.shell == "fish" { ("-l ", "-s ") } else { ("--", "-") };
                for flag in long.iter().map(|name| format!("{before_long}{name}")) {
                    assert!(
                        completion.text.contains(&flag),
                        "{flag} in {} of {}",
                        completion.file_name,
                        completion.shell
                    );
                }
                for flag in short.iter().map(|name| format!("{before_short}{name}")) {
                    assert!(
                        completion.text.contains(&flag),
                        "{flag} in {} of {}",
                        completion.file_name,
                        completion.shell
                    );
                }
            }
        }
    }

    #[test]
    fn keys_of_the_file_are_in_none() {
        for completion in all().iter().filter(|completion| !completion.file_name.contains("ctl")) {
            for key in ["worker.user", "env.set", "log.level", "--command "] {
                assert!(!completion.text.contains(key), "{key} in {}", completion.file_name);
            }
        }
    }

    #[test]
    fn long_help_is_cut_where_a_sentence_may_end() {
        assert_eq!(first_part("Increase verbosity; undoes one -q"), "Increase verbosity; undoes one -q");
        assert_eq!(first_part("Run it. Then rest"), "Run it");
        let long = format!("Open a socket: ADDR:PORT, {}", "x".repeat(HELP_MAX));
        assert_eq!(first_part(&long), "Open a socket");
    }
}
