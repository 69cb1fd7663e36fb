//! One control connection put to the test, without a server: bytes in, lines out, and when patience ends. Time is stepped.

use std::net::Shutdown;

use super::*;
use crate::base::Pid;
use crate::protocol::{Format, RequestId};
use crate::sys::socket::socket_pair;

const START: Mono = Mono::from_nanos(1_000_000_000);

fn after(seconds: u64) -> Mono {
    START.after(Duration::from_secs(seconds))
}

fn connected() -> (Connection, UnixStream) {
    let (ours, theirs) = socket_pair().unwrap();
    let stream = UnixStream::from(ours);
    stream.set_nonblocking(true).unwrap();
    (Connection::new(ClientId(1), stream.into(), Peer::of_worker(Pid(7)), START), UnixStream::from(theirs))
}

/// Reads and takes lines until nothing comes of it; each line is answered at once with `ok`.
fn lines(connection: &mut Connection, now: Mono) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let before = connection.unparsed.bytes().len();
        if connection.wants_to_read() {
            connection.read(now);
        }
        match connection.next_line(now) {
            Reading::Line(line) => {
                found.push(String::from_utf8(line).unwrap());
                connection.answer("ok\n", now);
            }
            Reading::TooLong => found.push("too long".to_owned()),
            Reading::Nothing if connection.unparsed.bytes().len() != before => continue,
            Reading::Nothing => return found,
        }
        if connection.is_over() || found.last().is_some_and(|last| last == "too long") {
            return found;
        }
    }
}

fn subscribe(connection: &mut Connection) {
    connection.subscription = Some(Subscription { id: RequestId::Int(1), format: Format::Yaml });
}

#[test]
fn lines_may_come_in_pieces_and_joined() {
    let (mut connection, mut client) = connected();
    client.write_all(b"on").unwrap();
    assert_eq!(lines(&mut connection, START), [""; 0]);
    client.write_all(b"e\ntwo\n\nthr").unwrap();
    assert_eq!(lines(&mut connection, START), ["one", "two", ""]);
    client.write_all(b"ee\n").unwrap();
    assert_eq!(lines(&mut connection, START), ["three"]);
}

#[test]
fn a_hang_up_takes_in_what_is_there_and_waits_for_nothing() {
    let (mut connection, mut client) = connected();
    client.write_all(b"one\ntwo").unwrap();
    // The other end is still there, but the connection does not wait for it.
    connection.hang_up(START);
    assert!(matches!(connection.next_line(START), Reading::Line(line) if line == b"one"));
}

#[test]
fn the_next_request_waits_for_the_reply_to_the_last() {
    let (mut connection, mut client) = connected();
    client.write_all(b"one\ntwo\n").unwrap();
    connection.read(START);
    assert!(matches!(connection.next_line(START), Reading::Line(line) if line == b"one"));
    assert!(matches!(connection.next_line(START), Reading::Nothing));
    assert!(!connection.is_idle(START));
    connection.answer("1\n", START);
    assert!(matches!(connection.next_line(START), Reading::Line(line) if line == b"two"));
}

#[test]
fn a_line_may_have_64_kib_and_not_a_byte_more() {
    for (length, expected) in [(LINE_MAX, LINE_MAX), (LINE_MAX + 1, "too long".len())] {
        let (mut connection, mut client) = connected();
        let line = vec![b'a'; length];
        client.write_all(&[line, b"\n".to_vec()].concat()).unwrap();
        let found = lines(&mut connection, START);
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [expected]);
        assert!(connection.unparsed.bytes().len() <= LINE_MAX + CHUNK);
    }
}

#[test]
fn an_unfinished_line_has_its_time_however_often_a_byte_comes() {
    let (mut connection, mut client) = connected();
    assert_eq!(connection.deadline(), None);
    for second in 0..3 {
        client.write_all(b"x").unwrap();
        lines(&mut connection, after(second));
    }
    assert_eq!(connection.deadline(), Some(START.after(LINE_TIME_MAX)));
    connection.expire(after(29));
    assert!(!connection.is_over());
    assert_eq!(connection.take_fault(), None);
    connection.expire(after(30));
    assert!(connection.is_over());
    assert_eq!((connection.take_fault(), connection.take_fault()), (Some(Fault::Unended), None));
}

#[test]
fn a_finished_line_ends_its_time_and_the_next_begins_its_own() {
    let (mut connection, mut client) = connected();
    client.write_all(b"one\n").unwrap();
    lines(&mut connection, START);
    assert_eq!(connection.deadline(), None);
    client.write_all(b"two\nthr").unwrap();
    lines(&mut connection, after(20));
    assert_eq!(connection.deadline(), Some(after(20).after(LINE_TIME_MAX)));
}

/// Fills what the kernel keeps for the client.
fn stall(connection: &mut Connection, now: Mono) {
    while connection.stalled_since.is_none() {
        connection.send(&"x".repeat(CHUNK), now);
    }
}

#[test]
fn a_client_that_does_not_read_has_ten_seconds_from_each_byte() {
    let (mut connection, mut client) = connected();
    stall(&mut connection, START);
    assert_eq!(connection.deadline(), Some(START.after(STALL_MAX)));
    let mut chunk = vec![0; 512 * 1024];
    assert!(client.read(&mut chunk).unwrap() > 0);
    connection.write(after(9));
    stall(&mut connection, after(9));
    connection.expire(after(10));
    assert!(!connection.is_over());
    connection.expire(after(19));
    assert!(connection.is_over());
    assert_eq!(connection.take_fault(), Some(Fault::Unread));
}

#[test]
fn unread_news_are_kept_up_to_a_bound() {
    let (mut connection, _client) = connected();
    subscribe(&mut connection);
    for _ in 0..1000 {
        connection.send(&"x".repeat(CHUNK), START);
    }
    assert!(connection.is_over());
    assert!(connection.unwritten.len() <= UNREAD_MAX + CHUNK);
}

#[test]
fn while_replies_pile_up_no_request_is_looked_at() {
    let (mut connection, mut client) = connected();
    stall(&mut connection, START);
    while connection.unwritten.len() <= UNREAD_PAUSE {
        connection.send(&"x".repeat(CHUNK), START);
    }
    client.write_all(b"one\n").unwrap();
    assert_eq!(lines(&mut connection, START), [""; 0]);
    connection.unwritten.clear();
    assert_eq!(lines(&mut connection, START), ["one"]);
}

#[test]
fn who_says_no_more_is_over_after_its_last_reply() {
    let (mut connection, mut client) = connected();
    client.write_all(b"one\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    connection.read(START);
    connection.read(START);
    assert!(!connection.is_over() && !connection.wants_to_read());
    assert!(matches!(connection.next_line(START), Reading::Line(_)));
    assert!(!connection.is_over());
    connection.answer("1\n", START);
    assert!(connection.is_over());
    drop(connection);
    assert_eq!(std::io::read_to_string(client).unwrap(), "1\n");
}

#[test]
fn a_half_closed_client_that_waits_for_an_upgrade_is_kept() {
    let (mut connection, client) = connected();
    subscribe(&mut connection);
    client.shutdown(Shutdown::Write).unwrap();
    connection.read(START);
    assert!(!connection.is_over() && connection.is_worth_polling());
    drop(client);
    connection.hang_up(START);
    assert!(connection.is_over());
}

#[test]
fn bytes_before_the_hang_up_count_and_it_is_polled_no_more() {
    let (mut connection, mut client) = connected();
    client.write_all(b"one\ntwo\nhal").unwrap();
    drop(client);
    connection.hang_up(START);
    assert!(!connection.is_over() && !connection.is_worth_polling());
    assert!(matches!(connection.next_line(START), Reading::Line(line) if line == b"one"));
    assert!(!connection.is_over());
}

/// More of them than are read at a time, and answers that are never read: the first writes fail, the rest is not tried.
#[test]
fn requests_of_a_client_that_is_gone_are_all_looked_at() {
    let (mut connection, mut client) = connected();
    client.set_nonblocking(true).unwrap();
    let mut count = 0;
    while client.write(format!("{}\n", "x".repeat(1023)).as_bytes()).is_ok_and(|length| length == 1024) {
        count += 1;
    }
    assert!(count > LINE_MAX / 1024 + 16, "{count} lines");
    connection.read(START);
    assert!(matches!(connection.next_line(START), Reading::Line(_)));
    drop(client);
    let mut seen = 1;
    while !connection.is_over() {
        connection.answer(&"y".repeat(UNREAD_PAUSE), START);
        if connection.is_worth_polling() {
            connection.hang_up(START);
        }
        seen += usize::from(matches!(connection.next_line(START), Reading::Line(_)));
    }
    // The last line may have been cut.
    assert_eq!(seen, count);
}

#[test]
fn after_an_ack_nothing_more_is_heard() {
    let (mut connection, mut client) = connected();
    client.write_all(b"ack\nmore\n").unwrap();
    connection.read(START);
    assert!(matches!(connection.next_line(START), Reading::Line(_)));
    connection.close();
    assert!(connection.is_over() && matches!(connection.next_line(START), Reading::Nothing));
}

#[test]
fn only_who_neither_asks_nor_waits_is_idle() {
    let (mut connection, _client) = connected();
    assert!(connection.is_idle(START));
    subscribe(&mut connection);
    assert!(!connection.is_idle(START));
    connection.subscription = None;
    stall(&mut connection, START);
    assert!(!connection.is_idle(START));
}

/// An ack that came and was not read yet must not go with its connection: it would not be said again.
#[test]
fn who_has_just_sent_a_line_is_not_idle() {
    let (mut connection, mut client) = connected();
    client.write_all(b"half a line").unwrap();
    assert!(connection.is_idle(START));
    client.write_all(b", and its end\n").unwrap();
    assert!(!connection.is_idle(START));
}

/// The clock goes on over an exec, but a client cannot help that the master took its time.
#[test]
fn in_the_next_image_patience_begins_anew_for_what_was_unfinished() {
    for (unparsed, unwritten, limit) in [
        ("", "", None),
        ("hal", "", Some(LINE_TIME_MAX)),
        ("", "wor", Some(STALL_MAX)),
        ("hal", "wor", Some(STALL_MAX)),
    ] {
        let (mut connection, mut client) = connected();
        connection.unparsed = unparsed.as_bytes().to_vec().into();
        connection.unwritten = unwritten.into();
        let described = connection.describe();
        assert_eq!((described.asked, described.fd), (false, connection.as_fd().as_raw_fd()));
        let fd = connection.as_fd().try_clone_to_owned().unwrap();
        let (id, peer) = (described.id, described.peer);
        let (unparsed, unwritten) = (described.unparsed, described.unwritten);
        let carried = Carried { fd, id, peer, asked: true, subscription: None, unparsed, unwritten };
        let mut resumed = Connection::resume(carried, after(100));
        assert_eq!(resumed.deadline(), limit.map(|limit| after(100).after(limit)));
        client.write_all(b"f\n").unwrap();
        resumed.read(after(100));
        // Not before the reply to the request on its way.
        assert!(matches!(resumed.next_line(after(101)), Reading::Nothing));
        resumed.answer("ds\n", after(101));
        assert!(matches!(resumed.next_line(after(101)), Reading::Line(line) if line.ends_with(b"f")));
        assert!(!resumed.wants_to_write() && resumed.deadline().is_none());
    }
}

#[test]
fn who_has_only_to_hear_its_refusal_is_not_carried_on() {
    let (mut connection, _client) = connected();
    assert!(connection.is_carried());
    stall(&mut connection, START);
    connection.refuse("no\n", START);
    assert!(!connection.is_over() && !connection.is_carried());
}

/// What is no socket fails at every read.
fn unreadable() -> Connection {
    let file = std::fs::File::open("/dev/null").unwrap();
    Connection::new(ClientId(1), file.into(), Peer::of_worker(Pid(7)), START)
}

#[test]
fn a_read_that_fails_is_made_again_after_a_pause() {
    let mut connection = unreadable();
    connection.read(START);
    assert!(!connection.is_over() && !connection.is_worth_polling());
    let again = connection.deadline().unwrap();
    assert_eq!(again, START.after(READ_PAUSE));
    connection.expire(again);
    connection.end_rest(START);
    assert!(!connection.is_over() && !connection.is_worth_polling());
    connection.end_rest(again);
    assert!(connection.is_worth_polling() && connection.deadline().is_none());
}

#[test]
fn a_hang_up_counts_after_the_last_byte_or_repeated_read_errors() {
    let mut connection = unreadable();
    let mut now = START;
    for _ in 0..READ_FAILURES_MAX {
        connection.hang_up(now);
        assert!(!connection.is_over());
        now = connection.deadline().unwrap();
        connection.end_rest(now);
    }
    connection.hang_up(now);
    assert!(connection.is_over());
}
