//! What a master has to put up with for a long time: beside events, clients that vanish in the middle of something, and a log that
//! is not read for a while.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;

use crate::event::{Event, Kill};
use crate::load::Load;
use crate::rng::Rng;
use crate::site::Site;
use crate::support::{FLOOD, LIMIT, Target, flood};

/// How many clients vanish at a time.
const CLIENTS: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Event(Event),
    /// Clients of the workers, in the middle of a request; the kernel tells the worker by a reset.
    RequestGivenUp,
    /// Clients of the control socket, in the middle of a line.
    ControlLineGivenUp,
    /// Others, that asked for much and read little of it.
    AnswerNotRead,
    /// One that waits for the end of an upgrade.
    UpgradeNotAwaited,
    LogNotRead,
}

impl Trouble {
    pub fn happen(self, site: &mut Site, load: &Load, rng: &mut Rng) -> Result<Option<Kill>, String> {
        match self {
            Self::Event(event) => return event.happen(site, load, rng),
            Self::RequestGivenUp => {
                let targets = site.targets();
                (0..CLIENTS).for_each(|_| give_up_request(rng.pick(&targets.each_ref())));
            }
            Self::ControlLineGivenUp => vanish(site, CLIENTS, b"{id: 1, command: sta", 0),
            Self::AnswerNotRead => vanish(site, CLIENTS, &b"{command: state}\n".repeat(20), 16),
            Self::UpgradeNotAwaited => {
                site.write(|_| {});
                vanish(site, 1, b"{id: 1, command: upgrade}\n", 1);
            }
            Self::LogNotRead => {
                let held = site.master.log().hold();
                flood(&site.master, FLOOD);
                drop(held);
            }
        }
        Ok(None)
    }
}

fn give_up_request(target: &Target) {
    let begun = b"GET /slow?ms=20 HTTP/1.1\r\nHost";
    match target {
        Target::Tcp(address) => {
            let mut stream = TcpStream::connect_timeout(address, LIMIT).expect("a worker's port is there");
            let reset = libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&stream, Linger, &reset).expect("SO_LINGER is known");
            stream.write_all(begun).expect("the queue takes it");
        }
        Target::Unix(path) => {
            let mut stream = UnixStream::connect(path).expect("the workers' socket is there");
            stream.write_all(begun).expect("the queue takes it");
        }
    }
}

/// So many clients say this, read so many bytes of the answer, and are gone.
fn vanish(site: &Site, clients: u64, words: &[u8], reads: usize) {
    let mut streams: Vec<_> =
        (0..clients).map(|_| UnixStream::connect(site.master.socket()).expect("the control socket is there")).collect();
    for stream in &mut streams {
        stream.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
        stream.write_all(words).expect("the master reads");
    }
    for stream in &mut streams {
        stream.read_exact(&mut vec![0; reads]).expect("the master answers");
    }
}
