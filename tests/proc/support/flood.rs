//! A log that is written faster than it can be read, and whether the master does its work meanwhile.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::support::master::Master;
use crate::support::wait::LIMIT;

/// More lines than the queue and a pipe hold together.
pub const FLOOD: usize = 4000;

/// Each leads to two lines in the log: an ack from a process that is no worker.
pub fn flood(master: &Master, requests: usize) {
    for _ in 0..requests {
        let mut client = UnixStream::connect(master.socket()).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(b"{\"command\":\"worker:ack\", \"pid\":999999999}\n").unwrap();
        assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0, "an ack is not answered");
    }
}

/// Kills a worker, and waits for another in its place.
#[track_caller]
pub fn assert_supervised(master: &Master) {
    let before = master.workers();
    assert!(before[0].signal(Signal::SIGKILL));
    master.wait_until("a killed worker is replaced", LIMIT, || {
        let now = master.workers();
        now.len() == before.len() && !now.contains(&before[0])
    });
    assert!(master.control(r#"{"command":"state"}"#).contains(":children:"));
}

pub fn flood_and_supervise(master: &Master) {
    master.wait_for_socket();
    flood(master, FLOOD);
    assert_supervised(master);
}
