//! Stops the control thread under real clients, and lets it go on, or another one in its place: no client may notice.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::base::Pid;
use crate::control::access::Policy;
use crate::control::handle::{Control, Then, start};
use crate::control::socket_file::SocketFile;
use crate::files::control_socket::{Access, bind_control_socket};
use crate::files::directory::Demand;
use crate::protocol::{Peer, Reply, Request, Role};
use crate::sys::clock;
use crate::sys::fd::{Blocking, adopt, set_blocking};
use crate::sys::socket::socket_pair;
use crate::sys::testing::{LIMIT, wait_until};
use crate::threads::Input;
use crate::threads::crew::Crew;
use crate::threads::spawn::shortage;

/// More than the kernel keeps for a client that does not read.
const LONG: usize = 900 * 1024;

/// The control thread and who speaks for the main thread.
struct House {
    control: Control,
    inbox: Receiver<Input>,
    path: PathBuf,
    dir: TempDir,
}

fn policy() -> Policy {
    Policy { own_uid: nix::unistd::getuid().as_raw(), connections_max: 64, ..Policy::default() }
}

fn open() -> House {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("einhorn.sock");
    let (listener, id) = bind_control_socket(&path, Access::OWN, Demand::Trusted).unwrap();
    let (sender, inbox) = bounded(64);
    let control = start(
        SocketFile::new(path.clone(), Access::OWN, Demand::Trusted, listener, id),
        Clients::default(),
        policy(),
        sender,
        &mut Crew::required(),
    )
    .unwrap();
    House { control, inbox, path, dir }
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(BufReader::new(stream))
    }

    fn connect(house: &House) -> Self {
        Self::new(UnixStream::connect(&house.path).unwrap())
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The message of its next line.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let found: serde_json::Value = serde_json::from_str(&line).unwrap();
        found["message"].as_str().unwrap().to_owned()
    }
}

fn state(id: u32) -> String {
    format!("{{\"command\":\"state\",\"id\":{id}}}\n")
}

impl House {
    fn next(&self) -> (ClientId, Peer, Request) {
        match self.inbox.recv_timeout(LIMIT).unwrap() {
            Input::Requested { client, peer, request, ticket: _ } => (client, peer, request),
            other => panic!("{other:?}"),
        }
    }

    fn answer(&self, client: ClientId, request: Request, message: &str, then: Then) {
        self.control.reply(client, Reply::last(message, request.id), Format::Json, then);
    }

    /// However busy the machine is.
    fn pause(&self) -> ControlPaused {
        let mut paused = None;
        assert!(wait_until(LIMIT, || {
            paused = self.control.pause();
            paused.is_some()
        }));
        paused.unwrap()
    }

    /// Answers the next request; says whose it was.
    fn answer_next(&self, message: &str, then: Then) -> ClientId {
        let (client, _, request) = self.next();
        self.answer(client, request, message, then);
        client
    }
}

/// What becomes of a house whose control thread was paused, and had this done meanwhile.
type Way = fn(House, &mut dyn FnMut(&House)) -> House;

const WAYS: [Way; 3] = [thawed, resumed, stood_in_for];

fn thawed(house: House, meanwhile: &mut dyn FnMut(&House)) -> House {
    let paused = house.pause();
    meanwhile(&house);
    assert!(house.inbox.is_empty(), "something was passed on");
    drop(paused);
    house
}

fn resumed(house: House, meanwhile: &mut dyn FnMut(&House)) -> House {
    resumed_by(house, meanwhile, &mut Crew::required()).0
}

/// There is no thread at first, then one takes over. The work of the main thread is paused like a thread.
fn stood_in_for(house: House, meanwhile: &mut dyn FnMut(&House)) -> House {
    shortage::begin();
    let mut crew = Crew::optional();
    let (house, sender) = resumed_by(house, meanwhile, &mut crew);
    let mut now = clock::now();
    for _ in 0..3 {
        let paused = house.pause();
        assert_eq!(crew.turn(now).len(), 0, "it has nothing that it could pass on");
        drop(paused);
        now = now.after(Duration::from_secs(2));
        crew.turn(now).into_iter().for_each(|input| sender.send(input).unwrap());
        now = now.after(Duration::from_secs(2));
    }
    shortage::end();
    crew.turn(now);
    assert_eq!(crew.deadline(), None, "the thread does not take over");
    house
}

fn resumed_by(house: House, meanwhile: &mut dyn FnMut(&House), crew: &mut Crew) -> (House, Sender<Input>) {
    let mut paused = house.pause();
    meanwhile(&house);
    let state = paused.describe().unwrap();
    // As over an exec: the numbers have no owner, and the old thread never comes back.
    std::mem::forget(paused);
    assert!(house.inbox.is_empty(), "something was passed on");
    let (sender, inbox) = bounded(64);
    let socket =
        SocketFile::new(house.path.clone(), Access::OWN, Demand::Trusted, adopt(state.listener).unwrap(), state.file);
    let control = start(socket, arrived(state.clients), policy(), sender.clone(), crew).unwrap();
    (House { control, inbox, path: house.path, dir: house.dir }, sender)
}

fn arrived(clients: Clients<RawFd>) -> Clients<OwnedFd> {
    let Clients { connections, next_client } = clients;
    let connections = connections.into_iter().filter_map(|carried| carried.with_fd(|fd| adopt(fd).ok()));
    Clients { connections: connections.collect(), next_client }
}

#[test]
fn a_request_may_be_cut_in_two() {
    for way in WAYS {
        let house = open();
        let (mut client, mut other) = (Client::connect(&house), Client::connect(&house));
        let (begin, end) = ("{\"command\":\"sta", "te\",\"id\":1}\n");
        client.say(begin);
        // When this one is answered, the thread has read that.
        other.say(&state(1));
        house.answer_next("first", Then::Nothing);
        assert_eq!(other.hear(), "first");
        let house = way(house, &mut |_| client.say(end));
        house.answer_next("whole", Then::Nothing);
        assert_eq!(client.hear(), "whole");
    }
}

#[test]
fn a_reply_that_comes_while_all_stands_still_finds_its_client() {
    for way in WAYS {
        let house = open();
        let mut client = Client::connect(&house);
        // The second line is complete, and must wait for the reply to the first.
        client.say(&[state(1), state(2)].concat());
        let (id, _, request) = house.next();
        let house = way(house, &mut |house| house.answer(id, request.clone(), "one", Then::Nothing));
        assert_eq!(client.hear(), "one");
        assert_eq!(house.answer_next("two", Then::Nothing), id);
        assert_eq!(client.hear(), "two");
    }
}

#[test]
fn a_reply_may_come_after_all() {
    for way in WAYS {
        let house = open();
        let mut client = Client::connect(&house);
        client.say(&state(1));
        let (id, _, request) = house.next();
        let house = way(house, &mut |_| client.say(&state(2)));
        // The next request is not looked at before.
        house.answer(id, request, "one", Then::Nothing);
        assert_eq!(client.hear(), "one");
        house.answer_next("two", Then::Nothing);
        assert_eq!(client.hear(), "two");
    }
}

#[test]
fn unread_replies_are_kept() {
    for way in WAYS {
        let house = open();
        let mut client = Client::connect(&house);
        let long = "x".repeat(LONG);
        client.say(&state(1));
        house.answer_next(&long, Then::Nothing);
        let house = way(house, &mut |_| {});
        assert_eq!(client.hear(), long);
        client.say(&state(2));
        house.answer_next("short", Then::Nothing);
        assert_eq!(client.hear(), "short");
    }
}

#[test]
fn who_waits_for_an_upgrade_still_hears_of_it() {
    for way in WAYS {
        let house = open();
        let mut client = Client::connect(&house);
        client.say(&state(1));
        house.answer_next("waiting", Then::Subscribe);
        assert_eq!(client.hear(), "waiting");
        let house = way(house, &mut |house| house.control.publish("in between".to_owned(), Hearing::All));
        house.control.conclude("done".to_owned(), Vec::new());
        house.control.publish("no client waits any more".to_owned(), Hearing::All);
        assert_eq!([client.hear(), client.hear()], ["in between", "done"]);
        client.say(&state(2));
        house.answer_next("last", Then::Nothing);
        assert_eq!(client.hear(), "last");
    }
}

#[test]
fn a_workers_own_connection_stays_its_own() {
    for way in WAYS {
        let house = open();
        let (ours, theirs) = socket_pair().unwrap();
        set_blocking(ours.as_fd(), Blocking::NonBlocking).unwrap();
        house.control.adopt(ours, Pid(77));
        let mut worker = Client::new(theirs.into());
        let house = way(house, &mut |_| worker.say("{\"command\":\"worker:ack\",\"pid\":77}\n"));
        let (_, peer, request) = house.next();
        assert_eq!((peer.role, request.ends_connection()), (Role::Worker(Pid(77)), true));
        house.control.forget(Pid(77));
        assert_eq!(worker.0.read_line(&mut String::new()).unwrap(), 0);
    }
}

#[test]
fn who_connects_meanwhile_is_served_and_gets_an_id_of_its_own() {
    for way in WAYS {
        let house = open();
        let mut first = Client::connect(&house);
        first.say(&state(1));
        let id = house.answer_next("hello", Then::Nothing);
        let mut second = None;
        let house = way(house, &mut |house| {
            let mut client = Client::connect(house);
            client.say(&state(2));
            second = Some(client);
        });
        assert!(house.answer_next("welcome", Then::Nothing) > id);
        assert_eq!([first.hear(), second.unwrap().hear()], ["hello", "welcome"]);
    }
}

#[test]
fn who_goes_meanwhile_is_forgotten() {
    for way in WAYS {
        let house = open();
        let mut client = Client::connect(&house);
        client.say(&state(1));
        house.answer_next("hello", Then::Nothing);
        client.hear();
        let mut client = Some(client);
        let house = way(house, &mut |_| drop(client.take()));
        let no_client_is_left = || house.pause().describe().unwrap().clients.connections.is_empty();
        assert!(wait_until(LIMIT, no_client_is_left));
    }
}

#[test]
fn a_socket_that_is_removed_meanwhile_is_made_anew() {
    for way in WAYS {
        let house = open();
        let house = way(house, &mut |house| std::fs::remove_file(&house.path).unwrap());
        assert!(matches!(house.inbox.recv_timeout(LIMIT), Ok(Input::SocketMoved(id)) if id.stands_at(&house.path)));
        Client::connect(&house).say(&state(1));
        house.answer_next("hello", Then::Nothing);
    }
}

#[test]
fn a_full_inbox_blocks_no_thread_and_loses_nothing() {
    let house = open();
    let mut clients: Vec<Client> = (0..62).map(|_| Client::connect(&house)).collect();
    let more = |clients: &mut [Client]| clients.iter_mut().for_each(|client| client.say(&state(1)));
    more(&mut clients);
    // A worker's acks need no reply, so that they fill what is left.
    let (ours, theirs) = socket_pair().unwrap();
    set_blocking(ours.as_fd(), Blocking::NonBlocking).unwrap();
    house.control.adopt(ours, Pid(77));
    let mut worker = Client::new(theirs.into());
    assert!(wait_until(LIMIT, || {
        worker.say("{\"command\":\"worker:ack\",\"pid\":77}\n");
        house.inbox.is_full()
    }));
    worker.say("{\"command\":\"worker:ack\",\"pid\":77}\n");
    let blocked = wait_until(LIMIT, || house.control.pause().is_none());
    assert!(blocked, "the thread never waits for room");
    let mut left = clients.len();
    while left > 0 {
        let (client, peer, request) = house.next();
        if peer.role == Role::Admin {
            house.answer(client, request, "at last", Then::Nothing);
            left -= 1;
        }
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.hear(), "at last"));
    assert!(wait_until(LIMIT, || house.control.pause().is_some()));
}

#[test]
fn a_worker_may_say_two_things_in_one_breath() {
    for way in WAYS {
        let house = open();
        let (ours, theirs) = socket_pair().unwrap();
        set_blocking(ours.as_fd(), Blocking::NonBlocking).unwrap();
        house.control.adopt(ours, Pid(77));
        let mut worker = Client::new(theirs.into());
        let house = way(house, &mut |_| worker.say(&"{\"command\":\"worker:ack\",\"pid\":77}\n".repeat(3)));
        for _ in 0..3 {
            assert_eq!(house.next().1.role, Role::Worker(Pid(77)));
        }
    }
}
