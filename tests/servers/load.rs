//! Clients of the sample servers: threads that ask without pause, each on a new connection or each on one that is kept, and
//! count what was answered, by whom, and what was lost. They never retry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Clients, LIMIT};

/// What the threads ask for, every other one for the second, which takes a fifth of a second: there is something to finish.
const PATHS: [&str; 2] = ["/", "/slow"];

/// Between an answer and the next request of a thread: a thread that asks without a pause measures nothing but the machine.
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    OneForEach,
    Kept,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub ok: u64,
    /// Answered by which processes, and the highest number of a request that each has answered.
    pub newest_by_pid: BTreeMap<i32, u64>,
    /// Sent on a kept connection that the server closed at the same moment, and not answered. HTTP/1.1 expects clients to ask
    /// again on another, and this one does not count them as lost.
    pub crossed: u64,
    /// Why requests were lost, and how often.
    pub lost: BTreeMap<String, u64>,
    pub latency_max: Duration,
}

/// A running load.
pub struct Load(Clients<Report>);

impl Load {
    pub fn start(address: SocketAddr, connections: Connections, threads: usize) -> Self {
        Self(Clients::start(threads, |at| {
            let (path, mut kept) = (PATHS[at % PATHS.len()], None);
            move |id| {
                thread::sleep(PAUSE);
                let (had_one, before) = (kept.is_some(), Instant::now());
                let outcome = ask(address, connections, &mut kept, &format!("{path}?id={id}"));
                let latency = before.elapsed();
                move |report: &mut Report| report.count(id, outcome, had_one, latency)
            }
        }))
    }

    /// Waits until so many more requests were answered.
    #[track_caller]
    pub fn wait_for(&self, count: u64) {
        let wanted = self.so_far().ok + count;
        self.0.wait_until(&format!("{count} more answers"), |report| report.ok >= wanted);
    }

    /// The number of the request that was begun last; later ones have higher numbers.
    pub fn begun(&self) -> u64 {
        self.0.begun()
    }

    pub fn so_far(&self) -> Report {
        self.0.so_far()
    }

    /// Lets every thread finish its request, and counts.
    pub fn stop(self) -> Report {
        self.0.stop()
    }
}

/// Asks on this connection, or on a new one, and leaves it there if it can be used again.
fn ask(address: SocketAddr, connections: Connections, kept: &mut Option<Client>, path: &str) -> Result<i32, Loss> {
    let mut client = match kept.take() {
        Some(client) => client,
        None => Client::connect(address).map_err(|error| Loss::Failed(format!("cannot connect: {error}")))?,
    };
    let answer = client.ask(path, connections)?;
    if connections == Connections::Kept && !answer.closes {
        *kept = Some(client);
    }
    let pid = answer.body.split_once(' ').filter(|(_, rest)| *rest == format!("{path}\n"));
    let pid = pid.and_then(|(pid, _)| pid.parse().ok());
    pid.ok_or_else(|| Loss::Failed(format!("wrong answer to {path}: {:?}", answer.body)))
}

/// Why there was no answer.
enum Loss {
    /// The connection ended before the first byte.
    Closed(String),
    Failed(String),
}

struct Answer {
    body: String,
    closes: bool,
}

struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    fn ask(&mut self, path: &str, connections: Connections) -> Result<Answer, Loss> {
        let close = if connections == Connections::OneForEach { "Connection: close\r\n" } else { "" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{close}\r\n");
        let mut first = String::new();
        let begun =
            self.reader.get_mut().write_all(request.as_bytes()).and_then(|()| self.reader.read_line(&mut first));
        match begun {
            Ok(0) => Err(Loss::Closed("closed without an answer".to_owned())),
            Err(error) if first.is_empty() => Err(Loss::Closed(format!("no answer: {error}"))),
            Ok(_) | Err(_) => self.read_rest(&first).map_err(|why| Loss::Failed(format!("half an answer: {why}"))),
        }
    }

    fn read_rest(&mut self, first: &str) -> io::Result<Answer> {
        if !first.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(format!("not an answer 200: {first:?}")));
        }
        let (mut length, mut closes) = (0, false);
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
                "connection" => closes = value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok(Answer { body: String::from_utf8_lossy(&body).into_owned(), closes })
    }
}

impl Report {
    pub fn lost_count(&self) -> u64 {
        self.lost.values().sum()
    }

    /// Every request got its own answer, and there were some.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        assert!(self.ok > 0, "no request was answered");
        assert_eq!(self.lost_count(), 0, "{self}");
    }

    fn count(&mut self, id: u64, outcome: Result<i32, Loss>, was_kept: bool, latency: Duration) {
        match outcome {
            Ok(pid) => {
                self.ok += 1;
                let newest = self.newest_by_pid.entry(pid).or_default();
                *newest = id.max(*newest);
                self.latency_max = self.latency_max.max(latency);
            }
            Err(Loss::Closed(_)) if was_kept => self.crossed += 1,
            Err(Loss::Closed(why) | Loss::Failed(why)) => *self.lost.entry(why).or_default() += 1,
        }
    }

    /// The processes that have answered a request that was begun after this one.
    pub fn pids_after(&self, number: u64) -> BTreeSet<i32> {
        self.newest_by_pid.iter().filter(|(_, newest)| **newest > number).map(|(pid, _)| *pid).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered by {} processes, ", self.ok, self.newest_by_pid.len())?;
        write!(f, "{} lost {:?}, {} crossed; ", self.lost_count(), self.lost, self.crossed)?;
        write!(f, "slowest {:?}", self.latency_max)
    }
}
