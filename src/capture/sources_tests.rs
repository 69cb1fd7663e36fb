//! What is kept of workers that have ended, what goes to the next image, what the relay is given.

use std::os::fd::AsRawFd;

use super::*;
use crate::base::{Slot, Version};
use crate::capture::output::{Carried, CarriedRelay};
use crate::sys::clock;
use crate::sys::fd_passing::{Received, receive};
use crate::sys::output_pipe::OutputPipe;
use crate::sys::socket::socket_pair;

fn writer(pid: i32) -> Writer {
    Writer { pid: Pid(pid), slot: Slot(0), version: Version(1) }
}

fn write(pipe: &OwnedFd, text: &str) {
    assert_eq!(nix::unistd::write(pipe, text.as_bytes()), Ok(text.len()));
}

/// A source of this pid, and the end that is written to.
fn add(sources: &mut Sources, pid: i32) -> OwnedFd {
    let OutputPipe { reader, writer: end } = OutputPipe::new().unwrap();
    sources.add(writer(pid), reader);
    end
}

fn buffer() -> Vec<u8> {
    vec![0; READ_BYTES]
}

#[test]
fn the_last_lines_of_a_worker_are_complete_once_it_has_ended() {
    let mut sources = Sources::new(Vec::new(), None);
    let end = add(&mut sources, 7);
    // More than one read takes.
    let lines: Vec<String> = (0..3000).map(|number| format!("line {number:04} {}\n", "x".repeat(10))).collect();
    write(&end, &lines.concat());
    write(&end, "why");
    assert!(sources.last_lines(Pid(7)).is_empty());
    drop(end);
    sources.on_ended(Pid(7), &mut vec![0; 1000]);
    let last = sources.last_lines(Pid(7));
    assert_eq!((last.len(), last[8].get(..9), last[9].as_str()), (10, Some("line 2999"), "why"));
    assert!(sources.open_pipes().next().is_none());
}

#[test]
fn of_many_that_have_ended_the_latest_are_remembered() {
    let mut sources = Sources::new(Vec::new(), None);
    let count = 3 * i32::try_from(ENDED_MAX).unwrap();
    // One that has left a process behind, which holds the pipe, is none of them.
    let left = add(&mut sources, 1000);
    write(&left, "left\n");
    sources.on_ended(Pid(1000), &mut buffer());
    for pid in 1..=count {
        write(&add(&mut sources, pid), &format!("{pid}\n"));
        sources.on_ended(Pid(pid), &mut buffer());
    }
    let kept = (1..=count).filter(|pid| !sources.last_lines(Pid(*pid)).is_empty());
    assert!(kept.eq(count - count / 3 + 1..=count));
    assert_eq!(sources.last_lines(Pid(1000)), ["left"]);
    // A pid comes up again.
    write(&add(&mut sources, count), "again\n");
    sources.on_ended(Pid(count), &mut buffer());
    assert_eq!(sources.last_lines(Pid(count)), ["again"]);
}

#[test]
fn what_a_left_process_writes_keeps_nothing_waiting() {
    let mut sources = Sources::new(Vec::new(), None);
    let end = add(&mut sources, 7);
    let endless = std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                write(&end, &"x\n".repeat(1000));
            }
        });
        while sources.last_lines(Pid(7)).len() < 10 {
            sources.on_ended(Pid(7), &mut buffer());
        }
        drop(stop);
        // It may wait for room now.
        while sources.open_pipes().next().is_some() {
            sources.on_ended(Pid(7), &mut buffer());
        }
        sources.last_lines(Pid(7))
    });
    assert_eq!(endless, ["x"; 10]);
}

#[test]
fn an_image_carries_on_where_the_one_before_has_paused() {
    let mut sources = Sources::new(Vec::new(), None);
    let end = add(&mut sources, 7);
    write(&end, "one\ntwo");
    sources.read_each(&mut buffer());
    sources.pause();
    // Not before it is read by the next.
    write(&end, " halves\n");
    sources.read_each(&mut buffer());
    let carried = Carried { sources: sources.described(|pipe| pipe.as_raw_fd()), relay: None };
    let json = serde_json::to_string(&carried).unwrap();
    let carried: Carried<i32> = serde_json::from_str(&json).unwrap();
    let pipe = sources.open_pipes().next().unwrap().clone();
    assert!(carried.descriptors().eq([&pipe.as_raw_fd()]));
    let carried = carried.with_descriptors(|_| Some(Arc::clone(&pipe)));
    let mut next = Sources::new(carried.sources, None);
    next.read_each(&mut buffer());
    assert_eq!(next.last_lines(Pid(7)), ["one", "two halves"]);
    assert_eq!(sources.last_lines(Pid(7)), ["one"]);
}

/// A field of a later version's is no hindrance, and a document without any of it neither.
#[test]
fn what_is_carried_is_read_by_versions_before_and_after() {
    let text = r#"{"sources": [{"writer": {"pid": 7, "slot": 2, "version": 3, "new": 1}, "pipe": 5, "lines": {"unfinished": "ab",
        "is_cut": false}, "last_lines": ["x"], "is_ended": false, "is_relayed": true}], "relay": {"pid": 8, "connection": 6}}"#;
    let carried: Carried<i32> = serde_json::from_str(text).unwrap();
    assert!(carried.descriptors().eq(&[5, 6]));
    assert_eq!(carried.sources[0].writer, Writer { pid: Pid(7), slot: Slot(2), version: Version(3) });
    // A relay whose connection is lost is none.
    let carried = carried.with_descriptors(|fd| (fd == 5).then_some(fd));
    assert!(matches!(carried, Carried::<i32> { relay: None, .. }));
    let relay = CarriedRelay { pid: Pid(8), connection: 6 };
    assert_eq!(Carried { sources: Vec::new(), relay: Some(relay) }.descriptors().count(), 1);
}

#[test]
fn no_more_than_so_much_of_unfinished_lines_is_carried() {
    let mut sources = Sources::new(Vec::new(), None);
    let ends: Vec<OwnedFd> = (1..=100).map(|pid| add(&mut sources, pid)).collect();
    ends.iter().for_each(|end| write(end, &"x".repeat(15_000)));
    sources.read_each(&mut buffer());
    sources.pause();
    let bytes: usize = sources.all.iter().map(Source::unfinished_bytes).sum();
    assert!((CARRIED_BYTES_MAX - 15_000..=CARRIED_BYTES_MAX).contains(&bytes), "{bytes}");
    assert!(sources.last_lines(Pid(1))[0].ends_with("..."));
}

#[test]
fn each_relay_is_given_every_open_pipe_once() {
    let mut sources = Sources::new(Vec::new(), None);
    let _ends: Vec<OwnedFd> = (1..=3).map(|pid| add(&mut sources, pid)).collect();
    drop(add(&mut sources, 4));
    sources.on_ended(Pid(4), &mut buffer());
    for _ in 0..2 {
        let (ours, theirs) = socket_pair().unwrap();
        sources.set_relay(Some(ours));
        let _fifth = add(&mut sources, 5);
        sources.tend(clock::now());
        let given = std::iter::from_fn(|| match receive(theirs.as_fd()) {
            Received::Passed(record, _) => Some(Writer::from_record(record).pid.0),
            _ => None,
        });
        let given: Vec<i32> = given.collect();
        assert_eq!((given.get(..3), given.last()), (Some(&[1, 2, 3][..]), Some(&5)));
        assert!(sources.waits_for_relay().is_none());
        drop(theirs);
        // It has ended, and nothing is given to it; nor is there anything to wait for.
        let _sixth = add(&mut sources, 6);
        assert!(sources.waits_for_relay().is_none() && sources.relay().is_some());
    }
}
