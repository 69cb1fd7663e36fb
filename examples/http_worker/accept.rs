//! Accepts connections on the inherited sockets until told to stop, one thread for each socket and each connection.
//!
//! It must never lose a connection at a graceful end, on blocking sockets as little as on non-blocking ones. O_NONBLOCK
//! belongs to all who share a socket, so it is left as it is, and a thread can be asleep in accept(2) when the end
//! comes, because another worker was faster. accept(2) either hands over a connection or fails with EINTR, never both;
//! so a thread that shall stop is signalled *again and again, until it has left*. A signal that comes between its look
//! at the flag and its accept is not lost by that, and no lock among the workers is needed.

#![allow(unsafe_code, reason = "adopting inherited descriptors and interrupting accept(2) have no safe call")]

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::thread::JoinHandleExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{Shutdown, SockFlag, accept4, shutdown};

use crate::answer::{Birth, answer};
use crate::fault::{Fault, Faults};

/// Requests in flight at once, in all; further ones wait in the backlog, where another worker may take them.
const IN_FLIGHT_MAX: usize = 256;
/// Between two interruptions of a thread that shall leave accept(2), and between two tries when descriptors ran out.
const NUDGE_EVERY: Duration = Duration::from_millis(5);
/// Interrupts accept(2); nothing else sends it, and by default it is ignored.
const NUDGE: Signal = Signal::SIGURG;

/// The threads that accept, and what they share.
pub struct Reception {
    acceptors: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Reception {
    /// Begins to serve on the sockets that the environment names.
    pub fn open(birth: Birth, faults: &Arc<Faults>) -> Result<Self, String> {
        handle_nudge()?;
        let mut listeners = inherited_listeners()?;
        if faults.are(Fault::Hang) || faults.are(Fault::Close) {
            listeners.clear();
        }
        if faults.are(Fault::Shutdown) {
            for listener in &listeners {
                let _another_was_faster = shutdown(listener.as_raw_fd(), Shutdown::Both);
            }
        }
        if faults.are(Fault::Elsewhere) {
            let another = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
            listeners = vec![another.into()];
        }
        let shared =
            Arc::new(Shared { birth, faults: Arc::clone(faults), desk: Mutex::default(), changed: Condvar::new() });
        let acceptors = listeners.into_iter().map(|listener| start_acceptor(listener, &shared)).collect();
        Ok(Self { acceptors, shared })
    }

    /// Accepts no more, and returns when the last answer is out.
    pub fn close(self) -> Result<(), String> {
        self.shared.desk().stopping = true;
        self.shared.changed.notify_all();
        for acceptor in self.acceptors {
            nudge_until_gone(&acceptor);
            acceptor.join().map_err(|_| "an accepting thread panicked".to_owned())?;
        }
        drop(self.shared.changed.wait_while(self.shared.desk(), |desk| desk.in_flight > 0));
        Ok(())
    }
}

/// The sockets that the master bound, in the order of its `-b` options.
fn inherited_listeners() -> Result<Vec<OwnedFd>, String> {
    let count = number_from("EINHORN_FD_COUNT")?;
    (0..count).map(|index| adopt(number_from(&format!("EINHORN_FD_{index}"))?)).collect()
}

fn number_from(name: &str) -> Result<RawFd, String> {
    let value = std::env::var(name).map_err(|_| format!("cannot find the sockets: {name} is not set"))?;
    value.parse().map_err(|_| format!("cannot find the sockets: {name} is {value:?}"))
}

/// The open socket with this number, as ours.
pub fn adopt(fd: RawFd) -> Result<OwnedFd, String> {
    let link = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    if !link.to_string_lossy().starts_with("socket:") {
        return Err(format!("cannot use descriptor {fd}: it is no open socket"));
    }
    // SAFETY: it is open, as just seen; the environment gives it to us, and each number is adopted once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn handle_nudge() -> Result<(), String> {
    let nothing = SigAction::new(SigHandler::Handler(on_nudge), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, which is async-signal-safe; no SA_RESTART, so that accept fails with EINTR.
    unsafe { sigaction(NUDGE, &nothing) }.map_err(|errno| format!("cannot handle {NUDGE}: {errno}"))?;
    Ok(())
}

extern "C" fn on_nudge(_: libc::c_int) {}

/// What the threads share: the worker's identity, its faults, and how much is in flight.
struct Shared {
    birth: Birth,
    faults: Arc<Faults>,
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Default)]
struct Desk {
    /// Connections being answered, and one for each thread that waits for the next.
    in_flight: usize,
    stopping: bool,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat for one connection, once there is one; false when this worker shall accept no more.
    fn take_seat(&self) -> bool {
        let full = |desk: &mut Desk| !desk.stopping && desk.in_flight >= IN_FLIGHT_MAX;
        let mut desk = self.changed.wait_while(self.desk(), full).unwrap_or_else(PoisonError::into_inner);
        if desk.stopping {
            return false;
        }
        desk.in_flight += 1;
        true
    }

    fn leave_seat(&self) {
        self.desk().in_flight -= 1;
        self.changed.notify_all();
    }
}

fn start_acceptor(listener: OwnedFd, shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        while shared.take_seat() {
            match shared.faults.taking(|| accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)) {
                // SAFETY: accept4 has just made it, and no other code knows its number.
                Ok(fd) => answer_in_a_thread(unsafe { OwnedFd::from_raw_fd(fd) }, &shared),
                Err(errno) => {
                    shared.leave_seat();
                    wait_to_accept_again(errno, &listener);
                }
            }
        }
    })
}

fn wait_to_accept_again(errno: Errno, listener: &OwnedFd) {
    match errno {
        Errno::EAGAIN => {
            let _ = poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
        }
        Errno::EINTR | Errno::ECONNABORTED => {}
        // Out of descriptors or memory, most likely; the connection waits in the queue.
        _ => pause(NUDGE_EVERY),
    }
}

fn answer_in_a_thread(socket: OwnedFd, shared: &Arc<Shared>) {
    // A TCP stream or a Unix one: reading, writing and timeouts are the same calls.
    let client = Arc::new(TcpStream::from(socket));
    let (their_client, their_shared) = (Arc::clone(&client), Arc::clone(shared));
    let started = thread::Builder::new().spawn(move || answer_and_leave(&their_client, &their_shared));
    if started.is_err() {
        answer_and_leave(&client, shared);
    }
}

fn answer_and_leave(client: &TcpStream, shared: &Shared) {
    // An error means that the client went away, which is its own affair.
    let _ = answer(client, &shared.birth, &shared.faults, || shared.desk().stopping);
    shared.leave_seat();
}

fn nudge_until_gone(acceptor: &JoinHandle<()>) {
    while !acceptor.is_finished() {
        // SAFETY: the thread has not been joined, so that its id is still its own.
        unsafe { libc::pthread_kill(acceptor.as_pthread_t(), NUDGE as libc::c_int) };
        pause(NUDGE_EVERY);
    }
}

/// Waits that long, whatever signal comes.
pub fn pause(span: Duration) {
    let end = Instant::now() + span;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        let millis = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
        let _ = poll(&mut [], PollTimeout::from(millis.saturating_add(1)));
    }
}
