//! The load against servers that are no good: whatever can be wrong with an answer must be counted as that.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use crate::load::Load;
use crate::support::{Failure, LIMIT, wait_until};

/// Answers each connection's first request as `http_worker` would, and as `spoil` makes of it.
fn serve(spoil: fn(String) -> String) -> Load {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let load = Load::start(&[1], 1);
    load.lead(0, &[listener.local_addr().unwrap().into()]);
    // It ends with the test process.
    thread::spawn(move || listener.incoming().flatten().for_each(|client| answer(client, spoil)));
    load
}

fn answer(mut client: TcpStream, spoil: fn(String) -> String) {
    let mut request = [0; 4096];
    let count = client.read(&mut request).unwrap_or(0);
    let path = String::from_utf8_lossy(&request[..count]).split(' ').nth(1).unwrap_or_default().to_owned();
    let body = format!("pid 1\nindex 0\nversion x\npath {path}\n\n");
    let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let _gone = client.write_all(spoil(reply).as_bytes());
    let _gone = client.shutdown(Shutdown::Both);
}

fn assert_counted(load: &Load, failure: Failure) {
    wait_until(&format!("one is {failure}"), LIMIT, || load.so_far().sum().lost.contains_key(&failure));
    assert_eq!(load.so_far().sum().lost.keys().collect::<Vec<_>>(), [&failure]);
}

#[test]
fn an_answer_that_is_cut_off_is_a_loss() {
    assert_counted(&serve(|reply| reply[..reply.len() - 1].to_owned()), Failure::Short);
}

#[test]
fn a_connection_that_is_closed_without_an_answer_is_a_loss() {
    assert_counted(&serve(|_| String::new()), Failure::Short);
}

#[test]
fn the_answer_to_another_request_is_a_loss() {
    assert_counted(&serve(|reply| reply.replace("id=0.", "id=9.")), Failure::Wrong);
}

#[test]
fn a_second_answer_is_a_loss() {
    assert_counted(&serve(|reply| reply.repeat(2)), Failure::Wrong);
}

#[test]
fn an_error_is_a_loss() {
    assert_counted(&serve(|reply| reply.replace("200 OK", "503 Service Unavailable")), Failure::Wrong);
}

#[test]
fn a_good_answer_is_none_and_a_refused_connection_is_counted_apart() {
    let load = serve(|reply| reply);
    wait_until("some are answered", LIMIT, || load.so_far().sum().fresh > 10);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    load.lead(0, &[closed.into()]);
    wait_until("some are refused", LIMIT, || load.so_far().sum().refused > 10);
    assert_eq!(load.stop().sum().lost_count(), 0);
}
