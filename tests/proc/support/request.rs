//! One request on a new connection, and every way in which it can be lost. It never retries.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::wait::LIMIT;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl From<&Path> for Target {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

/// How a request was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No process listened.
    Refused,
    /// The connection was torn down before the answer was complete.
    Reset,
    /// Nothing came in time.
    Timeout,
    /// The connection was closed before the answer was complete.
    Short,
    /// A complete answer, but not to this request.
    Wrong,
    /// This side failed, for want of descriptors or ports: the test itself is at fault.
    Own,
}

impl Failure {
    /// Lost because the server died with it in hand.
    pub fn is_torn(self) -> bool {
        matches!(self, Self::Reset | Self::Short)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Timeout => "timed out",
            Self::Short => "short",
            Self::Wrong => "wrong",
            Self::Own => "failed on the client's own side",
        })
    }
}

/// What `http_worker` answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub pid: i32,
    pub index: String,
    pub release: String,
    pub path: String,
    /// What follows the empty line: the content of `/env`, `/fds`, `/status` or `/limits`.
    pub rest: String,
}

/// Asks for a path on a new connection; the text says more about the failure.
pub fn ask(target: &Target, path: &str) -> Result<Answer, (Failure, String)> {
    ask_within(target, path, LIMIT)
}

/// The same, with another limit for the connection and for each read and write.
pub fn ask_within(target: &Target, path: &str, limit: Duration) -> Result<Answer, (Failure, String)> {
    judge(path, exchange(target, path, limit))
}

/// Whether this reply is the answer to that path.
pub fn judge(path: &str, reply: io::Result<Vec<u8>>) -> Result<Answer, (Failure, String)> {
    let reply = reply.map_err(|error| (failure_of(&error), error.to_string()))?;
    let body = body_of(&reply)?;
    let answer = Answer::parse(body).ok_or_else(|| (Failure::Wrong, format!("no answer of http_worker: {body:?}")))?;
    if answer.path != path {
        return Err((Failure::Wrong, format!("asked for {path}, got {}", answer.path)));
    }
    Ok(answer)
}

impl Answer {
    fn parse(body: &str) -> Option<Self> {
        let (head, rest) = body.split_once("\n\n")?;
        let field =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned);
        Some(Self {
            pid: field("pid")?.parse().ok()?,
            index: field("index")?,
            release: field("version")?,
            path: field("path")?,
            rest: rest.to_owned(),
        })
    }
}

/// Sends the request and reads to the end of the stream.
fn exchange(target: &Target, path: &str, limit: Duration) -> io::Result<Vec<u8>> {
    let mut stream = connect_within(target, limit)?;
    let [first, rest] = request(path);
    stream.write_all((first + &rest).as_bytes())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(reply)
}

/// The request in two parts; a server that has the first only still waits.
pub(in crate::support) fn request(path: &str) -> [String; 2] {
    [format!("GET {path} HTTP/1.1\r\n"), "Host: test\r\nConnection: close\r\n\r\n".to_owned()]
}

/// A Unix stream is handed out as a TCP one: reads, writes and timeouts are the same calls.
pub(in crate::support) fn connect(target: &Target) -> io::Result<TcpStream> {
    connect_within(target, LIMIT)
}

fn connect_within(target: &Target, limit: Duration) -> io::Result<TcpStream> {
    let stream = match target {
        Target::Tcp(addr) => TcpStream::connect_timeout(addr, limit)?,
        Target::Unix(path) => TcpStream::from(OwnedFd::from(UnixStream::connect(path)?)),
    };
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(stream)
}

fn failure_of(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => Failure::Refused,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Failure::Reset,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Failure::Timeout,
        _ => Failure::Own,
    }
}

fn body_of(reply: &[u8]) -> Result<&str, (Failure, String)> {
    let short = || (Failure::Short, format!("the stream ended after {} bytes", reply.len()));
    let text = std::str::from_utf8(reply).map_err(|error| (Failure::Wrong, error.to_string()))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(short)?;
    let length: usize = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .ok_or_else(|| (Failure::Wrong, format!("no length in {head:?}")))?;
    if !head.starts_with("HTTP/1.1 200 ") || body.len() > length {
        return Err((Failure::Wrong, format!("not one answer 200: {text:?}")));
    }
    if body.len() < length { Err(short()) } else { Ok(body) }
}
