//! Reads one request and answers it: who answers, the path asked for, and for some paths what the worker was born with.
//!
//! A body begins with `pid`, `index`, `version` and `path`, one a line; after an empty line follows the rest: `/env`,
//! `/fds`, `/status` and `/limits` show what the worker found when it was born, `/slow?ms=N` answers after N
//! milliseconds. It must read all of a request, for closing a socket with unread bytes resets it.
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

/// How long a client may take over one read or write.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(45);
/// Longest request, with its headers and its body, that is read.
const REQUEST_MAX: u64 = 64 * 1024;

/// Reads one request and answers it; an error means that the client went away.
pub fn answer(client: &TcpStream, birth: &Birth) -> io::Result<()> {
    client.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    client.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let Some(path) = read_request(client)? else { return Ok(()) };
    let extra = match path.split('?').next().unwrap_or_default() {
        "/env" => &birth.environment,
        "/fds" => &birth.descriptors,
        "/status" => &birth.status,
        "/limits" => &birth.limits,
        "/slow" => {
            let wanted = path.split(['?', '&']).find_map(|word| word.strip_prefix("ms="));
            pause(Duration::from_millis(wanted.and_then(|ms| ms.parse().ok()).unwrap_or(0)));
            ""
        }
        _ => "",
    };
    let body = format!("{}path {path}\n\n{extra}", birth.identity);
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n");
    let mut client = client;
    client.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes())
}

/// The path with its query; `None` when the client said nothing.
fn read_request(client: &TcpStream) -> io::Result<Option<String>> {
    let mut reader = BufReader::new(client.take(REQUEST_MAX));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut body_length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                body_length = value.trim().parse().unwrap_or(0);
            }
        }
    }
    io::copy(&mut reader.take(body_length), &mut io::sink())?;
    Ok(first.split_whitespace().nth(1).map(str::to_owned))
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
