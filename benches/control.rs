//! How fast the control socket answers: round trips a second and their latency, by number of clients and workers, beside an
//! echo between two threads in the same run, so that figures of different machines can be compared as ratios.
//!
//! It prints and judges nothing. `make bench` runs it, in about a minute.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock and starts threads")]

mod master;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use master::Master;

/// How long each figure is measured.
const SPAN: Duration = Duration::from_millis(2500);

const CLIENTS: [usize; 2] = [1, 32];

const WORKERS: [usize; 2] = [10, 1000];

fn main() {
    println!(
        "{:<12} {:>7} {:>7} {:>10} {:>8} {:>9} {:>9}",
        "request", "workers", "clients", "trips/s", "of echo", "p50 µs", "p99 µs"
    );
    let echo = CLIENTS.map(|clients| {
        let figures = measure(clients, |_| {
            let mut stream = echo();
            move || ask(&mut stream, b"{\"command\":\"ehlo\",\"user\":\"bench\"}\n")
        });
        print_row("echo", None, clients, &figures, figures.rate);
        figures.rate
    });
    for worker_count in WORKERS {
        let master = Master::start(worker_count, &["-m", "0", "--", "sleep", "1000000"]);
        let workers = master.workers();
        let rest = memory(&master);
        for (clients, echo_rate) in CLIENTS.into_iter().zip(echo) {
            for command in ["ehlo", "state"] {
                let figures = measure(clients, |_| {
                    let mut stream = BufReader::new(UnixStream::connect(&master.socket).unwrap());
                    let line = format!("{{\"command\":\"{command}\",\"user\":\"bench\"}}\n");
                    move || ask(&mut stream, line.as_bytes())
                });
                print_row(command, Some(worker_count), clients, &figures, echo_rate);
            }
            let figures = measure(clients, |client| {
                let (socket, pid) = (master.socket.clone(), workers[client % workers.len()]);
                let line = format!("{{\"command\":\"worker:ping\",\"pid\":{pid},\"request_id\":\"bench\"}}\n");
                move || ping(&socket, line.as_bytes())
            });
            print_row("worker:ping", Some(worker_count), clients, &figures, echo_rate);
        }
        println!("master with {worker_count} workers: {rest} at rest, {} afterwards", memory(&master));
    }
}

/// What came of one measurement.
struct Figures {
    rate: f64,
    p50: Duration,
    p99: Duration,
}

fn print_row(request: &str, workers: Option<usize>, clients: usize, figures: &Figures, echo_rate: f64) {
    let workers = workers.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let micros = |span: Duration| span.as_secs_f64() * 1e6;
    println!(
        "{request:<12} {workers:>7} {clients:>7} {:>10.0} {:>7.1}% {:>9.0} {:>9.0}",
        figures.rate,
        figures.rate / echo_rate * 100.0,
        micros(figures.p50),
        micros(figures.p99)
    );
}

/// Lets so many clients make round trips without pause, each on a thread of its own.
fn measure<Trip: FnMut() + Send>(clients: usize, client: impl Fn(usize) -> Trip) -> Figures {
    let trips: Vec<Trip> = (0..clients).map(client).collect();
    let began = Instant::now();
    let mut latencies: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = trips.into_iter().map(|trip| scope.spawn(move || repeat(trip, began + SPAN))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let rate = latencies.len() as f64 / began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize];
    Figures { rate, p50: at(0.5), p99: at(0.99) }
}

fn repeat(mut trip: impl FnMut(), end: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        trip();
        latencies.push(began.elapsed());
    }
    latencies
}

/// A connection to a thread that sends each line back.
fn echo() -> BufReader<UnixStream> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread::spawn(move || {
        let mut theirs = BufReader::new(theirs);
        let mut line = String::new();
        while theirs.read_line(&mut line).is_ok_and(|length| length > 0) {
            if theirs.get_mut().write_all(line.as_bytes()).is_err() {
                return;
            }
            line.clear();
        }
    });
    BufReader::new(ours)
}

fn ask(stream: &mut BufReader<UnixStream>, line: &[u8]) {
    stream.get_mut().write_all(line).unwrap();
    let mut reply = Vec::new();
    stream.read_until(b'\n', &mut reply).unwrap();
    assert!(reply.ends_with(b"\n"), "the connection was closed");
}

/// A ping has no reply: its connection is closed. So a trip is a connection, too.
fn ping(socket: &Path, line: &[u8]) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(line).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// What it has allocated and touched. Not `Private_Dirty`: of a program that was just built, that counts its file, too.
fn memory(master: &Master) -> String {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", master.pid())).unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:")).unwrap_or_default();
    format!("{} KiB of its own", line.split_whitespace().nth(1).unwrap_or("?"))
}
