//! A client of the control socket that sends lines as they are given and shows answers as they come.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::support::wait::LIMIT;

/// One connection to the control socket.
pub struct ControlClient {
    reader: BufReader<UnixStream>,
}

impl ControlClient {
    #[track_caller]
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("cannot connect to {path:?}: {error}"));
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// Sends one line; the newline is added here.
    #[track_caller]
    pub fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("the master did not read");
    }

    /// The next line without its newline, as it came; `None` when the master closed the connection.
    #[track_caller]
    pub fn receive(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches('\n').to_owned()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("the master did not answer: {error}"),
        }
    }
}

/// A line of the wire as the YAML document it stands for.
pub fn decoded(line: &str) -> String {
    line.replace("%0A", "\n").replace("%25", "%")
}
