//! The syslog thread put to the test with sockets of the test's own: what comes, what comes back, and what is said of it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc::{self, channel};

use tempfile::TempDir;

use super::*;
use crate::logging::syslog_message::Facility;
use crate::sys::testing::{LIMIT, wait_until};
use crate::threads::spawn::shortage;

/// A thread, the place where it looks for syslog, and what it reports.
struct Bench {
    _dir: TempDir,
    path: PathBuf,
    queue: SyslogQueue,
    reports: mpsc::Receiver<Report>,
}

fn header() -> Arc<Header> {
    Arc::new(Header { facility: Facility::DAEMON, ident: "tested".to_owned() })
}

fn message(text: &str) -> Message {
    Message {
        header: header(),
        level: Level::Warn,
        text: text.to_owned(),
        otherwise: Some(format!("instead of {text}")),
    }
}

fn listen(path: &Path) -> UnixDatagram {
    let syslog = UnixDatagram::bind(path).unwrap();
    syslog.set_read_timeout(Some(LIMIT)).unwrap();
    syslog
}

/// Ends a syslog. A child that another test has just forked may hold the descriptor until its exec.
fn end(syslog: UnixDatagram, path: &Path) {
    drop(syslog);
    assert!(wait_until(LIMIT, || UnixDatagram::unbound().unwrap().connect(path).is_err()));
    fs::remove_file(path).unwrap();
}

impl Bench {
    /// `prepare` makes what the thread finds at this path.
    fn start<T>(prepare: impl FnOnce(&Path) -> T) -> (Self, T) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("log");
        let found = prepare(&path);
        let (sender, reports) = channel();
        let report = move |report| sender.send(report).unwrap();
        let queue = start(vec![path.clone()], header(), report, &mut Crew::required()).unwrap();
        (Self { _dir: dir, path, queue, reports }, found)
    }

    fn push(&self, text: &str) {
        assert_eq!(self.queue.push(message(text)), None, "no room");
    }

    /// The next thing that it has to say.
    #[track_caller]
    fn report(&self) -> Report {
        self.reports.recv_timeout(LIMIT).expect("it says nothing")
    }

    fn reports_so_far(&self) -> Vec<Report> {
        self.queue.flush();
        self.reports.try_iter().collect()
    }
}

/// The text of the next message.
#[track_caller]
fn received(syslog: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = syslog.recv(&mut buffer).expect("no message comes");
    let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
    message.split_once("]: ").expect("no name").1.to_owned()
}

fn undelivered(text: &str) -> Report {
    Report::Undelivered(format!("instead of {text}"))
}

/// Until there is no more room in a queue that is not read; says how many had room.
fn fill(path: &Path) -> usize {
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    (0..).take_while(|_| filler.send_to(b"<12>filler[1]: filler", path).is_ok()).count()
}

#[test]
fn messages_come_in_their_order_and_nothing_is_said() {
    let (bench, syslog) = Bench::start(listen);
    for text in ["one", "two", "three"] {
        bench.push(text);
    }
    assert_eq!([(); 3].map(|()| received(&syslog)), ["one", "two", "three"]);
    assert_eq!(bench.reports_so_far(), []);
}

#[test]
fn a_syslog_absent_at_the_start_is_logged_once_and_found_later() {
    let (bench, ()) = Bench::start(|_| ());
    assert_eq!(bench.report(), Report::Away(Errno::ENOENT));
    bench.push("one");
    bench.push("two");
    assert_eq!(bench.reports_so_far(), [undelivered("one"), undelivered("two")]);
    let syslog = listen(&bench.path);
    // Nothing more is pushed until it is found.
    assert_eq!(received(&syslog), "2 lines did not get here, standard error has them");
    assert_eq!(bench.report(), Report::Back { missed: 2 });
    bench.push("three");
    assert_eq!(received(&syslog), "three");
    assert_eq!(bench.reports_so_far(), []);
}

#[test]
fn one_that_was_restarted_misses_nothing() {
    let (bench, syslog) = Bench::start(listen);
    bench.push("one");
    assert_eq!(received(&syslog), "one");
    end(syslog, &bench.path);
    let syslog = listen(&bench.path);
    bench.push("two");
    assert_eq!(received(&syslog), "two");
    assert_eq!(bench.reports_so_far(), []);
}

#[test]
fn one_that_goes_is_said_with_the_first_message_that_it_misses() {
    let (bench, syslog) = Bench::start(listen);
    bench.push("one");
    assert_eq!(received(&syslog), "one");
    end(syslog, &bench.path);
    bench.push("two");
    assert_eq!(bench.reports_so_far(), [Report::Away(Errno::ENOENT), undelivered("two")]);
    let syslog = listen(&bench.path);
    assert_eq!(received(&syslog), "1 lines did not get here, standard error has them");
    assert_eq!(bench.report(), Report::Back { missed: 1 });
}

#[test]
fn a_syslog_that_does_not_read_holds_the_thread_for_one_message() {
    let (bench, syslog) = Bench::start(|path| {
        let syslog = listen(path);
        (fill(path), syslog)
    });
    let (filled, syslog) = syslog;
    bench.push("one");
    assert_eq!(bench.report(), Report::Away(Errno::EAGAIN));
    bench.push("two");
    assert_eq!([bench.report(), bench.report()], ["one", "two"].map(undelivered));
    for _ in 0..filled {
        assert_eq!(received(&syslog), "filler");
    }
    assert_eq!(received(&syslog), "2 lines did not get here, standard error has them");
    assert_eq!(bench.report(), Report::Back { missed: 2 });
    bench.push("three");
    assert_eq!(received(&syslog), "three");
}

#[test]
fn a_count_that_could_not_be_told_is_told_the_next_time() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("log");
    let syslog = listen(&path);
    let filled = fill(&path);
    let ((_items, queued), missed) = (bounded(1), Arc::new(AtomicU64::new(3)));
    let mut writer = Writer::new(vec![path], queued, [Arc::default(), missed], header(), |_| ());
    assert_eq!(writer.reach(), Err(Errno::EAGAIN));
    for _ in 0..filled {
        assert_eq!(received(&syslog), "filler");
    }
    assert_eq!(writer.reach(), Ok(()));
    assert_eq!(received(&syslog), "3 lines did not get here, standard error has them");
}

#[test]
fn lines_without_room_in_the_queue_come_back_and_are_counted() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("log");
    let syslog = listen(&path);
    shortage::begin();
    let no_report = |report| panic!("{report:?}");
    let queue = start(vec![path], header(), no_report, &mut Crew::optional()).unwrap();
    let texts: Vec<_> = (0..MESSAGES_MAX + 2).map(|number| number.to_string()).collect();
    let back: Vec<_> = texts.iter().filter_map(|text| queue.push(message(text))).collect();
    assert_eq!(back, ["instead of 1024", "instead of 1025"]);
    let thread = Arc::clone(&queue.thread);
    drop(queue);
    thread.without_thread(|writer| {
        // All but two, which its own queue holds together with the note.
        assert_eq!(writer.queued.try_iter().take(MESSAGES_MAX - 2).count(), MESSAGES_MAX - 2);
        writer.serve(&Pauses::none());
    });
    let expected = ["2 lines did not get here, standard error has them", "1022", "1023"];
    assert_eq!([(); 3].map(|()| received(&syslog)), expected);
}

/// The main thread must not wait for a syslog, so that nothing gets there until there is a thread.
#[test]
fn without_a_thread_what_syslog_should_get_comes_back_and_is_told_later() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("log");
    let syslog = listen(&path);
    let (sender, reports) = channel();
    let report = move |report| sender.send(report).unwrap();
    shortage::begin();
    let mut crew = Crew::optional();
    let queue = start(vec![path], header(), report, &mut crew).unwrap();
    assert_eq!(queue.push(message("one")), None);
    assert_eq!(queue.push(message("two")), None);
    queue.flush();
    let undelivered = ["one", "two"].map(|text| Report::Undelivered(format!("instead of {text}")));
    assert_eq!(reports.try_iter().collect::<Vec<_>>(), undelivered);
    shortage::end();
    crew.turn(clock::now().after(LIMIT));
    assert_eq!(received(&syslog), "2 lines did not get here, standard error has them");
    assert_eq!(queue.push(message("three")), None);
    assert_eq!(received(&syslog), "three");
}

#[test]
fn the_thread_ends_when_all_its_senders_are_gone() {
    let (bench, syslog) = Bench::start(listen);
    bench.push("one");
    let Bench { queue, reports, _dir, path: _ } = bench;
    drop(queue);
    // What was queued is sent before.
    assert_eq!(received(&syslog), "one");
    assert!(wait_until(LIMIT, || reports.try_recv() == Err(mpsc::TryRecvError::Disconnected)));
}
