//! The shortest server in Rust that loses nothing under einhyrningsins; see rust.toml. It answers with its process and the
//! path; /slow takes a moment, so that there is something to finish. It must never end before the last answer is out.

#![allow(unsafe_code, reason = "adopting an inherited descriptor has no safe call")]
#![allow(clippy::disallowed_methods, reason = "a program of its own: it has threads for itself")]

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::process;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() -> io::Result<()> {
    // SAFETY: EINHORN_FD_0 is always 3, and nothing else here uses it.
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    // Another worker may be faster between poll and accept.
    listener.set_nonblocking(true)?;
    let (told, tell) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(libc::SIGTERM, tell)?;
    ack()?;
    // The scope ends when all of its threads have.
    thread::scope(|scope| {
        while wait_for_a_connection(&listener, &told) {
            if let Ok((client, _)) = listener.accept() {
                // An error means that the client went away.
                scope.spawn(move || answer(&client));
            }
        }
    });
    Ok(())
}

/// Tells einhyrningsins that this process serves.
fn ack() -> io::Result<()> {
    let path = env::var("EINHORN_SOCK_PATH").map_err(io::Error::other)?;
    writeln!(UnixStream::connect(path)?, "{{\"command\":\"worker:ack\",\"pid\":{}}}", process::id())
}

/// False when this process was told to go.
fn wait_for_a_connection(listener: &TcpListener, told: &UnixStream) -> bool {
    let mut both = [listener.as_fd(), told.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    // An error is a signal that came in between: the next look finds its byte.
    let _ = poll(&mut both, PollTimeout::NONE);
    both[1].any() != Some(true)
}

fn answer(mut client: &TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(client).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // What stays unread when a connection is closed resets it.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    if path.starts_with("/slow") {
        thread::sleep(Duration::from_millis(200));
    }
    let body = format!("{} {path}\n", process::id());
    let length = body.len();
    write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
