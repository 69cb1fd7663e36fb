//! The shell's commands: a line into requests, answers onto the screen, byte for byte as Ruby's einhornsh does it. Where
//! lines come from is not its business.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use crate::client::connection::{Connection, Deadline};
use crate::client::failure::{Exit, Failure};
use crate::client::line_reader::{LineReader, Next};
use crate::client::request::Request;
use crate::client::screen::Screen;
use crate::protocol::LINE_MAX;
use crate::sys::errno::{errno_of, words};

/// What parts commands on a line, inside quotes too.
const SEPARATOR: char = ';';

/// Whether there is to be another line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    GoOn,
    Quit,
}

/// By whose rules it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// Those of einhornsh: done, whatever the master said; but an upgrade that failed should stop a script.
    Einhorns,
    /// Those of einhyrningsinsctl: a refusal is a failure.
    Ours,
}

pub(super) struct Shell<'a, 'b> {
    connection: &'a mut Connection,
    screen: &'a mut Screen<'b>,
    rules: Rules,
    has_failed: bool,
}

impl<'a, 'b> Shell<'a, 'b> {
    pub(super) fn new(connection: &'a mut Connection, screen: &'a mut Screen<'b>, rules: Rules) -> Self {
        Self { connection, screen, rules, has_failed: false }
    }

    /// What came of all commands so far.
    pub(super) fn exit(&self) -> Exit {
        if self.has_failed { Exit::Failed } else { Exit::Done }
    }

    pub(super) fn screen(&mut self) -> &mut Screen<'b> {
        self.screen
    }

    /// Presents itself, and returns the master's welcome.
    pub(super) fn greet(&mut self) -> Result<String, Failure> {
        self.connection.send(&Request::ehlo(std::env::var("USER").ok()))?;
        Ok(self.connection.receive(Deadline::Never, "ehlo")?.message)
    }

    /// The names of the commands that the master lists.
    pub(super) fn commands(&mut self) -> Result<Vec<String>, Failure> {
        let help = self.connection.exchange("help", &[], Deadline::Never)?.message;
        Ok(commands_in(&help))
    }

    pub(super) fn run_line(&mut self, line: &str) -> Result<Flow, Failure> {
        for command_line in line.split(SEPARATOR) {
            if self.run_command(command_line)? == Flow::Quit {
                return Ok(Flow::Quit);
            }
        }
        Ok(Flow::GoOn)
    }

    /// Lines of standard input, which is no terminal, until it ends.
    pub(super) fn run_input(&mut self) -> Result<Exit, Failure> {
        let said = |error: io::Error| Failure::system("read standard input", words(errno_of(&error)));
        let input = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(said)?);
        self.run_lines(&mut LineReader::new(input, LINE_MAX))
    }

    fn run_lines<R: io::Read + AsFd>(&mut self, lines: &mut LineReader<R>) -> Result<Exit, Failure> {
        loop {
            let next = lines.next(None, self.connection.interrupts());
            let said = |error: io::Error| Failure::system("read standard input", error);
            let flow = match next.map_err(said)? {
                Next::Line(line) => self.run_line(&String::from_utf8_lossy(&line))?,
                Next::End(rest) => {
                    self.run_line(&String::from_utf8_lossy(&rest))?;
                    Flow::Quit
                }
                Next::Nothing | Next::Interrupted => Flow::Quit,
            };
            if flow == Flow::Quit {
                return Ok(self.exit());
            }
        }
    }

    fn run_command(&mut self, command_line: &str) -> Result<Flow, Failure> {
        let split = shell_words::split(command_line);
        let unmatched = |_| Failure::usage(format!("cannot read {}: a quote is not closed", command_line.trim()));
        let mut words = split.map_err(unmatched)?.into_iter();
        match words.next().as_deref() {
            None => Ok(Flow::GoOn),
            Some("quit" | "exit") => Ok(Flow::Quit),
            Some(command) => self.ask(command, &words.collect::<Vec<_>>()),
        }
    }

    /// Shows every answer up to the last.
    fn ask(&mut self, command: &str, args: &[String]) -> Result<Flow, Failure> {
        self.connection.ask(command, args)?;
        loop {
            let reply = self.connection.receive(Deadline::Never, command)?;
            self.screen.say(&*reply.message);
            self.has_failed |= match self.rules {
                Rules::Einhorns => reply.is_failed_upgrade(),
                Rules::Ours => reply.is_refusal(),
            };
            if !reply.waits {
                return Ok(Flow::GoOn);
            }
        }
    }
}

/// `inc: Increment ...` in a help text names `inc`.
fn commands_in(help: &str) -> Vec<String> {
    let is_name = |name: &&str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-'))
    };
    let names = help.lines().filter_map(|line| line.trim_start().split_once(": ")).map(|(name, _)| name);
    names.filter(is_name).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::client::testing::{FakeMaster, Rule, on_screen};

    fn shell(rules: &[Rule], line: &str) -> (FakeMaster, Result<Flow, Failure>, Exit, String) {
        shell_by(Rules::Einhorns, rules, line)
    }

    fn shell_by(by: Rules, rules: &[Rule], line: &str) -> (FakeMaster, Result<Flow, Failure>, Exit, String) {
        let master = FakeMaster::serve(rules);
        let mut connection = master.connect();
        let ((flow, exit), out, _) = on_screen(|screen| {
            let mut shell = Shell::new(&mut connection, screen, by);
            let flow = shell.run_line(line);
            (flow, shell.exit())
        });
        (master, flow, exit, out)
    }

    #[test]
    fn output_and_bytes_are_those_of_the_transcript() {
        let inc = ("inc", "---%0Amessage: Incrementing number of workers from 2 -> 3%0Arequest_id: 1%0A\n");
        let dec = ("dec", "---%0Amessage: Decrementing number of workers from 3 -> 2%0Arequest_id: 2%0A\n");
        let (_, flow, _, out) = shell(&[inc, dec], "inc; dec");
        assert_eq!(flow, Ok(Flow::GoOn));
        assert_eq!(out, "Incrementing number of workers from 2 -> 3\nDecrementing number of workers from 3 -> 2\n");
        let steps =
            "---%0Amessage: one%0Arequest_id: 1%0Await: true%0A\n---%0Amessage: Upgrade done%0Arequest_id: 1%0A\n";
        let nothing = "---%0Amessage: ''%0Arequest_id: 2%0A\n";
        let (master, _, exit, out) = shell(&[("upgrade", steps), ("signal", nothing)], "upgrade; signal 'a%b' \"c d\"");
        assert_eq!((exit, out.as_str()), (Exit::Done, "one\nUpgrade done\n\n"));
        let sent = [
            "---%0Aid: 1%0Acommand: upgrade%0Aargs: []%0A",
            "---%0Aid: 2%0Acommand: signal%0Aargs:%0A- a%25b%0A- c d%0A",
        ];
        assert_eq!(master.heard(), sent);
    }

    #[test]
    fn a_refusal_is_no_failure_but_a_failed_upgrade_is() {
        let refused = ("set_workers", "---%0Amessage: 'Invalid count: ''0''.'%0Arequest_id: 1%0A\n");
        let (_, _, exit, out) = shell(&[refused], "set_workers 0");
        assert_eq!((exit, out.as_str()), (Exit::Done, "Invalid count: '0'.\n"));
        let failed = ("upgrade", "---%0Amessage: 'Upgrade failed: x'%0Arequest_id: 1%0A\n");
        let (_, _, exit, _) = shell(&[failed, ("inc", "---%0Amessage: up%0A\n")], "upgrade; inc");
        assert_eq!(exit, Exit::Failed);
    }

    #[test]
    fn a_refusal_is_a_failure_by_our_own_rules_and_the_rest_is_asked_all_the_same() {
        let refused = ("set_workers", "---%0Amessage: 'Invalid count: ''0''.'%0Arequest_id: 1%0A\n");
        let inc = ("inc", "---%0Amessage: up%0Arequest_id: 2%0A\n");
        let (_, _, exit, out) = shell_by(Rules::Ours, &[refused, inc], "set_workers 0; inc");
        assert_eq!((exit, out.as_str()), (Exit::Failed, "Invalid count: '0'.\nup\n"));
        let (_, _, exit, _) = shell_by(Rules::Ours, &[inc], "inc");
        assert_eq!(exit, Exit::Done);
    }

    #[test]
    fn quit_leaves_the_rest_undone() {
        let (master, flow, _, _) = shell(&[("dec", "---%0Amessage: down%0A\n")], ";; dec;quit; inc");
        assert_eq!((flow, master.heard().len()), (Ok(Flow::Quit), 1));
    }

    #[test]
    fn an_open_quote_is_said_to_be_one() {
        let (master, flow, _, _) = shell(&[], "signal 'a;b'");
        assert_eq!(flow.unwrap_err().to_string(), "cannot read signal 'a: a quote is not closed");
        assert_eq!(master.heard(), [""; 0]);
    }

    #[test]
    fn a_master_that_dies_meanwhile_is_told() {
        let (_, flow, _, out) =
            shell(&[("upgrade", "---%0Amessage: one%0Arequest_id: 1%0Await: true%0A\n")], "upgrade");
        assert!(flow.unwrap_err().to_string().ends_with(" closed the connection"));
        assert_eq!(out, "one\n");
    }

    #[test]
    fn lines_are_read_to_the_end_of_the_input() {
        let master =
            FakeMaster::serve(&[("ehlo", "---%0Amessage: |%0A  Welcome%0A\n"), ("inc", "---%0Amessage: up%0A\n")]);
        let mut connection = master.connect();
        let (mut writer, reader) = UnixStream::pair().unwrap();
        writer.write_all(b"ehlo\n\ninc").unwrap();
        drop(writer);
        let run = |screen: &mut Screen<'_>| {
            Shell::new(&mut connection, screen, Rules::Einhorns).run_lines(&mut LineReader::new(reader, 99))
        };
        assert_eq!(on_screen(run), (Ok(Exit::Done), "Welcome\nup\n".to_owned(), String::new()));
    }

    #[test]
    fn commands_are_found_in_the_help() {
        let help =
            "You can run the following commands:\n\n  config: Merge (Note: this)\nset_workers: Set\nno name: x\n";
        assert_eq!(commands_in(help), ["config", "set_workers"]);
    }
}
