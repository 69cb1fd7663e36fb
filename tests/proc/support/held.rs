//! A request whose second half is held back: it is in flight for as long as the test wants. It never retries.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::Master;
use crate::support::request::{Answer, Failure, Target, connect, judge, request};
use crate::support::wait::LIMIT;

/// Threads of an `http_worker` that serves on one socket and has nothing in flight.
const IDLE_THREADS: i32 = 2;

/// A request that was begun; the worker that took it reads on.
pub struct HeldRequest {
    stream: TcpStream,
    path: String,
    rest: String,
}

impl HeldRequest {
    /// Connects and sends the first line.
    #[track_caller]
    pub fn begin(target: impl Into<Target>, path: &str) -> Self {
        let mut stream = connect(&target.into()).expect("cannot begin a request");
        let [first, rest] = request(path);
        stream.write_all(first.as_bytes()).expect("cannot begin a request");
        Self { stream, path: path.to_owned(), rest }
    }

    /// Begins so many, and waits until the master's workers have accepted them all.
    #[track_caller]
    pub fn begin_many(master: &Master, count: i32) -> Vec<Self> {
        // A thread that has just acked would count as one.
        master.wait_until("no ack is under way", LIMIT, || {
            let workers = master.workers();
            !workers.is_empty() && workers.iter().all(|worker| worker.thread_count() == Some(IDLE_THREADS))
        });
        let held = (0..count).map(|at| Self::begin(master.addr(), &format!("/held/{at}"))).collect();
        let in_flight = || master.workers().iter().map(|it| it.thread_count().unwrap_or(0) - IDLE_THREADS).sum::<i32>();
        master.wait_until(&format!("{count} requests are in flight"), LIMIT, || in_flight() == count);
        held
    }

    /// Sends the rest and reads the answer.
    pub fn finish(mut self) -> Result<Answer, (Failure, String)> {
        let mut reply = Vec::new();
        let sent = self.stream.write_all(self.rest.as_bytes());
        let done = sent.and_then(|()| self.stream.read_to_end(&mut reply));
        judge(&self.path, done.map(|_| reply))
    }
}
