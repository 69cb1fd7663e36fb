//! A loader of one's own, as doc/preloading.md has it: it loads once what its workers need (`server.rs`), and forks a worker whenever the
//! master asks for one. Executed without a loader's socket, it is a worker.

#![allow(clippy::disallowed_methods, reason = "a program of its own: it ends the process between")]

mod server;

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::{env, error::Error, process};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, send};
use nix::sys::{prctl::set_pdeathsig, signal::Signal, wait::waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, getppid, pipe, read, setpgid, write};

use crate::server::{LOADER_FD, Server, adopt, fork, set_variable, take};

/// Keys and values. Real ones keep values as bytes, for a name or an argument may be no UTF-8.
type Fields = Vec<(String, String)>;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(number) = take(LOADER_FD) else { return Server::load()?.serve(env::args().collect()) };
    let control = adopt(number.parse()?);
    let server = Server::load().inspect_err(|reason| _ = tell(&control, &["failed", &reason.to_string()]))?;
    tell(&control, &["loaded", ""])?;
    while let Some((fields, descriptors)) = receive(&control)? {
        let Some((_, launch)) = fields.iter().find(|(key, _)| key == "launch") else { continue };
        match fork_worker() {
            Ok(0) => return become_worker(control, fields, descriptors, &server),
            Ok(worker) => tell(&control, &["launch", launch, "pid", &worker.to_string()])?,
            Err(errno) => tell(&control, &["launch", launch, "error", &(errno as i32).to_string()])?,
        }
    }
    Ok(())
}

fn tell(control: &OwnedFd, fields: &[&str]) -> Result<(), Errno> {
    let packet: String = fields.iter().flat_map(|field| [field, "\0"]).collect();
    send(control.as_raw_fd(), packet.as_bytes(), MsgFlags::MSG_NOSIGNAL).map(drop)
}

/// A request, and the descriptors that came with it. None: the master has closed the socket.
fn receive(control: &OwnedFd) -> Result<Option<(Fields, Vec<OwnedFd>)>, Errno> {
    let (mut bytes, mut room) = (vec![0; 1 << 20], nix::cmsg_space!([RawFd; 3]));
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg::<()>(control.as_raw_fd(), &mut parts, Some(&mut room), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let (length, mut descriptors) = (received.bytes, Vec::new());
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            descriptors.extend(numbers.into_iter().map(adopt));
        }
    }
    let words: Vec<_> = bytes[..length].split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let fields = words.chunks_exact(2).map(|pair| (pair[0].to_string(), pair[1].to_string())).collect();
    Ok((length > 0).then_some((fields, descriptors)))
}

/// The worker, and 0 in it. The process between ends at once, so that the worker becomes a child of the master.
fn fork_worker() -> Result<i32, Errno> {
    let ((reader, writer), mut record) = (pipe()?, (-libc::ECHILD).to_ne_bytes());
    let between = fork()?;
    if between == 0 {
        match fork().unwrap_or_else(|errno| -(errno as i32)) {
            0 => return Ok(0),
            worker => process::exit(write(&writer, &worker.to_ne_bytes()).map_or(1, |_| 0)),
        }
    }
    drop(writer);
    read(&reader, &mut record)?;
    waitpid(Pid::from_raw(between), None)?;
    let worker = i32::from_ne_bytes(record);
    if worker > 0 { Ok(worker) } else { Err(Errno::from_raw(-worker)) }
}

fn become_worker(control: OwnedFd, fields: Fields, given: Vec<OwnedFd>, server: &Server) -> Result<(), Box<dyn Error>> {
    drop(control);
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    let (mut given, mut arguments, mut parent) = (given.into_iter(), Vec::new(), String::new());
    let mut next = || given.next().ok_or("a descriptor is missing");
    let line = next()?;
    // The master says so once it knows of this worker. If it is gone, there is none to work for.
    let is_wanted = read(&line, &mut [0])? == 1;
    for (key, value) in fields {
        match (key.as_str(), value.split_once('=')) {
            ("parent", _) => parent = value,
            ("pid", _) => set_variable(&value, &process::id().to_string()),
            ("output", _) => next().map(|output| dup2_stdout(&output).and_then(|()| dup2_stderr(&output)))??,
            ("connection", _) => set_variable(&value, &next()?.into_raw_fd().to_string()),
            ("arg", _) => arguments.push(value),
            ("signal", _) => set_pdeathsig(Signal::try_from(value.parse::<i32>()?)?)?,
            ("env", Some((name, value))) => set_variable(name, value),
            _ => {}
        }
    }
    drop(line);
    if is_wanted && getppid().to_string() == parent { server.serve(arguments) } else { Ok(()) }
}
