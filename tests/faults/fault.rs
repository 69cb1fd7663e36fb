//! What is put where: a call of one thread by its place in the order of that thread's calls, or every such call for a while. Its text
//! is how the harness and its tracer speak of it, and what a person gives to have one cell again.

use std::fmt;

use nix::errno::Errno;

use crate::calls;

/// Which calls are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The master's: with 0 until it becomes another program, else from the exec of that number on.
    Master { images_later: u32 },
    /// Those of a child that the master forks, until it becomes its program.
    Child,
    /// Those of a child that the master forks, until its end: the check of the next program.
    Check,
}

/// Where a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub call: &'static str,
    pub errno: Errno,
    pub at: At,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The thread's call of this name with this number, from 1.
    Once { thread: String, number: u32 },
    /// Every call of this name, of every thread, until the tracer lets go.
    Always,
}

impl Fault {
    /// `thread.call#number/ERROR`, or `call/ERROR/always`.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split('/').collect();
        let (place, error, at) = match words[..] {
            [place, error] => {
                let (thread, rest) = place.split_once('.')?;
                let (call, number) = rest.split_once('#')?;
                (call, error, At::Once { thread: thread.to_owned(), number: number.parse().ok()? })
            }
            [call, error, "always"] => (call, error, At::Always),
            _ => return None,
        };
        let call = calls::of_name(place)?;
        let errno = call.errors.iter().copied().find(|errno| format!("{errno:?}") == error)?;
        Some(Self { call: call.name, errno, at })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Once { thread, number } => write!(f, "{thread}.{}#{number}/{:?}", self.call, self.errno),
            At::Always => write!(f, "{}/{:?}/always", self.call, self.errno),
        }
    }
}

impl Scope {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "child" => Some(Self::Child),
            "check" => Some(Self::Check),
            number => number.parse().ok().map(|images_later| Self::Master { images_later }),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master { images_later } => images_later.fmt(f),
            Self::Child => f.write_str("child"),
            Self::Check => f.write_str("check"),
        }
    }
}
