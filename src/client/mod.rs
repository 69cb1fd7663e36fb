//! The programs that ask and command a running master: einhyrningsinsctl, and einhornsh, which is like Ruby's. They
//! speak over the control socket and in no other way, to our master and to Ruby's alike, and change nothing by themselves.

mod arguments;
mod completion;
mod connection;
mod ctl;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hint;
mod history;
mod line_reader;
mod progress;
mod prompt;
mod question;
mod reply;
mod request;
mod screen;
mod shell;
mod shell_arguments;
mod status;
mod table;
mod target;
#[cfg(test)]
mod testing;
mod text;
mod upgrade;
mod wait;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use crate::client::arguments::{Arguments, Command};
use crate::client::connection::{Connection, Trust};
use crate::client::failure::{Exit, Failure};
use crate::client::screen::Screen;
use crate::client::shell::{Rules, Shell};
use crate::client::shell_arguments::{ShellArguments, USAGE};
use crate::client::target::Target;
use crate::client::text::Surface;
use crate::sys::errno::{errno_of, words};

/// Under this name the program is Ruby's shell.
const SHELL_NAME: &str = "einhornsh";
const CTL_NAME: &str = "einhyrningsinsctl";

/// What the command line of einhyrningsinsctl may say, and what that of the shell; for the manual's sake.
pub fn definitions() -> [clap::Command; 2] {
    [Arguments::command(), shell_arguments::definition()]
}

/// What einhyrningsinsctl may end with.
pub fn exit_codes() -> Vec<u8> {
    Exit::ALL.map(Exit::code).to_vec()
}

/// Either program, from its arguments to its exit code.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let is_shell = words.first().and_then(|name| Path::new(name).file_name()) == Some(OsStr::new(SHELL_NAME));
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut screen = Screen::new(&mut out, &mut err, Surface::of_stdout());
    let code = if is_shell { shell(words.into_iter().skip(1).collect(), &mut screen) } else { ctl(words, &mut screen) };
    ExitCode::from(code)
}

fn ctl(words: Vec<OsString>, screen: &mut Screen<'_>) -> u8 {
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => return explain(error, screen).code(),
    };
    let Arguments { command_name, socket_path, execute, command } = arguments;
    match command {
        Some(_) if execute.is_some() => {
            let failure = Failure::usage("a subcommand cannot be used with -e: each says what is to be done");
            conclude(Err(failure), CTL_NAME, screen).code()
        }
        Some(Command::Shell { words }) => match ShellArguments::read(words) {
            Ok(given) => {
                let command_name = given.command_name.or(command_name);
                let socket_path = given.socket_path.or(socket_path);
                run_as_einhornsh(&ShellArguments { command_name, socket_path, ..given }, CTL_NAME, screen)
            }
            Err(reason) => refuse_shell(reason, screen),
        },
        Some(command) => {
            let outcome = run_command(command, command_name.as_deref(), socket_path.as_deref(), screen);
            conclude(outcome, CTL_NAME, screen).code()
        }
        None => {
            let given = ShellArguments { command_name, socket_path, execute, ..ShellArguments::default() };
            let outcome = shell_session(&given, Rules::Ours, screen);
            conclude(outcome, CTL_NAME, screen).code()
        }
    }
}

fn run_command(
    command: Command,
    name: Option<&str>,
    path: Option<&Path>,
    screen: &mut Screen<'_>,
) -> Result<Exit, Failure> {
    let target = Target::choose(name, path)?;
    let mut connection = Connection::open(&target, Trust::of_this_process())?;
    ctl::run(command, &mut connection, screen)
}

fn shell(words: Vec<OsString>, screen: &mut Screen<'_>) -> u8 {
    match ShellArguments::read(words) {
        Ok(arguments) => run_as_einhornsh(&arguments, SHELL_NAME, screen),
        Err(reason) => refuse_shell(reason, screen),
    }
}

fn refuse_shell(reason: Option<String>, screen: &mut Screen<'_>) -> u8 {
    if let Some(reason) = reason {
        screen.report_error(&format!("{SHELL_NAME}: {reason}"));
    }
    screen.report_error(&USAGE.trim_end());
    Exit::Usage.shell_code()
}

fn run_as_einhornsh(arguments: &ShellArguments, own_name: &str, screen: &mut Screen<'_>) -> u8 {
    let outcome = shell_session(arguments, Rules::Einhorns, screen);
    conclude(outcome, own_name, screen).shell_code()
}

fn shell_session(arguments: &ShellArguments, rules: Rules, screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let target = Target::choose(arguments.command_name.as_deref(), arguments.socket_path.as_deref())?;
    let mut connection = Connection::open(&target, Trust::of_this_process())?;
    connection.catch_interrupts()?;
    let mut shell = Shell::new(&mut connection, screen, rules);
    let is_interactive = io::stdin().is_terminal();
    if is_interactive {
        let welcome = shell.greet()?;
        shell.screen().report_error(&welcome.trim_end());
    }
    match &arguments.execute {
        Some(commands) => shell.run_line(commands).map(|_| shell.exit()),
        None if is_interactive => prompt::run(&mut shell),
        None => shell.run_input(),
    }
}

/// Reports what went wrong and what to try, if anything did.
fn conclude(outcome: Result<Exit, Failure>, own_name: &str, screen: &mut Screen<'_>) -> Exit {
    let lost = screen.trouble().map(|error| Failure::system("write to standard output", words(errno_of(error))));
    let outcome = match (outcome, lost) {
        (Ok(Exit::Done), Some(failure)) => Err(failure),
        (outcome, _) => outcome,
    };
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            if failure.exit() == Exit::Interrupted && screen.surface().is_terminal() {
                // The terminal has written `^C` there.
                screen.report_error(&"");
            }
            screen.report_error(&format!("{own_name}: {failure}"));
            if let Some(hint) = failure.hint() {
                screen.report_error(&hint);
            }
            failure.exit()
        }
    }
}

/// Help goes to standard output, what is wrong to standard error, with the subcommand that may have been meant.
fn explain(mut error: clap::Error, screen: &mut Screen<'_>) -> Exit {
    if let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    {
        if let Some(hint) = hint::for_word(word) {
            error.remove(ContextKind::SuggestedSubcommand);
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
        }
    }
    let text = error.render().to_string();
    if error.use_stderr() {
        screen.report_error(&text.trim_end());
        return Exit::Usage;
    }
    screen.say(&*text);
    Exit::Done
}
