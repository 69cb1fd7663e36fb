//! Clients of the control socket that are other processes, of other users and groups, or hold more descriptors than this
//! process may: small Python programs, started through setpriv(1) where it takes another user.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Not the master's user, and not in its configuration.
pub const OTHER_UID: u32 = 65_534;

/// Sends its arguments as lines, one connection for all, and shows what comes back until the master has no more to say.
const ASK: &str = r#"
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.settimeout(30)
try:
    client.connect(sys.argv[1])
except OSError as error:
    sys.exit(print(f"cannot connect: {error.strerror}"))
client.sendall("".join(line + "\n" for line in sys.argv[2:]).encode())
client.shutdown(socket.SHUT_WR)
while chunk := client.recv(65536):
    sys.stdout.write(chunk.decode())
"#;

/// Opens connections in a row, says how many it could, and holds them until its standard input is closed.
const CROWD: &str = r#"
import resource, signal, socket, sys
signal.alarm(300)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held, connected = [], 0
for _ in range(int(sys.argv[2])):
    client = socket.socket(socket.AF_UNIX)
    client.connect(sys.argv[1])
    connected += 1
    held.append(client)
    if len(held) > hard - 100:
        held.pop(0).close()
print(connected, flush=True)
sys.stdin.read()
"#;

/// Says this line on one new connection after another, as fast as it can, until its standard input is closed. It hangs up without
/// waiting for an end, and takes no for an answer.
const PESTER: &str = r#"
import select, signal, socket, sys
signal.alarm(300)
line = sys.argv[2].encode() + b"\n"
print(0, flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for client in [socket.socket(socket.AF_UNIX) for _ in range(16)]:
        try:
            client.connect(sys.argv[1])
            client.send(line)
        except OSError:
            pass
        client.close()
"#;

/// Another process that connects.
pub struct Stranger {
    words: Vec<String>,
}

impl Stranger {
    /// Of our own user.
    pub fn like_us() -> Self {
        Self { words: Vec::new() }
    }

    /// Of another user, with this group and these further ones.
    pub fn in_groups(group: u32, further: &[u32]) -> Self {
        Self::of(OTHER_UID, group, further)
    }

    /// Of this user, with this group and these further ones.
    pub fn of(user: u32, group: u32, further: &[u32]) -> Self {
        let groups: Vec<_> = further.iter().map(u32::to_string).collect();
        let groups =
            if groups.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={}", groups.join(",")) };
        let words = ["setpriv", &format!("--reuid={user}"), &format!("--regid={group}"), &groups];
        Self { words: words.map(str::to_owned).to_vec() }
    }

    /// What it is answered to these lines; the lines as they come, or `cannot connect: REASON`.
    #[track_caller]
    pub fn ask(&self, socket: &Path, lines: &[&str]) -> String {
        let words: Vec<_> = [socket.as_os_str()].into_iter().chain(lines.iter().map(OsStr::new)).collect();
        self.run(ASK, &words)
    }

    /// What a Python program prints; it has to end without an error.
    #[track_caller]
    pub fn run(&self, program: &str, words: &[&OsStr]) -> String {
        let output = self.python(program).args(words).output().expect("cannot start the client");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.is_empty(), "the client failed: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Opens so many connections and holds them.
    #[track_caller]
    pub fn crowd(&self, socket: &Path, count: usize) -> Crowd {
        self.begin(CROWD, socket, &count.to_string())
    }

    /// Says a line without end.
    #[track_caller]
    pub fn pester(&self, socket: &Path, line: &str) -> Crowd {
        let mut crowd = self.begin(PESTER, socket, line);
        crowd.wait();
        crowd
    }

    #[track_caller]
    fn begin(&self, program: &str, socket: &Path, argument: &str) -> Crowd {
        let mut command = self.python(program);
        command.arg(socket).arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("cannot start the clients");
        let output = BufReader::new(child.stdout.take().unwrap());
        Crowd { child, output }
    }

    fn python(&self, program: &str) -> Command {
        let words: Vec<_> = self.words.iter().map(String::as_str).chain(["python3", "-c", program]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::null());
        command
    }
}

/// What goes on until this is dropped.
pub struct Crowd {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Crowd {
    /// Waits until it has connected as often as it should; says how often that was.
    pub fn wait(&mut self) -> usize {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().parse().unwrap_or(0)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.output.read_to_string(&mut String::new());
        let _ = self.child.wait();
    }
}
