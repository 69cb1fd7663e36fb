//! What can go wrong for a client: in one line, with what to try next, and as an exit code. Prints nothing and ends nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::Pid;
use crate::client::target::Target;
use crate::files::tmpdir::NoTemporaryDirectory;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Exit {
    Done,
    /// Refused by the master, or tried and failed.
    Failed,
    Usage,
    NoMaster,
    TimedOut,
    /// Ctrl-C, numbered as a shell numbers it.
    Interrupted,
}

impl Exit {
    pub(in crate::client) const ALL: [Self; 6] =
        [Self::Done, Self::Failed, Self::Usage, Self::NoMaster, Self::TimedOut, Self::Interrupted];

    pub(in crate::client) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoMaster => 3,
            Self::TimedOut => 4,
            Self::Interrupted => 130,
        }
    }

    /// Ruby's shell knows two codes, and Ctrl-C is a way to leave it like any other.
    pub(in crate::client) fn shell_code(self) -> u8 {
        match self {
            Self::Done | Self::Interrupted => 0,
            Self::Failed | Self::Usage | Self::NoMaster | Self::TimedOut => 1,
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum ConnectCause {
    /// There is no such file; with the sockets of other masters that lie there.
    Missing {
        others: Vec<String>,
    },
    /// A socket that nobody listens on.
    Stale,
    NotASocket {
        kind: &'static str,
    },
    Denied {
        owner: Option<u32>,
        own: u32,
    },
    QueueFull {
        after: Duration,
    },
    TooLong {
        limit: usize,
    },
    Other {
        words: String,
    },
}

/// The process at the other end, as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Listener {
    /// 0 for one in another pid namespace.
    pub(in crate::client) pid: Pid,
    pub(in crate::client) uid: u32,
    pub(in crate::client) user: Option<String>,
}

/// Where a socket lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Place {
    /// Not everybody can have put it there.
    Guarded,
    Open,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum Failure {
    Usage {
        message: String,
    },
    NoDirectory(NoTemporaryDirectory),
    CannotConnect {
        target: Target,
        cause: ConnectCause,
    },
    /// A process listens there that may not be the master.
    Stranger {
        path: PathBuf,
        listener: Listener,
        place: Place,
    },
    /// Another user's link stands at the path, and could lead to any socket.
    PlantedLink {
        path: PathBuf,
        uid: u32,
    },
    /// The connection ended before the answer did.
    MasterGone {
        asked: String,
        pid: Pid,
    },
    TimedOut {
        asked: String,
        after: Duration,
    },
    Interrupted {
        asked: String,
    },
    /// What came is no answer.
    Unreadable {
        cause: String,
    },
    Refused {
        message: String,
    },
    /// The system does not do what it always does.
    System {
        what: &'static str,
        words: String,
    },
}

impl Failure {
    pub(in crate::client) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::CannotConnect { cause: ConnectCause::QueueFull { .. }, .. } | Self::TimedOut { .. } => Exit::TimedOut,
            Self::NoDirectory(_) | Self::CannotConnect { .. } | Self::Stranger { .. } | Self::PlantedLink { .. } => {
                Exit::NoMaster
            }
            Self::Interrupted { .. } => Exit::Interrupted,
            Self::MasterGone { .. } | Self::Unreadable { .. } | Self::Refused { .. } | Self::System { .. } => {
                Exit::Failed
            }
        }
    }

    /// What to try next, in sentences.
    pub(in crate::client) fn hint(&self) -> Option<String> {
        match self {
            Self::CannotConnect { target, cause } => cause.hint(target),
            Self::NoDirectory(_) => Some("Set TMPDIR as the master has it, or name its socket with -d PATH.".to_owned()),
            Self::Stranger { path, listener, place } => Some(listener.hint(path, *place)),
            Self::PlantedLink { .. } => Some("Remove the link, or name the master's socket with -d PATH.".to_owned()),
            Self::MasterGone { .. } => Some(
                "It may have died, or it does not answer your user: its log says which, and `ps` whether it lives.".to_owned(),
            ),
            Self::TimedOut { asked, .. } if is_upgrade(asked) => Some(
                "It may still go on: `einhyrningsinsctl status` shows it. A Ruby einhorn says nothing when it refuses an \
                 upgrade; its log does."
                    .to_owned(),
            ),
            Self::TimedOut { .. } => Some("The master may be stopped: look at its process and at its log.".to_owned()),
            Self::Interrupted { .. } => {
                Some("What was asked for goes on in the master: `einhyrningsinsctl status` shows it.".to_owned())
            }
            Self::Unreadable { .. } => Some("Is it an einhorn master that listens there? See -c NAME and -d PATH.".to_owned()),
            Self::Usage { .. } | Self::Refused { .. } | Self::System { .. } => None,
        }
    }
}

fn is_upgrade(asked: &str) -> bool {
    asked.starts_with("upgrade")
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, uid, user } = self;
        match pid.0 {
            0 => f.write_str("a process of another pid namespace")?,
            pid => write!(f, "process {pid}")?,
        }
        match user {
            Some(user) => write!(f, " of user {user} (uid {uid})"),
            None => write!(f, " of uid {uid}"),
        }
    }
}

impl Listener {
    /// How to say that this process is the one that is meant.
    fn hint(&self, path: &Path, place: Place) -> String {
        let as_user = match &self.user {
            Some(user) => format!("run this as user {user}"),
            None => format!("run this as uid {}", self.uid),
        };
        let by_pid = match self.pid.0 {
            0 => String::new(),
            pid => format!(", or set EINHORN_MASTER_PID={pid}"),
        };
        let by_path = match place {
            Place::Guarded => format!(", or name its socket with -d {}", path.display()),
            Place::Open => {
                ", or give it a socket in a directory that not everybody may write to, and name that with -d PATH"
                    .to_owned()
            }
        };
        format!(
            "A master is spoken to when it runs as root or as you; of another user's nothing shows that it is the one you \
             mean. If it is, {as_user}{by_pid}{by_path}."
        )
    }
}

impl ConnectCause {
    fn hint(&self, target: &Target) -> Option<String> {
        match self {
            Self::Missing { others } => Some(target.hint_of_missing(others)),
            Self::Stale => Some(
                "A master ended there without cleaning up. Start it again, it takes the socket's place; or name another \
                 master with -c NAME or -d PATH."
                    .to_owned(),
            ),
            Self::NotASocket { .. } => Some("Name the master's socket with -d PATH, or the master with -c NAME.".to_owned()),
            Self::Denied { owner: Some(uid), own } if uid != own => {
                Some(format!("It belongs to uid {uid}, and you are uid {own}: run this as that user or as root."))
            }
            Self::Denied { own, .. } => Some(format!("Uid {own} has no right to it: run this as the master's user or as root.")),
            Self::QueueFull { .. } => Some("The master may be stopped: look at its process and at its log.".to_owned()),
            Self::TooLong { .. } => Some("Name the socket by a shorter path with -d PATH, for instance a relative one.".to_owned()),
            Self::Other { .. } => Some("Name the master's socket with -d PATH, or the master with -c NAME.".to_owned()),
        }
    }
}

impl fmt::Display for ConnectCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { .. } => f.write_str("no such file or directory"),
            Self::Stale => f.write_str("connection refused, nobody listens there"),
            Self::NotASocket { kind } => write!(f, "it is {kind}, not a socket"),
            Self::Denied { .. } => f.write_str("permission denied"),
            Self::QueueFull { after } => {
                write!(f, "nobody took the connection within {}", humantime::format_duration(*after))
            }
            Self::TooLong { limit } => write!(f, "a socket's path has at most {limit} bytes"),
            Self::Other { words } => f.write_str(words),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { message } | Self::Refused { message } => f.write_str(message.trim_end()),
            Self::NoDirectory(error) => error.fmt(f),
            Self::CannotConnect { target, cause } => {
                write!(f, "cannot connect to {}: {cause}", target.path.display())
            }
            Self::Stranger { path, listener, .. } => {
                write!(f, "cannot trust {}: {listener} listens there", path.display())
            }
            Self::PlantedLink { path, uid } => {
                write!(f, "cannot trust {}: it is a symbolic link of uid {uid}", path.display())
            }
            Self::MasterGone { asked, pid } => {
                write!(f, "cannot finish {asked}: master {pid} closed the connection")
            }
            Self::TimedOut { asked, after } => {
                write!(f, "cannot wait longer for {asked}: no end after {}", humantime::format_duration(*after))
            }
            Self::Interrupted { asked } => write!(f, "stopped waiting for {asked}"),
            Self::Unreadable { cause } => write!(f, "cannot read the answer: {cause}"),
            Self::System { what, words } => write!(f, "cannot {what}: {words}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::target::ChosenBy;

    fn connect(cause: ConnectCause) -> Failure {
        let target = Target { path: PathBuf::from("/run/einhorn.sock"), chosen_by: ChosenBy::Default };
        Failure::CannotConnect { target, cause }
    }

    #[test]
    fn every_failure_to_reach_a_master_says_what_to_try() {
        let causes = [
            ConnectCause::Missing { others: Vec::new() },
            ConnectCause::Stale,
            ConnectCause::NotASocket { kind: "a regular file" },
            ConnectCause::Denied { owner: Some(7), own: 8 },
            ConnectCause::QueueFull { after: Duration::from_secs(3) },
            ConnectCause::TooLong { limit: 107 },
            ConnectCause::Other { words: "not a directory".to_owned() },
        ];
        for failure in causes.map(connect) {
            assert!(failure.to_string().starts_with("cannot connect to /run/einhorn.sock: "), "{failure}");
            assert!(failure.hint().is_some_and(|hint| hint.len() > 20), "{failure}");
            assert!(matches!(failure.exit(), Exit::NoMaster | Exit::TimedOut));
        }
    }

    #[test]
    fn a_denied_client_learns_who_owns_the_socket() {
        let hint = connect(ConnectCause::Denied { owner: Some(7), own: 8 }).hint().unwrap();
        assert!(hint.contains("uid 7") && hint.contains("uid 8"), "{hint}");
        let hint = connect(ConnectCause::Denied { owner: None, own: 8 }).hint().unwrap();
        assert!(hint.contains("Uid 8"), "{hint}");
    }

    #[test]
    fn a_stranger_is_described_with_every_way_to_say_that_it_is_meant() {
        let path = PathBuf::from("/run/x.sock");
        let listener = Listener { pid: Pid(12), uid: 7, user: Some("web".to_owned()) };
        let failure = Failure::Stranger { path: path.clone(), listener, place: Place::Guarded };
        let expected = "cannot trust /run/x.sock: process 12 of user web (uid 7) listens there";
        assert_eq!((failure.to_string().as_str(), failure.exit()), (expected, Exit::NoMaster));
        let hint = failure.hint().unwrap();
        assert!(
            hint.ends_with(
                "run this as user web, or set EINHORN_MASTER_PID=12, or name its socket with -d /run/x.sock."
            )
        );
        let listener = Listener { pid: Pid(0), uid: 7, user: None };
        let failure = Failure::Stranger { path, listener, place: Place::Open };
        assert!(failure.to_string().ends_with("a process of another pid namespace of uid 7 listens there"));
        let hint = failure.hint().unwrap();
        assert!(hint.contains("run this as uid 7, or give it") && !hint.contains("PID"), "{hint}");
    }

    #[test]
    fn the_shell_has_rubys_two_codes() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 1, 2, 3, 4, 130]);
        assert_eq!(Exit::ALL.map(Exit::shell_code), [0, 1, 1, 1, 1, 0]);
    }
}
