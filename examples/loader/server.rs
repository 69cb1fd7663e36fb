//! What the loader loads, and what its workers do with it: they serve the text of a file that was read once, and tell of themselves. One
//! request at a time; told to go, a worker ends after the one in hand.

#![allow(unsafe_code, reason = "forking, changing the environment and adopting a descriptor have no safe calls")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::{env, fs, process};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, getppid};

/// In which a loader finds the number of its socket.
pub const LOADER_FD: &str = "EINHYRNINGSINS_LOADER_FD";

pub struct Server {
    release: String,
    loaded_by: u32,
}

/// The open descriptor with this number, as ours.
pub fn adopt(number: RawFd) -> OwnedFd {
    // SAFETY: the master gives it to this process, and each number is adopted once.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// As fork(2): the child, and 0 in it.
pub fn fork() -> Result<i32, Errno> {
    // SAFETY: this program has one thread.
    Errno::result(unsafe { libc::fork() })
}

pub fn set_variable(name: &str, value: &str) {
    // SAFETY: this program has one thread.
    unsafe { env::set_var(name, value) }
}

pub fn take(name: &str) -> Option<String> {
    let value = env::var(name).ok();
    // SAFETY: this program has one thread.
    unsafe { env::remove_var(name) };
    value
}

impl Server {
    pub fn load() -> Result<Self, Box<dyn Error>> {
        let release =
            fs::read_to_string("WORKER_VERSION").map_err(|error| format!("cannot read WORKER_VERSION: {error}"))?;
        Ok(Self { release, loaded_by: process::id() })
    }

    /// `words` are the command's, as the program finds them when it is executed.
    pub fn serve(&self, words: Vec<String>) -> Result<(), Box<dyn Error>> {
        let listener = TcpListener::from(adopt(env::var("EINHORN_FD_0")?.parse()?));
        // Another worker may be faster between poll and accept.
        listener.set_nonblocking(true)?;
        let (told, tell) = UnixStream::pair()?;
        for signal in [libc::SIGUSR2, libc::SIGTERM] {
            signal_hook::low_level::pipe::register(signal, tell.try_clone()?)?;
        }
        ack()?;
        println!("worker {} serves", process::id());
        while is_wanted(&listener, &told) {
            if let Ok((client, _)) = listener.accept() {
                // An error means that the client went away.
                let _ = self.answer(&client, &words);
            }
        }
        Ok(())
    }

    fn answer(&self, mut client: &TcpStream, words: &[String]) -> Result<(), Box<dyn Error>> {
        let mut lines = BufReader::new(client).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        // What stays unread when a connection is closed resets it.
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let path = first.split(' ').nth(1).unwrap_or_default();
        let variables: String = env::vars().map(|(name, value)| format!("{name}={value}\n")).collect();
        let (pid, release) = (process::id(), &self.release);
        let head = format!("pid {pid}\nindex 0\nversion {release}\npath {path}\n");
        let (loaded_by, parent, group) = (self.loaded_by, getppid(), getpgrp());
        let own = format!("loader {loaded_by}\nparent {parent}\ngroup {group}\nwords {words:?}\n{variables}");
        let body = format!("{head}\n{own}");
        let length = body.len();
        Ok(write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?)
    }
}

/// Tells the master that this process serves: over the socket it was given with `-g`, else over the control socket.
fn ack() -> Result<(), Box<dyn Error>> {
    let mut master = match env::var("EINHORN_SOCK_FD") {
        Ok(number) => UnixStream::from(adopt(number.parse()?)),
        Err(_) => UnixStream::connect(env::var("EINHORN_SOCK_PATH")?)?,
    };
    Ok(writeln!(master, "{{\"command\":\"worker:ack\",\"pid\":{}}}", process::id())?)
}

/// False when this process was told to go.
fn is_wanted(listener: &TcpListener, told: &UnixStream) -> bool {
    let mut both = [listener.as_fd(), told.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    // An error is a signal that came in between: the next look finds its byte.
    let _ = poll(&mut both, PollTimeout::NONE);
    both[1].any() != Some(true)
}
