//! A master for tests, that says what it is told to say, and a screen whose writing can be read.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::client::connection::{Connection, Trust};
use crate::client::screen::Screen;
use crate::client::target::{ChosenBy, Target};
use crate::client::text::Surface;
use crate::sys::clock;

/// What a request contains, and what it is answered; `<ID>` is the request's id. Each is said once.
pub(super) type Rule = (&'static str, &'static str);

#[derive(Clone, Copy)]
enum AtTheEnd {
    Close,
    Stay,
}

/// Listens in a directory of its own, and goes through its rules. A request that none is for closes the connection.
pub(super) struct FakeMaster {
    directory: TempDir,
    heard: Arc<Mutex<Vec<String>>>,
}

impl FakeMaster {
    /// Closes the connection when everything is said.
    pub(super) fn serve(rules: &[Rule]) -> Self {
        Self::start(rules, AtTheEnd::Close)
    }

    /// Says nothing more when everything is said.
    pub(super) fn silent(rules: &[Rule]) -> Self {
        Self::start(rules, AtTheEnd::Stay)
    }

    #[allow(clippy::disallowed_methods, reason = "a master of its own, as far as a client can see")]
    fn start(rules: &[Rule], at_the_end: AtTheEnd) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("einhorn.sock")).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (kept, mut rules) = (Arc::clone(&heard), rules.to_vec());
        thread::spawn(move || {
            for stream in listener.incoming() {
                converse(stream.unwrap(), &mut rules, at_the_end, &kept);
            }
        });
        Self { directory, heard }
    }

    pub(super) fn target(&self) -> Target {
        target(&self.directory.path().join("einhorn.sock"))
    }

    pub(super) fn connect(&self) -> Connection {
        Connection::open(&self.target(), trust()).unwrap()
    }

    /// The requests so far, without their newlines.
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn converse(stream: UnixStream, rules: &mut Vec<Rule>, at_the_end: AtTheEnd, heard: &Mutex<Vec<String>>) {
    let mut writer = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        heard.lock().unwrap().push(line.clone());
        let Some(at) = rules.iter().position(|(needle, _)| line.contains(needle)) else { return };
        let (_, answer) = rules.remove(at);
        let id = line.split("id: ").nth(1).and_then(|rest| rest.split('%').next()).unwrap_or_default();
        let _ = writer.write_all(answer.replace("<ID>", id).as_bytes());
        if rules.is_empty() && matches!(at_the_end, AtTheEnd::Close) {
            return;
        }
    }
}

pub(super) fn target(path: &Path) -> Target {
    Target { path: path.to_owned(), chosen_by: ChosenBy::Path }
}

/// Leaves a socket as a dead master does. A child that another test has just forked may hold it until its exec.
pub(super) fn leave_stale(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    let end = clock::now().after(Duration::from_secs(10));
    while UnixStream::connect(path).is_ok() {
        assert!(clock::now() < end, "a process listens on {}", path.display());
        thread::yield_now();
    }
}

pub(super) fn trust() -> Trust {
    Trust { own_uid: nix::unistd::geteuid().as_raw(), master: None }
}

/// Calls with a plain screen; returns the result, and what stands on standard output and error.
pub(super) fn on_screen<T>(body: impl FnOnce(&mut Screen<'_>) -> T) -> (T, String, String) {
    on_surface(Surface::Plain, body)
}

pub(super) fn on_surface<T>(surface: Surface, body: impl FnOnce(&mut Screen<'_>) -> T) -> (T, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let result = body(&mut Screen::new(&mut out, &mut err, surface));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (result, text(out), text(err))
}
