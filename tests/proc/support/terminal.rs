//! A terminal for a master: a script of Python opens it, starts the master there, and shows on stderr what is written to it.

use crate::support::Setup;

/// Shows it, and ends as the child did.
const SHOWS: &str = r#"
while True:
    try:
        shown = os.read(terminal, 4096)
    except OSError:
        break
    os.write(2, shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// Execs the rest of its arguments there, and types ^C when it is told so by USR1, and ^Z and a line at USR2.
pub const TYPES_CTRL_C: &str = r#"
import os, pty, signal, sys

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGUSR1, lambda *_: os.write(terminal, b"\x03"))
signal.signal(signal.SIGUSR2, lambda *_: os.write(terminal, b"\x1ahello\n"))
"#;

/// Reads a line when the program has ended that it was given, as the shell does that an operator has started the master from.
const READS_AFTERWARDS: &str =
    r#""$@"; code=$?; echo "shell asks"; read -r line; echo "shell has read $line"; exit $code"#;

impl Setup {
    /// The same, with a shell between the two.
    pub fn behind_a_shell_at_a_terminal(self, script: &str) -> Self {
        self.through(&["python3", "-c", &format!("{script}{SHOWS}"), "/bin/sh", "-c", READS_AFTERWARDS, "sh"])
    }

    /// Has a script start the master at a terminal: it leaves the pid of the child in `pid`, and the other end of the terminal in
    /// `terminal`.
    pub fn at_a_terminal(self, script: &str) -> Self {
        self.through(&["python3", "-c", &format!("{script}{SHOWS}")])
    }
}
