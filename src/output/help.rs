//! What `help` says on the control socket. The layout is einhorn's, the words are ours.

use crate::protocol::{COMMANDS, Command};

pub(crate) fn text() -> String {
    format!("You are speaking to the Einhorn command socket. You can run the following commands:\n\n{}\n", list())
}

/// `shown` is the command as Ruby would show it.
pub(crate) fn unrecognized(shown: &str) -> String {
    format!("Unrecognized command: {shown}\n\n{}\n", list())
}

fn list() -> String {
    let told = COMMANDS.iter().filter(|command| !command.help.is_empty());
    told.map(line).collect::<Vec<_>>().join("\n")
}

fn line(command: &Command) -> String {
    let arguments = if command.arguments.is_empty() { String::new() } else { format!(" ({})", command.arguments) };
    format!("{}: {}{arguments}", command.word, command.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People do not greet, and only a worker's library pings.
    #[test]
    fn every_command_that_people_give_is_listed() {
        for Command { word, .. } in COMMANDS {
            let is_told = list().lines().any(|line| line.starts_with(&format!("{word}: ")));
            assert_eq!(is_told, !["ehlo", "worker:ping"].contains(word), "{word}");
        }
        assert!(list().contains("\nset_workers: Run so many workers (args: COUNT)\n"), "{}", list());
    }
}
