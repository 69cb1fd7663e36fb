//! A conversation with one master: checks who listens before the first word, sends requests, gives out answers. Decides
//! nothing by what they say, and never waits without a limit that its caller knows of.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::base::{Mono, Pid};
use crate::client::failure::{ConnectCause, Failure, Listener, Place};
use crate::client::line_reader::{LineReader, Next};
use crate::client::reply::{REPLY_MAX, Reply};
use crate::client::request::Request;
use crate::client::target::{ChosenBy, Target};
use crate::files::directory::is_guarded;
use crate::sys::account::user_name;
use crate::sys::clock;
use crate::sys::errno::{errno_of, words};
use crate::sys::interrupt::Interrupts;
use crate::sys::peer::{self, Credentials};
use crate::sys::unix_client::{ConnectError, connect_unix_unplanted};

/// How long a master may take to let a connection in, and to read a request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Patience {
    Endless,
    Until { moment: Mono, after: Duration },
}

impl Patience {
    pub(in crate::client) fn from_now(limit: Option<Duration>) -> Self {
        match limit {
            None => Self::Endless,
            Some(after) => Self::Until { moment: clock::now().after(after), after },
        }
    }

    pub(in crate::client) fn moment(self) -> Option<Mono> {
        match self {
            Self::Endless => None,
            Self::Until { moment, .. } => Some(moment),
        }
    }

    /// The failure that it is when the time is over.
    pub(in crate::client) fn exhausted(self, now: Mono, asked: &str) -> Result<(), Failure> {
        match self {
            Self::Until { moment, after } if moment <= now => Err(Failure::TimedOut { asked: asked.to_owned(), after }),
            Self::Until { .. } | Self::Endless => Ok(()),
        }
    }
}

/// Whom to believe that it is the master.
#[derive(Clone, Copy, Debug)]
pub(in crate::client) struct Trust {
    pub(in crate::client) own_uid: u32,
    /// EINHORN_MASTER_PID, for those who know whom they mean.
    pub(in crate::client) master: Option<Pid>,
}

impl Trust {
    pub(in crate::client) fn of_this_process() -> Self {
        let named = std::env::var("EINHORN_MASTER_PID").ok().and_then(|pid| pid.parse().ok());
        // Every process of another pid namespace has 0 here, so that is no name for one.
        let master = named.filter(|pid| *pid > 0).map(Pid);
        Self { own_uid: geteuid().as_raw(), master }
    }

    /// Root may do anything with us anyway, and so may our own user. Another user's process is the one that is meant if its
    /// pid is named, or if the path is and not just anybody can have put a socket there; a service's socket is in a directory
    /// that systemd made for it. The default path and a name say nothing about the user: for root, too, any user's process
    /// that came first could be there, and its answers would pass for the master's.
    fn believes(self, peer: Credentials, target: &Target) -> bool {
        let known = peer.uid == 0 || peer.uid == self.own_uid || self.master == Some(peer.pid);
        known
            || match target.chosen_by {
                ChosenBy::Path | ChosenBy::Service(_) => is_guarded(&target.path),
                ChosenBy::Name(_) | ChosenBy::Default => false,
            }
    }
}

pub(in crate::client) struct Connection {
    lines: LineReader<UnixStream>,
    master: Pid,
    last_id: i64,
    interrupts: Option<Interrupts>,
}

impl Connection {
    pub(in crate::client) fn open(target: &Target, trust: Trust) -> Result<Self, Failure> {
        let failed = |errno: Errno| {
            let cause = match errno {
                Errno::EAGAIN => ConnectCause::QueueFull { after: CONNECT_TIMEOUT },
                other => target.cause_of(other, trust.own_uid),
            };
            Failure::CannotConnect { target: target.clone(), cause }
        };
        let fd = connect_unix_unplanted(&target.path, CONNECT_TIMEOUT).map_err(|error| match error {
            ConnectError::Planted { uid } => Failure::PlantedLink { path: target.path.clone(), uid },
            ConnectError::System(errno) => failed(errno),
        })?;
        let peer = peer::credentials(fd.as_fd()).map_err(failed)?;
        if !trust.believes(peer, target) {
            let listener = Listener { pid: peer.pid, uid: peer.uid, user: user_name(peer.uid) };
            let place = if is_guarded(&target.path) { Place::Guarded } else { Place::Open };
            return Err(Failure::Stranger { path: target.path.clone(), listener, place });
        }
        let lines = LineReader::new(UnixStream::from(fd), REPLY_MAX);
        Ok(Self { lines, master: peer.pid, last_id: 0, interrupts: None })
    }

    /// Over a stream that is connected already; hears `interrupts` in the place of SIGINT.
    #[cfg(any(test, fuzzing))]
    pub(in crate::client) fn over(stream: UnixStream, master: Pid, interrupts: Interrupts) -> Self {
        let lines = LineReader::new(stream, REPLY_MAX);
        Self { lines, master, last_id: 0, interrupts: Some(interrupts) }
    }

    /// As the kernel knows it; it stays the same over a re-exec.
    pub(in crate::client) fn master(&self) -> Pid {
        self.master
    }

    /// From now on Ctrl-C ends the waiting, with [`Failure::Interrupted`], rather than the process.
    pub(in crate::client) fn hear_interrupts(&mut self) -> Result<(), Failure> {
        if self.interrupts.is_some() {
            return Ok(());
        }
        let heard = Interrupts::listen();
        let said = |error| Failure::System { what: "listen for Ctrl-C", words: words(errno_of(&error)) };
        self.interrupts = Some(heard.map_err(said)?);
        Ok(())
    }

    pub(in crate::client) fn interrupts(&self) -> Option<&Interrupts> {
        self.interrupts.as_ref()
    }

    pub(in crate::client) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    /// Sends a request under a new id, which it returns.
    pub(in crate::client) fn ask(&mut self, command: &str, args: &[String]) -> Result<i64, Failure> {
        let id = self.next_id();
        self.send(&Request::new(id, command, args))?;
        Ok(id)
    }

    pub(in crate::client) fn send(&mut self, request: &Request) -> Result<(), Failure> {
        let line = request.line()?;
        match self.lines.source().write_all(line.as_bytes()) {
            Ok(()) => Ok(()),
            // It has left; perhaps with a last word, which is still to be read.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(Failure::TimedOut { asked: request.command.clone(), after: CONNECT_TIMEOUT })
            }
            Err(error) => Err(Failure::System { what: "send a request", words: words(errno_of(&error)) }),
        }
    }

    /// The next answer to whatever was asked; `None` when it is `until`. `asked` is what a failure speaks of.
    pub(in crate::client) fn receive_until(
        &mut self,
        until: Option<Mono>,
        asked: &str,
    ) -> Result<Option<Reply>, Failure> {
        let next = self.lines.next(until, self.interrupts.as_ref());
        match next.map_err(|error| Failure::Unreadable { cause: error.to_string() })? {
            Next::Line(line) => Reply::read(&line).map(Some),
            Next::Nothing => Ok(None),
            Next::End(_half) => Err(Failure::MasterGone { asked: asked.to_owned(), pid: self.master }),
            Next::Interrupted => Err(Failure::Interrupted { asked: asked.to_owned() }),
        }
    }

    pub(in crate::client) fn receive(&mut self, patience: Patience, asked: &str) -> Result<Reply, Failure> {
        loop {
            if let Some(reply) = self.receive_until(patience.moment(), asked)? {
                return Ok(reply);
            }
            patience.exhausted(clock::now(), asked)?;
        }
    }

    /// Asks one thing and waits for its one answer.
    pub(in crate::client) fn exchange(
        &mut self,
        command: &str,
        args: &[String],
        patience: Patience,
    ) -> Result<Reply, Failure> {
        let id = self.ask(command, args)?;
        loop {
            let reply = self.receive(patience, command)?;
            // An answer without an id may come to a request that the master could not read.
            if !reply.waits && reply.id.is_none_or(|answered| answered == id) {
                return Ok(reply);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{AT_FDCWD, AtFlags};

    use super::*;
    use crate::client::failure::Exit;
    use crate::client::testing::{FakeMaster, leave_stale, target, trust};
    use crate::sys::testing::is_root;

    fn patience() -> Patience {
        Patience::from_now(Some(Duration::from_millis(30)))
    }

    #[test]
    fn root_the_own_user_and_a_named_process_are_believed() {
        let trust = Trust { own_uid: 7, master: Some(Pid(99)) };
        let peer = |pid, uid| Credentials { pid: Pid(pid), uid, gid: uid };
        let target = Target { path: "/tmp/einhorn.sock".into(), chosen_by: ChosenBy::Default };
        let by_default = |peer| trust.believes(peer, &target);
        assert!(by_default(peer(1, 0)) && by_default(peer(1, 7)) && by_default(peer(99, 8)));
        assert!(!by_default(peer(1, 8)), "a stranger is not spoken to");
    }

    #[test]
    fn a_stranger_is_believed_where_not_everybody_can_have_put_the_socket_and_the_path_is_named() {
        let stranger = Credentials { pid: Pid(1), uid: 8, gid: 8 };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("einhorn.sock");
        std::fs::write(&path, "").unwrap();
        let believed = |own_uid, chosen_by| {
            Trust { own_uid, master: None }.believes(stranger, &Target { path: path.clone(), chosen_by })
        };
        let ways = || [ChosenBy::Path, ChosenBy::Service("x".into()), ChosenBy::Name("x".into()), ChosenBy::Default];
        for own_uid in [0, 7] {
            set_mode(dir.path(), 0o755);
            assert_eq!(ways().map(|way| believed(own_uid, way)), [true, true, false, false]);
            set_mode(dir.path(), 0o777);
            assert_eq!(ways().map(|way| believed(own_uid, way)), [false; 4], "everybody may put one there");
        }
    }

    fn set_mode(path: &std::path::Path, mode: u32) {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_link_of_ours_is_followed_and_another_users_is_not() {
        let master = FakeMaster::serve(&[]);
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("einhorn.sock");
        std::os::unix::fs::symlink(master.target().path, &link).unwrap();
        assert!(Connection::open(&target(&link), trust()).is_ok());
        if is_root() {
            nix::unistd::fchownat(AT_FDCWD, &link, Some(8.into()), None, AtFlags::AT_SYMLINK_NOFOLLOW).unwrap();
            let failure = Connection::open(&target(&link), trust()).err().unwrap();
            assert_eq!((failure.exit(), failure), (Exit::NoMaster, Failure::PlantedLink { path: link, uid: 8 }));
        }
        assert_eq!(master.heard(), [""; 0]);
    }

    #[test]
    fn a_question_finds_its_answer_among_others() {
        let master = FakeMaster::serve(&[(
            "---%0Aid: 1%0Acommand: inc%0Aargs: []%0A",
            "---%0Amessage: other%0Arequest_id: 9%0A\n---%0Amessage: step%0Arequest_id: 1%0Await: true%0A\n\
             ---%0Amessage: end%0Arequest_id: 1%0A\n",
        )]);
        let mut connection = Connection::open(&master.target(), trust()).unwrap();
        assert_eq!(connection.exchange("inc", &[], Patience::Endless).unwrap().message, "end");
        assert_eq!(connection.master().0, std::process::id() as i32);
    }

    #[test]
    fn a_master_that_dies_in_the_middle_is_no_riddle() {
        let master = FakeMaster::serve(&[("inc", "---%0Amessage: ha")]);
        let mut connection = Connection::open(&master.target(), trust()).unwrap();
        let failure = connection.exchange("inc", &[], Patience::Endless).unwrap_err();
        assert!(failure.to_string().starts_with("cannot finish inc: master "), "{failure}");
        assert_eq!((failure.exit(), failure.hint().is_some()), (Exit::Failed, true));
    }

    #[test]
    fn a_silent_master_is_left_in_time() {
        let master = FakeMaster::silent(&[("inc", "")]);
        let mut connection = Connection::open(&master.target(), trust()).unwrap();
        let failure = connection.exchange("inc", &[], patience()).unwrap_err();
        assert_eq!(failure.to_string(), "cannot wait longer for inc: no end after 30ms");
        assert_eq!(failure.exit(), Exit::TimedOut);
    }

    #[test]
    fn no_master_and_a_dead_one_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("einhorn.sock");
        let open = || Connection::open(&target(&path), trust()).err().unwrap();
        assert!(open().to_string().ends_with("no such file or directory"));
        leave_stale(&path);
        assert!(open().to_string().ends_with("connection refused, nobody listens there"));
        assert_eq!(open().exit(), Exit::NoMaster);
    }
}
