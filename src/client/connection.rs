//! A conversation with one master: checks which process listens before the first word, sends requests, gives out answers. Decides
//! nothing by what they say, and never waits without a limit that its caller knows of.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::unistd::geteuid;

use crate::base::{Mono, Pid};
use crate::client::failure::{Exit, Failure};
use crate::client::line_reader::{LineReader, Next};
use crate::client::reply::{REPLY_MAX, Reply};
use crate::client::request::Request;
use crate::client::target::{CONNECT_TIMEOUT, ChosenBy, Target};
use crate::files::directory::is_guarded;
use crate::sys::account::user_name;
use crate::sys::clock;
use crate::sys::errno::{errno_of, words};
use crate::sys::interrupt::Interrupts;
use crate::sys::peer::{self, Credentials};
use crate::sys::unix_client::{ConnectError, connect_unix_unplanted};

/// How long to wait for the end of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    Never,
    At { moment: Mono, after: Duration },
}

impl Deadline {
    pub(super) fn from_now(limit: Option<Duration>) -> Self {
        match limit {
            None => Self::Never,
            Some(after) => Self::At { moment: clock::now().after(after), after },
        }
    }

    pub(super) fn moment(self) -> Option<Mono> {
        match self {
            Self::Never => None,
            Self::At { moment, .. } => Some(moment),
        }
    }

    /// That of the two which comes first.
    pub(super) fn or_earlier(self, other: Self) -> Self {
        match (self.moment(), other.moment()) {
            (Some(own), Some(others)) if others < own => other,
            (None, Some(_)) => other,
            (Some(_) | None, Some(_) | None) => self,
        }
    }

    /// # Errors
    /// The deadline has passed.
    pub(super) fn check(self, now: Mono, asked: &str) -> Result<(), Failure> {
        match self {
            Self::At { moment, after } if moment <= now => Err(Failure::timed_out(asked, after)),
            Self::At { .. } | Self::Never => Ok(()),
        }
    }
}

/// Which process is believed to be the master.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust {
    pub(super) own_uid: u32,
    /// EINHORN_MASTER_PID.
    pub(super) master: Option<Pid>,
}

impl Trust {
    pub(super) fn of_this_process() -> Self {
        let named = std::env::var("EINHORN_MASTER_PID").ok().and_then(|pid| pid.parse().ok());
        // Every process of another pid namespace has 0 here, so that is no name for one.
        let master = named.filter(|pid| *pid > 0).map(Pid);
        Self { own_uid: geteuid().as_raw(), master }
    }

    /// Root and our own user can do anything with us anyway. Another user's process is believed if its pid is given, or if the path
    /// is given and only its owner can put a socket there; systemd makes such a directory for each service. The default path and a
    /// name tell nothing about the user: any process that came first could listen there, and answer as if it were the master.
    fn believes(self, peer: Credentials, target: &Target) -> bool {
        let known = peer.uid == 0 || peer.uid == self.own_uid || self.master == Some(peer.pid);
        known
            || match target.chosen_by {
                ChosenBy::Path | ChosenBy::Service(_) => is_guarded(&target.path),
                ChosenBy::Name(_) | ChosenBy::Default => false,
            }
    }
}

pub(super) struct Connection {
    lines: LineReader<UnixStream>,
    master: Pid,
    last_id: i64,
    interrupts: Option<Interrupts>,
}

impl Connection {
    pub(super) fn open(target: &Target, trust: Trust) -> Result<Self, Failure> {
        let failed = |errno| target.unreachable(errno, trust.own_uid);
        let fd = connect_unix_unplanted(&target.path, CONNECT_TIMEOUT).map_err(|error| match error {
            ConnectError::Planted { uid } => planted_link(&target.path, uid),
            ConnectError::System(errno) => failed(errno),
        })?;
        let peer = peer::credentials(fd.as_fd()).map_err(failed)?;
        if !trust.believes(peer, target) {
            return Err(stranger(&target.path, peer, user_name(peer.uid)));
        }
        let lines = LineReader::new(UnixStream::from(fd), REPLY_MAX);
        Ok(Self { lines, master: peer.pid, last_id: 0, interrupts: None })
    }

    /// Over a stream that is connected already; hears `interrupts` in the place of SIGINT.
    #[cfg(any(test, fuzzing))]
    pub(super) fn over(stream: UnixStream, master: Pid, interrupts: Interrupts) -> Self {
        let lines = LineReader::new(stream, REPLY_MAX);
        Self { lines, master, last_id: 0, interrupts: Some(interrupts) }
    }

    /// As the kernel knows it; it stays the same over a re-exec.
    pub(super) fn master(&self) -> Pid {
        self.master
    }

    /// From now on Ctrl-C ends the waiting, with [`Failure::interrupted`], rather than the process.
    pub(super) fn catch_interrupts(&mut self) -> Result<(), Failure> {
        if self.interrupts.is_some() {
            return Ok(());
        }
        let heard = Interrupts::listen();
        let said = |error| Failure::system("listen for Ctrl-C", words(errno_of(&error)));
        self.interrupts = Some(heard.map_err(said)?);
        Ok(())
    }

    pub(super) fn interrupts(&self) -> Option<&Interrupts> {
        self.interrupts.as_ref()
    }

    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    /// Sends a request under a new id, which it returns.
    pub(super) fn ask(&mut self, command: &str, args: &[String]) -> Result<i64, Failure> {
        let id = self.next_id();
        self.send(&Request::new(id, command, args))?;
        Ok(id)
    }

    pub(super) fn send(&mut self, request: &Request) -> Result<(), Failure> {
        let line = request.line()?;
        match self.lines.source().write_all(line.as_bytes()) {
            Ok(()) => Ok(()),
            // It has left; perhaps with a last word, which is still to be read.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(Failure::timed_out(&request.command, CONNECT_TIMEOUT))
            }
            Err(error) => Err(Failure::system("send a request", words(errno_of(&error)))),
        }
    }

    /// The next answer to whatever was asked; `None` when it is `until`. `asked` is what a failure speaks of.
    pub(super) fn receive_until(&mut self, until: Option<Mono>, asked: &str) -> Result<Option<Reply>, Failure> {
        let next = self.lines.next(until, self.interrupts.as_ref());
        match next.map_err(Failure::unreadable)? {
            Next::Line(line) => Reply::read(&line).map(Some),
            Next::Nothing => Ok(None),
            Next::End(_half) => Err(Failure::master_gone(asked, self.master)),
            Next::Interrupted => Err(Failure::interrupted(asked)),
        }
    }

    pub(super) fn receive(&mut self, deadline: Deadline, asked: &str) -> Result<Reply, Failure> {
        loop {
            if let Some(reply) = self.receive_until(deadline.moment(), asked)? {
                return Ok(reply);
            }
            deadline.check(clock::now(), asked)?;
        }
    }

    /// Asks one thing and waits for its one answer.
    pub(super) fn exchange(&mut self, command: &str, args: &[String], deadline: Deadline) -> Result<Reply, Failure> {
        let id = self.next_id();
        self.exchange_request(id, &Request::new(id, command, args), deadline)
    }

    /// The same in JSON, which has a document beside the message.
    pub(super) fn exchange_in_json(&mut self, command: &str, deadline: Deadline) -> Result<Reply, Failure> {
        let id = self.next_id();
        self.exchange_request(id, &Request::new(id, command, &[]).in_json(), deadline)
    }

    fn exchange_request(&mut self, id: i64, request: &Request, deadline: Deadline) -> Result<Reply, Failure> {
        self.send(request)?;
        let command = &request.command;
        loop {
            let reply = self.receive(deadline, command)?;
            // An answer without an id may come to a request that the master could not read.
            if !reply.waits && reply.id.is_none_or(|answered| answered == id) {
                return Ok(reply);
            }
        }
    }
}

/// Another user's link stands at the path, and could lead to any socket.
fn planted_link(path: &Path, uid: u32) -> Failure {
    let message = format!("cannot trust {}: it is a symbolic link of uid {uid}", path.display());
    Failure::new(Exit::NoMaster, message).with_hint("Remove the link, or name the master's socket with -d PATH.")
}

/// A process listens there that may not be the master; with every way to say that it is.
fn stranger(path: &Path, peer: Credentials, user: Option<String>) -> Failure {
    let Credentials { pid: Pid(pid), uid, .. } = peer;
    let (owner, as_user) = match user {
        Some(user) => (format!("user {user} (uid {uid})"), format!("run this as user {user}")),
        None => (format!("uid {uid}"), format!("run this as uid {uid}")),
    };
    let (process, by_pid) = match pid {
        0 => ("a process of another pid namespace".to_owned(), String::new()),
        pid => (format!("process {pid}"), format!(", or set EINHORN_MASTER_PID={pid}")),
    };
    let by_path = if is_guarded(path) {
        format!(", or name its socket with -d {}", path.display())
    } else {
        ", or give it a socket in a directory that no other user may write to, and name that with -d PATH".to_owned()
    };
    let message = format!("cannot trust {}: {process} of {owner} listens there", path.display());
    Failure::new(Exit::NoMaster, message).with_hint(format!(
        "A master is spoken to when it runs as root or as you; of another user's nothing shows that it is the one you mean. If \
         it is, {as_user}{by_pid}{by_path}."
    ))
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{AT_FDCWD, AtFlags};

    use super::*;
    use crate::client::testing::{FakeMaster, leave_stale, target, trust};
    use crate::sys::testing::is_root;

    fn deadline() -> Deadline {
        Deadline::from_now(Some(Duration::from_millis(30)))
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
    fn another_users_master_is_trusted_at_a_named_path_in_a_safe_directory() {
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
            assert_eq!(ways().map(|way| believed(own_uid, way)), [false; 4], "any user may put one there");
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
            let message = format!("cannot trust {}: it is a symbolic link of uid 8", link.display());
            assert_eq!((failure.exit(), failure.to_string()), (Exit::NoMaster, message));
        }
        assert_eq!(master.heard(), [""; 0]);
    }

    #[test]
    fn a_stranger_is_described_with_every_way_to_say_that_it_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        std::fs::write(&path, "").unwrap();
        set_mode(dir.path(), 0o755);
        let failure = stranger(&path, Credentials { pid: Pid(12), uid: 7, gid: 7 }, Some("web".to_owned()));
        let path_shown = path.display();
        let expected = format!("cannot trust {path_shown}: process 12 of user web (uid 7) listens there");
        assert_eq!((failure.to_string(), failure.exit()), (expected, Exit::NoMaster));
        let ways =
            format!("run this as user web, or set EINHORN_MASTER_PID=12, or name its socket with -d {path_shown}.");
        assert!(failure.hint().unwrap().ends_with(&ways), "{failure:?}");
        set_mode(dir.path(), 0o777);
        let failure = stranger(&path, Credentials { pid: Pid(0), uid: 7, gid: 7 }, None);
        assert!(failure.to_string().ends_with("a process of another pid namespace of uid 7 listens there"));
        let hint = failure.hint().unwrap();
        assert!(hint.contains("run this as uid 7, or give it") && !hint.contains("PID="), "{hint}");
    }

    #[test]
    fn a_question_finds_its_answer_among_others() {
        let master = FakeMaster::serve(&[(
            "---%0Aid: 1%0Acommand: inc%0Aargs: []%0A",
            "---%0Amessage: other%0Arequest_id: 9%0A\n---%0Amessage: step%0Arequest_id: 1%0Await: true%0A\n\
             ---%0Amessage: end%0Arequest_id: 1%0A\n",
        )]);
        let mut connection = Connection::open(&master.target(), trust()).unwrap();
        assert_eq!(connection.exchange("inc", &[], Deadline::Never).unwrap().message, "end");
        assert_eq!(connection.master().0, std::process::id() as i32);
    }

    #[test]
    fn a_master_that_dies_in_the_middle_is_no_riddle() {
        let master = FakeMaster::serve(&[("inc", "---%0Amessage: ha")]);
        let mut connection = Connection::open(&master.target(), trust()).unwrap();
        let failure = connection.exchange("inc", &[], Deadline::Never).unwrap_err();
        assert!(failure.to_string().starts_with("cannot finish inc: master "), "{failure}");
        assert_eq!((failure.exit(), failure.hint().is_some()), (Exit::Failed, true));
    }

    #[test]
    fn a_silent_master_is_left_in_time() {
        let master = FakeMaster::silent(&[("inc", "")]);
        let mut connection = Connection::open(&master.target(), trust()).unwrap();
        let failure = connection.exchange("inc", &[], deadline()).unwrap_err();
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
        assert!(open().to_string().ends_with("connection refused, no process listens there"));
        assert_eq!(open().exit(), Exit::NoMaster);
    }
}
