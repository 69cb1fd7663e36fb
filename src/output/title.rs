//! What ps(1) shows the master as: einhorn's words, since scripts look for them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::base::printable;
use crate::config::Config;
use crate::release::preload::worker_title;

/// `einhorn: ./server --port 80`; with a command name NAME `einhorn: ruby NAME`, as einhorn has it whatever it runs.
/// What would steer a terminal is escaped: others look at it with ps(1), pgrep(1), or in /proc.
pub(crate) fn of(config: &Config) -> OsString {
    let title = [OsString::from("einhorn:"), worker_title(config)].join(OsStr::new(" "));
    printable::bytes(title.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::run;

    #[test]
    fn title_words_and_name_are_escaped() {
        let escaped = "x\\x1b[2J\\x9b2J\\x0a\\u{202e}";
        let odd = "x\u{1b}[2J\u{9b}2J\n\u{202e}";
        assert_eq!(of(&run(&["server", odd])), OsString::from(format!("einhorn: server {escaped}")));
        let named = Config { command_name: Some(odd.into()), ..run(&["server"]) };
        assert_eq!(of(&named), OsString::from(format!("einhorn: ruby {escaped}")));
    }
}
