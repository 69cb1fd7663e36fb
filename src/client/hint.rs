//! What people type who know other programs, or the commands of the control socket: which subcommand does it here. Runs none of them.

use crate::protocol::{COMMANDS, subcommand_help};

/// Words of other programs, and the subcommand that comes nearest.
const OTHER_WORDS: [(&str, &str); 14] = [
    ("restart", "upgrade"),
    ("reload", "upgrade"),
    ("deploy", "upgrade"),
    ("stop", "die"),
    ("shutdown", "die"),
    ("quit", "die"),
    ("exit", "die"),
    ("ps", "status"),
    ("list", "status"),
    ("ls", "status"),
    ("show", "status"),
    ("kill", "signal"),
    ("scale", "workers"),
    ("log", "logs-level"),
];

/// For a word that is no subcommand.
pub(super) fn for_word(word: &str) -> Option<String> {
    if let Some((_, subcommand)) = OTHER_WORDS.iter().find(|(other, _)| *other == word) {
        return Some(format!("here it is '{subcommand}': {}", subcommand_help(subcommand)));
    }
    let is_command = COMMANDS.iter().any(|command| command.word == word);
    is_command.then(|| format!("commands of the control socket are sent by '-e': einhyrningsinsctl -e '{word}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_programs_lead_to_a_subcommand() {
        for (word, subcommand) in OTHER_WORDS {
            assert!(!subcommand_help(subcommand).is_empty(), "{subcommand}");
            assert!(for_word(word).unwrap().starts_with(&format!("here it is '{subcommand}': ")), "{word}");
        }
        assert_eq!(for_word("nope"), None);
    }

    #[test]
    fn commands_of_the_control_socket_lead_to_execute() {
        assert!(for_word("set_workers").unwrap().ends_with(" -e 'set_workers'"));
    }
}
