//! What `help` says on the control socket. The layout is einhorn's, the words are ours.

/// Every command that people give, by name, with what it does.
const COMMANDS: [(&str, &str); 16] = [
    ("config", "Change settings while running (args: a YAML map, such as {signal_timeout: 30})"),
    ("dec", "Run one worker less"),
    (
        "die",
        "Tell all workers to go, start no more, and end when they are gone (args: [SIGNAL], default: the graceful one, USR2)",
    ),
    ("diff", "Show what an upgrade would change in the configuration"),
    ("help", "Show this list"),
    ("inc", "Run one worker more"),
    ("louder", "Log more"),
    ("quieter", "Log less"),
    ("reload", "Replace the master itself, and leave the workers alone"),
    ("set_workers", "Run so many workers (args: COUNT)"),
    ("signal", "Send signals to all workers (args: SIG1 [SIG2 ...])"),
    ("state", "Show the state document"),
    ("status", "Show the workers, the upgrade under way and some counters"),
    ("upgrade", "Replace all workers, a few at a time"),
    ("upgrade_fleet", "Replace all workers, the new ones first"),
    ("worker:ack", "For workers: say that one serves (pid: PID)"),
];

pub(in crate::supervisor) fn text() -> String {
    format!("You are speaking to the Einhorn command socket. You can run the following commands:\n\n{}\n", list())
}

/// `shown` is the command as Ruby would show it.
pub(in crate::supervisor) fn unrecognized(shown: &str) -> String {
    format!("Unrecognized command: {shown}\n\n{}\n", list())
}

fn list() -> String {
    let lines: Vec<String> = COMMANDS.iter().map(|(name, what)| format!("{name}: {what}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol;

    /// People do not greet, and only a worker's library pings.
    #[test]
    fn every_command_that_people_give_is_listed() {
        let listed: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
        let expected: Vec<&str> =
            protocol::COMMANDS.into_iter().filter(|name| !["ehlo", "worker:ping"].contains(name)).collect();
        assert_eq!(listed, expected);
    }
}
