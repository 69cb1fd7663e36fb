//! Writes the help: what the program is, how it is called, and every option from the one definition. Returns text and
//! prints nothing. No line is longer than a screen of 80 columns.

use clap::{Arg, ArgAction, Command};

use crate::config::definition::Kind;
use crate::config::options::{Definition, flags};

const WIDTH: usize = 80;
/// Where the help of an option begins.
const HELP_COLUMN: usize = 30;

/// How much to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The first screen, for a command line without a program.
    Short,
    /// All of it, for `--help`.
    Long,
}

const FIRST_SCREEN: &str = "\
einhyrningsins opens listening sockets, runs copies of a program on them, keeps
them alive, and replaces them by newer ones without losing a connection.

Usage: einhyrningsins [OPTIONS] [--] PROGRAM [ARGS...]

Example: run four copies of a server on port 8080; each says when it is ready.

    einhyrningsins -n 4 -b 0.0.0.0:8080,r -m manual -- ./server --my-option

Each copy finds its sockets as open file descriptors, whose numbers are in
EINHORN_FD_0, EINHORN_FD_1 and so on (EINHORN_FD_COUNT says how many). When it
serves, it writes {\"command\":\"worker:ack\",\"pid\":PID} and a newline to the unix
socket at EINHORN_SOCK_PATH. On SIGUSR2 it finishes its work and exits.

To put a new version of ./server in place, copy it there and run

    einhyrningsinsctl upgrade
";

const HINT: &str = "
See einhyrningsins --help for all options.
";

const OPTION_RULES: &str = "
Options end at the first word that is none, or at --. What follows is the
program and its arguments. A value may follow its option joined or apart (-n3,
-n 3, --number=3, --number 3), short options can share a dash (-gkn3), and long
ones can be cut short while they stay unambiguous (--num 3). If an option is
given twice, the last one counts.
";

const EXIT_CODES: &str = "
Exit codes:
  0         ended cleanly
  1         no program was given, or stopped by SIGQUIT
  100       an option or its value is wrong, or a port or file that it names may
            not be had
  111       a required resource is unavailable, and may be there later: an
            address is in use, the lock is held, the disk is full
  112       gave up: with --retries, no worker ever came up; or one ended with a
            code of worker.no-restart
  113       memory was refused, and the reserve for that is used up
  126, 127  the program cannot be run, or is not found
";

/// The help text, with a newline at its end.
pub fn usage(long: Detail) -> String {
    match long {
        Detail::Short => format!("{FIRST_SCREEN}{HINT}"),
        Detail::Long => format!("{FIRST_SCREEN}{OPTION_RULES}{}{EXIT_CODES}", option_table()),
    }
}

/// clap's view of the command line, for the help and for what shells complete: the flags, then the program and its arguments. Nothing
/// is parsed by it: what a command line means follows OptionParser's rules, which `words` knows.
pub fn command_line() -> Command {
    let program = Arg::new("program").value_name("PROGRAM").num_args(1..).trailing_var_arg(true);
    let bare = Command::new("einhyrningsins").disable_help_flag(true).disable_version_flag(true);
    bare.args(flags().map(arg)).arg(program.help("The program and its arguments"))
}

fn arg(flag: &'static Definition) -> Arg {
    let arg = Arg::new(flag.name).long(flag.name).help(flag.help).help_heading(flag.group.heading);
    let action = match flag.kind {
        Kind::Switch => ArgAction::SetTrue,
        Kind::Single => ArgAction::Set,
        Kind::List | Kind::Map => ArgAction::Append,
    };
    let arg = arg.action(action);
    let arg = flag.short.into_iter().fold(arg, Arg::short);
    flag.value_name().into_iter().fold(arg, |arg, name| arg.value_name(name))
}

/// All options under their headings, in the order of the definition.
fn option_table() -> String {
    let (mut table, mut last_heading) = (String::new(), String::new());
    for arg in command_line().get_arguments().filter(|arg| arg.get_long().is_some()) {
        let heading = arg.get_help_heading().unwrap_or("Options");
        if heading != last_heading {
            table.push_str(&format!("\n{heading}:\n"));
            heading.clone_into(&mut last_heading);
        }
        table.push_str(&option_lines(arg));
    }
    table
}

fn option_lines(arg: &Arg) -> String {
    let head = option_head(arg);
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let mut lines = wrap(&help, WIDTH - HELP_COLUMN).into_iter();
    let mut text = if head.len() + 2 <= HELP_COLUMN {
        let first = lines.next().unwrap_or_default();
        format!("{head:HELP_COLUMN$}{first}\n")
    } else {
        format!("{head}\n")
    };
    for line in lines {
        text.push_str(&format!("{:HELP_COLUMN$}{line}\n", ""));
    }
    text
}

/// `  -n, --number N`
fn option_head(arg: &Arg) -> String {
    let short = arg.get_short().map_or("    ".to_owned(), |letter| format!("-{letter}, "));
    let value = arg.get_value_names().and_then(|names| names.first()).map_or(String::new(), |name| format!(" {name}"));
    format!("  {short}--{}{value}", arg.get_long().unwrap_or_default())
}

/// Breaks a text at its blanks. A single word may be longer than `width`.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_a_screen() {
        for line in usage(Detail::Long).lines().chain(usage(Detail::Short).lines()) {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert_eq!(line, line.trim_end());
        }
    }

    #[test]
    fn the_short_text_fits_on_one_screen() {
        assert!(usage(Detail::Short).lines().count() <= 24);
    }

    #[test]
    fn every_option_is_in_the_long_text_with_its_help() {
        let text = usage(Detail::Long);
        for flag in flags() {
            assert!(text.contains(&option_head(&arg(flag))), "{}", flag.name);
            let first_words = wrap(flag.help, WIDTH - HELP_COLUMN).remove(0);
            assert!(text.contains(&first_words), "{first_words}");
        }
        assert!(text.contains("\n  -n, --number N              How many workers to run, or auto: "), "{text}");
    }

    #[test]
    fn the_example_in_the_help_is_a_valid_command_line() {
        let text = usage(Detail::Short);
        let example = text.lines().find_map(|line| line.strip_prefix("    einhyrningsins ")).unwrap();
        let args: Vec<&str> = example.split(' ').collect();
        let config = crate::config::tests::config(&args);
        assert_eq!((config.number.of(0), config.binds.len()), (4, 1));
    }

    #[test]
    fn the_exit_codes_are_told() {
        for code in ["  0 ", "  1 ", "  100 ", "  111 ", "  112 ", "  126, 127 "] {
            assert!(usage(Detail::Long).contains(code), "{code}");
        }
    }
}
