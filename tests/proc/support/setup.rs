//! A master to be started: its command line, its files, and the environment that it is born with. The harness frees it of all
//! that surrounds the tests, so that a test says all that matters to it.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use crate::support::log::Log;
use crate::support::master::Master;
use crate::support::refusal::{Refusal, Snapshot};
use crate::support::{EINHYRNINGSINS, example};

/// It blocks what it hears before it says that it is ready, and then takes one signal after the other.
const SIGNAL_LOGGER: &str = r#"
import os, signal, sys

def say(word):
    os.write(1, f"{os.getpid()} {word}\n".encode())

ends = sys.argv[1:]
# The master passes USR1 on to workers that have a handler for it; this one is never called.
signal.signal(signal.SIGUSR1, lambda *_: None)
heard = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
signal.pthread_sigmask(signal.SIG_BLOCK, heard)
say("ready")
while True:
    name = signal.Signals(signal.sigwait(heard)).name.removeprefix("SIG")
    say(name)
    if name in ends:
        sys.exit(0)
"#;

/// A master to be started: the command line in the order of the calls, and what it finds around it.
///
/// It is born with the variables PATH and TMPDIR only, in its own directory, with standard input from /dev/null.
pub struct Setup {
    directory: Arc<TempDir>,
    prefix: Vec<OsString>,
    options: Vec<OsString>,
    program: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    address: Option<SocketAddr>,
    socket: PathBuf,
    stderr: Option<Stdio>,
}

impl Setup {
    /// `options` are words parted by blanks, for instance `-n 2 -m manual`.
    pub fn new(options: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("einhyrningsins-").tempdir().unwrap();
        Self::in_directory(Arc::new(directory), options)
    }

    /// A further master in the same directory, which the last of them cleans away.
    pub fn beside(&self, options: &str) -> Self {
        Self::in_directory(Arc::clone(&self.directory), options)
    }

    pub(in crate::support) fn in_directory(directory: Arc<TempDir>, options: &str) -> Self {
        let socket = directory.path().join("einhorn.sock");
        let setup = Self {
            directory,
            prefix: Vec::new(),
            options: Vec::new(),
            program: Vec::new(),
            environment: Vec::new(),
            address: None,
            socket,
            stderr: None,
        };
        setup.options(options)
    }

    pub fn options(mut self, options: &str) -> Self {
        self.options.extend(options.split_whitespace().map(OsString::from));
        self
    }

    /// One word, whatever is in it.
    pub fn word(mut self, word: impl Into<OsString>) -> Self {
        self.options.push(word.into());
        self
    }

    /// Binds to a free address, with flags such as `,r,n`; [`Master::addr`] tells which.
    pub fn bind(mut self, flags: &str) -> Self {
        let address = free_address();
        self.address = Some(address);
        self.options(&format!("-b {address}{flags}"))
    }

    /// For a master whose file says where it binds to; [`Master::addr`] tells it.
    pub fn bound_by_file(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Puts the control socket there instead of `einhorn.sock` in the master's directory.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = path.into();
        let socket = self.socket.clone();
        self.word("-d").word(socket)
    }

    /// Gives the command's name, from which the default control socket has its own.
    pub fn named(mut self, name: &str) -> Self {
        self.socket = self.directory().join(format!("einhorn-{name}.sock"));
        self.options(&format!("-c {name}"))
    }

    pub fn program<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.program = words.into_iter().map(Into::into).collect();
        self
    }

    /// Runs `examples/http_worker` with these options.
    pub fn http_worker(self, options: &str) -> Self {
        let words = options.split_whitespace().map(OsString::from);
        self.program([example("http_worker").into_os_string()].into_iter().chain(words))
    }

    /// Runs a shell script with this text. The shell opens it: a file just written cannot always be executed, while a
    /// child of another test holds a copy of its descriptor.
    pub fn script(self, text: &str) -> Self {
        let path = self.write("worker.sh", text);
        self.program([OsString::from("/bin/sh"), path.into_os_string()])
    }

    /// Runs a worker that says on stdout `PID ready` and then `PID USR2` for each signal, and ends at those of `ends`.
    pub fn signal_logger(self, ends: &str) -> Self {
        let path = self.write("signal_logger.py", SIGNAL_LOGGER);
        let words = ends.split_whitespace().map(OsString::from);
        self.program(["/usr/bin/env".into(), "python3".into(), path.into_os_string()].into_iter().chain(words))
    }

    /// The release that `http_worker` names in its answers.
    pub fn release(self, release: &str) -> Self {
        self.write("WORKER_VERSION", release);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts the master through another program that execs the rest of its arguments, for instance
    /// `["/bin/sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"]`.
    pub fn through(mut self, words: &[&str]) -> Self {
        self.prefix = words.iter().map(OsString::from).collect();
        self
    }

    /// Gives the master this as stderr; its log is then not caught.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// Lets other users read what is in the master's directory.
    pub fn open_to_all(self) -> Self {
        fs::set_permissions(self.directory(), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file into the master's directory.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    #[track_caller]
    pub fn start(mut self) -> Master {
        let (log, stderr) = match self.stderr.take() {
            Some(stderr) => (Log::default(), stderr),
            None => {
                let (log, writer) = Log::catch();
                (log, Stdio::from(writer))
            }
        };
        let child = self.command().stderr(stderr).spawn().expect("cannot start the master");
        Master::of(child, log, self.address, self.socket, self.directory)
    }

    /// For a start that is to be refused: waits for its end, and compares the directory before and after.
    #[track_caller]
    pub fn refused(self) -> Refusal {
        // Made by every start, so that it is no change.
        self.write("stdout", "");
        let before = Snapshot::of(self.directory());
        let master = self.start();
        let code = master.wait_exit().code();
        let changes = before.changes_to(&Snapshot::of(master.directory()));
        Refusal { code, lines: master.log().lines(), changes }
    }

    fn command(&self) -> Command {
        let words: Vec<_> = self.prefix.iter().cloned().chain([OsString::from(EINHYRNINGSINS)]).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(&self.options);
        if !self.program.is_empty() {
            command.arg("--").args(&self.program);
        }
        let stdout = fs::File::create(self.directory().join("stdout")).unwrap();
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("TMPDIR", self.directory());
        command.envs(self.environment.iter().cloned()).current_dir(self.directory());
        command.stdin(Stdio::null()).stdout(stdout);
        command
    }
}

/// An address that is not in use: on a loopback address of this test process's own, and below the ports that the kernel
/// hands out, so that no client of another test can sit on it. It is tried by connecting, for after a trial bind, a
/// child of another test could hold the socket for a moment longer.
pub fn free_address() -> SocketAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let [high, low] = u16::try_from(std::process::id() % 65_536).unwrap().to_be_bytes();
    loop {
        let port = 20_000 + TAKEN.fetch_add(1, Ordering::Relaxed) % 10_000;
        // No process of ours has another's address: the lowest and the highest of a network would not do.
        let address = SocketAddr::from((Ipv4Addr::new(127, 1 + (low >> 7), high, 1 + (low & 0x7f)), port));
        if TcpStream::connect(address).is_err() {
            return address;
        }
    }
}
