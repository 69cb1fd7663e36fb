//! Questions to a master and its workers that come to nothing in good order: a cell is about what fails.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// How long to wait for an answer before asking again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first line that the control socket answers to this one, on a new connection.
pub fn ask(socket: &Path, line: &str) -> io::Result<String> {
    let mut answer = String::new();
    connect(socket, line)?.read_line(&mut answer)?;
    Ok(answer)
}

/// The last message of those that come until the master has no more to say of the request.
///
/// Errors: nothing is said for `patience`, too. To ask again sooner would be another request.
pub fn last_word(socket: &Path, line: &str, patience: Duration) -> io::Result<String> {
    let stream = connect(socket, line)?;
    stream.get_ref().set_read_timeout(Some(patience))?;
    for answer in stream.lines() {
        let answer = answer?;
        if !answer.contains("\"wait\":true") {
            return Ok(answer);
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// What `status` says.
pub fn status(socket: &Path) -> io::Result<Value> {
    let answer = ask(socket, "{command: status, format: json}")?;
    let answer: Value = serde_json::from_str(&answer)?;
    Ok(answer["status"].clone())
}

/// Whether a worker answers there.
pub fn is_served(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(&mut stream)
}

/// The same at a path.
pub fn is_served_at(path: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(&mut stream)
}

fn exchange(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    if reply.starts_with("HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(io::Error::other(format!("a worker answers {reply:?}")))
    }
}

fn connect(socket: &Path, line: &str) -> io::Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    Ok(BufReader::new(stream))
}
