//! Many who ask for nothing in return, and one who waits for an answer: what reaches the main thread, and in which order.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use tempfile::TempDir;

use super::*;
use crate::base::Pid;
use crate::control::{Control, start};
use crate::files::control_socket::{Access, bind_control_socket};
use crate::files::directory::Demand;
use crate::protocol::Asked;
use crate::sys::fd::{Blocking, set_blocking};
use crate::sys::socket::socket_pair;
use crate::sys::testing::{LIMIT, wait_until};
use crate::threads::INBOX_MAX;
use crate::threads::crew::Crew;
use crate::threads::gate::TICKETS_MAX;

const WORKERS: i32 = 20;
const PINGS: usize = 50;

/// The control thread, workers that have each sent many pings, and the main thread's inbox, which is not read.
struct Flooded {
    control: Control,
    inbox: Receiver<Input>,
    path: std::path::PathBuf,
    _directory: TempDir,
    _workers: Vec<UnixStream>,
}

fn flooded() -> Flooded {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("einhorn.sock");
    let (listener, id) = bind_control_socket(&path, Access::OWN, Demand::Trusted).unwrap();
    let policy = Policy { own_uid: nix::unistd::getuid().as_raw(), connections_max: 64, ..Policy::default() };
    let (sender, inbox) = crossbeam_channel::bounded(INBOX_MAX);
    let socket = SocketFile::new(path.clone(), Access::OWN, Demand::Trusted, listener, id);
    let control = start(socket, Clients::default(), policy, sender, &mut Crew::required()).unwrap();
    let workers = (1..=WORKERS).map(|worker| pinging(&control, Pid(worker))).collect();
    let flooded = Flooded { control, inbox, path, _directory: directory, _workers: workers };
    assert!(wait_until(LIMIT, || flooded.inbox.len() == TICKETS_MAX));
    flooded
}

fn pinging(control: &Control, worker: Pid) -> UnixStream {
    let (ours, theirs) = socket_pair().unwrap();
    set_blocking(ours.as_fd(), Blocking::NonBlocking).unwrap();
    let mut theirs = UnixStream::from(theirs);
    let ping = format!("{{\"command\":\"worker:ping\",\"pid\":{worker}}}\n");
    std::io::Write::write_all(&mut theirs, ping.repeat(PINGS).as_bytes()).unwrap();
    control.adopt(ours, worker);
    theirs
}

impl Flooded {
    fn next(&self) -> (Peer, Asked) {
        match self.inbox.recv_timeout(LIMIT).unwrap() {
            Input::Requested { peer, request, .. } => (peer, request.asked),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_admin_waits_for_no_more_pings_than_there_are_tickets() {
    let flooded = flooded();
    let mut admin = UnixStream::connect(&flooded.path).unwrap();
    std::io::Write::write_all(&mut admin, b"{command: state}\n").unwrap();
    assert!(wait_until(LIMIT, || flooded.inbox.len() > TICKETS_MAX));
    let before: Vec<Asked> = (0..TICKETS_MAX).map(|_| flooded.next().1).collect();
    assert!(before.iter().all(|asked| matches!(asked, Asked::Ping { .. })), "{before:?}");
    assert_eq!(flooded.next().1, Asked::State);
}

#[test]
fn every_ping_arrives_and_no_worker_is_far_ahead_of_another() {
    let flooded = flooded();
    let mut heard: BTreeMap<Pid, usize> = (1..=WORKERS).map(|worker| (Pid(worker), 0)).collect();
    // Workers are adopted one after another, so that the first begin alone. From then on all wait for their turns.
    let mut before: Option<BTreeMap<Pid, usize>> = None;
    let mut ahead_most = 0;
    for _ in 0..PINGS * WORKERS as usize {
        assert!(flooded.inbox.len() <= TICKETS_MAX);
        let (peer, _) = flooded.next();
        *heard.get_mut(&peer.pid).unwrap() += 1;
        if before.is_none() && heard.values().all(|count| *count > 0) {
            before = Some(heard.clone());
        }
        if let Some(before) = before.as_ref().filter(|_| heard.values().all(|count| *count < PINGS)) {
            let turns = || heard.iter().map(|(worker, count)| count - before[worker]);
            ahead_most = ahead_most.max(turns().max().unwrap() - turns().min().unwrap());
        }
    }
    assert!(heard.values().all(|count| *count == PINGS), "{heard:?}");
    assert!(before.is_some() && (1..=3).contains(&ahead_most), "one was {ahead_most} turns ahead");
    flooded.control.forget(Pid(1));
}
