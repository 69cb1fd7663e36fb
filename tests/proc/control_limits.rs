//! Clients of the control socket that are too many, too slow, too long or gone: each costs itself, never the service.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, recv};

use crate::support::{ControlClient, LIMIT, Master, Process, Setup, Strace, Stranger, Vitals, holds_within};

/// How many workers the masters of these tests have.
const WORKERS: usize = 3;

/// The longest patience the master has with a client (a line that is not ended), and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the kernel may hold of a client's bytes beside what the master reads: its send buffer, doubled for good measure.
const IN_FLIGHT_MAX: usize = 512 * 1024;

/// How much processor time a master that waits may take in a second, in ticks of which there are a hundred.
const IDLE_TICKS_MAX: u64 = 20;

fn sleepers() -> Setup {
    Setup::new("-n 3 -m 0 -s 0.05").program(["sleep", "1000"])
}

/// A connection with a little patience of its own.
fn connect(master: &Master) -> UnixStream {
    let stream = UnixStream::connect(master.wait_for_socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that comes until the master closes the connection.
fn read_to_end(mut stream: &UnixStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the master keeps the connection");
    }
    String::from_utf8(bytes).unwrap()
}

/// Writes the same again and again until the master hangs up, at most so many bytes; says how many it could.
fn write_until_cut_off(mut stream: &UnixStream, chunk: &[u8], max: usize) -> usize {
    let mut written = 0;
    while written < max {
        match stream.write(chunk) {
            Ok(length) => written += length,
            Err(error) => {
                let cut_off = matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
                assert!(cut_off, "the master neither reads nor hangs up: {error}");
                return written;
            }
        }
    }
    written
}

/// A thread that is told the same again and again takes the whole second.
#[track_caller]
fn assert_waits(master: &Master) {
    let ticks = || master.process().cpu_ticks().unwrap();
    let (before, began) = (ticks(), Instant::now());
    holds_within(LIMIT, || began.elapsed() >= Duration::from_secs(1));
    let (taken, waited) = (ticks() - before, began.elapsed());
    let allowed = IDLE_TICKS_MAX * waited.as_secs();
    assert!(taken <= allowed, "the master took {taken} ticks in {waited:?} of waiting");
}

fn control_thread(master: &Master) -> Process {
    master.wait_for_thread("control")
}

/// What the master has written and is not read yet.
fn bytes_waiting(client: &UnixStream) -> usize {
    recv(client.as_raw_fd(), &mut vec![0; 1 << 20], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT).unwrap_or(0)
}

fn connection_count(master: &Master) -> usize {
    master.process().descriptors().values().filter(|target| target.starts_with("socket:")).count()
}

/// Failure mode 65. E19.
#[test]
fn a_gigabyte_without_a_newline_is_cut_off_at_64_kib() {
    let master = sleepers().start();
    let vitals = Vitals::take(&master, WORKERS);
    let client = connect(&master);
    let written = write_until_cut_off(&client, &[b'a'; 16 * 1024], 1 << 30);
    assert!(written > 64 * 1024, "cut off after {written} bytes");
    assert!(written < IN_FLIGHT_MAX, "the master took {written} bytes of one line");
    assert_eq!(read_to_end(&client), "---%0Amessage: Request too long%0A\n");
    vitals.check();
    master.wait_for_log("dropped, its request has more than 65536 bytes", 1);
}

/// Failure modes 67 and 68. E07.
#[test]
fn connections_of_our_own_user_evict_each_other() {
    let master = sleepers().start();
    let vitals = Vitals::take(&master, WORKERS);
    let mut idle = greet(&master);
    let before = connection_count(&master);
    let mut crowd = Stranger::like_us().crowd(master.socket(), 10_000);
    vitals.check();
    assert_eq!(crowd.wait(), 10_000);
    vitals.check();
    let held = connection_count(&master) - before;
    assert!((200..=256).contains(&held), "the master holds {held} connections");
    assert!(master.wait_for_log("dropped, too many are connected", 1).len() <= 2);
    assert_still_served(&mut idle);
    drop(crowd);
    master.wait_until("all are forgotten", LIMIT, || connection_count(&master) == before);
}

/// A connection that has asked once, and is silent now.
fn greet(master: &Master) -> ControlClient {
    let mut client = master.connect();
    assert_still_served(&mut client);
    client
}

#[track_caller]
fn assert_still_served(client: &mut ControlClient) {
    client.send("{command: ehlo, user: still here}");
    assert!(client.receive().expect("the idle client was dropped").contains("Welcome, still here!"));
}

/// Failure modes 67 and 68: who is let in for acks alone cannot take the places of those who command.
#[test]
fn connections_of_a_guest_take_64_places_at_most() {
    let master = sleepers().options("--socket-mode 0666").open_to_all().start();
    let vitals = Vitals::take(&master, WORKERS);
    let mut admin = greet(&master);
    let before = connection_count(&master);
    let mut crowd = Stranger::in_groups(65_534, &[]).crowd(master.socket(), 10_000);
    assert_eq!(crowd.wait(), 10_000);
    vitals.check();
    master.wait_until("64 are left", LIMIT, || connection_count(&master) - before == 64);
    assert_still_served(&mut admin);
    assert!(master.wait_for_log("refused a control connection", 1).len() <= 2);
    assert_eq!(master.log().count("dropped, too many"), 0);
}

/// E07: 60 of these ended Ruby's master.
#[test]
fn a_hundred_connections_with_64_descriptors_are_no_end() {
    let master = sleepers().through(&["/bin/sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"]).start();
    let vitals = Vitals::take(&master, WORKERS);
    assert_eq!(master.process().limits()["Max open files"].1, "64");
    let _clients: Vec<_> = (0..100).map(|_| connect(&master)).collect();
    vitals.check();
    assert_waits(&master);
    assert_eq!(master.log().count("cannot accept"), 0, "there should be no need for it:\n{}", master.log());
    assert!(!master.wait_for_log("dropped, too many are connected", 1).is_empty());
}

/// Failure mode 66: from so many clients at once, 100,000 requests each, and none reads a reply.
#[track_caller]
fn ask_and_never_read(clients: usize) {
    let master = sleepers().start();
    let vitals = Vitals::take(&master, WORKERS);
    let began = Instant::now();
    let streams: Vec<_> = (0..clients).map(|_| connect(&master)).collect();
    let request = b"{command: state}\n";
    thread::scope(|scope| {
        let writers: Vec<_> = streams
            .iter()
            .map(|stream| scope.spawn(move || write_until_cut_off(stream, request, 100_000 * request.len())))
            .collect();
        vitals.check();
        master.wait_until("the clients are dropped", PATIENCE, || {
            vitals.check_memory();
            writers.iter().all(thread::ScopedJoinHandle::is_finished)
        });
        // Ten seconds, and not the thirty that a line may take: none of those began before this did.
        assert!(began.elapsed() < Duration::from_secs(30), "dropped after {:?}", began.elapsed());
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        assert!(written.iter().all(|&length| length < IN_FLIGHT_MAX), "the master took {written:?} bytes");
    });
    vitals.check();
    assert_eq!(master.wait_for_log("dropped, it does not read its replies", 1).len(), 1);
}

#[test]
fn a_client_that_asks_100_000_times_and_never_reads_is_dropped() {
    ask_and_never_read(1);
}

#[test]
fn ten_clients_that_ask_100_000_times_and_never_read_are_dropped() {
    ask_and_never_read(10);
}

/// Failure mode 66, the other side: slow is not deaf.
#[test]
fn a_client_that_reads_late_gets_every_reply() {
    let master = sleepers().start();
    master.wait_for_workers(WORKERS);
    let client = connect(&master);
    const COUNT: usize = 3000;
    thread::scope(|scope| {
        scope.spawn(|| (&client).write_all("{command: state}\n".repeat(COUNT).as_bytes()).unwrap());
        // When the kernel's buffer and the master's own are full of replies, the master looks at no more requests.
        let mut unread = 0;
        master.wait_until("no more replies come", LIMIT, || {
            let before = std::mem::replace(&mut unread, bytes_waiting(&client));
            unread > 0 && unread == before && master.process().is_waiting()
        });
        assert_waits(&master);
        let mut lines = 0;
        let mut chunk = [0; 65_536];
        while lines < COUNT {
            let length = (&client).read(&mut chunk).unwrap();
            assert!(length > 0, "closed after {lines} replies");
            lines += chunk[..length].iter().filter(|&&byte| byte == b'\n').count();
        }
        assert_eq!(lines, COUNT);
    });
    assert_eq!(master.log().count("dropped"), 0);
}

/// Failure mode 67: a byte now and then keeps no place for ever; silence between two requests does.
#[test]
fn an_unended_line_is_dropped_after_30_seconds_and_an_idle_client_stays() {
    let master = sleepers().start();
    let mut idle = greet(&master);
    let mut slow = connect(&master);
    let (began, mut last) = (Instant::now(), Instant::now());
    slow.write_all(b"{").unwrap();
    master.wait_until("the slow client is dropped", PATIENCE, || {
        let due = last.elapsed() >= Duration::from_millis(500);
        if due {
            last = Instant::now();
        }
        due && slow.write_all(b" ").is_err()
    });
    let lasted = began.elapsed();
    assert!(lasted >= Duration::from_secs(29), "dropped after {lasted:?}");
    master.wait_for_log("dropped, it does not end its line", 1);
    assert_still_served(&mut idle);
}

/// Failure mode 69.
#[test]
fn a_client_that_says_no_more_gets_its_replies_and_then_the_end() {
    let master = sleepers().start();
    let mut client = connect(&master);
    client.write_all(b"{command: ehlo, user: a}\n{command: ehlo, user: b}\n{command: state}\n{command: ehlo").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let replies = read_to_end(&client);
    let lines: Vec<_> = replies.lines().collect();
    assert_eq!(lines.len(), 3, "{replies}");
    assert!(lines[0].contains("Welcome, a!") && lines[1].contains("Welcome, b!") && lines[2].contains(":children:"));
}

/// What was asked before the client went away is done, and not answered.
#[test]
fn a_command_of_a_client_that_hangs_up_at_once_counts() {
    let master = sleepers().start();
    master.wait_for_workers(WORKERS);
    let before = connection_count(&master);
    for _ in 0..20 {
        connect(&master).write_all(b"{command: set_workers, args: [\"4\"]}\n").unwrap();
        master.wait_for_workers(4);
        connect(&master).write_all(b"{command: set_workers, args: [\"3\"]}\n").unwrap();
        master.wait_for_workers(3);
    }
    master.wait_until("all are forgotten", LIMIT, || connection_count(&master) == before);
}

/// A master with an upgrade under way that does not end, for a worker of it never acks.
fn endless_upgrade() -> Master {
    let master = Setup::new("-n 1 -m manual").program(["sleep", "1000"]).start();
    master.wait_for_workers(1);
    master
}

/// Failure mode 69: it waits for the upgrade's end, which poll(2) could tell of for ever.
#[test]
fn a_half_closed_subscriber_is_waited_for_without_a_busy_loop() {
    let master = endless_upgrade();
    let mut client = connect(&master);
    client.write_all(b"{command: upgrade, id: 1}\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    master.wait_for_log("===> Launched", 2);
    assert_waits(&master);
    master.signal(Signal::SIGQUIT);
    let news = read_to_end(&client);
    assert!(news.ends_with("---%0Amessage: 'Upgrade failed: einhorn is going down'%0Arequest_id: 1%0A\n"), "{news}");
}

/// It has read everything, and no news come any more: the master finds out by nothing but the hang-up.
#[test]
fn a_subscriber_that_goes_away_is_forgotten() {
    let master = endless_upgrade();
    let before = connection_count(&master);
    let mut client = master.connect();
    client.send("{command: upgrade, id: 1}");
    while !client.receive().unwrap().contains("===> Launched") {}
    assert_eq!(connection_count(&master), before + 1);
    drop(client);
    master.wait_until("it is forgotten", LIMIT, || connection_count(&master) == before);
    assert_waits(&master);
}

/// The main thread is slow to answer; meanwhile poll(2) would tell of the hang-up again and again.
#[test]
fn a_client_that_hung_up_before_its_reply_costs_nothing() {
    let master = sleepers().start();
    master.wait_for_workers(WORKERS);
    let before = connection_count(&master);
    // Else it could take them all without waiting for one.
    master.wait_until("it waits", LIMIT, || master.process().is_waiting());
    let strace = Strace::attach_to_thread(&master, master.process(), &["-e", "inject=futex:delay_exit=60000000"]);
    for _ in 0..5 {
        connect(&master).write_all(b"{command: state}\n").unwrap();
    }
    master.wait_until("they are connected", LIMIT, || connection_count(&master) == before + 5);
    assert_waits(&master);
    assert_eq!(connection_count(&master), before + 5, "they should still wait for their replies");
    drop(strace);
    master.wait_until("they are forgotten", LIMIT, || connection_count(&master) == before);
}

/// Injects this into the calls of accept(2).
#[track_caller]
fn fail(master: &Master, injection: &str) -> Strace {
    Strace::attach_to_thread(master, control_thread(master), &["-e", "trace=accept4", "-e", injection])
}

/// How often it was called so far.
fn accepts(strace: &Strace) -> usize {
    strace.lines().iter().filter(|line| line.starts_with("accept4(")).count()
}

/// Failure modes 63 and 64: each accept(2) fails with this while a client waits.
#[track_caller]
fn fail_to_accept(errno: &str) -> Master {
    let master = sleepers().start();
    let vitals = Vitals::take(&master, WORKERS);
    let strace = fail(&master, &format!("inject=accept4:error={errno}"));
    let mut waiting = connect(&master);
    waiting.write_all(b"{command: ehlo, user: patient}\n").unwrap();
    master.wait_until("accepting fails", LIMIT, || accepts(&strace) > 0);
    assert_waits(&master);
    drop(strace);
    waiting.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&waiting).contains("Welcome, patient!"));
    vitals.check();
    master
}

#[test]
fn accepting_pauses_while_there_are_no_descriptors() {
    for errno in ["EMFILE", "ENFILE", "ENOMEM"] {
        let master = fail_to_accept(errno);
        assert_eq!(master.wait_for_log("cannot accept a control connection, trying again soon", 1).len(), 1);
    }
}

#[test]
fn accepting_pauses_while_every_client_gives_up_before_it_is_taken() {
    fail_to_accept("ECONNABORTED");
}

#[test]
fn a_client_that_gives_up_does_not_delay_the_next() {
    let master = sleepers().start();
    master.wait_for_workers(WORKERS);
    let strace = fail(&master, "inject=accept4:error=ECONNABORTED:when=1..3");
    assert!(master.control("{command: ehlo, user: next}").contains("Welcome, next!"));
    assert!(accepts(&strace) >= 4);
    assert_eq!(master.log().count("cannot accept"), 0);
}
