//! Reads requests and answers them: who answers, the path asked for, and for some paths what the worker was born with.
//!
//! A body begins with `pid`, `index`, `version` and `path`, one a line; after an empty line follows the rest: `/env`,
//! `/fds`, `/status` and `/limits` show what the worker found when it was born, `/slow?ms=N` answers after N
//! milliseconds, `/large?bytes=N` has a rest of N bytes. It must read all of a request, for closing a socket with unread
//! bytes resets it.
//!
//! A connection is kept as HTTP/1.1 has it, and requests may be pipelined. A worker that ends says `Connection: close` in the
//! next answer that has no further request behind it, so that no request which was sent in one piece is left without answer.
//!
//! `/status` is read in `main`, when Rust's runtime has already ignored SIGPIPE; to see the signals that the master
//! gave, look at a worker of another language.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::RawFd;
use std::process;
use std::time::Duration;

use crate::accept::pause;
use crate::fault::{Fault, Faults};

/// How long a client may take over one read or write.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(45);
/// How long a kept connection may be silent between two requests. A worker that ends waits no longer for it.
const KEPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest request, with its headers and its body, that is read.
const REQUEST_MAX: u64 = 64 * 1024;
/// Longest rest that `/large` makes.
const LARGE_MAX: usize = 1024 * 1024;

/// Answers the requests of one connection, the last one that comes after the worker has begun to end, or that the client
/// calls the last. An error means that the client went away.
pub fn answer(client: &TcpStream, birth: &Birth, faults: &Faults, ending: impl Fn() -> bool) -> io::Result<()> {
    client.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    client.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let mut reader = BufReader::with_capacity(16 * 1024, client);
    let mut replies = Vec::new();
    let mut is_first = true;
    while let Some(request) = read_request(&mut reader)? {
        let is_last = !request.keeps || reader.buffer().is_empty() && ending();
        faults.on_request();
        let status = if faults.are(Fault::Error) { "500 Internal Server Error" } else { "200 OK" };
        reply(&request.path, birth, status, if is_last { "close" } else { "keep-alive" }, &mut replies);
        // What is complete behind it is answered first, so that a batch of requests is answered in one piece, too.
        if is_last || !reader.buffer().windows(4).any(|window| window == b"\r\n\r\n") {
            faults.answering(|| (&mut &*client).write_all(&replies))?;
            replies.clear();
        }
        if is_last {
            break;
        }
        if is_first {
            client.set_read_timeout(Some(KEPT_TIMEOUT))?;
            is_first = false;
        }
    }
    Ok(())
}

fn reply(path: &str, birth: &Birth, status: &str, connection: &str, replies: &mut Vec<u8>) {
    let number = |name: &str| path.split(['?', '&']).find_map(|word| word.strip_prefix(name)?.parse().ok());
    let large;
    let extra = match path.split('?').next().unwrap_or_default() {
        "/env" => &birth.environment,
        "/fds" => &birth.descriptors,
        "/status" => &birth.status,
        "/limits" => &birth.limits,
        "/slow" => {
            pause(Duration::from_millis(number("ms=").unwrap_or(0)));
            ""
        }
        "/large" => {
            let count = number("bytes=").and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
            large = "x".repeat(count.min(LARGE_MAX));
            &large
        }
        _ => "",
    };
    let body = format!("{}path {path}\n\n{extra}", birth.identity);
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n");
    replies.extend_from_slice(format!("{head}Connection: {connection}\r\n\r\n{body}").as_bytes());
}

struct Request {
    /// With its query.
    path: String,
    /// Whether the client will use the connection again.
    keeps: bool,
}

/// The next request; `None` when the client said nothing more.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut reader = reader.take(REQUEST_MAX);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut body_length, mut keeps) = (0, first.trim_end().ends_with(" HTTP/1.1"));
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            body_length = value.trim().parse().unwrap_or(0);
        } else if name.eq_ignore_ascii_case("connection") {
            keeps &= !value.trim().eq_ignore_ascii_case("close");
        }
    }
    io::copy(&mut reader.take(body_length), &mut io::sink())?;
    Ok(first.split_whitespace().nth(1).map(|path| Request { path: path.to_owned(), keeps }))
}

/// What the worker found when it was born.
pub struct Birth {
    /// `pid`, `index` and `version`, one a line.
    identity: String,
    environment: String,
    descriptors: String,
    status: String,
    limits: String,
}

impl Birth {
    pub fn now() -> Self {
        let read = |name: &str| fs::read(format!("/proc/self/{name}")).unwrap_or_default();
        let text = |name: &str| String::from_utf8_lossy(&read(name)).into_owned();
        let index = std::env::var("EINHORN_CHILD_INDEX").unwrap_or_default();
        Self {
            identity: format!("pid {}\nindex {index}\nversion {}\n", process::id(), release()),
            environment: text("environ").replace('\0', "\n"),
            descriptors: descriptors(),
            status: text("status"),
            limits: text("limits"),
        }
    }
}

/// The release this worker is of: what the file `WORKER_VERSION` in its directory says, else the variable of that name.
fn release() -> String {
    let said = fs::read_to_string("WORKER_VERSION").or_else(|_| std::env::var("WORKER_VERSION"));
    said.map_or_else(|_| "none".to_owned(), |word| word.trim().to_owned())
}

/// `number -> target`, one a line; the descriptor that reads the directory is left out.
fn descriptors() -> String {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return String::new() };
    let links = entries.flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_string_lossy().parse::<RawFd>().ok()?, target))
    });
    let own = format!("/proc/{}/fd", process::id());
    let sorted: BTreeMap<_, _> = links.filter(|(_, target)| target.as_os_str() != own.as_str()).collect();
    sorted.iter().map(|(number, target)| format!("{number} -> {}\n", target.display())).collect()
}
